package sigma

import (
	"errors"
	"fmt"
	"regexp"
	"sort"
	"strings"
)

// filterOf makes a filter of a detection: its condition with each search
// identifier replaced by what it selects.
func filterOf(detection map[string]any) (string, error) {
	condition, ok := detection["condition"].(string)
	if !ok {
		return "", errors.New("it has no single condition")
	}
	searches := map[string]string{}
	for name, v := range detection {
		if name == "condition" || name == "timeframe" {
			continue
		}
		text, err := search(v)
		if err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		searches[name] = text
	}
	if _, old := detection["timeframe"]; old || strings.Contains(condition, "|") {
		return "", errors.New("aggregation in the condition is Sigma's old form: use a correlation")
	}
	return substitute(condition, searches)
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
