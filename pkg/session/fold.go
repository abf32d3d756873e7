package session

import (
	"github.com/flowstitch/flowstitch/pkg/flow"
)

// Advance moves the clock: no record that starts before it is expected any
// more. It folds what the clock passes, record by record in event time, and
// emits final events in the order of the second at which they became certain,
// then of their key. Between two entries it asks full and stops when that is
// true; it is then called again with the same clock, and nothing between.
func (t *Table) Advance(clock flow.Time, emit Emit, full func() bool) (done bool) {
	if clock <= t.clock || clock <= 0 {
		return true
	}
	goal := noTime - 1
	if clock < flow.Time(goal) {
		goal = uint32(clock)
	}
	for {
		d, ok := t.nextDue(goal)
		if !ok {
			break
		}
		t.wheel.pos = d
		list := t.dueAt(d)
		for n := range list {
			if full != nil && full() {
				t.wheel.pos = d - 1
				t.putBack(list[n:], d)
				return false
			}
			t.settle(list[n].entry, d, emit)
		}
		if cap(t.due) > 1<<14 {
			t.due = nil // a burst is no reason to keep the room
		}
	}
	t.clock = clock
	return true
}

// lifeOf returns when the clock must look at a folded or closed entry next,
// whatever is pending, or noTime.
func (t *Table) lifeOf(e *entry) uint32 {
	switch {
	case e.is(stClosed):
		return sum(sum(e.endAt, uint32(t.cfg.Retain)), 1)
	case e.is(stFolded):
		return min(t.closeAt(e), t.progressAt(e))
	}
	return noTime
}

// closeAt is the clock at which no record can join the session any more.
func (t *Table) closeAt(e *entry) uint32 {
	at := sum(e.last(), t.cfg.idle(e.key.proto))
	if e.ended() {
		at = min(at, sum(e.endAt, uint32(t.cfg.Linger)))
	}
	return sum(at, 1)
}

// progressAt is the clock at which what is unsent must be sent.
func (t *Table) progressAt(e *entry) uint32 {
	if s := t.unsent(e); s != noTime {
		return sum(s, uint32(t.cfg.Active))
	}
	return noTime - 1
}

// settle brings one entry up to the clock: in the order of event time, and of
// fold, close, progress at one second.
func (t *Table) settle(i uint32, now uint32, emit Emit) {
	for moved := false; ; { // moved: what is pending begins later, or is another entry's
		e := t.entries.at(i)
		if e.is(stClosed) {
			t.free(i)
			return
		}
		fold, done, progress := noTime, noTime, noTime
		if e.pend != 0 {
			fold = sum(t.firstPending(e).start, 1)
		}
		if e.is(stFolded) {
			done, progress = t.closeAt(e), t.progressAt(e)
		}
		switch {
		case fold <= now && fold <= done && fold <= progress:
			i = t.foldNext(i, fold, emit)
			moved = true
		case done <= now && done <= progress:
			reason := ReasonIdle
			if e.ended() {
				reason = e.endReason()
			}
			if i = t.close(i, reason, done, emit); i == 0 {
				return
			}
			moved = true
		case progress <= now:
			t.tellFinal(i, KindProgress, progress, emit)
		default:
			t.schedule(i)
			if moved && e.pend != 0 {
				t.schedulePending(i)
			}
			return
		}
	}
}

func (e *entry) endReason() Reason {
	if e.is(stRst) {
		return ReasonRST
	}
	return ReasonFIN
}

// foldNext folds the first pending record, into a new session where it begins
// one, and returns the entry that goes on.
func (t *Table) foldNext(i, at uint32, emit Emit) uint32 {
	e := t.entries.at(i)
	if e.is(stFolded) {
		if reason, ends := t.splits(e, t.firstPending(e)); ends {
			i = t.close(i, reason, at, emit)
			e = t.entries.at(i)
		}
	}
	t.keepTold(e, t.firstPending(e).told())
	p := t.popPending(e)
	if !e.is(stFolded) {
		e.born = p.start
		e.setOrigin(t.offset - int64(uint32(t.offset)-p.off))
	}
	t.fold(e, &p)
	t.pool.drop(p.info)
	return i
}

// keepTold notes what events have told, in a node, before a record is folded
// that none of them has.
func (t *Table) keepTold(e *entry, told bool) {
	if e.is(stToldSame) && !told {
		t.putBase(e, nodeTold, t.toldBase(e))
		e.state = e.state&^stToldSame | stToldNode
	}
}

// splits reports whether a record begins a new session on the same endpoints,
// and why the one before has ended:
//
//   - it starts after the idle gap, or after an end and its linger;
//   - it is a SYN without ACK that starts after an end, or after everything of
//     a session that both sides took part in. From an interface that has not
//     seen this direction of the session yet, a SYN up to Skew later is still
//     the same handshake, dated late.
func (t *Table) splits(e *entry, p *pending) (Reason, bool) {
	if p.start > sum(e.last(), t.cfg.idle(e.key.proto)) {
		return ReasonIdle, true
	}
	if e.ended() && p.start > sum(e.endAt, uint32(t.cfg.Linger)) {
		return e.endReason(), true
	}
	if !p.opens() {
		return ReasonOpen, false
	}
	skew := uint32(t.cfg.Skew)
	for n := e.nodes; n != 0; n = t.nodes.at(n).next {
		v := t.nodes.at(n)
		if v.kind() == nodeObserved && v.tally[p.side()].records() > 0 && t.pool.samePoint(v.info, p.info) {
			skew = 0
		}
	}
	switch {
	case e.ended():
		return e.endReason(), p.start > sum(e.endAt, skew)
	case e.start[sideA] != noTime && e.start[sideB] != noTime:
		return ReasonReuse, p.start > sum(e.last(), skew)
	}
	return ReasonOpen, false
}

