package check

import (
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"sigs.k8s.io/yaml"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// monitors: a PodMonitor or ServiceMonitor finds pods of ours at a port that
// they declare, and each service is found once.
func (s *Set) monitors() {
	found := map[*workload]int{}
	any := false
	for _, o := range s.of("PodMonitor") {
		any = true
		sel := s.selected(o.NS, labelSelector(get(o.Raw, "spec", "selector")))
		if len(sel) == 0 {
			s.add("monitor", o, "selects no pod of the set")
		}
		s.monitoredNamespaces(o)
		for _, e := range list(o.Raw, "spec", "podMetricsEndpoints") {
			s.endpoint(o, e)
			for _, w := range sel {
				if p := str(e, "port"); p != "" && w.port(p) == 0 && !w.batch {
					s.add("monitor", o, "port %q is declared by no container of %s", p, w)
				} else if !w.batch {
					found[w]++
				}
			}
		}
	}
	for _, o := range s.of("ServiceMonitor") {
		any = true
		s.serviceMonitor(o, found)
	}
	for _, w := range s.workloads {
		if any && w.service != "" && found[w] != 1 {
			s.add("monitor", w, "is scraped %d times over; it must be once", found[w])
		}
	}
}

func (s *Set) serviceMonitor(o *Object, found map[*workload]int) {
	s.monitoredNamespaces(o)
	matched := 0
	for _, svc := range s.of("Service") {
		sel := labelSelector(get(o.Raw, "spec", "selector"))
		if svc.NS != o.NS || !matches(sel, labelsOf(svc)) {
			continue
		}
		matched++
		for _, e := range list(o.Raw, "spec", "endpoints") {
			ok := false
			for _, p := range list(svc.Raw, "spec", "ports") {
				ok = ok || str(p, "name") == str(e, "port") && str(e, "port") != ""
			}
			if !ok {
				s.add("monitor", o, "port %q is no named port of %s", str(e, "port"), svc)
			}
			ml, _ := get(svc.Raw, "spec", "selector").(map[string]any)
			for _, w := range s.selected(svc.NS, labelSelector(map[string]any{"matchLabels": ml})) {
				found[w]++
			}
		}
	}
	for _, e := range list(o.Raw, "spec", "endpoints") {
		s.endpoint(o, e)
	}
	if matched == 0 {
		s.add("monitor", o, "selects no Service of the set")
	}
}

func (s *Set) endpoint(o *Object, e any) {
	if p := str(e, "path"); p != "" && p != "/metrics" {
		s.add("monitor", o, "path %q; metrics are at /metrics", p)
	}
	if sch := strings.ToLower(str(e, "scheme")); sch != "" && sch != "http" {
		s.add("monitor", o, "scheme %q; the telemetry port speaks plain HTTP", sch)
	}
	if str(e, "port") == "" {
		s.add("monitor", o, "an endpoint without a named port")
	}
	iv := str(e, "interval")
	d, err := model.ParseDuration(iv)
	if iv != "" && (err != nil || time.Duration(d) > minRange/2) {
		s.add("monitor", o, "interval %q: the rules' ranges assume a scrape every %s", iv, minRange/2)
	}
	if t, err2 := model.ParseDuration(str(e, "scrapeTimeout")); err2 == nil && err == nil && t > d {
		s.add("monitor", o, "scrapeTimeout %s exceeds interval %s", t, d)
	}
}

func (s *Set) monitoredNamespaces(o *Object) {
	names := list(o.Raw, "spec", "namespaceSelector", "matchNames")
	for _, n := range names {
		if n == o.NS {
			return
		}
	}
	if len(names) > 0 {
		s.add("monitor", o, "namespaceSelector %v leaves out %q, where the pods are", names, o.NS)
	}
}

// labelSelector decodes a selector of a custom resource.
func labelSelector(v any) *metav1.LabelSelector {
	b, err := yaml.Marshal(v)
	if err != nil || v == nil {
		return nil
	}
	out := &metav1.LabelSelector{}
	if yaml.Unmarshal(b, out) != nil {
		return nil
	}
	return out
}

func matches(sel *metav1.LabelSelector, l map[string]any) bool {
	if sel == nil {
		return false
	}
	for k, v := range sel.MatchLabels {
		if l[k] != v {
			return false
		}
	}
	return len(sel.MatchLabels) > 0
}

// rules: what Prometheus itself would say, then what it cannot know.
func (s *Set) rules() {
	q := s.newQuery()
	alerts := map[string]bool{}
	for _, o := range s.of("PrometheusRule") {
		spec, err := yaml.Marshal(map[string]any{"groups": get(o.Raw, "spec", "groups")})
		if err != nil {
			s.add("rule", o, "%v", err)
			continue
		}
		if _, errs := rulefmt.Parse(spec, false, model.UTF8Validation, q.parser, slog.New(slog.DiscardHandler)); len(errs) > 0 {
			for _, e := range errs {
				s.add("rule", o, "%v", e)
			}
		}
		for _, g := range list(o.Raw, "spec", "groups") {
			if len(list(g, "rules")) == 0 {
				s.add("rule", o, "group %s is empty", str(g, "name"))
			}
			for _, r := range list(g, "rules") {
				s.rule(o, q, r, alerts)
			}
		}
	}
}

func (s *Set) rule(o *Object, q *query, r any, alerts map[string]bool) {
	name := str(r, "alert") + str(r, "record")
	expr := str(r, "expr")
	problems, out := q.judge(expr)
	for _, p := range problems {
		s.add("promql", o, "%s: %s", name, p)
	}
	if str(r, "alert") == "" {
		return
	}
	if alerts[name] {
		s.add("rule", o, "%s: a second alert of that name", name)
	}
	alerts[name] = true
	if !strings.HasPrefix(name, "Flowstitch") {
		s.add("rule", o, "%s: the name must begin with Flowstitch, to be told apart in a shared Alertmanager", name)
	}
	if !isCondition(expr, q.parser) {
		s.add("rule", o, "%s: %q is no condition: it would fire always", name, expr)
	}
	if sev := str(r, "labels", "severity"); !contains([]string{"critical", "warning", "info"}, sev) {
		s.add("rule", o, "%s: severity %q is none of critical, warning, info", name, sev)
	}
	if str(r, "for") == "" {
		s.add("rule", o, "%s: without for, one bad scrape pages someone", name)
	}
	s.alertText(o, name, r, out)
}

func (s *Set) alertText(o *Object, name string, r any, out map[string]bool) {
	for _, k := range []string{"summary", "description", "runbook_url"} {
		text := str(r, "annotations", k)
		if text == "" {
			s.add("rule", o, "%s: annotation %s is missing", name, k)
		}
		for _, m := range labelUse.FindAllStringSubmatch(text, -1) {
			if out != nil && !out[m[1]] && str(r, "labels", m[1]) == "" {
				s.add("rule", o, "%s: %s uses $labels.%s, which the expression does not return%s", name, k, m[1], hint(m[1], sortedKeys(out)))
			}
		}
	}
	url := str(r, "annotations", "runbook_url")
	page, anchor, ok := strings.Cut(url, "#")
	if url != "" && (!ok || !strings.HasSuffix(page, "docs/operations.md")) {
		s.add("runbook", o, "%s: runbook_url %q is not a heading of docs/operations.md", name, url)
	} else if ok && s.product.Anchors != nil && !contains(s.product.Anchors, anchor) {
		s.add("runbook", o, "%s: docs/operations.md has no heading #%s%s", name, anchor, hint(anchor, s.product.Anchors))
	}
	if ann, _ := get(r, "annotations").(map[string]any); ann != nil {
		for _, k := range sortedKeys(ann) {
			if !contains([]string{"summary", "description", "runbook_url", "dashboard_url"}, k) {
				s.add("rule", o, "%s: annotation %q is none of ours%s", name, k, hint(k, []string{"summary", "description", "runbook_url"}))
			}
		}
	}
}

// Rules extracts what promtool reads from the PrometheusRules of a stream.
func Rules(stream []byte) ([]byte, error) {
	objs, _ := Parse(stream)
	groups := []any{}
	for _, o := range objs {
		if o.GVK.Kind == "PrometheusRule" {
			groups = append(groups, list(o.Raw, "spec", "groups")...)
		}
	}
	if len(groups) == 0 {
		return nil, fmt.Errorf("the set has no PrometheusRule")
	}
	return yaml.Marshal(map[string]any{"groups": groups})
}
