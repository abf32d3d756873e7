package session

import (
	"math/bits"
	"slices"
)

// wheel holds timers: the number of an entry under the second at which the clock
// must look at it, in one slot a second for the next wheelSize seconds and a list
// for what is further off.
//
// A timer is never taken out. One that is overtaken finds nothing due when its
// second comes, which costs a look at the entry; a list through the entries, which
// would let it be taken out, costs a look at two neighbours for each move, and its
// end can only be reached from one entry to the next, each a cache miss that waits
// for the one before.
//
// An entry with records to come has a timer for the first of them. A folded or
// closed one has, at entry.due, another for its end, which may be early: a session
// that goes on does not move it with each record, but when it has run out.
type wheel struct {
	slots  [wheelSize]uint32 // the last sheet of each second
	busy   [wheelSize / 64]uint64
	sheets slab[sheet]
	far    []farTimer
	farAt  uint32 // none of these is due before it
	pos    uint32 // everything due at or before it has been looked at
	base   uint32 // no slot is of a second before it, nor before pos
	timers int
}

const wheelSize = 1024

// sheet is seven timers of one second, 0 for none, in half a cache line; the
// first number is the sheet before.
type sheet [8]uint32

type farTimer struct{ entry, due uint32 }

// schedule sees to it that the clock looks at a folded or closed entry in time.
func (t *Table) schedule(i uint32) {
	e := t.entries.at(i)
	due := t.lifeOf(e)
	if due == noTime {
		return
	}
	due = max(due, sum(t.wheel.pos, 1))
	if e.due == 0 || due < e.due {
		e.due = due
		t.wheel.place(i, due)
	}
}

// schedulePending sees to it that the clock looks at an entry when it passes the
// first of its pending records.
func (t *Table) schedulePending(i uint32) {
	t.wheel.place(i, max(sum(t.firstPending(t.entries.at(i)).start, 1), sum(t.wheel.pos, 1)))
}

// place adds a timer of a second after pos.
func (w *wheel) place(i, due uint32) {
	if w.timers++; w.timers == 1 {
		w.base = due - min(due, wheelSize/2) // the first of all: others will be near it
	} else if due < w.base {
		w.rebase(due - min(due, wheelSize/2))
	}
	if due-w.from() >= wheelSize-1 { // not the last slot: Advance may have to step back
		w.farther(i, due)
		return
	}
	s := due % wheelSize
	w.busy[s/64] |= 1 << (s % 64)
	n := w.slots[s]
	if n == 0 || w.sheets.at(n)[len(sheet{})-1] != 0 {
		before := n
		n = w.sheets.alloc()
		w.sheets.at(n)[0] = before
		w.slots[s] = n
	}
	p := w.sheets.at(n)
	for k := 1; k < len(p); k++ {
		if p[k] == 0 {
			p[k] = i
			return
		}
	}
}

func (w *wheel) farther(i, due uint32) {
	w.far = append(w.far, farTimer{i, due})
	w.farAt = min(w.farAt, due)
}

// from is the first second that a slot may be of.
func (w *wheel) from() uint32 { return max(w.base, w.pos+1) }

// rebase makes room for earlier seconds than there were, as it happens before the
// clock moves for the first time: what is then far goes to the far timers.
func (w *wheel) rebase(base uint32) {
	from := w.from()
	w.base = base
	for n := range uint32(wheelSize) {
		s := (from + n) % wheelSize
		if from+n-w.from() < wheelSize-1 || w.slots[s] == 0 {
			continue
		}
		w.empty(s, func(i uint32) { w.farther(i, from+n) })
	}
}

// empty takes all timers out of a slot.
func (w *wheel) empty(s uint32, take func(entry uint32)) {
	n := w.slots[s]
	w.slots[s] = 0
	w.busy[s/64] &^= 1 << (s % 64)
	for n != 0 {
		p := w.sheets.at(n)
		for _, i := range p[1:] {
			if i == 0 {
				break
			}
			take(i)
		}
		before := p[0]
		w.sheets.release(n)
		n = before
	}
}

// nextDue moves the wheel to the next second up to goal that has timers and
// returns it; without one it moves to goal and returns false.
func (t *Table) nextDue(goal uint32) (uint32, bool) {
	w := &t.wheel
	for {
		d, ok := w.scan()
		if len(w.far) > 0 && w.farAt <= goal && (!ok || w.farAt <= d) {
			w.pos = max(w.pos, w.farAt-1)
			w.turn()
			continue
		}
		if ok && d <= goal {
			return d, true
		}
		w.pos = max(w.pos, goal)
		return 0, false
	}
}

// scan returns the first busy second after pos.
func (w *wheel) scan() (uint32, bool) {
	from := w.from()
	for n := uint32(0); n < wheelSize; {
		s := (from + n) % wheelSize
		if b := w.busy[s/64] >> (s % 64); b != 0 {
			return from + n + uint32(bits.TrailingZeros64(b)), true
		}
		n += 64 - s%64
	}
	return 0, false
}

