package session

import (
	"encoding/binary"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

func appendUint(b []byte, v uint64) []byte { return binary.AppendUvarint(b, v) }

func appendString(b []byte, s string) []byte {
	return append(appendUint(b, uint64(len(s))), s...)
}

// reader reads a snapshot; once something is missing it is bad and reads zeros.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.bad, r.b = true, nil
		return nil
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) byte() uint8 {
	if v := r.take(1); v != nil {
		return v[0]
	}
	return 0
}

func (r *reader) fix16() uint16 {
	if v := r.take(2); v != nil {
		return binary.BigEndian.Uint16(v)
	}
	return 0
}

func (r *reader) fix32() uint32 {
	if v := r.take(4); v != nil {
		return binary.BigEndian.Uint32(v)
	}
	return 0
}

func (r *reader) fix64() uint64 {
	if v := r.take(8); v != nil {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

func (r *reader) uint(limit uint64) uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > limit {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count reads how many of something follow: no more than there are bytes.
func (r *reader) count() uint64 { return r.uint(uint64(len(r.b))) }

func (r *reader) text() string { return string(r.take(int(r.count()))) }

func (r *reader) info() (v info) {
	for _, s := range [...]*string{&v.id, &v.group, &v.account, &v.vpc, &v.subnet, &v.instance, &v.service[0], &v.service[1]} {
		*s = r.text()
	}
	copy(v.outer[0][:], r.take(16))
	copy(v.outer[1][:], r.take(16))
	for n := r.count(); n > 0 && !r.bad; n-- {
		v.tags = append(v.tags, flow.Attr{Name: r.text(), Value: r.text()})
	}
	return v
}
