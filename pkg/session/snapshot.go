package session

import (
	"encoding/binary"
	"slices"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/flow/packed"
)

// snapshotVersion is the first byte of a snapshot: its format. Version 1 is
// still read, see restore1.go.
const snapshotVersion = 2

// AppendSnapshot appends the whole state. Tables that behave alike give the
// same bytes: entries are in the order of their keys, lists in their own, and
// points, last, in the order in which the entries name them. It must not be
// called inside an unfinished Advance.
//
// A snapshot of all sessions is written again and again, so it is small: times
// and offsets are distances from the table's own, a key is what differs from the
// key before, a number takes the bytes that it needs.
func (t *Table) AppendSnapshot(b []byte) []byte {
	b = append(b, snapshotVersion)
	b = packed.AppendVarint(b, int64(t.clock))
	b = packed.AppendUint(b, uint64(t.wheel.pos))
	b = packed.AppendUint(b, uint64(t.wall))
	b = packed.AppendVarint(b, int64(t.partition))
	b = packed.AppendVarint(b, t.offset)
	for _, g := range t.gaps {
		b = packed.AppendUint(b, g)
	}
	b = append(b, t.gapAt)
	order := t.inOrder()
	w := writer{t: t, b: packed.AppendUint(b, uint64(len(order))), number: make([]uint32, len(t.pool.infos))}
	place := make([]uint32, len(t.entries.chunks)<<slabBits)
	for n, i := range order {
		place[i] = uint32(n)
		w.entry(i)
	}
	b = w.b
	for l := listNew; l < numLists; l++ {
		count := uint64(0)
		for i := t.lists[l].first; i != 0; i = t.linkAt(i).next {
			count++
		}
		b = packed.AppendUint(b, count)
		for i := t.lists[l].first; i != 0; i = t.linkAt(i).next {
			b = packed.AppendUint(b, uint64(place[i]))
		}
	}
	at := len(b)
	b = packed.AppendUint(b, uint64(len(w.order)))
	before := &info{}
	for _, i := range w.order {
		b = t.pool.infos[i].appendAfter(b, before)
		before = &t.pool.infos[i]
	}
	return binary.BigEndian.AppendUint32(b, uint32(len(b)-at))
}

// inOrder returns all entries by key and age.
func (t *Table) inOrder() []uint32 {
	order := make([]uint32, 0, t.entries.live)
	for _, s := range t.idx.slots {
		if s != 0 {
			order = append(order, uint32(s))
		}
	}
	slices.SortFunc(order, func(i, j uint32) int {
		if c := t.compareEntries(i, j); c != 0 {
			return c
		}
		a, b := t.entries.at(i), t.entries.at(j)
		return slices.Compare([]uint32{a.endAt, t.linkAt(i).wall, a.start[0], a.start[1]}, []uint32{b.endAt, t.linkAt(j).wall, b.start[0], b.start[1]})
	})
	return order
}

// writer appends entries.
type writer struct {
	t      *Table
	b      []byte
	number []uint32 // of points, as entries name them; 0 is not numbered yet
	order  []uint32
	key    [2][flow.KeySize6]byte // of this entry and of the one before, in turn
	size   [2]int
	turn   int
}

func (w *writer) uint(v uint64)    { w.b = packed.AppendUint(w.b, v) }
func (w *writer) near(v, to int64) { w.b = packed.AppendVarint(w.b, v-to) }

// point numbers points as a snapshot meets them.
func (w *writer) point(i uint32) {
	if w.number[i] == 0 {
		w.order = append(w.order, i)
		w.number[i] = uint32(len(w.order))
	}
	w.uint(uint64(w.number[i] - 1))
}

// keyOf writes how many bytes a key shares with the one before, whether it is
// of IPv6, and the other bytes.
func (w *writer) keyOf(e *entry) {
	k := w.t.keyOf(e)
	last := w.key[w.turn][:w.size[w.turn]]
	w.turn ^= 1
	now := k.AppendTo(w.key[w.turn][:0])
	w.size[w.turn] = len(now)
	same := 0
	for same < len(last) && same < len(now) && last[same] == now[same] {
		same++
	}
	w.b = append(w.b, byte(same<<1|int(e.key.six)))
	w.b = append(w.b, now[same:]...)
}

