package check

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	podsecurity "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

// podSecurity evaluates every pod template against the restricted standard,
// whatever the namespace says.
func (s *Set) podSecurity() {
	ev, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		s.add("pod-security", nil, "%v", err)
		return
	}
	level := podsecurity.LevelVersion{Level: podsecurity.LevelRestricted, Version: podsecurity.LatestVersion()}
	for _, w := range s.workloads {
		agg := policy.AggregateCheckResults(ev.EvaluatePod(level, &w.template.ObjectMeta, &w.template.Spec))
		if !agg.Allowed {
			s.add("pod-security", w, "the restricted standard forbids: %s", agg.ForbiddenDetail())
		}
	}
}

// pods: what we ask of every pod beyond the standard.
func (s *Set) pods() {
	for _, w := range s.workloads {
		spec := &w.template.Spec
		if spec.AutomountServiceAccountToken == nil || *spec.AutomountServiceAccountToken {
			s.add("pod", w, "automountServiceAccountToken must be false: no pod of ours talks to the API server")
		}
		if spec.EnableServiceLinks == nil || *spec.EnableServiceLinks {
			s.add("pod", w, "enableServiceLinks must be false: a Service named flowstitch would inject FLOWSTITCH_* variables")
		}
		sc := spec.SecurityContext
		if sc == nil || sc.RunAsUser == nil || *sc.RunAsUser != 65532 {
			s.add("pod", w, "securityContext.runAsUser must be 65532, the user of the images")
		}
		if sc == nil || sc.FSGroup == nil {
			s.add("pod", w, "securityContext.fsGroup is missing: projected tokens and secrets would be unreadable for the user")
		}
		if spec.HostNetwork || spec.ShareProcessNamespace != nil && *spec.ShareProcessNamespace {
			s.add("pod", w, "shares a namespace with the host or between containers, which nothing here needs")
		}
		for _, c := range w.containers() {
			s.container(w, c)
		}
		if !w.batch {
			s.gracePeriod(w)
		}
		s.nodeChoice(w)
	}
}

func (s *Set) container(w *workload, c *corev1.Container) {
	if c.SecurityContext == nil || c.SecurityContext.ReadOnlyRootFilesystem == nil || !*c.SecurityContext.ReadOnlyRootFilesystem {
		s.add("pod", w, "container %s: securityContext.readOnlyRootFilesystem must be true", c.Name)
	}
	if !s.ours(c) && c != s.mainContainer(w) {
		return
	}
	if len(c.Command) > 0 {
		s.add("pod", w, "container %s: command overrides the image's entry point; use args", c.Name)
	}
	if c.Lifecycle != nil && c.Lifecycle.PreStop != nil {
		s.add("pod", w, "container %s: a preStop hook delays the hand-over; no Service routes traffic here", c.Name)
	}
	if c.Stdin || c.TTY {
		s.add("pod", w, "container %s: stdin or tty is set", c.Name)
	}
	if w.service == "" || imageName(c.Image) != w.service {
		return
	}
	want := s.product.Services[w.service]
	if got := flagValue(c.Args, "config"); got != want.Config {
		s.add("args", w, "container %s: -config is %q, the service's file is %q", c.Name, got, want.Config)
	}
	for _, a := range c.Args {
		name := strings.TrimLeft(strings.SplitN(a, "=", 2)[0], "-")
		if strings.HasPrefix(a, "-") && !contains([]string{"config"}, name) {
			s.add("args", w, "container %s: flag %q does not start the service (only -config does)%s", c.Name, a, hint(name, []string{"config"}))
		}
	}
	if p := w.port("metrics"); p != want.Port {
		s.add("port", w, "no container port named \"metrics\" with number %d (found %d)", want.Port, p)
	}
	seen := map[string]bool{}
	for _, p := range c.Ports {
		key := fmt.Sprintf("%d/%s", p.ContainerPort, p.Protocol)
		if seen[key] {
			s.add("port", w, "container %s: port %s is declared twice", c.Name, key)
		}
		seen[key] = true
		if p.HostPort != 0 {
			s.add("port", w, "container %s: hostPort %d keeps two pods off one node and opens the node", c.Name, p.HostPort)
		}
		if p.Protocol != corev1.ProtocolTCP {
			s.add("port", w, "container %s: port %q is %s; the programs listen on TCP only", c.Name, p.Name, p.Protocol)
		}
		if p.ContainerPort != want.Port {
			s.add("port", w, "container %s: declares port %d on which nothing listens (the service has %d)", c.Name, p.ContainerPort, want.Port)
		}
	}
}

// flagValue finds -name value or -name=value among args.
func flagValue(args []string, name string) string {
	for i, a := range args {
		a = strings.TrimPrefix(strings.TrimPrefix(a, "-"), "-")
		if v, ok := strings.CutPrefix(a, name+"="); ok {
			return v
		}
		if a == name && i+1 < len(args) {
			return args[i+1]
		}
	}
	return ""
}

// minGrace is the least time, in seconds, that a hand-over of every bucket of
// every slot is given (facts: largest batch and flush, 60 s).
const minGrace = 60

func (s *Set) gracePeriod(w *workload) {
	g := w.template.Spec.TerminationGracePeriodSeconds
	if g == nil || *g < minGrace {
		s.add("grace", w, "terminationGracePeriodSeconds must be at least %d: a hand-over writes all buckets", minGrace)
	} else if *g > 600 {
		s.add("grace", w, "terminationGracePeriodSeconds %d would hold a node drain for over ten minutes", *g)
	}
}

