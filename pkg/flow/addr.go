package flow

import (
	"bytes"
	"fmt"
	"net/netip"
)

// Addr is an IPv4 or IPv6 address in 16 bytes without a pointer, so that
// tables of addresses cost the garbage collector nothing. IPv4 is held in its
// IPv4-mapped form (RFC 4291 section 2.5.5.2). The zero Addr means no address;
// the IPv6 address :: can therefore not be told from none, and no packet
// carries it as an endpoint of a session.
type Addr [16]byte

var v4Prefix = [12]byte{10: 0xff, 11: 0xff}

// AddrFrom4 returns the Addr of four IPv4 bytes.
func AddrFrom4(b [4]byte) (a Addr) {
	a[10], a[11] = 0xff, 0xff
	copy(a[12:], b[:])
	return a
}

// AddrFrom returns the Addr of a netip.Addr; an invalid one gives the zero Addr.
func AddrFrom(ip netip.Addr) Addr {
	if !ip.IsValid() {
		return Addr{}
	}
	return Addr(ip.As16())
}

// ParseAddr parses an address in any spelling that net/netip reads, without a
// zone.
func ParseAddr(s string) (Addr, error) {
	ip, err := netip.ParseAddr(s)
	if err != nil || ip.Zone() != "" {
		return Addr{}, fmt.Errorf("%q is not an IP address", s)
	}
	return AddrFrom(ip), nil
}

// MustAddr is ParseAddr for constants and tests; it panics on an error.
func MustAddr(s string) Addr {
	a, err := ParseAddr(s)
	if err != nil {
		panic(err) //nolint:forbidigo // for constants: a mistake in the program, not in its input
	}
	return a
}

// IsValid reports whether a is an address at all.
func (a Addr) IsValid() bool { return a != Addr{} }

// Is4 reports whether a is an IPv4 address.
func (a Addr) Is4() bool { return [12]byte(a[:12]) == v4Prefix }

// IP returns a as a netip.Addr, IPv4 unmapped; the zero Addr gives an invalid one.
func (a Addr) IP() netip.Addr {
	if !a.IsValid() {
		return netip.Addr{}
	}
	return netip.AddrFrom16(a).Unmap()
}

// Compare orders addresses by their bytes: IPv4 among itself numerically.
func (a Addr) Compare(b Addr) int { return bytes.Compare(a[:], b[:]) }

// AppendTo appends the 4 or 16 bytes of a.
func (a Addr) AppendTo(b []byte) []byte {
	if a.Is4() {
		return append(b, a[12:]...)
	}
	return append(b, a[:]...)
}

// String returns the canonical text, or "-" for no address, as AWS writes it.
func (a Addr) String() string {
	if !a.IsValid() {
		return "-"
	}
	return a.IP().String()
}
