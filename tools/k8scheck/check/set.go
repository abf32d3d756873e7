package check

import (
	"fmt"
	"sort"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// Set is everything that is applied together: one rendered overlay.
type Set struct {
	objs      []*Object
	product   *Product
	workloads []*workload
	findings  []Finding
}

// workload is anything with a pod template.
type workload struct {
	obj      *Object
	replicas *int32 // nil for a Job, and where the manifest leaves it out
	declared bool   // spec.replicas is written in the manifest
	selector *metav1.LabelSelector
	template *corev1.PodTemplateSpec
	batch    bool
	service  string         // the product's service that it runs, or ""
	config   map[string]any // its configuration file, where found
}

func (w *workload) String() string { return w.obj.String() }

// containers are all of a pod's, init containers first.
func (w *workload) containers() []*corev1.Container {
	var out []*corev1.Container
	for i := range w.template.Spec.InitContainers {
		out = append(out, &w.template.Spec.InitContainers[i])
	}
	for i := range w.template.Spec.Containers {
		out = append(out, &w.template.Spec.Containers[i])
	}
	return out
}

// port returns the number of a named container port of the workload, or 0.
func (w *workload) port(name string) int32 {
	for _, c := range w.containers() {
		for _, p := range c.Ports {
			if p.Name == name {
				return p.ContainerPort
			}
		}
	}
	return 0
}

// hasPort reports that a container declares the number.
func (w *workload) hasPort(n int32) bool {
	for _, c := range w.containers() {
		for _, p := range c.Ports {
			if p.ContainerPort == n {
				return true
			}
		}
	}
	return false
}

// Check runs every check over one rendered set and returns the findings in a
// stable order.
func Check(api *API, product *Product, stream []byte) []Finding {
	objs, bad := Parse(stream)
	s := &Set{objs: objs, product: product, findings: bad}
	s.findings = append(s.findings, api.Admit(objs)...)
	s.collect()
	for _, check := range []func(){
		s.duplicates, s.namespaces, s.hygiene, s.podSecurity, s.pods, s.probes, s.environment, s.references,
		s.configs, s.images, s.resources, s.spreading, s.rollout, s.selectors, s.budgets, s.services,
		s.networkPolicies, s.networkNeeds, s.scalers, s.strimzi, s.monitors, s.rules, s.dashboards, s.access, s.completeness,
		s.placement, s.imageReferences, s.roles, s.quotas, s.standard, s.bounded, s.sameRegion, s.durable,
		s.scheduling, s.reached, s.identities, s.sourcesReal, s.timing, s.scaling, s.brokerSettings, s.scraped, s.budgeted,
	} {
		check()
	}
	sort.SliceStable(s.findings, func(i, j int) bool { return s.findings[i].String() < s.findings[j].String() })
	return compact(s.findings)
}

func compact(fs []Finding) []Finding {
	out := fs[:0]
	for i, f := range fs {
		if i == 0 || f != fs[i-1] {
			out = append(out, f)
		}
	}
	return out
}

func (s *Set) add(check string, obj fmt.Stringer, format string, args ...any) {
	name := ""
	if obj != nil {
		name = obj.String()
	}
	s.findings = append(s.findings, Finding{check, name, fmt.Sprintf(format, args...)})
}

// collect gathers what has a pod template.
func (s *Set) collect() {
	for _, o := range s.objs {
		w := &workload{obj: o}
		_, w.declared = num(o.Raw, "spec", "replicas")
		switch t := o.Typed.(type) {
		case *appsv1.Deployment:
			w.replicas, w.selector, w.template = t.Spec.Replicas, t.Spec.Selector, &t.Spec.Template
		case *appsv1.StatefulSet:
			w.replicas, w.selector, w.template = t.Spec.Replicas, t.Spec.Selector, &t.Spec.Template
		case *appsv1.DaemonSet:
			w.selector, w.template = t.Spec.Selector, &t.Spec.Template
		case *batchv1.Job:
			w.template, w.batch = &t.Spec.Template, true
		case *batchv1.CronJob:
			w.template, w.batch = &t.Spec.JobTemplate.Spec.Template, true
		case *corev1.Pod:
			w.template, w.batch = &corev1.PodTemplateSpec{ObjectMeta: t.ObjectMeta, Spec: t.Spec}, true
		default:
			continue
		}
		w.service = s.serviceOf(w)
		s.workloads = append(s.workloads, w)
	}
}

// serviceOf tells by its image which service a workload runs.
func (s *Set) serviceOf(w *workload) string {
	for i := range w.template.Spec.Containers {
		if name := imageName(w.template.Spec.Containers[i].Image); !w.batch {
			if _, ok := s.product.Services[name]; ok {
				return name
			}
		}
	}
	return ""
}

// imageName is the last path element of an image reference, without tag and
// digest.
func imageName(ref string) string {
	ref, _, _ = strings.Cut(ref, "@")
	if i := strings.LastIndex(ref, "/"); i >= 0 {
		ref = ref[i+1:]
	}
	ref, _, _ = strings.Cut(ref, ":")
	return ref
}

// of returns the objects of a kind.
func (s *Set) of(kind string) []*Object {
	var out []*Object
	for _, o := range s.objs {
		if o.GVK.Kind == kind {
			out = append(out, o)
		}
	}
	return out
}

// find returns the object of a kind and name in a namespace, or nil.
func (s *Set) find(kind, ns, name string) *Object {
	for _, o := range s.objs {
		if o.GVK.Kind == kind && o.NS == ns && o.Name == name {
			return o
		}
	}
	return nil
}

// names lists the names of a kind, for hints.
func (s *Set) names(kind string) []string {
	var out []string
	for _, o := range s.of(kind) {
		out = append(out, o.Name)
	}
	return out
}

// selected returns the workloads in ns whose pods sel matches. A nil selector
// selects nothing, an empty one everything.
func (s *Set) selected(ns string, sel *metav1.LabelSelector) []*workload {
	m, err := metav1.LabelSelectorAsSelector(sel)
	if err != nil {
		return nil // the API's own validation reports it
	}
	var out []*workload
	for _, w := range s.workloads {
		if w.obj.NS == ns && m.Matches(labels.Set(w.template.Labels)) {
			out = append(out, w)
		}
	}
	return out
}

func (s *Set) duplicates() {
	seen := map[string]bool{}
	for _, o := range s.objs {
		k := o.GVK.GroupKind().String() + "|" + o.NS + "|" + o.Name
		if seen[k] {
			s.add("duplicate", o, "appears twice in the set: the later one silently wins")
		}
		seen[k] = true
	}
}

// namespaces: everything lies in a namespace of the set, and that namespace
// enforces the restricted pod security standard.
func (s *Set) namespaces() {
	for _, o := range s.objs {
		if o.NS != "" && len(s.of("Namespace")) > 0 && !contains(s.names("Namespace"), o.NS) {
			s.add("namespace", o, "lies in namespace %q, which the set does not create%s", o.NS, hint(o.NS, s.names("Namespace")))
		}
	}
	if len(s.of("Namespace")) == 0 {
		s.add("namespace", nil, "the set has no Namespace: the pod security labels would be missing")
	}
	for _, o := range s.of("Namespace") {
		l := "pod-security.kubernetes.io/"
		if v := label(o, l+"enforce"); v != "restricted" {
			s.add("namespace", o, "label %senforce is %q; it must be \"restricted\", or nothing stops a root pod", l, v)
		}
		for k := range labelsOf(o) {
			known := []string{"enforce", "enforce-version", "audit", "audit-version", "warn", "warn-version"}
			if rest, ok := strings.CutPrefix(k, l); ok && !contains(known, rest) {
				s.add("namespace", o, "label %q is no pod security label%s", k, hint(rest, known))
			}
		}
	}
}

func labelsOf(o *Object) map[string]any {
	m, _ := get(o.Raw, "metadata", "labels").(map[string]any)
	return m
}

func annotationsOf(o *Object) map[string]any {
	m, _ := get(o.Raw, "metadata", "annotations").(map[string]any)
	return m
}

func label(o *Object, key string) string { return str(o.Raw, "metadata", "labels", key) }

func contains(l []string, s string) bool {
	for _, x := range l {
		if x == s {
			return true
		}
	}
	return false
}
