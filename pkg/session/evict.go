package session

import (
	"encoding/binary"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// probePackets is how many packets a record may have for its session to count
// as a probe, which is evicted before any that carried more.
const probePackets = 4

// evict brings the bucket back under its bound. A flood of probes pushes
// out itself first: see heaviest. What is only kept for corrections gives way
// before probes, and they before the others; the least recently active first.
func (t *Table) evict(emit Emit) {
	order := [...]int{listDone, listRest, listTold, listNew, listRest1, listTold1, listNew1}
	for t.bytes() > int(t.cfg.MaxBytes) && t.entries.live > 1 {
		for _, l := range order {
			i := t.lists[l].first
			if i == 0 {
				continue
			}
			if l == listDone {
				t.free(i)
				break
			}
			if l <= listRest1 && l%2 == listNew%2 {
				i = t.heaviest(l)
			}
			t.evictOne(i, emit)
			break
		}
	}
	t.tidy()
}

// evictLook is how many entries at each end of a list are looked at.
const evictLook = 8

// heaviest returns, of the eight probes of a list that have been quiet for
// longest, the one whose endpoints hold most probes, the first of equals; but
// one of the eight newest where an endpoint of it holds more, and a quarter of
// all there are: then that is the flood, and older probes of others stay.
func (t *Table) heaviest(l int) uint32 {
	best, most := t.lists[l].first, uint32(0)
	for n, i := 0, best; n < evictLook && i != 0; n++ {
		if w := t.weight(i); w > most {
			best, most = i, w
		}
		i = t.linkAt(i).next
	}
	most = max(most, t.probes/4)
	for n, i := 0, t.lists[l].last; n < evictLook && i != 0; n++ {
		if w := t.weight(i); w > most {
			best, most = i, w
		}
		i = t.linkAt(i).prev
	}
	return best
}

func (t *Table) weight(i uint32) uint32 {
	a, b := t.sourceSlots(t.entries.at(i))
	return max(t.sources[a], t.sources[b])
}

// evictOne tells a session as it stands and forgets it.
func (t *Table) evictOne(i uint32, emit Emit) {
	e := t.entries.at(i)
	for e.pend != 0 {
		i = t.foldNext(i, sum(t.firstPending(e).start, 1), emit)
		e = t.entries.at(i)
	}
	e.state |= uint32(ReasonEvicted) << reasonShift
	t.tellFinal(i, KindClose, max(t.wheel.pos, e.last()), emit)
	t.stats.Closes++
	t.stats.Evicted++
	t.free(i)
}

func (t *Table) sourceSlots(e *entry) (a, b uint8) {
	k := t.keyOf(e)
	return sourceSlot(&k.A.Addr), sourceSlot(&k.B.Addr)
}

func sourceSlot(a *flow.Addr) uint8 {
	return uint8(mix(binary.LittleEndian.Uint64(a[8:])^seed1, binary.LittleEndian.Uint64(a[:8])^seed2) >> 56)
}

// countSource counts a probe against both its endpoints; a source of many and
// a target of many are both seen by it.
func (t *Table) countSource(e *entry) {
	if e.is(stCounted | stBig) {
		return
	}
	e.state |= stCounted
	a, b := t.sourceSlots(e)
	t.probes++
	t.sources[a]++
	t.sources[b]++
}

func (t *Table) uncountSource(e *entry) {
	if !e.is(stCounted) {
		return
	}
	e.state &^= stCounted
	a, b := t.sourceSlots(e)
	t.probes--
	t.sources[a]--
	t.sources[b]--
}