// turn moves the far timers that are not far any more.
func (w *wheel) turn() {
	far := w.far
	w.far, w.farAt = w.far[:0], noTime
	w.timers -= len(far)
	for _, f := range far {
		w.place(f.entry, f.due)
	}
	if len(w.far) == 0 {
		w.far = nil
	}
}

// dueEntry is an entry that something is due of, with what orders it: to sort
// entries in place would touch each some ten times.
type dueEntry struct {
	a, b, rest uint64 // of an IPv4 key, as ckey.compare reads it
	entry      uint32
	six        bool
}

// dueAt takes the timers of second d and returns the entries that something is
// due of, in the order of their keys. No entry waits for another to be read, so
// that their cache misses come together.
func (t *Table) dueAt(d uint32) []dueEntry {
	t.due = t.due[:0]
	t.wheel.empty(d%wheelSize, func(i uint32) {
		t.wheel.timers--
		if t.entries.holds(i) {
			t.look(i, d)
		}
	})
	if len(t.due) > 1 {
		slices.SortFunc(t.due, t.compareDue)
		t.due = slices.CompactFunc(t.due, func(a, b dueEntry) bool { return a.entry == b.entry })
	}
	return t.due
}

// look lists an entry if something is due of it at second d.
func (t *Table) look(i, d uint32) {
	e := t.entries.at(i)
	mine := e.due == d
	if mine {
		e.due = 0
	}
	if e.pend != 0 && t.firstPending(e).start < d || t.lifeOf(e) <= d {
		k := &e.key
		t.due = append(t.due, dueEntry{
			a: uint64(k.a)<<16 | uint64(k.portA), b: uint64(k.b)<<16 | uint64(k.portB),
			rest: uint64(k.proto)<<16 | uint64(k.scope), entry: i, six: k.six != 0,
		})
	} else if mine {
		t.schedule(i)
	}
}

// putBack returns to second d what was due and is not done.
func (t *Table) putBack(rest []dueEntry, d uint32) {
	for i := range rest {
		t.wheel.place(rest[i].entry, d)
	}
}

// tidy makes the wheel anew when most of its timers are of entries that are gone,
// which only eviction brings about.
func (t *Table) tidy() {
	if t.wheel.timers < 4*t.entries.live+wheelSize {
		return
	}
	t.wheel = wheel{farAt: noTime, pos: t.wheel.pos}
	for _, s := range t.idx.slots {
		if s == 0 {
			continue
		}
		e := t.entries.at(uint32(s))
		e.due = 0
		t.schedule(uint32(s))
		if e.pend != 0 {
			t.schedulePending(uint32(s))
		}
	}
}

// compareDue orders entries by key, then as compareEntries does. The number comes
// last: equal ones are the same entry, of two timers.
func (t *Table) compareDue(x, y dueEntry) int {
	if !x.six && !y.six {
		switch {
		case x.a != y.a:
			return less(x.a, y.a)
		case x.b != y.b:
			return less(x.b, y.b)
		case x.rest != y.rest:
			return less(x.rest, y.rest)
		}
	}
	if c := t.compareEntries(x.entry, y.entry); c != 0 {
		return c
	}
	return less(uint64(x.entry), uint64(y.entry))
}

// compareEntries orders entries by key, then by the start that their id comes
// from, an entry without an id last.
func (t *Table) compareEntries(i, j uint32) int {
	a, b := t.entries.at(i), t.entries.at(j)
	c := 0
	if a.key.six|b.key.six == 0 {
		c = a.key.compare(&b.key)
	} else {
		ka, kb := t.keyOf(a), t.keyOf(b)
		c = compareKeys(&ka, &kb)
	}
	if c != 0 {
		return c
	}
	return less(a.rank(), b.rank())
}

// compare is compareKeys for two keys of IPv4 addresses.
func (k *ckey) compare(o *ckey) int {
	if c := less(uint64(k.a)<<16|uint64(k.portA), uint64(o.a)<<16|uint64(o.portA)); c != 0 {
		return c
	}
	if c := less(uint64(k.b)<<16|uint64(k.portB), uint64(o.b)<<16|uint64(o.portB)); c != 0 {
		return c
	}
	return less(uint64(k.proto)<<16|uint64(k.scope), uint64(o.proto)<<16|uint64(o.scope))
}

func (e *entry) rank() uint64 {
	if !e.is(stFolded) {
		return 1 << 40
	}
	if !e.is(stClosed) {
		return 1<<33 | uint64(e.born)
	}
	return uint64(e.born)
}

// sum adds seconds and stays at the end of time.
func sum(a, b uint32) uint32 {
	if a+b < a {
		return noTime - 1
	}
	return a + b
}