func (w *writer) entry(i uint32) {
	t := w.t
	e := t.entries.at(i)
	w.uint(uint64(e.state &^ stList))
	w.keyOf(e)
	if e.is(stFolded) {
		w.near(int64(e.born), int64(t.wheel.pos))
		for side := range e.start {
			if e.start[side] == noTime {
				w.uint(0)
				continue
			}
			w.uint(1 + zigzag(int64(e.start[side])-int64(e.born)))
			w.near(int64(e.end[side]), int64(e.start[side]))
		}
		w.near(t.offset, e.origin())
	}
	if e.endAt == 0 {
		w.uint(0)
	} else {
		w.uint(1 + zigzag(int64(e.endAt)-int64(t.wheel.pos)))
	}
	w.near(int64(t.wall), int64(t.linkAt(i).wall))
	w.b = append(w.b, e.evidence, e.conf, e.misc)
	w.nodes(e)
	w.ring(e)
}

func zigzag(v int64) uint64 { return uint64(v<<1 ^ v>>63) }

func (w *writer) nodes(e *entry) {
	n := uint64(0)
	for i := e.nodes; i != 0; i = w.t.nodes.at(i).next {
		n++
	}
	w.uint(n)
	for i := e.nodes; i != 0; i = w.t.nodes.at(i).next {
		w.node(e, w.t.nodes.at(i))
	}
}

func (w *writer) node(e *entry, v *node) {
	head := uint64(v.bits) << 1 // bit 0: flags follow
	if v.flags != [2]uint8{} {
		head |= 1
	}
	w.uint(head)
	if k := v.kind(); k == nodeObserved || k == nodeMemory {
		w.point(v.info)
	} else {
		w.near(int64(int32(v.info)), int64(int32(w.t.wheel.pos))) // noTime, a second that can be, or 0
	}
	for _, a := range v.tally {
		if v.kind() == nodeMemory {
			w.b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(w.b, a.lo), a.hi)
			continue
		}
		w.uint(a.records()<<1 | min(a.packets()|a.bytes(), 1))
		if a.packets()|a.bytes() != 0 {
			w.uint(a.packets())
			w.uint(a.bytes())
		}
	}
	if head&1 != 0 {
		w.b = append(w.b, v.flags[0], v.flags[1])
	}
	w.prints(e, v)
}

// Codes of a fingerprint: none, four bytes that follow, or the one of the only
// record of a direction, which follows from the counts.
const (
	printNone = iota
	printRaw
	printOf   // and above: the guesses of node.guess
	printBits = 4
)

func (w *writer) prints(e *entry, v *node) {
	codes := uint64(0)
	for i, s := range v.seen {
		code := uint64(printNone)
		if s != 0 {
			code = printRaw
			for g := range guesses {
				if v.guess(e, g) == s {
					code = printOf + uint64(g)
					break
				}
			}
		}
		codes |= code << (i * printBits)
	}
	w.uint(codes)
	for i, s := range v.seen {
		if codes>>(i*printBits)&(1<<printBits-1) == printRaw {
			w.b = binary.BigEndian.AppendUint32(w.b, s)
		}
	}
}

// guesses is how many records node.guess can make up.
const guesses = 8

// guess returns the fingerprint that the only record of a direction has if it
// is what the node's counts and the session's times say, or 0. Of the guesses,
// bit 0 is the side; bit 1, that the format has TCP flags; bit 2, that the
// record is the one with the session's path.
func (v *node) guess(e *entry, g int) uint32 {
	side := g & 1
	c := v.tally[side]
	if v.kind() != nodeObserved || c.records() != 1 || e.start[side] == noTime {
		return 0
	}
	flags := uint64(v.flags[side]&7 | v.flags[side]>>1&8 | uint8(g)>>1&1<<4)
	p := pending{start: e.start[side]}
	p.lo = c.bytes()&pendBytes | flags<<pendFlags | uint64(side)<<pendSide | uint64(v.action())<<pendAction | uint64(v.direction(side))<<pendDirection
	p.hi = c.packets() | uint64(e.end[side]-e.start[side])&maxDuration<<pendDuration
	if g&4 != 0 {
		p.hi |= uint64(e.misc&pathMask) << pendPath
	}
	return p.print()
}

// pendingRest is how many bits pending.lo has above the bytes; the path follows
// them.
const pendingRest = 61 - pendFlags

func (w *writer) ring(e *entry) {
	n := uint64(0)
	for i := e.pend; i != 0; {
		n++
		if i = w.t.pendings.at(i).next; i == e.pend {
			break
		}
	}
	w.uint(n)
	start, off := w.t.wheel.pos, uint32(w.t.offset)
	for i := e.pend; n > 0; n-- {
		i = w.t.pendings.at(i).next
		p := w.t.pendings.at(i)
		w.near(int64(p.start), int64(start))
		w.point(p.info)
		w.near(int64(int32(off-p.off)), 0)
		w.uint(p.lo>>pendFlags | uint64(p.path())<<pendingRest)
		w.uint(p.bytes())
		w.uint(p.packets())
		w.uint(p.hi >> pendDuration & maxDuration)
		start, off = p.start, p.off
	}
}
