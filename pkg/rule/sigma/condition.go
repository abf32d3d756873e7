package sigma

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// test is one field of a detection with its modifiers.
type test struct {
	said  string // the name in the Sigma rule
	field string // ours
	kind  kind
	op    string // ==, !=, <, <=, >, >=
	// How values are read: as text with wildcards unless one of these.
	cidr, regex, ref, exists bool
	head, tail               string // wildcards that a modifier sets around a value
	flags                    string // of a regular expression
	all                      bool   // all values rather than any
}

// condition is one field with its modifiers and values, in our language.
func condition(name string, want any) (string, error) {
	t, err := testOf(name)
	if err != nil {
		return "", err
	}
	values, isList := want.([]any)
	if !isList {
		values = []any{want}
	}
	if len(values) == 0 {
		return "", fmt.Errorf("%s has no value", t.said)
	}
	var tests []string
	for _, v := range values {
		one, err := t.value(v)
		if errors.Is(err, errWord) && !t.all && len(values) > 1 {
			continue // another firewall's word, which no session has: it adds nothing to the others
		}
		if err != nil {
			return "", fmt.Errorf("%s: %w", t.said, err)
		}
		tests = append(tests, one)
	}
	switch len(tests) {
	case 0:
		return "", fmt.Errorf("%s: %w in %v", t.said, errWord, values)
	case 1:
		return tests[0], nil
	}
	if t.all {
		return "(" + strings.Join(tests, " && ") + ")", nil
	}
	return "(" + strings.Join(tests, " || ") + ")", nil
}

// errWord is a word for what a firewall did that is not known.
var errWord = errors.New("nothing says that it was allowed or that it was refused")

