package check

import (
	"regexp"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// placement: a pod runs where and as what the manifests mean it to.
func (s *Set) placement() {
	for _, w := range s.workloads {
		spec := &w.template.Spec
		if c := w.template.Labels["app.kubernetes.io/component"]; !namedAfter(spec.ServiceAccountName, c) && spec.ServiceAccountName != "" {
			s.add("reference", w, "runs as ServiceAccount %q and is component %q: it would have the rights of another", spec.ServiceAccountName, c)
		}
		if p := spec.DNSPolicy; p != "" && p != corev1.DNSClusterFirst {
			s.add("pod", w, "dnsPolicy %s: names of the cluster would not resolve", p)
		}
		if n := spec.SchedulerName; n != "" && n != corev1.DefaultSchedulerName {
			s.add("pod", w, "schedulerName %q: without a scheduler of that name the pod waits for ever%s", n, hint(n, []string{corev1.DefaultSchedulerName}))
		}
		if spec.RuntimeClassName != nil {
			s.add("reference", w, "RuntimeClass %q is not in the set", *spec.RuntimeClassName)
		}
		if spec.NodeName != "" {
			s.add("node", w, "nodeName %q goes around the scheduler: the pod dies with that node", spec.NodeName)
		}
		for _, t := range spec.Tolerations {
			if t.Key == "" && t.Operator == corev1.TolerationOpExists {
				s.add("node", w, "tolerates every taint, so it comes back to a node that is being drained")
			}
		}
		if len(spec.ReadinessGates) > 0 {
			s.add("pod", w, "readinessGates wait for a condition that nobody here sets")
		}
		if len(spec.HostAliases) > 0 {
			s.add("pod", w, "hostAliases fix an address that will change")
		}
		s.patience(w)
		s.surge(w)
	}
}

// patience: a probe that waits for ever asks nothing.
func (s *Set) patience(w *workload) {
	for i := range w.template.Spec.Containers {
		c := &w.template.Spec.Containers[i]
		if p := c.LivenessProbe; p != nil && p.InitialDelaySeconds > 120 {
			s.add("probe", w, "container %s: livenessProbe asks nothing for %d s; the startupProbe is for that", c.Name, p.InitialDelaySeconds)
		}
		if p := c.LivenessProbe; p != nil && p.PeriodSeconds*p.FailureThreshold > 600 {
			s.add("probe", w, "container %s: livenessProbe lets a hung process live for %d s", c.Name, p.PeriodSeconds*p.FailureThreshold)
		}
		if p := c.ReadinessProbe; p != nil && (p.PeriodSeconds*p.FailureThreshold > 300 || p.PeriodSeconds*p.SuccessThreshold > 60) {
			s.add("probe", w, "container %s: readinessProbe changes its mind after %d s down and %d s up: rollouts and drains wait for it", c.Name, p.PeriodSeconds*p.FailureThreshold, p.PeriodSeconds*p.SuccessThreshold)
		}
		if p := c.StartupProbe; p != nil && p.PeriodSeconds*p.FailureThreshold > 600 {
			s.add("probe", w, "container %s: startupProbe gives %d s; a process is up in seconds, catching up is readiness", c.Name, p.PeriodSeconds*p.FailureThreshold)
		}
	}
}

// surge: a rollout does not run more than twice the pods.
func (s *Set) surge(w *workload) {
	v, _ := get(w.obj.Raw, "spec", "strategy", "rollingUpdate", "maxSurge").(string)
	if v == "" || w.replicas == nil {
		return
	}
	p := intstr.FromString(v)
	if n, err := intstr.GetScaledValueFromIntOrPercent(&p, int(*w.replicas), true); err == nil && n > int(*w.replicas) {
		s.add("rollout", w, "maxSurge %s starts %d pods beside %d: slots would move twice over", v, n, *w.replicas)
	}
}

// imageRef is a reference that a kubelet can pull.
var imageRef = regexp.MustCompile(`^([a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]+)?/)?[a-z0-9]+([._/-]+[a-z0-9]+)*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?$`)

// references to images are well formed: the API server takes any text.
func (s *Set) imageReferences() {
	for _, w := range s.workloads {
		for _, c := range w.containers() {
			if !imageRef.MatchString(c.Image) {
				s.add("image", w, "container %s: %q is no image reference (registry/name:tag or @sha256:...)", c.Name, c.Image)
			}
		}
	}
}

// roles: each workload has an identity of its own on AWS.
func (s *Set) roles() {
	by := map[string]*Object{}
	for _, o := range s.of("ServiceAccount") {
		role := str(o.Raw, "metadata", "annotations", "eks.amazonaws.com/role-arn")
		if role == "" {
			continue
		}
		if other := by[role]; other != nil {
			s.add("irsa", o, "has the role of %s: each may do what the other needs", other)
		}
		by[role] = o
	}
}

// quotas: nothing in the namespace forbids or changes what the set states.
func (s *Set) quotas() {
	for _, o := range s.of("LimitRange") {
		for _, l := range list(o.Raw, "spec", "limits") {
			if get(l, "default", "cpu") != nil {
				s.add("quota", o, "gives every container a CPU limit, which throttles the fold")
			}
		}
	}
	pods := 0.0
	for _, w := range s.workloads {
		if pods++; w.replicas != nil {
			pods += float64(*w.replicas) // and one more while it rolls out
		}
	}
	for _, o := range s.of("ResourceQuota") {
		for _, k := range []string{"pods", "count/pods"} {
			v := plain(get(o.Raw, "spec", "hard", k))
			if n, err := strconv.ParseFloat(v, 64); err == nil && n < pods {
				s.add("quota", o, "%s %s is less than the %v pods of a rollout", k, v, pods)
			}
		}
	}
}

// standard: the namespace enforces the standard as it is today.
func (s *Set) standard() {
	for _, o := range s.of("Namespace") {
		if v := label(o, "pod-security.kubernetes.io/enforce-version"); v != "" && v != "latest" {
			s.add("namespace", o, "pod security is enforced as of %s; write latest", v)
		}
		if strings.HasPrefix(o.Name, "kube-") || o.Name == "default" {
			s.add("namespace", o, "is a namespace of Kubernetes itself")
		}
	}
}

// namedAfter reports that a name is a component's, with a prefix or a suffix
// that kustomize may have put to it.
func namedAfter(name, component string) bool {
	return name == component || strings.HasSuffix(name, "-"+component) || strings.HasPrefix(name, component+"-")
}
