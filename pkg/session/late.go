package session

import "github.com/flowstitch/flowstitch/pkg/flow"

// observeLate takes a record that starts behind the clock. It corrects the
// session that it lies nearest to, open or closed, or makes one; one that
// starts more than Retain behind the clock is too late for that.
func (t *Table) observeLate(h uint64, k *flow.Key, p *pending, emit Emit) Verdict {
	best, distance := uint32(0), int64(1)<<40
	for _, i := range t.sessionsOf(h, k) {
		e := t.entries.at(i)
		if t.repeats(e, p) {
			return Duplicate
		}
		from, to := e.first(), e.last()
		if !e.is(stFolded) {
			from, to = t.firstPending(e).start, t.pendings.at(e.pend).start
		}
		d := max(int64(from)-int64(p.end()), int64(p.start)-int64(to), 0)
		if d <= int64(t.cfg.idle(e.key.proto)) && (d < distance || d == distance && !e.is(stClosed)) {
			best, distance = i, d
		}
	}
	if flow.Time(p.start) < t.clock.Add(-t.cfg.Retain) {
		return Late
	}
	if best == 0 {
		best = t.find(h, k, false)
		if best == 0 {
			best = t.open(h, k)
		} else {
			best = t.insertBefore(h, k)
		}
	}
	t.correct(best, p, emit)
	if t.cfg.MaxBytes > 0 {
		t.evict(emit)
	}
	return Corrected
}

// insertBefore makes a session of its own for a record that lies further than
// the idle gap before the open one of its key: it is closed as it is told.
func (t *Table) insertBefore(h uint64, k *flow.Key) uint32 {
	i := t.open(h, k)
	e := t.entries.at(i)
	e.state |= stClosed | uint32(ReasonIdle)<<reasonShift
	e.endAt = t.wheel.pos
	t.stats.Retained++
	t.stats.Closes++
	t.join(i, listDone)
	return i
}

// sessionsOf returns the entries of a key, closed ones included.
func (t *Table) sessionsOf(h uint64, k *flow.Key) []uint32 {
	t.batch = t.batch[:0]
	x := &t.idx
	if len(x.slots) == 0 {
		return nil
	}
	c, six := pack4(k), !is4(k)
	for i := x.home(h >> 32); x.slots[i] != 0; i = x.after(i) {
		s := x.slots[i]
		if s>>32 == h>>32 && t.same(t.entries.at(uint32(s)), &c, k, six) {
			t.batch = append(t.batch, uint32(s))
		}
	}
	return t.batch
}

// repeats reports whether a record has been folded into a session already.
func (t *Table) repeats(e *entry, p *pending) bool {
	mark := p.print()
	for n := e.nodes; n != 0; n = t.nodes.at(n).next {
		v := t.nodes.at(n)
		if (v.kind() == nodeObserved || v.kind() == nodeMemory) && v.holds(mark) && t.pool.samePoint(v.info, p.info) {
			return true
		}
	}
	return false
}

// correct folds a late record into a session and tells at once what that, and
// whatever else has been folded since the last final event, adds.
func (t *Table) correct(i uint32, p *pending, emit Emit) {
	e := t.entries.at(i)
	if !e.is(stFolded) {
		e.born = p.start
		e.setOrigin(t.offset)
	}
	t.keepTold(e, false)
	t.fold(e, p)
	if e.list() == listNone {
		t.join(i, listTold)
	}
	t.tellFinal(i, KindCorrect, max(t.wheel.pos, p.start), emit)
	t.stats.Corrections++
	t.schedule(i)
}
