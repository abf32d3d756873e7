package check

import (
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/labels"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// images: ours, pinned, one version everywhere, the right one in each workload.
func (s *Set) images() {
	tags := map[string][]string{}
	for _, w := range s.workloads {
		first := s.mainContainer(w)
		for _, c := range w.containers() {
			name, tag := imageName(c.Image), imageTag(c.Image)
			sidecar := !s.ours(c) && c != first
			if !sidecar && !contains(s.product.Images, name) {
				s.add("image", w, "container %s: image %q is none of ours (%s)%s", c.Name, c.Image, strings.Join(s.product.Images, ", "), hint(name, s.product.Images))
			}
			if tag == "" || tag == "latest" {
				s.add("image", w, "container %s: image %q has no fixed version: two pods of one rollout could differ", c.Name, c.Image)
			} else if !sidecar {
				tags[tag] = append(tags[tag], w.String())
			}
			if c.ImagePullPolicy == corev1.PullNever {
				s.add("image", w, "container %s: imagePullPolicy Never starts only where someone loaded the image by hand", c.Name)
			}
			if comp := w.template.Labels["app.kubernetes.io/component"]; w.service != "" && !sidecar && comp != w.service {
				s.add("image", w, "container %s runs %s but the pod is labelled component %q", c.Name, w.service, comp)
			}
		}
	}
	versions := 0
	for t := range tags {
		if !strings.HasPrefix(t, "sha256:") {
			versions++
		}
	}
	if versions > 1 {
		s.add("image", nil, "images of different versions in one set: %v", sortedKeys(tags))
	}
}

// imageTag is the digest, else the tag, else "".
func imageTag(ref string) string {
	if _, d, ok := strings.Cut(ref, "@"); ok {
		return d
	}
	if i := strings.LastIndex(ref, "/"); i >= 0 {
		ref = ref[i+1:]
	}
	_, t, _ := strings.Cut(ref, ":")
	return t
}

// resources: a memory limit, handed to the runtime; no CPU limit; no unit
// slips ("512m" of memory is half a byte).
func (s *Set) resources() {
	for _, w := range s.workloads {
		for _, c := range w.containers() {
			req, lim := c.Resources.Requests, c.Resources.Limits
			if _, ok := lim[corev1.ResourceCPU]; ok && s.ours(c) {
				s.add("resources", w, "container %s: a CPU limit throttles the fold and holds back the commit of every slot of the pod; leave it out", c.Name)
			}
			s.quantity(w, c, "requests.cpu", req, corev1.ResourceCPU, "10m", "64")
			s.quantity(w, c, "requests.memory", req, corev1.ResourceMemory, "32Mi", "512Gi")
			s.quantity(w, c, "limits.memory", lim, corev1.ResourceMemory, "32Mi", "512Gi")
			if r, l := req[corev1.ResourceMemory], lim[corev1.ResourceMemory]; w.service != "" && s.ours(c) && !l.IsZero() && r.Cmp(l) != 0 {
				s.add("resources", w, "container %s: memory request %s differs from the limit %s: the session table grows to the limit and the node was promised less", c.Name, r.String(), l.String())
			}
		}
	}
}

func (s *Set) quantity(w *workload, c *corev1.Container, name string, l corev1.ResourceList, r corev1.ResourceName, low, high string) {
	q, ok := l[r]
	if !ok {
		s.add("resources", w, "container %s: resources.%s is missing", c.Name, name)
		return
	}
	if q.Cmp(resource.MustParse(low)) < 0 || q.Cmp(resource.MustParse(high)) > 0 {
		s.add("resources", w, "container %s: resources.%s = %s is outside %s..%s; is the unit right?", c.Name, name, q.String(), low, high)
	}
}

// spreading: pods of one service over zones, in the form that lets a drain end.
func (s *Set) spreading() {
	for _, w := range s.workloads {
		if w.service == "" {
			continue
		}
		zone := false
		for i := range w.template.Spec.TopologySpreadConstraints {
			t := &w.template.Spec.TopologySpreadConstraints[i]
			zone = zone || t.TopologyKey == corev1.LabelTopologyZone
			s.spread(w, t)
		}
		many := w.replicas != nil && *w.replicas > 1 || len(s.scalersOf(w)) > 0
		if many && !zone {
			s.add("spread", w, "has several replicas and no topologySpreadConstraint over %s: one zone's failure can take all", corev1.LabelTopologyZone)
		}
		if a := w.template.Spec.Affinity; a != nil && a.PodAntiAffinity != nil && len(a.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution) > 0 {
			s.add("spread", w, "required pod anti-affinity leaves pods pending as soon as there are more of them than nodes; use topologySpreadConstraints")
		}
	}
}

func (s *Set) spread(w *workload, t *corev1.TopologySpreadConstraint) {
	known := []string{corev1.LabelTopologyZone, corev1.LabelTopologyRegion, corev1.LabelHostname}
	if !contains(known, t.TopologyKey) {
		s.add("spread", w, "topologyKey %q is no well-known node label: the constraint would never hold%s", t.TopologyKey, hint(t.TopologyKey, known))
	}
	m, err := metav1.LabelSelectorAsSelector(t.LabelSelector)
	if err == nil && !m.Matches(labels.Set(w.template.Labels)) {
		s.add("spread", w, "the labelSelector of the constraint on %s does not match the pod's own labels: it counts nothing", t.TopologyKey)
	}
	if t.LabelSelector == nil || len(s.selected(w.obj.NS, t.LabelSelector)) > 1 {
		s.add("spread", w, "the constraint on %s also counts pods of other workloads", t.TopologyKey)
	}
	for _, k := range t.MatchLabelKeys {
		if _, ok := w.template.Labels[k]; !ok && k != "pod-template-hash" {
			s.add("spread", w, "matchLabelKeys %q is no label of the pod: it is ignored%s", k, hint(k, append(sortedKeys(w.template.Labels), "pod-template-hash")))
		}
	}
	if t.WhenUnsatisfiable == corev1.DoNotSchedule {
		if t.NodeTaintsPolicy == nil || *t.NodeTaintsPolicy != corev1.NodeInclusionPolicyHonor {
			s.add("spread", w, "DoNotSchedule over %s without nodeTaintsPolicy: Honor: a drain of a one-node zone never ends, the cordoned zone still counts", t.TopologyKey)
		}
		if t.TopologyKey == corev1.LabelHostname {
			s.add("spread", w, "DoNotSchedule over hosts leaves pods pending on small clusters; use ScheduleAnyway")
		}
		if t.MinDomains != nil && *t.MinDomains > 3 {
			s.add("spread", w, "minDomains %d: most regions offer three zones", *t.MinDomains)
		}
	}
}

// rollout: the services are Deployments that replace pods one by one and can
// be rolled back; jobs end.
func (s *Set) rollout() {
	for _, w := range s.workloads {
		if w.replicas != nil && w.service != "" {
			s.replicas(w)
		}
		switch t := w.obj.Typed.(type) {
		case *appsv1.Deployment:
			s.deployment(w, t)
		case *batchv1.Job:
			s.job(w, &t.Spec)
		case *batchv1.CronJob:
			s.job(w, &t.Spec.JobTemplate.Spec)
			if t.Spec.ConcurrencyPolicy != batchv1.ForbidConcurrent {
				s.add("job", w, "concurrencyPolicy must be Forbid")
			}
		case *appsv1.StatefulSet, *appsv1.DaemonSet, *corev1.Pod:
			s.add("rollout", w, "must be a Deployment: state is in Kafka, membership is dynamic, and a static member stalls every scale-down")
		}
	}
}

func (s *Set) replicas(w *workload) {
	slots := s.slots(w)
	switch {
	case w.declared && *w.replicas == 0:
		s.add("rollout", w, "replicas: 0 runs nothing")
	case int(*w.replicas) > slots:
		s.add("rollout", w, "replicas %d exceed the %d slots: the rest would idle", *w.replicas, slots)
	case !w.declared && len(s.scalersOf(w)) == 0:
		s.add("rollout", w, "has no replicas and no scaler: one pod, by default")
	}
}

// slots is the number that the workload's configuration states, else the
// product's default.
func (s *Set) slots(w *workload) int {
	if n, ok := num(w.config, "pipeline", "slots"); ok {
		return int(n)
	}
	return s.product.Slots
}

func (s *Set) deployment(w *workload, d *appsv1.Deployment) {
	if d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType {
		s.add("rollout", w, "strategy Recreate stops every slot at each rollout; use RollingUpdate")
	} else if r := d.Spec.Strategy.RollingUpdate; r != nil && w.replicas != nil {
		if un := r.MaxUnavailable; un != nil && un.IntValue() >= int(*w.replicas) && *w.replicas > 0 && un.StrVal == "" || un != nil && un.StrVal == "100%" {
			s.add("rollout", w, "maxUnavailable %s stops every pod at once", un.String())
		}
	}
	if d.Spec.Paused {
		s.add("rollout", w, "is paused: no change would roll out")
	}
	if d.Spec.RevisionHistoryLimit != nil && *d.Spec.RevisionHistoryLimit < 1 {
		s.add("rollout", w, "revisionHistoryLimit 0 leaves nothing to roll back to")
	}
	if d.Spec.ProgressDeadlineSeconds != nil && *d.Spec.ProgressDeadlineSeconds < 600 {
		s.add("rollout", w, "progressDeadlineSeconds %d: a large table needs minutes to become ready", *d.Spec.ProgressDeadlineSeconds)
	}
	if d.Spec.MinReadySeconds > 300 {
		s.add("rollout", w, "minReadySeconds %d makes each step of a rollout wait that long", d.Spec.MinReadySeconds)
	}
}

func (s *Set) job(w *workload, j *batchv1.JobSpec) {
	for _, c := range w.containers() {
		if want := s.product.JobArgs; len(c.Args) < len(want) || !slices.Equal(c.Args[:len(want)], want) {
			s.add("args", w, "container %s: args %v; the job runs %v", c.Name, c.Args, want)
		}
		for _, a := range c.Args {
			name := strings.TrimLeft(strings.SplitN(a, "=", 2)[0], "-")
			if s.ours(c) && strings.HasPrefix(a, "-") && name != "config" {
				s.add("args", w, "container %s: flag %q: the job is told everything by its -config", c.Name, a)
			}
		}
	}
	if j.TTLSecondsAfterFinished == nil {
		s.add("job", w, "ttlSecondsAfterFinished is missing: a finished Job is immutable and blocks the next apply")
	}
	if j.ActiveDeadlineSeconds == nil {
		s.add("job", w, "activeDeadlineSeconds is missing: a Job that cannot reach its broker would wait for ever")
	}
	if d := j.ActiveDeadlineSeconds; d != nil && *d < 60 {
		s.add("job", w, "activeDeadlineSeconds %d: a pod that starts on a new node takes longer", *d)
	}
	if b := j.BackoffLimit; b != nil && *b < 1 {
		s.add("job", w, "backoffLimit 0: one broker that is not up yet, and no topic is made")
	}
	if b := j.BackoffLimit; b != nil && *b > 100 {
		s.add("job", w, "backoffLimit %d: what fails that often fails for ever", *b)
	}
	if j.Suspend != nil && *j.Suspend {
		s.add("job", w, "is suspended: it would never run")
	}
	if j.Completions != nil && *j.Completions > 1 || j.Parallelism != nil && *j.Parallelism != 1 {
		s.add("job", w, "runs more than once or in parallel; creating topics is done once")
	}
}
