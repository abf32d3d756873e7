package check

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// minRange is twice the scrape interval of the PodMonitor (30 s): a shorter
// range holds one sample at times, and rate() then has no value.
const minRange = time.Minute

// targetLabels are what the scrape adds to every series.
func targetLabels() []string {
	return []string{"namespace", "pod", "container", "job", "instance", "endpoint", "prometheus", "component"}
}

// query judges PromQL against the metrics that the programs export.
type query struct {
	product *Product
	extra   map[string]bool // names that recording rules of the set make
	parser  parser.Parser
}

func (s *Set) newQuery() *query {
	q := &query{product: s.product, extra: map[string]bool{}, parser: parser.NewParser(parser.Options{})}
	for _, o := range s.of("PrometheusRule") {
		for _, g := range list(o.Raw, "spec", "groups") {
			for _, r := range list(g, "rules") {
				if n := str(r, "record"); n != "" {
					q.extra[n] = true
				}
			}
		}
	}
	return q
}

// judge returns what is wrong with expr, and the labels that its series may
// carry (nil: not known).
func (q *query) judge(expr string) (problems []string, out map[string]bool) {
	e, err := q.parser.ParseExpr(expr)
	if err != nil {
		return []string{fmt.Sprintf("%q: %v", expr, err)}, nil
	}
	add := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	out = map[string]bool{}
	for _, l := range targetLabels() {
		out[l] = true
	}
	known := true
	parser.Inspect(e, func(n parser.Node, path []parser.Node) error {
		switch v := n.(type) {
		case *parser.VectorSelector:
			known = q.selector(v, path, out, add) && known
		case *parser.MatrixSelector:
			if v.Range < minRange {
				add("range [%s] is shorter than two scrapes (%s): rate() would often have no value", v.Range, minRange)
			}
		case *parser.Call:
			q.call(v, add)
		}
		return nil
	})
	parser.Inspect(e, func(n parser.Node, _ []parser.Node) error {
		if a, ok := n.(*parser.AggregateExpr); ok && known {
			for _, g := range a.Grouping {
				if !out[g] {
					add("groups by %q, a label that none of its metrics has%s", g, hint(g, sortedKeys(out)))
				}
			}
		}
		if b, ok := n.(*parser.BinaryExpr); ok && b.VectorMatching != nil && known {
			for _, g := range b.VectorMatching.MatchingLabels {
				if !out[g] {
					add("matches on %q, a label that none of its metrics has%s", g, hint(g, sortedKeys(out)))
				}
			}
		}
		return nil
	})
	if !known {
		return problems, nil
	}
	if g, ok := outermost(e); ok {
		narrowed := map[string]bool{}
		for _, l := range g {
			narrowed[l] = true
		}
		return problems, narrowed
	}
	return problems, out
}

// outermost returns the grouping of an aggregation that decides the labels of
// the result.
func outermost(e parser.Expr) ([]string, bool) {
	switch v := e.(type) {
	case *parser.AggregateExpr:
		switch v.Op {
		case parser.TOPK, parser.BOTTOMK:
			return outermost(v.Expr)
		}
		return v.Grouping, !v.Without
	case *parser.ParenExpr:
		return outermost(v.Expr)
	case *parser.BinaryExpr:
		if g, ok := outermost(v.LHS); ok {
			return g, ok
		}
		if v.LHS.Type() == parser.ValueTypeScalar {
			return outermost(v.RHS)
		}
	case *parser.Call:
		for _, a := range v.Args {
			if a.Type() == parser.ValueTypeVector {
				return outermost(a)
			}
		}
	}
	return nil, false
}

// family finds the metric of a series name.
func (q *query) family(name string) (Metric, bool) {
	if m, ok := q.product.Metrics[name]; ok {
		return m, true
	}
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if base, ok := strings.CutSuffix(name, suffix); ok {
			if m, ok := q.product.Metrics[base]; ok && (m.Type == "histogram" || m.Type == "summary") {
				return m, true
			}
		}
	}
	return Metric{}, false
}

// selector checks one metric; it reports whether its labels are known.
func (q *query) selector(v *parser.VectorSelector, path []parser.Node, out map[string]bool, add func(string, ...any)) bool {
	name := v.Name
	for _, m := range v.LabelMatchers {
		if m.Name == labels.MetricName && m.Type == labels.MatchEqual {
			name = m.Value
		}
	}
	if name == "" {
		add("a selector without a metric name")
		return false
	}
	if name == "up" || q.extra[name] || strings.HasPrefix(name, "go_") || strings.HasPrefix(name, "process_") {
		return name == "up"
	}
	m, ok := q.family(name)
	if !ok {
		add("no program exports %q%s", name, hint(name, sortedKeys(q.product.Metrics)))
		return false
	}
	own := append(append([]string{}, m.Labels...), targetLabels()...)
	if strings.HasSuffix(name, "_bucket") {
		own = append(own, "le")
	}
	for _, l := range own {
		out[l] = true
	}
	for _, lm := range v.LabelMatchers {
		if lm.Name != labels.MetricName && !contains(own, lm.Name) {
			add("%s has no label %q%s", name, lm.Name, hint(lm.Name, own))
		}
		if lm.Name == "service" || lm.Name == "component" {
			q.oneOf(lm, sortedKeys(q.product.Services), "services", add)
		}
		if lm.Name == "stage" {
			q.oneOf(lm, q.stages(), "stages", add)
		}
	}
	q.counterUse(name, m, path, add)
	return true
}

