package window

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// AppendUint appends v as an unsigned varint.
func AppendUint(b []byte, v uint64) []byte { return binary.AppendUvarint(b, v) }

// AppendInt appends v as a zig-zag varint.
func AppendInt(b []byte, v int64) []byte { return binary.AppendVarint(b, v) }

// AppendBool appends one byte, 0 or 1.
func AppendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// AppendFloat appends the 8 bytes of v.
func AppendFloat(b []byte, v float64) []byte {
	return binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
}

// AppendString appends the length of s and s.
func AppendString[T ~string | ~[]byte](b []byte, s T) []byte {
	return append(AppendUint(b, uint64(len(s))), s...)
}

// ErrSnapshot reports state bytes that can not be read.
var ErrSnapshot = errors.New("damaged state")

// Reader reads what the Append functions wrote. The first error sticks and
// everything after it reads as zero, so that callers check once at the end.
type Reader struct {
	b   []byte
	err error
}

// NewReader reads from b, which it does not copy.
func NewReader(b []byte) *Reader { return &Reader{b: b} }

// Reset makes r read from b, as a new reader does.
func (r *Reader) Reset(b []byte) { r.b, r.err = b, nil }

// Err returns the first error.
func (r *Reader) Err() error { return r.err }

// Fail records an error, if it is the first, and ends the input.
func (r *Reader) Fail(why string) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", ErrSnapshot, why)
	}
	r.b = nil
}

// Rest returns what has not been read, and ends the input.
func (r *Reader) Rest() []byte {
	b := r.b
	r.b = nil
	return b
}

// Close returns the first error, or one if bytes are left over.
func (r *Reader) Close() error {
	if len(r.b) > 0 {
		r.Fail("trailing bytes")
	}
	return r.err
}

// Uint reads an unsigned varint.
func (r *Reader) Uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.Fail("truncated number")
		return 0
	}
	r.b = r.b[n:]
	return v
}

// Varint reads a zig-zag varint.
func (r *Reader) Varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.Fail("truncated number")
		return 0
	}
	r.b = r.b[n:]
	return v
}

// Int reads an unsigned varint of at most limit.
func (r *Reader) Int(limit int) int {
	v := r.Uint()
	if v > uint64(limit) {
		r.Fail("number out of range")
		return 0
	}
	return int(v)
}

// Len reads a count of things that each take at least a byte, so that it can
// never exceed what is left of the input.
func (r *Reader) Len() int {
	v := r.Uint()
	if v > uint64(len(r.b)) {
		r.Fail("count exceeds the input")
		return 0
	}
	return int(v)
}

// Bool reads one byte, 0 or 1.
func (r *Reader) Bool() bool {
	if len(r.b) == 0 || r.b[0] > 1 {
		r.Fail("not a boolean")
		return false
	}
	v := r.b[0] == 1
	r.b = r.b[1:]
	return v
}

// Float reads 8 bytes.
func (r *Reader) Float() float64 {
	if len(r.b) < 8 {
		r.Fail("truncated number")
		return 0
	}
	v := math.Float64frombits(binary.LittleEndian.Uint64(r.b))
	r.b = r.b[8:]
	return v
}

// Bytes reads what AppendString wrote; it aliases the input.
func (r *Reader) Bytes() []byte {
	n := r.Len()
	if r.err != nil {
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

// String reads what AppendString wrote.
func (r *Reader) String() string { return string(r.Bytes()) }

// Take reads n bytes; it aliases the input.
func (r *Reader) Take(n int) []byte {
	if n > len(r.b) {
		r.Fail("truncated")
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}
