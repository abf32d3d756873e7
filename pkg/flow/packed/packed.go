// Package packed reads and writes the small binary forms in which the pure ring
// keeps its state: varints, fixed integers, texts with their length before them.
//
// It guarantees that no bytes make a [Reader] panic or allocate more than it was
// given: once something is missing or out of its bounds the reader is spoilt, it
// reads zeros from there on, and a caller checks once, at the end.
package packed

import "encoding/binary"

// AppendUint appends v as an unsigned varint.
func AppendUint(b []byte, v uint64) []byte { return binary.AppendUvarint(b, v) }

// AppendVarint appends v as a zig-zag varint.
func AppendVarint(b []byte, v int64) []byte { return binary.AppendVarint(b, v) }

// AppendText appends the length of s and s.
func AppendText(b []byte, s string) []byte {
	return append(AppendUint(b, uint64(len(s))), s...)
}

// Reader reads what the Append functions wrote. Its zero value reads nothing.
type Reader struct {
	b   []byte
	bad bool
}

// Over returns a reader of b, which it does not copy.
func Over(b []byte) Reader { return Reader{b: b} }

// Bad reports whether something was missing, or [Reader.Fail] was called.
func (r *Reader) Bad() bool { return r.bad }

// Complete reports whether all was read and nothing was missing.
func (r *Reader) Complete() bool { return !r.bad && len(r.b) == 0 }

// Fail spoils the reader: a caller found a value that can not be.
func (r *Reader) Fail() { r.bad, r.b = true, nil }

// Take reads n bytes, which alias the input.
func (r *Reader) Take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.Fail()
		return nil
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}

// Byte reads one byte.
func (r *Reader) Byte() uint8 {
	if v := r.Take(1); v != nil {
		return v[0]
	}
	return 0
}

// Fix16 reads 2 bytes, the most significant first.
func (r *Reader) Fix16() uint16 {
	if v := r.Take(2); v != nil {
		return binary.BigEndian.Uint16(v)
	}
	return 0
}

// Fix32 reads 4 bytes, the most significant first.
func (r *Reader) Fix32() uint32 {
	if v := r.Take(4); v != nil {
		return binary.BigEndian.Uint32(v)
	}
	return 0
}

// Fix64 reads 8 bytes, the most significant first.
func (r *Reader) Fix64() uint64 {
	if v := r.Take(8); v != nil {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

// Uint reads an unsigned varint of at most limit.
func (r *Reader) Uint(limit uint64) uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > limit {
		r.Fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

// Varint reads a zig-zag varint.
func (r *Reader) Varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.Fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

// Count reads how many of something follow: no more than there are bytes left.
func (r *Reader) Count() uint64 { return r.Uint(uint64(len(r.b))) }

// Text reads what AppendText wrote, as a copy.
func (r *Reader) Text() string { return string(r.Take(int(r.Count()))) }
