package check

import (
	"regexp"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
)

// placeholder is what people leave to be filled in.
var placeholder = regexp.MustCompile(`(?i)\bchange[-_]?me\b|\bfix[-_]?me\b|\breplace[-_]me\b|\$\{[A-Za-z_]+\}|<[A-Z][A-Z_-]+>|\{\{`)

// hygiene: labels agree, annotations are ones that somebody reads, nothing is
// left to be filled in.
func (s *Set) hygiene() {
	for _, o := range s.objs {
		if o.GVK.Kind != "ConfigMap" && o.GVK.Kind != "PrometheusRule" {
			walk("", o.Raw, func(key string, v any) {
				if t, ok := v.(string); ok && placeholder.MatchString(t) {
					s.add("placeholder", o, "%s is %q", key, t)
				}
			})
		}
		s.labels(o)
		s.annotations(o)
		if get(o.Raw, "status") != nil {
			s.add("hygiene", o, "carries a status, which only the cluster writes")
		}
		for _, f := range []string{"uid", "resourceVersion", "creationTimestamp", "managedFields", "selfLink", "generation", "ownerReferences", "finalizers"} {
			if get(o.Raw, "metadata", f) != nil {
				s.add("hygiene", o, "metadata.%s is written by the cluster; was this exported with kubectl get?", f)
			}
		}
	}
}

func (s *Set) labels(o *Object) {
	std := []string{"app.kubernetes.io/name", "app.kubernetes.io/component", "app.kubernetes.io/part-of", "app.kubernetes.io/version", "app.kubernetes.io/instance", "app.kubernetes.io/managed-by"}
	check := func(where string, m map[string]any) {
		for _, k := range sortedKeys(m) {
			if strings.HasPrefix(k, "app.kubernetes.io/") && !contains(std, k) {
				s.add("label", o, "%s label %q is none of the recommended ones%s", where, k, hint(k, std))
			}
			if !strings.Contains(k, "/") && (k == "app" || k == "name") {
				s.add("label", o, "%s label %q; use app.kubernetes.io/name", where, k)
			}
		}
	}
	check("metadata", labelsOf(o))
	tmpl, _ := get(o.Raw, "spec", "template", "metadata", "labels").(map[string]any)
	check("pod", tmpl)
	if v := label(o, "app.kubernetes.io/part-of"); v != "flowstitch" {
		s.add("label", o, "label app.kubernetes.io/part-of is %q, not \"flowstitch\"", v)
	}
	if v := label(o, "app.kubernetes.io/name"); v != "" && v != "flowstitch" {
		s.add("label", o, "label app.kubernetes.io/name is %q, not \"flowstitch\"", v)
	}
}

func (s *Set) annotations(o *Object) {
	known := []string{"eks.amazonaws.com/role-arn", "eks.amazonaws.com/sts-regional-endpoints", "eks.amazonaws.com/audience", "eks.amazonaws.com/token-expiration"}
	for _, k := range sortedKeys(annotationsOf(o)) {
		v := str(o.Raw, "metadata", "annotations", k)
		if strings.Contains(k, "eks.amazonaws.com") || strings.HasPrefix(k, "iam.amazonaws.com") || strings.HasSuffix(k, "role-arn") {
			if !contains(known, k) {
				s.add("irsa", o, "annotation %q is none that EKS reads%s", k, hint(k, known))
			} else if o.GVK.Kind != "ServiceAccount" {
				s.add("irsa", o, "annotation %q is read on a ServiceAccount only", k)
			}
		}
		if k == "eks.amazonaws.com/role-arn" && !arn.MatchString(v) {
			s.add("irsa", o, "%q is no role ARN (arn:aws:iam::111122223333:role/name)", v)
		}
		if strings.HasPrefix(k, "prometheus.io/") {
			s.add("annotation", o, "%q: metrics are found through the PodMonitor; two ways would count twice", k)
		}
		if strings.HasPrefix(k, "flowstitch.io/") && k != ExternalSecrets {
			s.add("annotation", o, "nobody reads %q%s", k, hint(k, []string{ExternalSecrets}))
		}
	}
	for k := range objMap(o, "spec", "template", "metadata", "annotations") {
		if strings.Contains(k, "eks.amazonaws.com") {
			s.add("irsa", o, "pod annotation %q: EKS reads it on the ServiceAccount", k)
		}
		if strings.HasPrefix(k, "container.apparmor.security") || strings.HasPrefix(k, "seccomp.security") {
			s.add("annotation", o, "pod annotation %q no longer has an effect; use securityContext", k)
		}
		if strings.HasPrefix(k, "prometheus.io/") {
			s.add("annotation", o, "pod annotation %q: metrics are found through the PodMonitor; two ways would count twice", k)
		}
		if k == "kubectl.kubernetes.io/restartedAt" {
			s.add("hygiene", o, "pod annotation %q was left by kubectl rollout restart", k)
		}
	}
}

func objMap(o *Object, path ...string) map[string]any {
	m, _ := get(o.Raw, path...).(map[string]any)
	return m
}

// access: pods of ours need nothing of the API server.
func (s *Set) access() {
	for _, o := range s.objs {
		switch r := o.Typed.(type) {
		case *rbacv1.Role:
			s.add("rbac", o, "grants %d rules: no program of ours talks to the API server", len(r.Rules))
		case *rbacv1.RoleBinding:
			s.add("rbac", o, "binds %s %q: no program of ours talks to the API server", r.RoleRef.Kind, r.RoleRef.Name)
		}
	}
}

// completeness: all three services are there, once.
func (s *Set) completeness() {
	for _, name := range sortedKeys(s.product.Services) {
		n := 0
		for _, w := range s.workloads {
			if w.service == name {
				n++
			}
		}
		if n != 1 {
			s.add("complete", nil, "service %s is run by %d workloads; there must be one", name, n)
		}
	}
}