// fold adds a record to a session.
func (t *Table) fold(e *entry, p *pending) {
	if !e.is(stFolded) {
		e.state |= stFolded
	} else if e.is(stSentSame) {
		t.putBase(e, nodeSent, t.sentBase(e))
		e.state = e.state&^stSentSame | stSentNode
		t.setUnsent(e, p.start)
	} else if e.is(stSentNode) {
		t.setUnsent(e, min(t.unsent(e), p.start))
	}
	t.count(e, p)
}

// count adds a record to what a session holds.
func (t *Table) count(e *entry, p *pending) {
	side := p.side()
	e.start[side] = min(e.start[side], p.start)
	e.end[side] = max(e.end[side], p.end())
	if f := p.flags(); f&(flow.FIN|flow.RST) != 0 {
		if f&flow.RST != 0 {
			e.state |= stRst
		}
		if f&flow.FIN != 0 {
			e.state |= stFinA << side
		}
		if !e.is(stClosed) {
			e.endAt = max(e.endAt, p.end())
		}
	}
	if e.misc&pathMask == 0 {
		e.misc |= p.path()
	}
	e.misc |= p.owned() << 4
	t.addObserved(e, p)
}

// addObserved counts a record at its observation point.
func (t *Table) addObserved(e *entry, p *pending) {
	side, found := p.side(), uint32(0)
	last := uint32(0)
	for n := e.nodes; n != 0; last, n = n, t.nodes.at(n).next {
		v := t.nodes.at(n)
		if v.kind() == nodeObserved && v.action() == p.action() && t.pool.samePoint(v.info, p.info) &&
			(v.tally[side].records() == 0 || v.direction(side) == p.direction()) {
			found = n
			break
		}
	}
	if found == 0 {
		found = t.nodes.alloc()
		t.link(e, last, found)
		v := t.nodes.at(found)
		v.info, v.bits = p.info, nodeObserved|uint16(p.action())<<actionShift
		t.pool.hold(p.info)
	}
	v := t.nodes.at(found)
	if v.tally[side].records() == 0 {
		v.bits |= uint16(p.direction()) << (directionShift + 2*side)
	}
	v.bits |= uint16(p.owned()) << 8
	v.tally[side] = v.tally[side].plus(p.packets(), p.bytes(), 1)
	v.flags[side] |= p.flags()
	t.remember(e, found, p.print())
}

func (t *Table) link(e *entry, last, n uint32) {
	if last == 0 {
		e.nodes = n
	} else {
		t.nodes.at(last).next = n
	}
}

// remember keeps the fingerprint of a folded record: five beside what they
// were counted in, the next thirteen in a node of their own.
func (t *Table) remember(e *entry, n, mark uint32) {
	v := t.nodes.at(n)
	at := v.bits & nodeSeen >> seenShift
	old := v.seen[at]
	v.seen[at] = mark
	v.bits = v.bits&^nodeSeen | (at+1)%uint16(len(v.seen))<<seenShift
	if old == 0 {
		return
	}
	last := n
	for m := v.next; m != 0; last, m = m, t.nodes.at(m).next {
		if w := t.nodes.at(m); w.kind() == nodeMemory && w.info == v.info {
			w.push(old)
			return
		}
	}
	m := t.nodes.alloc()
	w := t.nodes.at(m)
	t.nodes.at(last).next = m
	w.info, w.bits = t.nodes.at(n).info, nodeMemory
	t.pool.hold(w.info)
	w.push(old)
}

const memorySize = 13

// push overwrites the oldest fingerprint of a memory node.
func (v *node) push(mark uint32) {
	at := v.bits & nodeSeen >> seenShift
	v.bits = v.bits&^nodeSeen | (at+1)%memorySize<<seenShift
	if at < 5 {
		v.seen[at] = mark
		return
	}
	at -= 5
	w := &v.tally[at/4]
	half := &w.lo
	if at%4 > 1 {
		half = &w.hi
	}
	shift := 32 * (at % 2)
	*half = *half&^(maxRecords<<shift) | uint64(mark)<<shift
}

// holds reports whether a node remembers a fingerprint.
func (v *node) holds(mark uint32) bool {
	for _, s := range v.seen {
		if s == mark {
			return true
		}
	}
	if v.kind() != nodeMemory {
		return false
	}
	for _, w := range [...]uint64{v.tally[0].lo, v.tally[0].hi, v.tally[1].lo, v.tally[1].hi} {
		if uint32(w) == mark || uint32(w>>32) == mark {
			return true
		}
	}
	return false
}

// close ends a session at a second of event time and returns the entry of the
// records that come after it, or 0 when there are none.
func (t *Table) close(i uint32, reason Reason, at uint32, emit Emit) uint32 {
	next := uint32(0)
	e := t.entries.at(i)
	if e.pend != 0 {
		t.keepTold(e, false)
		next = t.follow(i)
	}
	e.state |= uint32(reason) << reasonShift
	t.tellFinal(i, KindClose, at, emit)
	e.state |= stClosed
	e.state &^= stDirty
	e.endAt = at
	t.uncountSource(e)
	t.stats.Closes++
	t.stats.Retained++
	t.join(i, listDone)
	t.schedule(i)
	return next
}

// follow makes the entry of the session after this one and gives it the
// pending records, which it has to tell as its own.
func (t *Table) follow(i uint32) uint32 {
	k := t.keyOf(t.entries.at(i))
	next := t.open(hashKey(&k), &k)
	e, f := t.entries.at(i), t.entries.at(next)
	f.pend, e.pend = e.pend, 0
	for n := f.pend; ; {
		p := t.pendings.at(n)
		p.lo &^= pendTold
		if n = p.next; n == f.pend {
			break
		}
	}
	t.wait(next)
	return next
}
