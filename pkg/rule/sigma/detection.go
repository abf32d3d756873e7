package sigma

import (
	"errors"
	"fmt"
	"regexp"
	"sort"
	"strings"
	"time"
)

// filterOf makes a filter of a detection: its condition with each search
// identifier replaced by what it selects. Where the condition counts, in the
// form that Sigma had before correlations, that is told beside it.
func filterOf(detection map[string]any) (string, *aggregation, error) {
	condition, ok := detection["condition"].(string)
	if !ok {
		return "", nil, errors.New("it has no single condition")
	}
	condition, agg, err := aggregationOf(condition, detection["timeframe"])
	if err != nil {
		return "", nil, err
	}
	searches := map[string]string{}
	for name, v := range detection {
		if name == "condition" || name == "timeframe" {
			continue
		}
		text, err := search(v)
		if err != nil {
			return "", nil, fmt.Errorf("%s: %w", name, err)
		}
		searches[name] = text
	}
	filter, err := substitute(condition, searches)
	return filter, agg, err
}

// aggregation is what a condition counts.
type aggregation struct {
	by     []string
	having string
	window time.Duration
}

var aggregated = regexp.MustCompile(`^([^|]+)\|\s*count\(\s*([^()\s]*)\s*\)(?:\s+by\s+([^<>=]+?))?\s*(>=|<=|>|<|==?)\s*([0-9]+)\s*$`)

// aggregationOf splits `selection | count(field) by field > 10`.
func aggregationOf(condition string, timeframe any) (string, *aggregation, error) {
	_, counted, found := strings.Cut(condition, "|")
	if !found {
		if timeframe != nil {
			return "", nil, errors.New("a timeframe without a count has no equal")
		}
		return condition, nil, nil
	}
	m := aggregated.FindStringSubmatch(condition)
	if m == nil {
		return "", nil, fmt.Errorf("the aggregation %q has no equal, count has", "|"+counted)
	}
	if timeframe == nil {
		return "", nil, errors.New("it counts, and does not say in which timeframe")
	}
	window, err := timespan(fmt.Sprint(timeframe))
	if err != nil {
		return "", nil, err
	}
	what, op := "count", m[4]
	if op == "=" {
		op = "=="
	}
	agg := &aggregation{window: window}
	for _, said := range append(strings.FieldsFunc(m[3], func(c rune) bool { return c == ',' || c == ' ' }), m[2]) {
		f := fields[strings.ToLower(said)]
		switch {
		case said == "":
		case f == "" || !single(f):
			return "", nil, fmt.Errorf("sessions have no field for %q", said)
		default:
			agg.by = append(agg.by, f)
		}
	}
	if m[2] != "" { // the last is what is counted
		what = "distinct(" + agg.by[len(agg.by)-1] + ")"
		agg.by = agg.by[:len(agg.by)-1]
	}
	agg.having = what + " " + op + " " + m[5]
	return m[1], agg, nil
}

var token = regexp.MustCompile(`\(|\)|[^\s()]+`)

// substitute rewrites a condition in our language.
func substitute(condition string, searches map[string]string) (string, error) {
	words := token.FindAllString(condition, -1)
	var out []string
	for i := 0; i < len(words); i++ {
		w := words[i]
		switch strings.ToLower(w) {
		case "(", ")":
			out = append(out, w)
		case "and":
			out = append(out, "&&")
		case "or":
			out = append(out, "||")
		case "not":
			out = append(out, "!")
		case "1", "any", "all":
			if i+2 >= len(words) || words[i+1] != "of" {
				return "", fmt.Errorf("the condition %q can not be read", condition)
			}
			text, err := several(w, words[i+2], searches)
			if err != nil {
				return "", err
			}
			out = append(out, text)
			i += 2
		default:
			text, ok := searches[w]
			if !ok {
				return "", fmt.Errorf("the condition names %q, which is not defined", w)
			}
			out = append(out, "("+text+")")
		}
	}
	return strings.Join(out, " "), nil
}

func several(quantifier, pattern string, searches map[string]string) (string, error) {
	var parts []string
	for name, text := range searches {
		if prefix, star := strings.CutSuffix(pattern, "*"); pattern == "them" && name[0] != '_' || name == pattern || star && strings.HasPrefix(name, prefix) {
			parts = append(parts, "("+text+")")
		}
	}
	if len(parts) == 0 {
		return "", fmt.Errorf("%s of %s selects nothing", quantifier, pattern)
	}
	sort.Strings(parts)
	op := " || "
	if quantifier == "all" {
		op = " && "
	}
	return "(" + strings.Join(parts, op) + ")", nil
}

// search is a map of fields, all of which must hold, or a list of such maps.
func search(v any) (string, error) {
	switch v := v.(type) {
	case map[string]any:
		var parts []string
		for name, want := range v {
			p, err := condition(name, want)
			if err != nil {
				return "", err
			}
			parts = append(parts, p)
		}
		sort.Strings(parts)
		return strings.Join(parts, " && "), nil
	case []any:
		var parts []string
		for _, x := range v {
			p, err := search(x)
			if err != nil {
				return "", err
			}
			parts = append(parts, "("+p+")")
		}
		return strings.Join(parts, " || "), nil
	}
	return "", errors.New("keywords have no equal: sessions have no text")
}
