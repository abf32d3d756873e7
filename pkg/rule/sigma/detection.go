package sigma

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// fields maps names of Sigma's network categories (the taxonomy of firewall
// and network_connection, Zeek's and ECS's names) to ours, in lower case.
var fields = map[string]string{
	"src_ip": "client", "sourceip": "client", "c-ip": "client", "id.orig_h": "client", "source.ip": "client", "srcaddr": "client",
	"dst_ip": "server", "destinationip": "server", "r-ip": "server", "id.resp_h": "server", "destination.ip": "server", "dstaddr": "server",
	"src_port": "client_port", "sourceport": "client_port", "id.orig_p": "client_port", "source.port": "client_port", "srcport": "client_port",
	"dst_port": "server_port", "destinationport": "server_port", "id.resp_p": "server_port", "destination.port": "server_port", "dstport": "server_port",
	"protocol": "proto", "proto": "proto", "network.transport": "proto", "service": "service",
	"action": "action", "orig_bytes": "bytes_out", "bytes_out": "bytes_out", "source.bytes": "bytes_out",
	"resp_bytes": "bytes_in", "bytes_in": "bytes_in", "destination.bytes": "bytes_in", "network.bytes": "bytes", "bytes": "bytes",
	"network.packets": "packets", "packets": "packets", "network.direction": "direction", "direction": "direction",
}

// numbers are those of our fields that hold numbers.
var numbers = []string{"client_port", "server_port", "bytes", "bytes_in", "bytes_out", "packets"}

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
		case "1", "all":
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
		if prefix, star := strings.CutSuffix(pattern, "*"); pattern == "them" || name == pattern || star && strings.HasPrefix(name, prefix) {
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

// condition is one field with its modifiers and values.
func condition(name string, want any) (string, error) {
	parts := strings.Split(name, "|")
	f, ok := fields[strings.ToLower(parts[0])]
	if !ok {
		return "", fmt.Errorf("sessions have no field for %q", parts[0])
	}
	values, isList := want.([]any)
	if !isList {
		values = []any{want}
	}
	op, all := "==", false
	for _, m := range parts[1:] {
		switch m {
		case "gt", "gte", "lt", "lte":
			op = map[string]string{"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}[m]
		case "cidr":
			op = "in"
		case "all":
			all = true
		default:
			return "", fmt.Errorf("the modifier %q of %s has no equal", m, parts[0])
		}
	}
	var tests []string
	for _, v := range values {
		t, err := compare(f, op, v)
		if err != nil {
			return "", err
		}
		tests = append(tests, t)
	}
	if len(tests) == 1 {
		return tests[0], nil
	}
	if all {
		return "(" + strings.Join(tests, " && ") + ")", nil
	}
	return "(" + strings.Join(tests, " || ") + ")", nil
}

// compare is one field with one value.
func compare(f, op string, v any) (string, error) {
	text := fmt.Sprint(v)
	if strings.ContainsAny(text, "*?") {
		return "", fmt.Errorf("%s: wildcards (%s) have no equal; use cidr for networks", f, text)
	}
	switch f {
	case "action":
		switch strings.ToLower(text) {
		case "deny", "denied", "drop", "dropped", "block", "blocked", "reject", "rejected", "forbidden":
			return `outcome == "rejected"`, nil
		case "allow", "allowed", "accept", "accepted", "permit", "pass":
			return `outcome != "rejected"`, nil
		}
		return "", fmt.Errorf("the action %q is neither allowed nor refused", text)
	case "direction", "proto", "service":
		text = strings.ToLower(text)
	}
	if slices.Contains(numbers, f) {
		if _, err := strconv.ParseInt(text, 10, 64); err != nil {
			return "", fmt.Errorf("%s: %q is no number", f, text)
		}
		return f + " " + op + " " + text, nil
	}
	return f + " " + op + " " + strconv.Quote(text), nil
}