// stages are the values of the label stage: empty where a service has one.
func (q *query) stages() []string {
	out := []string{""}
	for _, name := range sortedKeys(q.product.Services) {
		out = append(out, name)
		for _, in := range q.product.Services[name].Inputs {
			out = append(out, in.Group[strings.LastIndex(in.Group, ".")+1:])
		}
	}
	return out
}

// oneOf: a matcher of names that we give lets one of them through, and each
// plain alternative of a regular expression is one.
func (q *query) oneOf(m *labels.Matcher, known []string, what string, add func(string, ...any)) {
	if m.Type != labels.MatchEqual && m.Type != labels.MatchRegexp {
		return
	}
	any := false
	for _, name := range known {
		any = any || m.Matches(name)
	}
	if !any {
		add("%s matches none of the %s %q", m, what, known)
		return
	}
	if m.Type == labels.MatchRegexp && plainAlternatives.MatchString(m.Value) {
		for _, a := range strings.Split(m.Value, "|") {
			if !contains(known, a) {
				add("%s: %q is none of the %s%s", m, a, what, hint(a, known))
			}
		}
	}
}

// plainAlternatives is a|b|c without anything else of a regular expression.
var plainAlternatives = regexp.MustCompile(`^[a-z_-]+(\|[a-z_-]+)+$`)

// counterUse: counters go through rate and its like, gauges do not.
func (q *query) counterUse(name string, m Metric, path []parser.Node, add func(string, ...any)) {
	counter := m.Type == "counter" || m.Type == "histogram" || m.Type == "summary" && (strings.HasSuffix(name, "_sum") || strings.HasSuffix(name, "_count"))
	for i := len(path) - 1; i >= 0; i-- {
		c, ok := path[i].(*parser.Call)
		if a, agg := path[i].(*parser.AggregateExpr); agg && (a.Op == parser.COUNT || a.Op == parser.GROUP) {
			return
		}
		if !ok {
			continue
		}
		switch c.Func.Name {
		case "rate", "irate", "increase":
			if !counter {
				add("%s() of %s, which is a %s, not a counter", c.Func.Name, name, m.Type)
			}
			return
		case "deriv", "delta", "idelta", "predict_linear", "avg_over_time", "max_over_time", "min_over_time", "sum_over_time":
			if counter {
				add("%s() of %s, which is a counter: a restart would look like a fall; use rate()", c.Func.Name, name)
			}
			return
		case "absent", "absent_over_time", "resets", "changes", "timestamp", "present_over_time":
			return
		}
	}
	if counter {
		add("%s is a counter since the process began; use rate() or increase()", name)
	}
}

func (q *query) call(c *parser.Call, add func(string, ...any)) {
	if c.Func.Name != "histogram_quantile" || len(c.Args) < 2 {
		return
	}
	if n, ok := c.Args[0].(*parser.NumberLiteral); ok && (n.Val < 0 || n.Val > 1) {
		add("histogram_quantile(%v): a quantile lies between 0 and 1", n.Val)
	}
	bucket := false
	parser.Inspect(c.Args[1], func(n parser.Node, _ []parser.Node) error {
		if v, ok := n.(*parser.VectorSelector); ok && strings.HasSuffix(v.Name, "_bucket") {
			bucket = true
		}
		if a, ok := n.(*parser.AggregateExpr); ok && !a.Without && !contains(a.Grouping, "le") {
			add("histogram_quantile over an aggregation without le")
		}
		return nil
	})
	if !bucket {
		add("histogram_quantile of something that is not a _bucket")
	}
}

// isCondition reports that an alert's expression is a condition: a comparison
// or absence, rather than a value that is always there.
func isCondition(expr string, p parser.Parser) bool {
	e, err := p.ParseExpr(expr)
	if err != nil {
		return true // said elsewhere
	}
	found := false
	parser.Inspect(e, func(n parser.Node, _ []parser.Node) error {
		switch v := n.(type) {
		case *parser.BinaryExpr:
			found = found || v.Op.IsComparisonOperator() && !v.ReturnBool
		case *parser.Call:
			found = found || strings.HasPrefix(v.Func.Name, "absent")
		}
		return nil
	})
	return found
}

// labelUse finds $labels.x in a template.
var labelUse = regexp.MustCompile(`\$labels\.([A-Za-z_][A-Za-z0-9_]*)`)
