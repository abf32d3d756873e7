package rule

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// Nets is a set of prefixes; a plain address is a prefix of its full length.
// IPv4 prefixes hold no IPv6 address and the other way round.
type Nets struct {
	text []string
	all  []netMask
}

// netMask is a prefix over the 16 bytes of a flow.Addr.
type netMask struct {
	hi, lo         uint64
	maskHi, maskLo uint64
	is4            bool
	bits           uint8 // of the 128
}

// ParseNets reads addresses and prefixes. A prefix with bits set beyond its
// length is taken for the network that holds it, as people write it.
func ParseNets(texts ...string) (*Nets, error) {
	n := &Nets{text: texts}
	for _, t := range texts {
		m, err := parseNet(t)
		if err != nil {
			return nil, err
		}
		n.all = append(n.all, m)
	}
	return n, nil
}

func parseNet(t string) (netMask, error) {
	bits := 128
	addr := t
	if at := strings.IndexByte(t, '/'); at >= 0 {
		p, err := netip.ParsePrefix(t)
		if err != nil {
			return netMask{}, fmt.Errorf("%q is not an address or a prefix such as 10.0.0.0/8", t)
		}
		addr, bits = t[:at], p.Bits()
		if p.Addr().Is4() {
			bits += 96
		}
	}
	a, err := flow.ParseAddr(addr)
	if err != nil {
		return netMask{}, fmt.Errorf("%q is not an address or a prefix such as 10.0.0.0/8", t)
	}
	m := netMask{bits: uint8(bits), is4: a.Is4()}
	if bits >= 64 {
		m.maskHi, m.maskLo = ^uint64(0), ^uint64(0)<<(128-bits)
	} else {
		m.maskHi = ^uint64(0) << (64 - bits)
	}
	m.hi, m.lo = binary.BigEndian.Uint64(a[:8])&m.maskHi, binary.BigEndian.Uint64(a[8:])&m.maskLo
	return m, nil
}

func (m *netMask) contains(a *flow.Addr) bool {
	return binary.BigEndian.Uint64(a[8:])&m.maskLo == m.lo && binary.BigEndian.Uint64(a[:8])&m.maskHi == m.hi &&
		(m.is4 || (!a.Is4() && a.IsValid()))
}

// Contains reports whether a lies in one of the prefixes; no address does not.
func (n *Nets) Contains(a flow.Addr) bool {
	for i := range n.all {
		if n.all[i].contains(&a) {
			return true
		}
	}
	return false
}

// String lists the prefixes as they were written.
func (n *Nets) String() string { return strings.Join(n.text, ", ") }
