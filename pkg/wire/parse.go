package wire

import (
	"errors"
	"fmt"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// ErrMalformed is wrapped by every decoding error: the bytes are no message of
// this version.
var ErrMalformed = errors.New("wire: malformed message")

// field is one field of a message: num tells which value is set.
type field struct {
	num protowire.Number
	u   uint64 // varint
	b   []byte // length-delimited, aliasing the input
}

func (f *field) sint() int64  { return protowire.DecodeZigZag(f.u) }
func (f *field) bool() bool   { return f.u != 0 }
func (f *field) text() string { return unsafe.String(unsafe.SliceData(f.b), len(f.b)) }

func (f *field) addr() (flow.Addr, error) {
	switch len(f.b) {
	case 4:
		return flow.AddrFrom4([4]byte(f.b)), nil
	case 16:
		return flow.Addr(f.b), nil
	}
	return flow.Addr{}, fmt.Errorf("%w: field %d is an address of %d bytes", ErrMalformed, f.num, len(f.b))
}

// fields iterates over a message.
type fields struct {
	rest []byte
	err  error
}

// next reads the next field into f and reports whether there was one. Groups
// and fixed-width fields, which no message of ours has, are skipped.
func (m *fields) next(f *field) bool {
	for len(m.rest) > 0 && m.err == nil {
		num, typ, n := protowire.ConsumeTag(m.rest)
		if n < 0 {
			m.fail(n)
			return false
		}
		m.rest = m.rest[n:]
		f.num, f.u, f.b = num, 0, nil
		switch typ {
		case protowire.VarintType:
			f.u, n = protowire.ConsumeVarint(m.rest)
		case protowire.BytesType:
			f.b, n = protowire.ConsumeBytes(m.rest)
		default:
			f.num, n = 0, protowire.ConsumeFieldValue(num, typ, m.rest)
		}
		if n < 0 {
			m.fail(n)
			return false
		}
		m.rest = m.rest[n:]
		if f.num != 0 {
			return true
		}
	}
	return false
}

func (m *fields) fail(n int) {
	m.err = fmt.Errorf("%w: %w", ErrMalformed, protowire.ParseError(n))
}

func parseAttr(b []byte) (a flow.Attr, err error) {
	m := fields{rest: b}
	for f := (field{}); m.next(&f); {
		switch f.num {
		case 1:
			a.Name = f.text()
		case 2:
			a.Value = f.text()
		}
	}
	return a, m.err
}
