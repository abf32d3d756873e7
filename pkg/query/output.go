package query

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/flowstitch/flowstitch/pkg/rule"
)

// Formats are the names that Write knows.
var Formats = []string{"table", "json", "csv", "parquet"}

// Write prints an answer: "table" for people, "json" as one object a line,
// "csv" with a header, "parquet" for DuckDB, Athena and Spark.
func (r *Result) Write(w io.Writer, format string) error {
	if format == "table" {
		return r.table(w)
	}
	out, err := NewWriter(w, format, r.Columns)
	if err != nil {
		return err
	}
	if err := out.Rows(r.Rows); err != nil {
		return err
	}
	return out.Close()
}

// text is a value for people.
func (c *Column) text(v Value) string {
	switch {
	case c.Kind != Number && v.Text == "":
		return "-"
	case c.Kind != Number || v.Text != "":
		return v.Text
	case isPort(c.Name):
		return plain(v.Number)
	case c.Signed && v.Number > 0:
		return "+" + rule.FormatNumber(v.Number, c.Unit)
	case c.Unit == "seconds":
		return plain(v.Number) + " s"
	}
	return rule.FormatNumber(v.Number, c.Unit)
}

func plain(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

func (r *Result) table(w io.Writer) error {
	widths := make([]int, len(r.Columns))
	lines := make([][]string, 0, len(r.Rows)+1)
	head := make([]string, len(r.Columns))
	for i, c := range r.Columns {
		head[i] = strings.ToUpper(c.Name)
	}
	lines = append(lines, head)
	for _, row := range r.Rows {
		line := make([]string, len(row))
		for i := range row {
			line[i] = r.Columns[i].text(row[i])
		}
		lines = append(lines, line)
	}
	for _, l := range lines {
		for i, s := range l {
			widths[i] = max(widths[i], utf8.RuneCountInString(s))
		}
	}
	var b strings.Builder
	for _, l := range lines {
		for i, s := range l {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(s))
			switch {
			case r.Columns[i].Kind == Number:
				b.WriteString(pad + s)
			case i == len(l)-1:
				b.WriteString(s)
			default:
				b.WriteString(s + pad)
			}
			if i < len(l)-1 {
				b.WriteString("  ")
			}
		}
		b.WriteByte('\n')
	}
	switch {
	case r.More > 0:
		fmt.Fprintf(&b, "(%d more)\n", r.More)
	case r.Stopped:
		fmt.Fprintf(&b, "(the first %d that were read; -top N shows more, -order-by looks at all)\n", len(r.Rows))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// isPort tells names of numbers that are no quantities.
func isPort(name string) bool { return strings.HasSuffix(name, "port") || name == "protocol" }

// plainValue is a value for programs: text, an integer where it is one, or a
// float.
func (c *Column) plainValue(v Value) any {
	switch {
	case c.Kind != Number || v.Text != "":
		return v.Text
	case v.Number == math.Trunc(v.Number) && math.Abs(v.Number) < 1<<53:
		return int64(v.Number)
	}
	return v.Number
}

// columnName makes "sum(bytes_out)" a name that SQL takes without quotes.
func columnName(s string) string {
	s = strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' {
			return c
		}
		return '_'
	}, s)
	for strings.Contains(s, "__") {
		s = strings.ReplaceAll(s, "__", "_")
	}
	return strings.Trim(s, "_")
}
