package query

import (
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/parquet-go/parquet-go"
	"github.com/segmentio/encoding/json"
)

// Writer prints rows for programs, as many at a time as there are.
type Writer interface {
	Rows(rows [][]Value) error
	Close() error // ends the file; it does not close what lies below
}

// NewWriter returns a writer of one of Formats other than "table", which has to
// know all rows.
func NewWriter(w io.Writer, format string, columns []Column) (Writer, error) {
	switch format {
	case "json":
		return &jsonWriter{w: w, columns: columns}, nil
	case "csv":
		return newCSV(w, columns)
	case "parquet":
		return newParquet(w, columns), nil
	}
	return nil, fmt.Errorf("there is no format %q: %s", format, strings.Join(Formats, ", "))
}

type jsonWriter struct {
	w       io.Writer
	columns []Column
	buf     []byte
}

// Rows implements Writer: an object a line.
func (j *jsonWriter) Rows(rows [][]Value) error {
	b := j.buf[:0]
	for _, row := range rows {
		b = append(b, '{')
		for i, c := range j.columns {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(strconv.AppendQuote(b, c.Name), ':')
			v, err := json.Marshal(c.plainValue(row[i]))
			if err != nil {
				return fmt.Errorf("query: column %s: %w", c.Name, err)
			}
			b = append(b, v...)
		}
		b = append(b, '}', '\n')
	}
	j.buf = b
	_, err := j.w.Write(b)
	return err
}

// Close implements Writer.
func (j *jsonWriter) Close() error { return nil }

type csvWriter struct {
	out     *csv.Writer
	columns []Column
	line    []string
}

func newCSV(w io.Writer, columns []Column) (*csvWriter, error) {
	c := &csvWriter{out: csv.NewWriter(w), columns: columns, line: make([]string, len(columns))}
	for i := range columns {
		c.line[i] = columns[i].Name
	}
	return c, c.out.Write(c.line)
}

// Rows implements Writer.
func (c *csvWriter) Rows(rows [][]Value) error {
	for _, row := range rows {
		for i := range row {
			c.line[i] = row[i].Text
			if c.columns[i].Kind == Number && row[i].Text == "" {
				c.line[i] = plain(row[i].Number)
			}
		}
		if err := c.out.Write(c.line); err != nil {
			return err
		}
	}
	return nil
}

// Close implements Writer.
func (c *csvWriter) Close() error {
	c.out.Flush()
	return c.out.Error()
}

// parquetWriter writes text as UTF8, times as milliseconds in UTC, integers as
// INT64 (null for "(other)") and other numbers as DOUBLE.
type parquetWriter struct {
	out     *parquet.GenericWriter[any]
	columns []Column
	place   []int // of each column in the file: they are sorted by name there
}

func newParquet(w io.Writer, columns []Column) *parquetWriter {
	p := &parquetWriter{columns: columns}
	group := parquet.Group{}
	names := make([]string, len(columns))
	for i, c := range columns {
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
	sorted := slices.Sorted(slices.Values(names))
	for _, n := range names {
		p.place = append(p.place, slices.Index(sorted, n))
	}
	p.out = parquet.NewGenericWriter[any](w, parquet.NewSchema("answer", group), parquet.Compression(&parquet.Zstd))
	return p
}

// Rows implements Writer.
func (p *parquetWriter) Rows(rows [][]Value) error {
	out := make([]parquet.Row, len(rows))
	for n, row := range rows {
		out[n] = make(parquet.Row, len(row))
		for i, v := range row {
			out[n][p.place[i]] = p.columns[i].parquet(v, p.place[i])
		}
	}
	if _, err := p.out.WriteRows(out); err != nil {
		return fmt.Errorf("query: parquet: %w", err)
	}
	return nil
}

// Close implements Writer.
func (p *parquetWriter) Close() error { return p.out.Close() }

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
