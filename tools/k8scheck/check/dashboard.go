package check

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// panel is what matters of a Grafana panel.
type panel struct {
	ID         int    `json:"id"`
	Title      string `json:"title"`
	Type       string `json:"type"`
	Datasource any    `json:"datasource"`
	GridPos    struct{ H, W, X, Y int }
	Targets    []struct {
		Expr       string `json:"expr"`
		RefID      string `json:"refId"`
		Datasource any    `json:"datasource"`
	} `json:"targets"`
	Panels []panel `json:"panels"`
}

type dashboard struct {
	Title      string  `json:"title"`
	UID        string  `json:"uid"`
	Panels     []panel `json:"panels"`
	Templating struct {
		List []struct {
			Name  string `json:"name"`
			Type  string `json:"type"`
			Query any    `json:"query"`

			Datasource any `json:"datasource"`
		} `json:"list"`
	} `json:"templating"`
}

// dashboards: every query of every Grafana dashboard asks for what exists.
func (s *Set) dashboards() {
	q := s.newQuery()
	uids := map[string]bool{}
	for _, o := range s.of("ConfigMap") {
		if label(o, "grafana_dashboard") == "" {
			for _, k := range dataKeys(o, "data") {
				if strings.HasSuffix(k, ".json") && strings.Contains(str(o.Raw, "data", k), `"panels"`) {
					s.add("dashboard", o, "%s looks like a dashboard but label grafana_dashboard is missing: no sidecar finds it", k)
				}
			}
			continue
		}
		for _, k := range dataKeys(o, "data") {
			for _, p := range DashboardProblems(s.product, []byte(str(o.Raw, "data", k)), q.extra) {
				s.add("dashboard", o, "%s: %s", k, p)
			}
			var d dashboard
			if json.Unmarshal([]byte(str(o.Raw, "data", k)), &d) == nil && uids[d.UID] {
				s.add("dashboard", o, "%s: uid %q is used twice: one dashboard would replace the other", k, d.UID)
			}
			uids[d.UID] = true
		}
	}
}

// DashboardProblems judges one dashboard in JSON; extra are metric names that
// recording rules make.
func DashboardProblems(product *Product, raw []byte, extra map[string]bool) []string {
	var d dashboard
	if err := json.Unmarshal(raw, &d); err != nil {
		return []string{err.Error()}
	}
	var out []string
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if d.UID == "" || d.Title == "" {
		add("uid or title is missing")
	}
	vars := map[string]string{}
	for _, v := range d.Templating.List {
		vars[v.Name] = v.Type
	}
	s := &Set{product: product}
	q := s.newQuery()
	q.extra = extra
	for _, v := range d.Templating.List {
		text := fmt.Sprint(v.Query)
		if m, ok := v.Query.(map[string]any); ok {
			text = fmt.Sprint(m["query"])
		}
		for _, p := range datasource(v.Datasource, vars) {
			add("variable %s: %s", v.Name, p)
		}
		if v.Type == "query" {
			for _, p := range q.variable(text, vars) {
				add("variable %s: %s", v.Name, p)
			}
		}
	}
	ids := map[int]bool{}
	var all []panel
	for _, p := range d.Panels {
		all = append(append(all, p), p.Panels...)
	}
	for _, p := range all {
		if ids[p.ID] {
			add("panel %q: id %d is used twice", p.Title, p.ID)
		}
		ids[p.ID] = true
		for _, problem := range q.panel(p, vars) {
			add("panel %q: %s", p.Title, problem)
		}
	}
	for i, p := range all {
		for _, r := range all[:i] {
			if p.GridPos.X < r.GridPos.X+r.GridPos.W && r.GridPos.X < p.GridPos.X+p.GridPos.W && p.GridPos.Y < r.GridPos.Y+r.GridPos.H && r.GridPos.Y < p.GridPos.Y+p.GridPos.H {
				add("panel %q overlaps panel %q", p.Title, r.Title)
			}
		}
	}
	return out
}

func (q *query) panel(p panel, vars map[string]string) (out []string) {
	if p.Type == "row" || p.Type == "text" {
		return nil
	}
	if len(p.Targets) == 0 {
		out = append(out, "has no query")
	}
	if p.Title == "" {
		out = append(out, "has no title")
	}
	out = append(out, datasource(p.Datasource, vars)...)
	if p.GridPos.X+p.GridPos.W > 24 || p.GridPos.W < 1 || p.GridPos.H < 1 {
		out = append(out, fmt.Sprintf("gridPos %+v does not fit the 24 columns", p.GridPos))
	}
	refs := map[string]bool{}
	for _, t := range p.Targets {
		if refs[t.RefID] || t.RefID == "" {
			out = append(out, fmt.Sprintf("refId %q is empty or used twice", t.RefID))
		}
		refs[t.RefID] = true
		out = append(out, datasource(t.Datasource, vars)...)
		expr, bad := substitute(t.Expr, vars)
		out = append(out, bad...)
		problems, _ := q.judge(expr)
		out = append(out, problems...)
	}
	return out
}

// datasource: a dashboard that is shipped names its source by a variable.
func datasource(v any, vars map[string]string) []string {
	ds, ok := v.(map[string]any)
	if !ok {
		return nil
	}
	uid, _ := ds["uid"].(string)
	name := strings.Trim(strings.TrimPrefix(uid, "$"), "{}")
	if !strings.HasPrefix(uid, "$") {
		return []string{fmt.Sprintf("datasource %q is fixed: it exists on one Grafana only; use a variable", uid)}
	}
	if vars[name] != "datasource" {
		return []string{fmt.Sprintf("datasource variable %q is not declared", name)}
	}
	return nil
}

// variableUse is $name, ${name} or ${name:format}.
var variableUse = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)(?::[a-z]+)?\}|\$([A-Za-z_][A-Za-z0-9_]*)`)

// substitute puts plausible values where Grafana puts its variables.
func substitute(expr string, vars map[string]string) (string, []string) {
	var bad []string
	builtin := map[string]string{"__rate_interval": "5m", "__interval": "1m", "__range": "1h", "__range_s": "3600", "__interval_ms": "60000"}
	out := variableUse.ReplaceAllStringFunc(expr, func(m string) string {
		sub := variableUse.FindStringSubmatch(m)
		name := sub[1] + sub[2]
		if v, ok := builtin[name]; ok {
			return v
		}
		if _, ok := vars[name]; !ok {
			bad = append(bad, fmt.Sprintf("variable $%s is not declared%s", name, hint(name, sortedKeys(vars))))
		}
		return ".*"
	})
	return out, bad
}

// labelValues is Grafana's own query form for variables.
var labelValues = regexp.MustCompile(`^label_values\(\s*([a-zA-Z_:][a-zA-Z0-9_:]*)(\{.*\})?\s*,\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*\)$`)

func (q *query) variable(text string, vars map[string]string) []string {
	m := labelValues.FindStringSubmatch(strings.TrimSpace(text))
	if m == nil {
		return []string{fmt.Sprintf("%q is not label_values(metric, label)", text)}
	}
	sel, bad := substitute(m[1]+m[2], vars)
	problems, _ := q.judge("count by (" + m[3] + ") (" + sel + ")")
	return append(bad, problems...)
}
