package rule

import (
	"fmt"
	"reflect"
	"regexp"
	"strings"

	"github.com/google/cel-go/cel"
)

var stringsType = reflect.TypeFor[[]string]()

// Error is a mistake in the text of a filter: where it is and what to do.
type Error struct {
	Text    string   // the filter
	Line    int      // from 1
	Column  int      // from 1, in characters
	Message string   // what is wrong
	Near    []string // names that exist, nearest first
}

// Error gives the place, the sentence, the line itself and a mark under the
// column.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "line %d, column %d: %s", e.Line, e.Column, e.Message)
	if len(e.Near) > 0 {
		fmt.Fprintf(&b, "; did you mean %s?", strings.Join(e.Near, " or "))
	}
	if lines := strings.Split(e.Text, "\n"); e.Line >= 1 && e.Line <= len(lines) {
		line := strings.ReplaceAll(lines[e.Line-1], "\t", " ")
		fmt.Fprintf(&b, "\n    %s\n    %s^", line, strings.Repeat(" ", max(0, e.Column-1)))
	}
	return b.String()
}

// Errors is every mistake that was found in one filter.
type Errors []*Error

// Error joins the mistakes, one after the other.
func (es Errors) Error() string {
	parts := make([]string, len(es))
	for i, e := range es {
		parts[i] = e.Error()
	}
	return strings.Join(parts, "\n")
}

var (
	undeclared = regexp.MustCompile(`^undeclared reference to '([^']+)'`)
	noOverload = regexp.MustCompile(`^found no matching overload for '([^']+)' applied to '([^']+)'`)
	syntax     = regexp.MustCompile(`(?s)^Syntax error: (?:mismatched input|extraneous input|no viable alternative at input|token recognition error at:) '(.*?)'(?: expecting .*)?$`)
	missing    = regexp.MustCompile(`^Syntax error: missing '(.*)' at '(.*)'$`)
	operatorIn = strings.NewReplacer("_", "", "@in", "in")
)

func fromIssues(s *Schema, text string, iss *cel.Issues) error {
	var out Errors
	for _, ce := range iss.Errors() {
		e := &Error{Text: text, Line: ce.Location.Line(), Column: ce.Location.Column() + 1, Message: ce.Message}
		if m := undeclared.FindStringSubmatch(ce.Message); m != nil {
			e.unknown(s, m[1])
		} else if m := noOverload.FindStringSubmatch(ce.Message); m != nil {
			e.Message = fmt.Sprintf("%q does not take %s", operatorIn.Replace(m[1]), m[2])
		} else if m := syntax.FindStringSubmatch(ce.Message); m != nil {
			if len(out) > 0 {
				continue // the first is the cause
			}
			e.Message = unexpected(strings.TrimSpace(m[1]))
		} else if m := missing.FindStringSubmatch(ce.Message); m != nil {
			e.Message = fmt.Sprintf("there is no %q", m[1])
		} else if ce.Message == "invalid matches argument" {
			e.Message = "the argument of matches is not a regular expression (RE2)"
		}
		out = append(out, e)
	}
	return out
}

// unexpected says what is wrong with a piece of text that can not stand where
// it does, and what people mean who come from other languages.
func unexpected(piece string) string {
	switch {
	case piece == "<EOF>":
		return "the expression ends too early"
	case strings.HasPrefix(piece, "'") || strings.HasPrefix(piece, `"`):
		return "a quotation mark is not closed"
	}
	said := fmt.Sprintf("%q is not expected here", piece)
	if meant := map[string]string{"=": "==", "and": "&&", "or": "||", "not": "!", "<>": "!="}[strings.ToLower(piece)]; meant != "" {
		said += "; write " + meant
	}
	return said
}

// unknown is the mistake of a name that is not there.
func (e *Error) unknown(s *Schema, name string) {
	e.Message = fmt.Sprintf("%s have no field or function %q", s.Name, name)
	e.atName(name)
	e.Near = s.Nearest(name)
	if len(e.Near) == 0 {
		e.Near = nearest(name, functionNames)
	}
	if len(e.Near) == 0 {
		e.Message += "; `flowstitch fields` lists what there is"
	}
}

// atName moves the column to where the name of a function begins: cel-go tells
// the place of its bracket.
func (e *Error) atName(name string) {
	lines := strings.Split(e.Text, "\n")
	if e.Line < 1 || e.Line > len(lines) {
		return
	}
	before := []rune(lines[e.Line-1])
	before = before[:min(max(e.Column-1, 0), len(before))]
	if strings.HasSuffix(string(before), name) {
		e.Column -= len([]rune(name))
	}
}

// functionNames are the functions that a misspelt one is compared with.
var functionNames = []string{
	"addr", "cidr", "nets", "isPrivate", "isIPv4", "isIPv6", "text", "timestamp", "duration", "size",
	"startsWith", "endsWith", "contains", "matches", "lowerAscii", "upperAscii", "getHours", "getDayOfWeek", "exists", "all",
}