// comparisons are the modifiers that compare numbers.
var comparisons = map[string]string{"gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "neq": "!="}

func testOf(name string) (*test, error) {
	parts := strings.Split(name, "|")
	f, ok := fields[strings.ToLower(parts[0])]
	if !ok {
		return nil, fmt.Errorf("sessions have no field for %q", parts[0])
	}
	t := &test{said: parts[0], field: f, kind: kindOf(f), op: "=="}
	for _, m := range parts[1:] {
		switch m {
		case "gt", "gte", "lt", "lte", "neq":
			t.op = comparisons[m]
		case "cidr":
			t.cidr = true
		case "re":
			t.regex = true
		case "i", "m", "s":
			t.flags += m
		case "contains":
			t.head, t.tail = "*", "*"
		case "startswith":
			t.tail = "*"
		case "endswith":
			t.head = "*"
		case "all":
			t.all = true
		case "exists":
			t.exists = true
		case "fieldref":
			t.ref = true
		default:
			return nil, fmt.Errorf("the modifier %q of %s has no equal", m, parts[0])
		}
	}
	return t, nil
}

// value is the test of one value.
func (t *test) value(v any) (string, error) {
	if v == nil {
		return "", errors.New("a field that is null has no equal: every session has it")
	}
	s := fmt.Sprint(v)
	switch {
	case t.exists:
		return t.present(s)
	case t.ref:
		other, ok := fields[strings.ToLower(s)]
		if !ok || kindOf(other) != t.kind {
			return "", fmt.Errorf("it can not be compared with the field %q", s)
		}
		return t.field + " " + t.op + " " + other, nil
	case t.cidr && t.kind == address:
		return t.field + " in " + strconv.Quote(s), nil
	case t.cidr:
		return "", errors.New("only addresses lie in networks")
	case t.regex:
		return t.matches(s, t.flags)
	}
	p := parsePattern(s)
	if t.head != "" {
		p = append(pattern{{star: true}}, p...)
	}
	if t.tail != "" {
		p = append(p, part{star: true})
	}
	p = p.simple()
	literal, plain := p.literal()
	switch {
	case t.kind == action:
		return t.act(p)
	case t.kind == flags:
		return t.flag(strings.Trim(p.String(), "*"))
	case plain:
		return t.equal(literal)
	case t.op != "==":
		return "", fmt.Errorf("%q has wildcards and is compared with %s", s, t.op)
	}
	return t.like(p)
}

func (t *test) present(s string) (string, error) {
	yes, err := strconv.ParseBool(s)
	if err != nil || !single(t.field) {
		return "", fmt.Errorf("exists %q has no equal", s)
	}
	if t.field == "service" {
		return `service ` + map[bool]string{true: "!=", false: "=="}[yes] + ` ""`, nil
	}
	return strconv.FormatBool(yes), nil // every session has the others
}

// act is what a firewall did: a word, or a pattern that selects words of one
// meaning.
func (t *test) act(p pattern) (string, error) {
	re, err := regexp.Compile("(?i)" + p.regex())
	if err != nil {
		return "", err
	}
	refused, allowed := slices.ContainsFunc(refusals, re.MatchString), slices.ContainsFunc(permission, re.MatchString)
	if refused == allowed || t.op != "==" && t.op != "!=" {
		return "", fmt.Errorf("%w in %q", errWord, p)
	}
	if refused != (t.op == "!=") {
		return `outcome == "rejected"`, nil
	}
	return `outcome != "rejected"`, nil
}

// flag is one TCP flag among those that the client sent.
func (t *test) flag(name string) (string, error) {
	name = strings.ToUpper(name)
	if t.head == "" || t.tail == "" || !slices.Contains([]string{"FIN", "SYN", "RST", "ACK"}, name) {
		return "", fmt.Errorf("%q: sessions know whether they contain FIN, SYN, RST or the ACK of a SYN-ACK", name)
	}
	return strconv.Quote(name) + " in " + t.field, nil
}

// equal is the comparison with a value without wildcards.
func (t *test) equal(s string) (string, error) {
	switch t.kind {
	case truth:
		yes, err := strconv.ParseBool(s)
		if err != nil {
			return "", fmt.Errorf("%q is neither true nor false", s)
		}
		if yes == (t.op == "==") {
			return t.field, nil
		}
		return "!" + t.field, nil
	case number:
		if _, err := strconv.ParseInt(s, 10, 64); err != nil {
			return "", fmt.Errorf("%q is no number", s)
		}
		return t.field + " " + t.op + " " + s, nil
	case text:
		s = strings.ToLower(s)
		if ours := names[t.field][s]; ours != "" {
			s = ours
		}
		if _, err := strconv.Atoi(s); err == nil && t.field == "proto" {
			return "protocol " + t.op + " " + s, nil
		}
	default: // addresses are compared as they are
	}
	return t.field + " " + t.op + " " + strconv.Quote(s), nil
}

// asText is the field's value as text.
func (t *test) asText() (string, error) {
	switch t.kind {
	case text:
		return t.field, nil
	case address:
		return t.field + ".text()", nil
	case number:
		return "string(" + t.field + ")", nil
	default: // the others have no text
	}
	return "", errors.New("it has no text to look into")
}

// matches is a search for a regular expression. Sigma compares the names of
// protocols and services without regard to case, and ours are in lower case.
func (t *test) matches(expr, flags string) (string, error) {
	of, err := t.asText()
	if err != nil {
		return "", err
	}
	if t.kind == text && !strings.Contains(flags, "i") {
		flags += "i"
	}
	if flags != "" {
		expr = "(?" + flags + ")" + expr
	}
	return of + ".matches(" + strconv.Quote(expr) + ")", nil
}

// like is the comparison with a pattern. What an IPv4 pattern says of whole
// octets is a network.
func (t *test) like(p pattern) (string, error) {
	if t.kind == address {
		if cidr := p.network(); cidr != "" {
			return t.field + " in " + strconv.Quote(cidr), nil
		}
	}
	of, err := t.asText()
	if err != nil {
		return "", err
	}
	if t.kind == text || t.kind == address {
		p = p.lower()
	}
	if fn, arg := p.function(); fn != "" {
		return of + "." + fn + "(" + strconv.Quote(arg) + ")", nil
	}
	return of + ".matches(" + strconv.Quote(p.regex()) + ")", nil
}