// nodeChoice catches misspelt well-known node labels, which keep a pod pending
// for ever.
func (s *Set) nodeChoice(w *workload) {
	known := []string{corev1.LabelArchStable, corev1.LabelOSStable, corev1.LabelHostname, corev1.LabelTopologyZone,
		corev1.LabelTopologyRegion, corev1.LabelInstanceTypeStable}
	check := func(key string, values []string) {
		dom, _, ok := strings.Cut(key, "/")
		if ok && strings.HasSuffix(dom, "kubernetes.io") && !contains(known, key) && dom != "node-role.kubernetes.io" {
			s.add("node", w, "%q is no well-known node label%s", key, hint(key, known))
		}
		for _, v := range values {
			if key == corev1.LabelArchStable && v != "amd64" && v != "arm64" {
				s.add("node", w, "%s=%q: the images exist for amd64 and arm64", key, v)
			}
			if key == corev1.LabelOSStable && v != "linux" {
				s.add("node", w, "%s=%q: the images are for linux", key, v)
			}
		}
	}
	for k, v := range w.template.Spec.NodeSelector {
		check(k, []string{v})
	}
	a := w.template.Spec.Affinity
	if a != nil && a.NodeAffinity != nil && a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution != nil {
		for _, t := range a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
			for _, e := range t.MatchExpressions {
				check(e.Key, e.Values)
			}
		}
	}
}

// probes: all three exist, ask the port that is declared and the path that
// answers that question.
func (s *Set) probes() {
	for _, w := range s.workloads {
		for i := range w.template.Spec.Containers {
			c := &w.template.Spec.Containers[i]
			for kind, p := range map[string]*corev1.Probe{"startup": c.StartupProbe, "liveness": c.LivenessProbe, "readiness": c.ReadinessProbe} {
				if p != nil {
					s.probe(w, c, kind, p)
				} else if w.service != "" && imageName(c.Image) == w.service {
					s.add("probe", w, "container %s has no %sProbe", c.Name, kind)
				}
			}
			s.probeBudget(w, c)
		}
	}
}

func (s *Set) probe(w *workload, c *corev1.Container, kind string, p *corev1.Probe) {
	if w.batch {
		s.add("probe", w, "container %s: a probe on a pod that runs to its end", c.Name)
		return
	}
	if p.HTTPGet == nil {
		s.add("probe", w, "container %s: %sProbe must be httpGet: the images have no shell and an open port says nothing", c.Name, kind)
		return
	}
	h := p.HTTPGet
	if !declared(c, h.Port) {
		s.add("probe-port", w, "container %s: %sProbe asks port %q, which the container does not declare%s", c.Name, kind, h.Port.String(), hint(h.Port.String(), portNames(c)))
	}
	if h.Scheme != "" && h.Scheme != corev1.URISchemeHTTP {
		s.add("probe", w, "container %s: %sProbe uses %s; the telemetry port speaks plain HTTP", c.Name, kind, h.Scheme)
	}
	if h.Host != "" {
		s.add("probe", w, "container %s: %sProbe sets host %q, so it asks something other than the pod", c.Name, kind, h.Host)
	}
	if want := s.product.ProbePath[kind]; w.service != "" && h.Path != want {
		s.add("probe-path", w, "container %s: %sProbe asks %q, the service answers that question at %q", c.Name, kind, h.Path, want)
	}
	if p.TimeoutSeconds > p.PeriodSeconds && p.PeriodSeconds > 0 {
		s.add("probe", w, "container %s: %sProbe's timeout %d s exceeds its period %d s", c.Name, kind, p.TimeoutSeconds, p.PeriodSeconds)
	}
}

// probeBudget: a restart must not be the answer to a slow start or to one slow
// reply.
func (s *Set) probeBudget(w *workload, c *corev1.Container) {
	if p := c.LivenessProbe; p != nil {
		if span := p.PeriodSeconds * p.FailureThreshold; span < 30 {
			s.add("probe", w, "container %s: livenessProbe kills after %d s; below 30 s a slow node becomes a restart storm", c.Name, span)
		}
		if p.TerminationGracePeriodSeconds != nil && *p.TerminationGracePeriodSeconds < 10 {
			s.add("probe", w, "container %s: livenessProbe's own grace period of %d s cuts off the hand-over", c.Name, *p.TerminationGracePeriodSeconds)
		}
	}
	if p := c.StartupProbe; p != nil && p.PeriodSeconds*p.FailureThreshold < 30 {
		s.add("probe", w, "container %s: startupProbe gives %d s; below 30 s a cold node kills the pod while it starts", c.Name, p.PeriodSeconds*p.FailureThreshold)
	}
	if p := c.ReadinessProbe; p != nil && p.InitialDelaySeconds > 60 {
		s.add("probe", w, "container %s: readinessProbe waits %d s before its first question, so does every step of a rollout", c.Name, p.InitialDelaySeconds)
	}
}

func declared(c *corev1.Container, p intstr.IntOrString) bool {
	for _, d := range c.Ports {
		if p.Type == intstr.String && d.Name == p.StrVal || p.Type == intstr.Int && d.ContainerPort == p.IntVal {
			return true
		}
	}
	return false
}

func portNames(c *corev1.Container) []string {
	var out []string
	for _, p := range c.Ports {
		out = append(out, p.Name)
	}
	return out
}
