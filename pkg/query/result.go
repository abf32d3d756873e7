package query

import (
	"github.com/flowstitch/flowstitch/pkg/rule"
)

// Kind is what a column holds.
type Kind uint8

// Kinds of column.
const (
	Text Kind = iota
	Number
	Time // Number is Unix seconds, Text RFC 3339
)

// Column is one column of an answer.
type Column struct {
	Name string
	Kind Kind
	Unit string // of a Number: "bytes", "seconds", ...
	// Whole says that a Number is an integer. A group beyond the bound has text
	// in its place: "(other)".
	Whole  bool
	Signed bool // a change: people see its sign
	Group  bool // what was grouped by, not what was summed up
}

// Value is one value of an answer. Text is set for text and times.
type Value struct {
	Text   string
	Number float64
}

// Result is an answer.
type Result struct {
	Columns []Column
	Rows    [][]Value
	More    int  // rows that Top cut off
	Stopped bool // there may be more rows: reading ended when Top were found
}

func number(v float64) Value { return Value{Number: v} }

func columnsOf(s *rule.Schema, dims []rule.Dim) (cols []Column) {
	for _, d := range dims {
		c := Column{Name: d.Name}
		switch d.Type {
		case rule.Int:
			c.Kind, c.Whole = Number, true
		case rule.Double:
			c.Kind = Number
		case rule.Duration:
			c.Kind, c.Whole, c.Unit = Number, true, "seconds"
		case rule.Time:
			c.Kind = Time
		default: // the others take the way below
		}
		if f := s.Field(d.Name); f != nil && f.Unit != "" {
			c.Unit = f.Unit
		}
		cols = append(cols, c)
	}
	return cols
}

func valueOf(d *rule.Dim, r *rule.Row) Value {
	n, isNumber := d.Number(r)
	if isNumber && d.Type != rule.Time {
		return Value{Number: n}
	}
	return Value{Text: string(d.AppendText(nil, r)), Number: n}
}
