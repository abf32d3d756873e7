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

// index finds entries by key: open addressing with linear probing over 32-bit
// slots of 26 bits entry number and 6 bits of the hash, so that a probe that
// misses seldom touches an entry.
type index struct {
	slots []uint32
	used  int
}

const (
	slotEntry = 1<<26 - 1
	slotTag   = ^uint32(slotEntry)
	minSlots  = 64
)

func tagOf(h uint64) uint32 { return uint32(h>>32) & slotTag }

// find returns the entry of the key for which ok holds, or 0.
func (t *Table) find(h uint64, k *flow.Key, closed bool) uint32 {
	if len(t.idx.slots) == 0 {
		return 0
	}
	mask := uint64(len(t.idx.slots) - 1)
	c, tag, six := pack4(k), tagOf(h), !is4(k)
	for i := h & mask; t.idx.slots[i] != 0; i = (i + 1) & mask {
		s := t.idx.slots[i]
		if s&slotTag != tag {
			continue
		}
		e := t.entries.at(s & slotEntry)
		if e.is(stClosed) == closed && t.same(e, &c, k, six) {
			return s & slotEntry
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

func (t *Table) indexAdd(h uint64, i uint32) {
	if (t.idx.used+1)*5 > len(t.idx.slots)*4 {
		t.indexGrow()
	}
	t.idx.used++
	t.idx.put(h, i)
}

func (x *index) put(h uint64, i uint32) {
	mask := uint64(len(x.slots) - 1)
	j := h & mask
	for x.slots[j] != 0 {
		j = (j + 1) & mask
	}
	x.slots[j] = i | tagOf(h)
}

func (t *Table) indexGrow() {
	old := t.idx.slots
	t.idx.slots = make([]uint32, max(minSlots, 2*len(old)))
	for _, s := range old {
		if s != 0 {
			k := t.keyOf(t.entries.at(s & slotEntry))
			t.idx.put(hashKey(&k), s&slotEntry)
		}
	}
}

// indexRemove takes entry i out and closes the hole by moving up what probed
// past it, so that no tombstones gather.
func (t *Table) indexRemove(h uint64, i uint32) {
	mask := uint64(len(t.idx.slots) - 1)
	hole := h & mask
	for t.idx.slots[hole]&slotEntry != i {
		hole = (hole + 1) & mask
	}
	t.idx.used--
	for j := (hole + 1) & mask; t.idx.slots[j] != 0; j = (j + 1) & mask {
		k := t.keyOf(t.entries.at(t.idx.slots[j] & slotEntry))
		home := hashKey(&k) & mask
		if (j-home)&mask >= (j-hole)&mask {
			t.idx.slots[hole] = t.idx.slots[j]
			hole = j
		}
	}
	t.idx.slots[hole] = 0
}
