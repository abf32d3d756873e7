package flowlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/parquet-go/parquet-go"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// parquetBatch is how many rows are read at a time.
const parquetBatch = 128

// Parquet decodes a Parquet object of flow logs, as AWS writes them to S3: the
// columns are found by name (interface_id or interface-id), whatever their order
// and integer width; unknown columns are kept. Rows count as lines, from 1.
//
// The error tells a damaged file; the rows before the damage were delivered.
func (d *Decoder) Parquet(r io.ReaderAt, size int64, o flow.Origin, sink Sink) (err error) {
	d.stats.Payloads++
	d.stats.Bytes += uint64(max(size, 0))
	s := source{origin: o, sink: sink, file: true, base: o.Sub}
	// The library checks much but not all of what a file claims, and answers
	// some damage with a panic; for a file that is only another kind of damage.
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("flowlog: %s: the Parquet file is damaged after row %d: %v", o.Source, s.origin.Line, p)
		}
	}()
	// Between its ends, so that no offset that the file claims is one of the disk's errors.
	r = io.NewSectionReader(r, 0, size)
	if err := parquetFooter(r, size); err != nil {
		return fmt.Errorf("flowlog: %s is no readable Parquet file: %w", o.Source, err)
	}
	file, err := parquet.OpenFile(r, size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return fmt.Errorf("flowlog: %s is no readable Parquet file: %w", o.Source, err)
	}
	p := parquetRows{cols: parquetColumns(file.Schema()), batch: make([]parquet.Row, parquetBatch)}
	for _, group := range file.RowGroups() {
		if err := d.rowGroup(&s, &p, group); err != nil {
			return fmt.Errorf("flowlog: %s: the Parquet file is damaged after row %d: %w", o.Source, s.origin.Line, err)
		}
	}
	return nil
}

// parquetFooter refuses a footer that is longer than the file: the library takes
// the length as it stands, up to 4 GiB, and makes room for it before it reads.
// A file ends with the footer, its length in four bytes, little endian, and PAR1;
// it begins with PAR1 (the Parquet format's README, "File format").
func parquetFooter(r io.ReaderAt, size int64) error {
	const magic = 4
	var tail [4 + magic]byte
	if _, err := r.ReadAt(tail[:], size-int64(len(tail))); err != nil {
		return fmt.Errorf("its end can not be read: %w", err)
	}
	if n := int64(binary.LittleEndian.Uint32(tail[:])); n > size-magic-int64(len(tail)) {
		return fmt.Errorf("its last bytes say that its footer has %d bytes, and the whole file has %d", n, size)
	}
	return nil
}

// parquetRows is the state of reading one file.
type parquetRows struct {
	cols   []column
	batch  []parquet.Row
	digits []byte // text of a number
}

// parquetColumns names the leaf columns by the last part of their path.
func parquetColumns(schema *parquet.Schema) []column {
	paths := schema.Columns()
	out := make([]column, len(paths))
	for i, path := range paths {
		name := path[len(path)-1]
		sp, known := lookupLoose(name)
		if !known {
			sp.name = strings.ReplaceAll(name, "_", "-")
		}
		out[i] = column{op: sp.op, name: sp.name, known: known}
	}
	return out
}

func (d *Decoder) rowGroup(s *source, p *parquetRows, group parquet.RowGroup) (err error) {
	rows := group.Rows()
	defer func() { err = errors.Join(err, rows.Close()) }()
	for {
		n, err := rows.ReadRows(p.batch)
		for i := range n {
			d.parquetRow(s, p, p.batch[i])
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if n == 0 {
			return io.ErrNoProgress
		}
	}
}

func (d *Decoder) parquetRow(s *source, p *parquetRows, row parquet.Row) {
	s.origin.Line, s.mark = s.origin.Line+1, s.seen
	var f fields
	f.start(&d.rec)
	for _, v := range row {
		c := v.Column()
		if c < 0 || c >= len(p.cols) {
			continue
		}
		text := p.text(v)
		if !p.cols[c].known {
			d.count(p.cols[c].name, text)
		}
		f.set(&p.cols[c], text)
	}
	d.raw = nil
	if !d.finish(s, &f) {
		d.refuseFields(s, &f, p.raw(row))
	}
}

// text returns a value as a line would have it. Bytes alias the row; a number
// is valid until the next call, which is enough because numbers are converted at
// once, except in an attribute.
func (p *parquetRows) text(v parquet.Value) []byte {
	switch v.Kind() {
	case parquet.ByteArray, parquet.FixedLenByteArray:
		if v.IsNull() {
			return nil
		}
		return v.ByteArray()
	case parquet.Int32, parquet.Int64:
		if v.IsNull() {
			return nil
		}
		p.digits = strconv.AppendInt(p.digits[:0], v.Int64(), 10)
		c := v.Column()
		if p.cols[c].op == opAttr || p.cols[c].op < opSrcAddr {
			return append([]byte(nil), p.digits...)
		}
		return p.digits
	default:
		if v.IsNull() {
			return nil
		}
		return []byte(v.String())
	}
}

// raw writes a row as name=value pairs, for a reject: a row has no bytes of its
// own.
func (p *parquetRows) raw(row parquet.Row) (b []byte) {
	for i, v := range row {
		if i > 0 {
			b = append(b, ' ')
		}
		if c := v.Column(); c >= 0 && c < len(p.cols) {
			b = append(append(b, p.cols[c].name...), '=')
			b = append(b, p.text(v)...)
		}
	}
	return b
}
