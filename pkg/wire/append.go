package wire

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// The append functions below write one field and, as proto3 does, leave out
// the zero value.

func appendUint(b []byte, n protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	b = protowire.AppendTag(b, n, protowire.VarintType)
	return protowire.AppendVarint(b, v)
}

func appendSint(b []byte, n protowire.Number, v int64) []byte {
	return appendUint(b, n, protowire.EncodeZigZag(v))
}

func appendBool(b []byte, n protowire.Number, v bool) []byte {
	if !v {
		return b
	}
	return appendUint(b, n, 1)
}

func appendString(b []byte, n protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	b = protowire.AppendTag(b, n, protowire.BytesType)
	return protowire.AppendString(b, s)
}

func appendBytes(b []byte, n protowire.Number, s []byte) []byte {
	if len(s) == 0 {
		return b
	}
	b = protowire.AppendTag(b, n, protowire.BytesType)
	return protowire.AppendBytes(b, s)
}

func appendAddr(b []byte, n protowire.Number, a flow.Addr) []byte {
	if !a.IsValid() {
		return b
	}
	b = protowire.AppendTag(b, n, protowire.BytesType)
	if a.Is4() {
		b = append(b, 4)
	} else {
		b = append(b, 16)
	}
	return a.AppendTo(b)
}

// open starts a nested message and returns where its body begins; shut fills in
// its length. A body of 128 bytes or more is moved to make room for a longer length.
func open(b []byte, n protowire.Number) (out []byte, body int) {
	b = append(protowire.AppendTag(b, n, protowire.BytesType), 0)
	return b, len(b)
}

func shut(b []byte, body int) []byte {
	n := len(b) - body
	if n < 0x80 {
		b[body-1] = byte(n)
		return b
	}
	extra := protowire.SizeVarint(uint64(n)) - 1
	b = append(b, make([]byte, extra)...)
	copy(b[body+extra:], b[body:body+n])
	protowire.AppendVarint(b[:body-1], uint64(n))
	return b
}

func appendAttrs(b []byte, n protowire.Number, attrs []flow.Attr) []byte {
	for i := range attrs {
		var body int
		b, body = open(b, n)
		b = appendString(b, 1, attrs[i].Name)
		b = appendString(b, 2, attrs[i].Value)
		b = shut(b, body)
	}
	return b
}
