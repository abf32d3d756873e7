package session

import (
	"bytes"
	"encoding/binary"
	"math/bits"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// ckey is a flow.Key in 16 bytes. An IPv6 key keeps its addresses in a slab of
// their own and their number in a.
type ckey struct {
	a, b       uint32
	portA      uint16
	portB      uint16
	scope      uint16
	proto, six uint8
}

// Odd constants without structure, from the fraction of pi.
const (
	seed1 = 0x243f6a8885a308d3
	seed2 = 0x13198a2e03707345
	seed3 = 0xa4093822299f31d1
)

func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

func is4(k *flow.Key) bool { return k.A.Addr.Is4() && k.B.Addr.Is4() }

func pack4(k *flow.Key) ckey {
	return ckey{
		a: binary.BigEndian.Uint32(k.A.Addr[12:]), b: binary.BigEndian.Uint32(k.B.Addr[12:]),
		portA: k.A.Port, portB: k.B.Port, scope: k.Scope, proto: k.Protocol,
	}
}

// hashKey returns a 64-bit hash of a key, the same in every process and release:
// the bucket that a key lives in follows from it.
func hashKey(k *flow.Key) uint64 {
	rest := uint64(k.A.Port) | uint64(k.B.Port)<<16 | uint64(k.Scope)<<32 | uint64(k.Protocol)<<48
	h := mix(rest^seed1, seed2)
	if is4(k) {
		ab := uint64(binary.LittleEndian.Uint32(k.A.Addr[12:])) | uint64(binary.LittleEndian.Uint32(k.B.Addr[12:]))<<32
		return mix(h^ab, seed3)
	}
	for _, e := range [2]*flow.Addr{&k.A.Addr, &k.B.Addr} {
		h = mix(h^binary.LittleEndian.Uint64(e[:8]), seed3)
		h = mix(h^binary.LittleEndian.Uint64(e[8:]), seed2)
	}
	return h
}

// BucketOf returns the bucket of n that a key lives in. It is part of the
// layout: a change of it moves state.
func BucketOf(k flow.Key, n int) int {
	hi, _ := bits.Mul64(mix(hashKey(&k)^seed2, seed1), uint64(n))
	return int(hi)
}

// index finds entries by key: open addressing with linear probing over slots of
// 32 bits of the hash and 32 bits of entry number. So a probe that misses touches
// no entry, and neither do growing and taking out, for a slot's home follows from
// its half of the hash: it is where that half lies among all.
type index struct {
	slots []uint64
	used  int
}

const minSlots = 64

func (x *index) home(half uint64) int { return int(half * uint64(len(x.slots)) >> 32) }

func (x *index) after(i int) int {
	if i++; i < len(x.slots) {
		return i
	}
	return 0
}

// find returns the entry of the key for which ok holds, or 0.
func (t *Table) find(h uint64, k *flow.Key, closed bool) uint32 {
	x := &t.idx
	if len(x.slots) == 0 {
		return 0
	}
	c, six := pack4(k), !is4(k)
	for i := x.home(h >> 32); x.slots[i] != 0; i = x.after(i) {
		s := x.slots[i]
		if s>>32 != h>>32 {
			continue
		}
		e := t.entries.at(uint32(s))
		if e.is(stClosed) == closed && t.same(e, &c, k, six) {
			return uint32(s)
		}
	}
	return 0
}

// same compares an entry's key; c is the packed form, right for IPv4.
func (t *Table) same(e *entry, c *ckey, k *flow.Key, six bool) bool {
	if !six {
		return e.key == *c
	}
	if e.key.six == 0 || e.key.portA != c.portA || e.key.portB != c.portB || e.key.scope != c.scope || e.key.proto != c.proto {
		return false
	}
	a := t.keys6.at(e.key.a)
	return a[0] == k.A.Addr && a[1] == k.B.Addr
}

// keyOf unpacks an entry's key.
func (t *Table) keyOf(e *entry) (k flow.Key) {
	k = flow.Key{Scope: e.key.scope, Protocol: e.key.proto}
	k.A.Port, k.B.Port = e.key.portA, e.key.portB
	if e.key.six != 0 {
		a := t.keys6.at(e.key.a)
		k.A.Addr, k.B.Addr = a[0], a[1]
		return k
	}
	var v4 [4]byte
	binary.BigEndian.PutUint32(v4[:], e.key.a)
	k.A.Addr = flow.AddrFrom4(v4)
	binary.BigEndian.PutUint32(v4[:], e.key.b)
	k.B.Addr = flow.AddrFrom4(v4)
	return k
}

// compareKeys orders keys as Advance emits them.
func compareKeys(a, b *flow.Key) int {
	if c := a.A.Compare(b.A); c != 0 {
		return c
	}
	if c := a.B.Compare(b.B); c != 0 {
		return c
	}
	return bytes.Compare([]byte{a.Protocol, byte(a.Scope >> 8), byte(a.Scope)}, []byte{b.Protocol, byte(b.Scope >> 8), byte(b.Scope)})
}

func (x *index) add(h uint64, i uint32) {
	if (x.used+1)*5 > len(x.slots)*4 {
		x.grow()
	}
	x.used++
	x.put(h&^(1<<32-1) | uint64(i))
}

func (x *index) put(s uint64) {
	j := x.home(s >> 32)
	for x.slots[j] != 0 {
		j = x.after(j)
	}
	x.slots[j] = s
}

// grow makes room for a quarter more, for twice as much would leave the table
// half empty after it. It begins behind a gap, so that sessions of one key stay in
// the order in which they came.
func (x *index) grow() {
	old := x.slots
	x.slots = make([]uint64, max(minSlots, len(old)+len(old)/4))
	gap := 0
	for gap < len(old) && old[gap] != 0 {
		gap++
	}
	for n := range old {
		if s := old[(gap+n)%len(old)]; s != 0 {
			x.put(s)
		}
	}
}

// remove takes entry i out and closes the hole by moving up what probed past it,
// so that no tombstones gather.
func (x *index) remove(h uint64, i uint32) {
	hole := x.home(h >> 32)
	for uint32(x.slots[hole]) != i {
		hole = x.after(hole)
	}
	x.used--
	for j := x.after(hole); x.slots[j] != 0; j = x.after(j) {
		if x.distance(x.home(x.slots[j]>>32), j) >= x.distance(hole, j) {
			x.slots[hole] = x.slots[j]
			hole = j
		}
	}
	x.slots[hole] = 0
}

// distance is how many slots to is behind from.
func (x *index) distance(from, to int) int {
	if d := to - from; d >= 0 {
		return d
	}
	return to - from + len(x.slots)
}
