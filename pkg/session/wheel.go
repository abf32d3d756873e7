package session

import (
	"math/bits"
	"slices"
)

// wheel holds the entries by the second at which the clock must look at them:
// one slot a second for the next wheelSize seconds and a list for what is
// further off, which is looked through once a turn.
type wheel struct {
	slots [wheelSize]uint32
	busy  [wheelSize / 64]uint64
	far   uint32 // first of the list of entries beyond this turn
	farAt uint32 // no far entry is due before it
	base  uint32 // start of this turn, a multiple of wheelSize
	pos   uint32 // everything due at or before it has been looked at
}

const wheelSize = 1024

func (t *Table) schedule(i uint32) {
	e := t.entries.at(i)
	due := t.dueOf(e)
	if due <= t.wheel.pos {
		due = sum(t.wheel.pos, 1)
	}
	if e.due == due {
		return
	}
	t.unschedule(i)
	t.place(i, due)
}

// place puts entry i, which is not in the wheel, where second due is.
func (t *Table) place(i, due uint32) {
	e := t.entries.at(i)
	e.due = due
	head := &t.wheel.far
	if due-t.wheel.base < wheelSize {
		s := due % wheelSize
		head = &t.wheel.slots[s]
		t.wheel.busy[s/64] |= 1 << (s % 64)
	} else {
		e.state |= stFar
		t.wheel.farAt = min(t.wheel.farAt, due)
	}
	e.wheelNext, e.wheelPrev = *head, 0
	if *head != 0 {
		t.entries.at(*head).wheelPrev = i
	}
	*head = i
}

func (t *Table) unschedule(i uint32) {
	e := t.entries.at(i)
	if e.due == 0 {
		return
	}
	if e.wheelNext != 0 {
		t.entries.at(e.wheelNext).wheelPrev = e.wheelPrev
	}
	switch s := e.due % wheelSize; {
	case e.wheelPrev != 0:
		t.entries.at(e.wheelPrev).wheelNext = e.wheelNext
	case e.is(stFar):
		t.wheel.far = e.wheelNext
	default:
		if t.wheel.slots[s] = e.wheelNext; e.wheelNext == 0 {
			t.wheel.busy[s/64] &^= 1 << (s % 64)
		}
	}
	e.due, e.wheelNext, e.wheelPrev = 0, 0, 0
	e.state &^= stFar
}

// nextDue moves the wheel to the next second up to goal at which something is
// due and returns it; without one it moves to goal and returns false.
func (t *Table) nextDue(goal uint32) (uint32, bool) {
	w := &t.wheel
	for {
		if d, ok := w.scan(); ok {
			if d > goal {
				break
			}
			return d, true
		}
		if w.far == 0 || w.farAt > goal {
			break
		}
		t.turn(max(w.base, min(t.firstFar(), goal)))
	}
	w.pos = max(w.pos, goal)
	if w.pos-w.base >= wheelSize {
		t.turn(w.pos)
	}
	return 0, false
}

// scan returns the first busy second of this turn after pos.
func (w *wheel) scan() (uint32, bool) {
	from := uint32(0)
	if w.pos >= w.base {
		from = w.pos - w.base + 1
	}
	for s := from; s < wheelSize; s = (s/64 + 1) * 64 {
		if b := w.busy[s/64] >> (s % 64); b != 0 {
			return w.base + s + uint32(bits.TrailingZeros64(b)), true
		}
	}
	return 0, false
}

// turn starts the turn that second to lies in. No entry of the present turn
// is left when it is called.
func (t *Table) turn(to uint32) {
	w := &t.wheel
	w.base, w.farAt = to-to%wheelSize, noTime
	for i := w.far; i != 0; {
		e := t.entries.at(i)
		next := e.wheelNext
		if due := e.due; due-w.base < wheelSize {
			t.unschedule(i)
			t.place(i, due)
		} else {
			w.farAt = min(w.farAt, due)
		}
		i = next
	}
}

// firstFar returns when the earliest far entry is due.
func (t *Table) firstFar() uint32 {
	first := noTime
	for i := t.wheel.far; i != 0; i = t.entries.at(i).wheelNext {
		first = min(first, t.entries.at(i).due)
	}
	return first
}

// dueAt collects the entries due at second d, in the order of their keys.
func (t *Table) dueAt(d uint32) []uint32 {
	t.batch = t.batch[:0]
	for i := t.wheel.slots[d%wheelSize]; i != 0; i = t.entries.at(i).wheelNext {
		t.batch = append(t.batch, i)
	}
	if len(t.batch) > 1 {
		slices.SortFunc(t.batch, t.compareEntries)
	}
	return t.batch
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
