package session

import (
	"encoding/binary"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// probePackets is how many packets a record may have for its session to count
// as a probe, which is evicted before any that carried more.
const probePackets = 4

// evict brings the bucket back under its bound. Of the eight probes that have
// been quiet for longest it takes one whose endpoint holds the most, so that a
// flood pushes out itself first. What is only kept for corrections gives way
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
				i = t.heaviest(i)
			}
			t.evictOne(i, emit)
			break
		}
	}
}

// heaviest returns the entry of the eight from i on whose endpoints hold most
// probes, the first of equals.
func (t *Table) heaviest(i uint32) uint32 {
	best, most := i, uint32(0)
	for n := 0; n < 8 && i != 0; n++ {
		e := t.entries.at(i)
		a, b := t.sourceSlots(e)
		if w := max(t.sources[a], t.sources[b]); w > most {
			best, most = i, w
		}
		i = e.listNext
	}
	return best
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
	t.sources[a]++
	t.sources[b]++
}

func (t *Table) uncountSource(e *entry) {
	if !e.is(stCounted) {
		return
	}
	e.state &^= stCounted
	a, b := t.sourceSlots(e)
	t.sources[a]--
	t.sources[b]--
}
