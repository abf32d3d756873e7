package session

import (
	"github.com/flowstitch/flowstitch/pkg/flow"
)

// seen is what one observation point saw under one action, of folded and, for
// a provisional view, of pending records.
type seen struct {
	info   uint32
	action flow.Action
	tally  [2]tally
	flags  [2]uint8
	dir    [2]flow.Direction
	owned  uint8
}

// Which pending records a view takes in besides what is folded.
const (
	viewFolded = iota
	viewTold   // those that an event has told
	viewAll
)

// collect gathers the observations of an entry in t.seen.
func (t *Table) collect(e *entry, which int) {
	t.seen = t.seen[:0]
	for n := e.nodes; n != 0; n = t.nodes.at(n).next {
		if v := t.nodes.at(n); v.kind() == nodeObserved {
			t.seen = append(t.seen, seen{
				info: v.info, action: v.action(), tally: v.tally, flags: v.flags,
				dir: [2]flow.Direction{v.direction(0), v.direction(1)}, owned: uint8(v.bits >> 8 & 3),
			})
		}
	}
	if which == viewFolded || e.pend == 0 {
		return
	}
	for n := t.pendings.at(e.pend).next; ; n = t.pendings.at(n).next {
		if p := t.pendings.at(n); which == viewAll || p.told() {
			t.collectPending(p)
		}
		if n == e.pend {
			return
		}
	}
}

func (t *Table) collectPending(p *pending) {
	side, at := p.side(), -1
	for j := range t.seen {
		s := &t.seen[j]
		if s.action == p.action() && t.pool.samePoint(s.info, p.info) &&
			(s.tally[side].records() == 0 || s.dir[side] == p.direction()) {
			at = j
			break
		}
	}
	if at < 0 {
		at = len(t.seen)
		t.seen = append(t.seen, seen{info: p.info, action: p.action()})
	}
	s := &t.seen[at]
	s.dir[side] = p.direction()
	s.tally[side] = s.tally[side].plus(p.packets(), p.bytes(), 1)
	s.flags[side] |= p.flags()
	s.owned |= p.owned()
}

// totals counts each direction once from what is in t.seen: what was accepted
// as the point tells that saw most of it accepted, and what was refused as the
// point tells that saw most of it refused; never a sum of points. Points miss
// packets and do not invent them, so of bytes, packets and records the most
// that any one point saw is each time nearest to the truth, and none of them
// can shrink as more becomes known: no final delta is negative.
func (t *Table) totals() (tr [2]Traffic) {
	for side := range tr {
		var accepted, rejected tally
		for j := range t.seen {
			s := &t.seen[j]
			if s.action == flow.Reject {
				rejected = rejected.most(s.tally[side])
			} else {
				accepted = accepted.most(s.tally[side])
			}
			tr[side].Flags |= s.flags[side]
		}
		tr[side].Packets, tr[side].Bytes = int64(accepted.packets()), int64(accepted.bytes())
		tr[side].RejectPackets, tr[side].RejectBytes = int64(rejected.packets()), int64(rejected.bytes())
		tr[side].Records = int64(accepted.records() + rejected.records())
	}
	return tr
}

// toldBase returns what all events so far have told, by side.
func (t *Table) toldBase(e *entry) [2]Traffic {
	switch {
	case e.is(stToldNode):
		return t.getBase(e, nodeTold)
	case e.is(stToldSame):
		t.collect(e, viewTold)
		return t.totals()
	}
	return [2]Traffic{}
}

// sentBase returns what all final events so far have told, by side.
func (t *Table) sentBase(e *entry) [2]Traffic {
	switch {
	case e.is(stSentNode):
		return t.getBase(e, nodeSent)
	case e.is(stSentSame):
		t.collect(e, viewFolded)
		return t.totals()
	}
	return [2]Traffic{}
}

// unsent returns the start of the first record that no final event has told,
// or noTime.
func (t *Table) unsent(e *entry) uint32 {
	switch {
	case e.is(stSentSame):
		return noTime
	case !e.is(stSentNode):
		return e.first()
	}
	for n := e.nodes; n != 0; n = t.nodes.at(n).next {
		if v := t.nodes.at(n); v.kind() == nodeSent {
			return v.info
		}
	}
	return noTime
}

func (t *Table) setUnsent(e *entry, start uint32) {
	for n := e.nodes; n != 0; n = t.nodes.at(n).next {
		if v := t.nodes.at(n); v.kind() == nodeSent {
			v.info = start
			return
		}
	}
}

func (t *Table) getBase(e *entry, kind uint16) (tr [2]Traffic) {
	for n := e.nodes; n != 0; n = t.nodes.at(n).next {
		v := t.nodes.at(n)
		if v.kind() != kind {
			continue
		}
		for side := range tr {
			b := v.tally[side]
			if v.action() == flow.Reject {
				tr[side].RejectPackets, tr[side].RejectBytes = int64(b.packets()), int64(b.bytes())
				continue
			}
			tr[side].Packets, tr[side].Bytes, tr[side].Records = int64(b.packets()), int64(b.bytes()), int64(b.records())
			tr[side].Flags = v.flags[side]
		}
	}
	return tr
}

// putBase replaces the baseline of a kind.
func (t *Table) putBase(e *entry, kind uint16, tr [2]Traffic) {
	t.dropBase(e, kind)
	n := t.addNode(e, kind|uint16(flow.Accept)<<actionShift)
	v := t.nodes.at(n)
	rejects := false
	for side := range tr {
		v.tally[side] = newTally(uint64(tr[side].Packets), uint64(tr[side].Bytes), uint64(tr[side].Records))
		v.flags[side] = tr[side].Flags
		rejects = rejects || tr[side].RejectPackets != 0 || tr[side].RejectBytes != 0
	}
	if kind == nodeSent {
		v.info = noTime
	}
	if !rejects {
		return
	}
	v = t.nodes.at(t.addNode(e, kind|uint16(flow.Reject)<<actionShift))
	for side := range tr {
		v.tally[side] = newTally(uint64(tr[side].RejectPackets), uint64(tr[side].RejectBytes), 0)
	}
}

func (t *Table) addNode(e *entry, bits uint16) uint32 {
	last := uint32(0)
	for n := e.nodes; n != 0; n = t.nodes.at(n).next {
		last = n
	}
	n := t.nodes.alloc()
	t.nodes.at(n).bits = bits
	t.link(e, last, n)
	return n
}

// dropBase removes the baseline of a kind.
func (t *Table) dropBase(e *entry, kind uint16) {
	last := uint32(0)
	for n := e.nodes; n != 0; {
		next := t.nodes.at(n).next
		if t.nodes.at(n).kind() == kind {
			t.link(e, last, next)
			t.releaseNode(n)
		} else {
			last = n
		}
		n = next
	}
}

// tellAll marks every pending record as told.
func (t *Table) tellAll(e *entry) {
	if e.pend == 0 {
		return
	}
	for n := e.pend; ; {
		p := t.pendings.at(n)
		p.lo |= pendTold
		if n = p.next; n == e.pend {
			return
		}
	}
}
