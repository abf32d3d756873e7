package rule

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// titlePart is a piece of text, or a place for a value.
type titlePart struct {
	text string
	dim  int // of the group, -1
	agg  int // of having, -1
	what string
}

// titleTemplate compiles the title. What it names must be grouped by or
// counted: {{client}}, {{count}}, {{distinct(server_port)}}, {{window}},
// {{group}}.
func (c *ruleCompiler) titleTemplate() {
	r := c.rule
	rest := r.Spec.Title
	c.check(rest != "", "title", "must be given")
	for rest != "" {
		text, after, found := strings.Cut(rest, "{{")
		if text != "" {
			r.title = append(r.title, titlePart{text: text, dim: -1, agg: -1})
		}
		if !found {
			return
		}
		name, after, closed := strings.Cut(after, "}}")
		if !c.check(closed, "title", "{{ without }}") {
			return
		}
		rest = after
		r.title = append(r.title, c.place(strings.TrimSpace(name)))
	}
}

func (c *ruleCompiler) place(name string) titlePart {
	r := c.rule
	p := titlePart{dim: -1, agg: -1, what: name}
	known := []string{"group", "window"}
	for i, d := range r.dims[0] {
		known = append(known, d.Name)
		if d.Name == name || strings.Split(d.Name, "/")[0] == name {
			p.dim = i
			return p
		}
	}
	for i, a := range r.having.aggs {
		known = append(known, a.text)
		if a.text == name || a.text == strings.ReplaceAll(name, " ", "") || (a.kind == aggCount && name == "count()") {
			p.agg = i
			return p
		}
	}
	c.check(slices.Contains(known[:2], name), "title", "there is no {{%s}} here: %s", name, strings.Join(known, ", "))
	return p
}

// render fills the title in.
func (r *Rule) render(group []string, v *values) string {
	var b strings.Builder
	for _, p := range r.title {
		switch {
		case p.dim >= 0 && p.dim < len(group):
			b.WriteString(group[p.dim])
		case p.agg >= 0:
			b.WriteString(FormatNumber(v.agg[p.agg], r.having.aggs[p.agg].unit))
		case p.what == "group":
			b.WriteString(strings.Join(group, ", "))
		case p.what == "window":
			b.WriteString(shortDuration(time.Duration(r.window) * time.Second))
		default:
			b.WriteString(p.text)
		}
	}
	return b.String()
}

func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// FormatNumber writes a number for people: bytes with a decimal unit, others
// with thousands set apart.
func FormatNumber(v float64, unit string) string {
	if unit == "bytes" {
		for _, u := range []string{"B", "kB", "MB", "GB", "TB"} {
			if math.Abs(v) < 1000 || u == "TB" {
				if u == "B" {
					return strconv.FormatFloat(v, 'f', 0, 64) + " B"
				}
				return strconv.FormatFloat(v, 'f', 1, 64) + " " + u
			}
			v /= 1000
		}
	}
	if v != math.Trunc(v) {
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	s := fmt.Sprintf("%.0f", v)
	start := 0
	if strings.HasPrefix(s, "-") {
		start = 1
	}
	for i := len(s) - 3; i > start; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
