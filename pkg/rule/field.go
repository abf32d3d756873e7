package rule

import (
	"sort"
	"strings"

	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/session"
)

// Row is what a filter is asked about: a session event, a flow record or an
// alert. The one that the filter's schema describes is not nil.
type Row struct {
	Session *session.Event
	Flow    *flow.Record
	Alert   *alert.Alert

	memo []uint8 // answers of the tests that a Set shares; see Matcher
}

// Type is the type of a field in the language.
type Type uint8

// The types of fields.
const (
	Bool     Type = iota
	Int           // 64-bit; the field's unit says of what
	Double        // 64-bit floating point
	String        // text; a field with Values takes only those
	Addr          // an IP address: == an address, in a prefix
	Time          // seconds of event time; compares with RFC 3339 text
	Duration      // whole seconds; compares with text such as "5m"
	Flags         // a set of TCP flags: "SYN" in client_flags
	Strings       // a list of text
	Addrs         // a list of addresses
	Ints          // a list of integers
	Tags          // a map of text to text; a missing tag reads as ""
)

// String returns the name of the type as `flowstitch fields` prints it.
func (t Type) String() string {
	return [...]string{
		"bool", "int", "double", "string", "address", "time", "duration", "flags",
		"list of strings", "list of addresses", "list of ints", "tags",
	}[t]
}

// Field is one name of the language. Exactly one of its readers is set,
// according to its type; an enumerated string also has its index.
type Field struct {
	Name    string
	Type    Type
	Unit    string   // "bytes", "packets", "seconds" or ""
	Doc     string   // one line
	Example string   // a filter that uses it
	Values  []string // every value of an enumerated string
	// Grows marks a field that may still change while its session goes on:
	// a rule that reads it counts sessions, not first events.
	Grows bool

	b    func(*Row) bool
	i    func(*Row) int64 // Int, Time, Duration, Flags, and the index of Values
	d    func(*Row) float64
	s    func(*Row) string
	a    func(*Row) flow.Addr
	nth  func(*Row, int) (string, bool)
	as   func(*Row) [2]flow.Addr
	is   func(*Row) [2]int64
	tag  func(*Row, string) (string, bool)
	tags func(*Row, func(k, v string))
}

// Schema is the set of names that a filter may use.
type Schema struct {
	Name   string // "sessions", "flows" or "alerts"
	fields []Field
	byName map[string]*Field
}

func newSchema(name string, fields ...[]Field) *Schema {
	s := &Schema{Name: name, byName: make(map[string]*Field)}
	for _, f := range fields {
		s.fields = append(s.fields, f...)
	}
	for i := range s.fields {
		s.byName[s.fields[i].Name] = &s.fields[i]
	}
	return s
}

// Fields returns every field in the order in which they are documented. The
// slice is the schema's own.
func (s *Schema) Fields() []Field { return s.fields }

// Field returns the field of a name, or nil.
func (s *Schema) Field(name string) *Field { return s.byName[name] }

// Nearest returns the names of the schema that are closest to a misspelt one,
// best first, at most three; none when nothing comes near.
func (s *Schema) Nearest(name string) []string {
	names := make([]string, len(s.fields))
	for i := range s.fields {
		names[i] = s.fields[i].Name
	}
	return nearest(name, names)
}

// nearest returns up to three of names within a third of the length of name in
// edits (at least two), counting a prefix or a part as near.
func nearest(name string, names []string) []string {
	type hit struct {
		name string
		cost int
	}
	var hits []hit
	name = strings.ToLower(name)
	limit := max(2, len(name)/3)
	for _, n := range names {
		cost := distance(name, strings.ToLower(n))
		if len(name) >= 3 && (strings.Contains(n, name) || (len(n) >= 4 && strings.Contains(name, n))) {
			cost = min(cost, limit)
		}
		if cost <= limit {
			hits = append(hits, hit{n, cost})
		}
	}
	sort.SliceStable(hits, func(i, j int) bool { return hits[i].cost < hits[j].cost })
	var out []string
	for _, h := range hits[:min(3, len(hits))] {
		out = append(out, h.name)
	}
	return out
}

// distance is the number of insertions, deletions, replacements and swaps of
// neighbours between a and b (optimal string alignment).
func distance(a, b string) int {
	two := make([]int, len(b)+1)
	one := make([]int, len(b)+1)
	cur := make([]int, len(b)+1)
	for j := range one {
		one[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(one[j]+1, cur[j-1]+1, one[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], two[j-2]+1)
			}
		}
		two, one, cur = one, cur, two
	}
	return one[len(b)]
}

// plain is the value for output; nil where there is none.
func (f *Field) plain(r *Row) any {
	switch f.Type {
	case Bool:
		return f.b(r)
	case Int, Duration:
		return f.i(r)
	case Double:
		return f.d(r)
	case Time:
		return flow.Time(f.i(r)).String()
	case Addr:
		if a := f.a(r); a.IsValid() {
			return a.String()
		}
		return nil
	case String:
		if s := f.text(r); s != "" {
			return s
		}
		return nil
	case Addrs, Ints:
		return nil // both are told by fields of their own
	case Tags:
		m := map[string]string{}
		f.tags(r, func(k, v string) { m[k] = v })
		if len(m) == 0 {
			return nil
		}
		return m
	default: // the others take the way below
	}
	var list []string
	if f.Type == Flags {
		for _, fl := range flagNames {
			if f.i(r)&int64(fl.bit) != 0 {
				list = append(list, fl.name)
			}
		}
	} else {
		for i := 0; ; i++ {
			s, ok := f.nth(r, i)
			if !ok {
				break
			}
			list = append(list, s)
		}
	}
	if len(list) == 0 {
		return nil
	}
	return list
}
