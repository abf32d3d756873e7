package query

import (
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"
	"github.com/segmentio/encoding/json"

	"github.com/flowstitch/flowstitch/pkg/rule"
)

// Formats are the names that Write knows.
var Formats = []string{"table", "json", "csv", "parquet"}

// Write prints an answer: "table" for people, "json" as one object a line,
// "csv" with a header, "parquet" for DuckDB, Athena and Spark.
func (r *Result) Write(w io.Writer, format string) error {
	switch format {
	case "table":
		return r.table(w)
	case "json":
		return r.json(w)
	case "csv":
		return r.csv(w)
	case "parquet":
		return r.parquet(w)
	}
	return fmt.Errorf("there is no format %q: %s", format, strings.Join(Formats, ", "))
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

func (r *Result) json(w io.Writer) error {
	var b []byte
	for _, row := range r.Rows {
		b = append(b, '{')
		for i, c := range r.Columns {
			if i > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendQuote(b, c.Name)
			b = append(b, ':')
			v, err := json.Marshal(c.plainValue(row[i]))
			if err != nil {
				return fmt.Errorf("query: column %s: %w", c.Name, err)
			}
			b = append(b, v...)
		}
		b = append(b, '}', '\n')
	}
	_, err := w.Write(b)
	return err
}

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

func (r *Result) csv(w io.Writer) error {
	out := csv.NewWriter(w)
	line := make([]string, len(r.Columns))
	for i, c := range r.Columns {
		line[i] = c.Name
	}
	if err := out.Write(line); err != nil {
		return err
	}
	for _, row := range r.Rows {
		for i := range row {
			line[i] = row[i].Text
			if r.Columns[i].Kind == Number && line[i] == "" {
				line[i] = plain(row[i].Number)
			}
		}
		if err := out.Write(line); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// parquet writes text as UTF8, times as milliseconds in UTC, integers as INT64
// (null for "(other)") and other numbers as DOUBLE.
func (r *Result) parquet(w io.Writer) error {
	group := parquet.Group{}
	names := make([]string, len(r.Columns))
	for i, c := range r.Columns {
		names[i] = columnName(c.Name)
		switch {
		case c.Kind == Text:
			group[names[i]] = parquet.String()
		case c.Kind == Time:
			group[names[i]] = parquet.Timestamp(parquet.Millisecond)
		case c.Whole:
			group[names[i]] = parquet.Optional(parquet.Leaf(parquet.Int64Type))
		default:
			group[names[i]] = parquet.Leaf(parquet.DoubleType)
		}
	}
	sorted := slices.Sorted(slices.Values(names)) // the order of a Group's columns
	out := parquet.NewWriter(w, parquet.NewSchema("answer", group), parquet.Compression(&parquet.Zstd))
	for _, row := range r.Rows {
		prow := make(parquet.Row, len(row))
		for i, v := range row {
			at := slices.Index(sorted, names[i])
			prow[at] = r.Columns[i].parquet(v, at)
		}
		if _, err := out.WriteRows([]parquet.Row{prow}); err != nil {
			return fmt.Errorf("query: parquet: %w", err)
		}
	}
	return out.Close()
}

func (c *Column) parquet(v Value, at int) parquet.Value {
	switch {
	case c.Kind == Text:
		return parquet.ByteArrayValue([]byte(v.Text)).Level(0, 0, at)
	case c.Kind == Time:
		return parquet.Int64Value(int64(v.Number)*1000).Level(0, 0, at)
	case c.Whole && v.Text != "":
		return parquet.NullValue().Level(0, 0, at)
	case c.Whole:
		return parquet.Int64Value(int64(v.Number)).Level(0, 1, at)
	}
	return parquet.DoubleValue(v.Number).Level(0, 0, at)
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
