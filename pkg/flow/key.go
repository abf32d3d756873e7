package flow

import (
	"encoding/binary"
	"errors"
	"strconv"
)

// Endpoint is one side of a conversation. Port is 0 for protocols without one.
type Endpoint struct {
	Addr Addr
	Port uint16
}

// Compare orders endpoints by address, then port.
func (e Endpoint) Compare(o Endpoint) int {
	if c := e.Addr.Compare(o.Addr); c != 0 {
		return c
	}
	return int(e.Port) - int(o.Port)
}

// String is "10.0.0.1:22", "[2001:db8::1]:22", or the bare address for port 0.
func (e Endpoint) String() string {
	switch {
	case e.Port == 0:
		return e.Addr.String()
	case e.Addr.IsValid() && !e.Addr.Is4():
		return "[" + e.Addr.String() + "]:" + strconv.Itoa(int(e.Port))
	}
	return e.Addr.String() + ":" + strconv.Itoa(int(e.Port))
}

// Key names a conversation: scope, protocol and both endpoints in canonical
// order (A before B), so that both directions have the same Key. It never
// holds the interface: a reply may leave by another one.
type Key struct {
	A, B     Endpoint
	Scope    uint16 // which of several overlapping networks; 0 is none
	Protocol uint8  // IANA number
}

// NewKey returns the canonical key of a packet from src to dst, and whether
// the endpoints were swapped, that is, whether src became B.
func NewKey(scope uint16, protocol uint8, src, dst Endpoint) (k Key, swapped bool) {
	if src.Compare(dst) > 0 {
		return Key{A: dst, B: src, Scope: scope, Protocol: protocol}, true
	}
	return Key{A: src, B: dst, Scope: scope, Protocol: protocol}, false
}

// Packed sizes of a key: scope 2, protocol 1, and two of address and port 2.
const (
	KeySize4 = 3 + 2*(4+2)
	KeySize6 = 3 + 2*(16+2)
)

// AppendTo appends the packed key: scope and ports big-endian, IPv4 addresses
// in 4 bytes where both are IPv4, else 16 each. These bytes are the Kafka key
// of flows and sessions.
func (k Key) AppendTo(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, k.Scope)
	b = append(b, k.Protocol)
	both4 := k.A.Addr.Is4() && k.B.Addr.Is4()
	for _, e := range [2]Endpoint{k.A, k.B} {
		if both4 {
			b = append(b, e.Addr[12:]...)
		} else {
			b = append(b, e.Addr[:]...)
		}
		b = binary.BigEndian.AppendUint16(b, e.Port)
	}
	return b
}

// ErrKey reports bytes that are no packed key.
var ErrKey = errors.New("flow: not a packed key")

// ParseKey reads what AppendTo wrote. It refuses another length and endpoints
// out of canonical order.
func ParseKey(b []byte) (k Key, err error) {
	if len(b) != KeySize4 && len(b) != KeySize6 {
		return Key{}, ErrKey
	}
	k.Scope, k.Protocol = binary.BigEndian.Uint16(b), b[2]
	half := (len(b) - 3) / 2
	k.A, k.B = unpack(b[3:3+half]), unpack(b[3+half:])
	if k.A.Compare(k.B) > 0 || (len(b) == KeySize6 && k.A.Addr.Is4() && k.B.Addr.Is4()) {
		return Key{}, ErrKey
	}
	return k, nil
}

func unpack(b []byte) (e Endpoint) {
	n := len(b) - 2
	if n == 4 {
		e.Addr = AddrFrom4([4]byte(b))
	} else {
		e.Addr = Addr(b[:16])
	}
	e.Port = binary.BigEndian.Uint16(b[n:])
	return e
}
