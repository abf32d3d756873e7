package check

import (
	"encoding/json"
	"regexp"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
)

// scraped: what rules and the dashboard ask for survives the scrape, and rules
// say what they mean in time.
func (s *Set) scraped() {
	names, labels := s.asked()
	for _, kind := range []string{"PodMonitor", "ServiceMonitor"} {
		for _, o := range s.of(kind) {
			if n, ok := num(o.Raw, "spec", "sampleLimit"); ok && n > 0 && n < 2000 {
				s.add("monitor", o, "sampleLimit %v: a pod has more series, and Prometheus would drop the whole scrape", n)
			}
			for _, e := range append(list(o.Raw, "spec", "podMetricsEndpoints"), list(o.Raw, "spec", "endpoints")...) {
				s.relabelled(o, e, names, labels)
			}
		}
	}
	s.recorded(names)
	s.ruleTimes()
	s.imagesOfOnePlace()
}

// asked gathers the series names and label names in every rule and dashboard.
func (s *Set) asked() (names, labels map[string]bool) {
	names, labels = map[string]bool{}, map[string]bool{}
	p := parser.NewParser(parser.Options{})
	expression := func(text string) {
		e, err := p.ParseExpr(text)
		if err != nil {
			return // said elsewhere
		}
		parser.Inspect(e, func(n parser.Node, _ []parser.Node) error {
			switch v := n.(type) {
			case *parser.VectorSelector:
				names[v.Name] = true
				for _, m := range v.LabelMatchers {
					labels[m.Name] = true
				}
			case *parser.AggregateExpr:
				for _, l := range v.Grouping {
					labels[l] = true
				}
			}
			return nil
		})
	}
	for _, o := range s.of("PrometheusRule") {
		for _, g := range list(o.Raw, "spec", "groups") {
			for _, r := range list(g, "rules") {
				expression(str(r, "expr"))
			}
		}
	}
	for _, o := range s.of("ConfigMap") {
		for _, k := range dataKeys(o, "data") {
			if label(o, "grafana_dashboard") == "" {
				continue
			}
			d := map[string]any{}
			if json.Unmarshal([]byte(str(o.Raw, "data", k)), &d) != nil {
				continue
			}
			walk("", d, func(key string, v any) {
				if text, ok := v.(string); ok && strings.HasSuffix(key, ".expr") {
					text = variableUse.ReplaceAllString(strings.ReplaceAll(text, "$__rate_interval", "5m"), ".*")
					expression(text)
				}
			})
		}
	}
	return names, labels
}

// relabelled: no rule of the scrape takes away a series or a label that is
// asked for, and the label component is made.
func (s *Set) relabelled(o *Object, endpoint any, names, labels map[string]bool) {
	made := false
	for _, r := range list(endpoint, "relabelings") {
		made = made || str(r, "targetLabel") == "component"
		if a := strings.ToLower(str(r, "action")); (a == "drop" || a == "keep") && strings.Contains(" .* .+ ", " "+str(r, "regex")+" ") && a == "drop" {
			s.add("monitor", o, "relabelings: drop with regex %q drops every target", str(r, "regex"))
		}
	}
	if labels["component"] && !made {
		s.add("monitor", o, "relabelings do not make the label component, which rules and the dashboard ask for")
	}
	for _, r := range list(endpoint, "metricRelabelings") {
		text := str(r, "regex")
		re, err := regexp.Compile("^(?:" + text + ")$")
		if err != nil {
			s.add("monitor", o, "metricRelabelings: regex %q: %v", text, err)
			continue
		}
		action := strings.ToLower(str(r, "action"))
		byName := len(list(r, "sourceLabels")) == 1 && list(r, "sourceLabels")[0] == "__name__"
		for _, n := range sortedKeys(names) {
			if byName && n != "up" && (action == "drop" && re.MatchString(n) || action == "keep" && !re.MatchString(n)) {
				s.add("monitor", o, "metricRelabelings: %s %q takes away %s, which rules or the dashboard ask for", action, text, n)
				break
			}
		}
		for _, l := range sortedKeys(labels) {
			if action == "labeldrop" && re.MatchString(l) || action == "labelkeep" && !re.MatchString(l) && l != "__name__" {
				s.add("monitor", o, "metricRelabelings: %s %q takes away the label %q, which rules or the dashboard ask for", action, text, l)
				break
			}
		}
	}
}

// recorded: a recording rule has a name of its own and is asked for.
func (s *Set) recorded(names map[string]bool) {
	for _, o := range s.of("PrometheusRule") {
		for _, g := range list(o.Raw, "spec", "groups") {
			for _, r := range list(g, "rules") {
				n := str(r, "record")
				if n == "" {
					continue
				}
				if _, ok := s.product.Metrics[n]; ok {
					s.add("rule", o, "record %s has the name of a metric that the programs export: the two would mix", n)
				}
				if !names[n] {
					s.add("rule", o, "record %s is asked for by no rule and no dashboard of the set", n)
				}
			}
		}
	}
}

// ruleTimes: an alert waits, but not until nobody can act any more; it compares
// rather than computing.
func (s *Set) ruleTimes() {
	p := parser.NewParser(parser.Options{})
	for _, o := range s.of("PrometheusRule") {
		for _, g := range list(o.Raw, "spec", "groups") {
			if d, err := model.ParseDuration(str(g, "interval")); err == nil && time.Duration(d) > 5*time.Minute {
				s.add("rule", o, "group %s is evaluated every %s: an alert that waits for minutes would miss what comes and goes", str(g, "name"), d)
			}
			for _, r := range list(g, "rules") {
				name := str(r, "alert")
				if name == "" {
					continue
				}
				d, err := model.ParseDuration(str(r, "for"))
				if err == nil && d == 0 {
					s.add("rule", o, "%s: for: 0s: one bad scrape pages someone", name)
				} else if err == nil && time.Duration(d) > 6*time.Hour {
					s.add("rule", o, "%s: for: %s: nobody would hear of it in time", name, d)
				}
				if e, err := p.ParseExpr(str(r, "expr")); err == nil && comparesAsNumber(e) {
					s.add("rule", o, "%s: compares with bool, which gives 0 or 1 and so fires always", name)
				}
			}
		}
	}
}

// comparesAsNumber reports that the outermost comparison has bool, so that the
// alert has a value whatever is compared.
func comparesAsNumber(e parser.Expr) bool {
	switch v := e.(type) {
	case *parser.ParenExpr:
		return comparesAsNumber(v.Expr)
	case *parser.BinaryExpr:
		return v.Op.IsComparisonOperator() && v.ReturnBool || v.Op.IsSetOperator() && (comparesAsNumber(v.LHS) || v.Op == parser.LOR && comparesAsNumber(v.RHS))
	}
	return false
}

// imagesOfOnePlace: our images come from one registry and folder.
func (s *Set) imagesOfOnePlace() {
	by := map[string]bool{}
	for _, w := range s.workloads {
		for _, c := range w.containers() {
			if contains(s.product.Images, imageName(c.Image)) {
				by[c.Image[:strings.LastIndex(c.Image, imageName(c.Image))]] = true
			}
		}
	}
	if len(by) > 1 {
		s.add("image", nil, "our images come from different places %v: was one forgotten in the kustomization's images?", sortedKeys(by))
	}
}
