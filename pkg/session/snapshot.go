package session

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/flow/packed"
)

// snapshotVersion is the first byte of a snapshot: the format, and with it the
// meaning of the state (the fold version).
const snapshotVersion = 1

// ErrSnapshot reports bytes that are no snapshot, or of another version.
var ErrSnapshot = errors.New("session: not a snapshot that this version reads")

// AppendSnapshot appends the whole state. Tables that behave alike give the
// same bytes: entries are in the order of their keys, lists in their own, and
// points, last, in the order in which the entries name them. It must not be
// called inside an unfinished Advance.
func (t *Table) AppendSnapshot(b []byte) []byte {
	b = append(b, snapshotVersion)
	b = binary.AppendVarint(b, int64(t.clock))
	b = packed.AppendUint(b, uint64(t.wheel.pos))
	b = packed.AppendUint(b, uint64(t.wall))
	b = binary.AppendVarint(b, int64(t.partition))
	b = binary.AppendVarint(b, t.offset)
	for _, g := range t.gaps {
		b = binary.BigEndian.AppendUint64(b, g)
	}
	b = append(b, t.gapAt)
	order := t.inOrder()
	points := pointNumbers{number: make([]uint32, len(t.pool.infos))}
	b = packed.AppendUint(b, uint64(len(order)))
	place := make([]uint32, len(t.entries.chunks)<<slabBits)
	for n, i := range order {
		place[i] = uint32(n)
		b = t.appendEntry(b, t.entries.at(i), &points)
	}
	for l := listNew; l < numLists; l++ {
		count := uint64(0)
		for i := t.lists[l].first; i != 0; i = t.entries.at(i).listNext {
			count++
		}
		b = packed.AppendUint(b, count)
		for i := t.lists[l].first; i != 0; i = t.entries.at(i).listNext {
			b = packed.AppendUint(b, uint64(place[i]))
		}
	}
	at := len(b)
	b = packed.AppendUint(b, uint64(len(points.order)))
	for _, i := range points.order {
		b = t.pool.infos[i].appendText(b)
	}
	return binary.BigEndian.AppendUint32(b, uint32(len(b)-at))
}

// pointNumbers numbers points as a snapshot meets them; 0 is not numbered yet.
type pointNumbers struct {
	number []uint32
	order  []uint32
}

func (p *pointNumbers) of(i uint32) uint64 {
	if p.number[i] == 0 {
		p.order = append(p.order, i)
		p.number[i] = uint32(len(p.order))
	}
	return uint64(p.number[i] - 1)
}

// inOrder returns all entries by key and age.
func (t *Table) inOrder() []uint32 {
	order := make([]uint32, 0, t.entries.live)
	for _, s := range t.idx.slots {
		if s != 0 {
			order = append(order, s&slotEntry)
		}
	}
	slices.SortFunc(order, func(i, j uint32) int {
		if c := t.compareEntries(i, j); c != 0 {
			return c
		}
		a, b := t.entries.at(i), t.entries.at(j)
		return slices.Compare([]uint32{a.endAt, a.wall, a.start[0], a.start[1]}, []uint32{b.endAt, b.wall, b.start[0], b.start[1]})
	})
	return order
}

func (t *Table) appendEntry(b []byte, e *entry, points *pointNumbers) []byte {
	k := t.keyOf(e)
	b = packed.AppendUint(b, uint64(e.state&^(stFar|stList)))
	at := len(b)
	b = k.AppendTo(append(b, 0))
	b[at] = byte(len(b) - at - 1)
	for _, v := range [...]uint32{e.born, e.start[0], e.start[1], e.end[0], e.end[1], e.endAt, e.wall} {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	b = packed.AppendUint(b, uint64(e.origin()))
	b = append(b, e.evidence, e.conf, e.misc)
	n := 0
	for i := e.nodes; i != 0; i = t.nodes.at(i).next {
		n++
	}
	b = packed.AppendUint(b, uint64(n))
	for i := e.nodes; i != 0; i = t.nodes.at(i).next {
		b = appendNode(b, t.nodes.at(i), points)
	}
	n = 0
	for i := e.pend; i != 0; {
		n++
		if i = t.pendings.at(i).next; i == e.pend {
			break
		}
	}
	b = packed.AppendUint(b, uint64(n))
	for i := e.pend; n > 0; n-- {
		i = t.pendings.at(i).next
		p := t.pendings.at(i)
		b = binary.BigEndian.AppendUint32(b, p.start)
		b = packed.AppendUint(b, points.of(p.info))
		b = binary.BigEndian.AppendUint32(b, p.off)
		b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, p.lo), p.hi)
	}
	return b
}

func appendNode(b []byte, v *node, points *pointNumbers) []byte {
	b = binary.BigEndian.AppendUint16(b, v.bits)
	if k := v.kind(); k == nodeObserved || k == nodeMemory {
		b = packed.AppendUint(b, points.of(v.info))
	} else {
		b = packed.AppendUint(b, uint64(v.info))
	}
	for _, a := range v.tally {
		b = packed.AppendUint(packed.AppendUint(b, a.lo), a.hi)
	}
	for _, s := range v.seen {
		b = binary.BigEndian.AppendUint32(b, s)
	}
	return append(b, v.flags[0], v.flags[1])
}

// Restore replaces the state of an empty table with a snapshot's. It refuses
// what AppendSnapshot can not have written; the table is then of no use.
func (t *Table) Restore(b []byte) error {
	if t.entries.live != 0 {
		return errors.New("session: restore into a table that is not empty: make a new one")
	}
	if len(b) < 5 || b[0] != snapshotVersion {
		return ErrSnapshot
	}
	points, b, err := t.restorePoints(b)
	if err != nil {
		return err
	}
	defer func() {
		for _, i := range points {
			t.pool.drop(i)
		}
	}()
	r := packed.Over(b[1:])
	t.restoreHeader(&r)
	order := make([]uint32, 0, 64)
	for n := r.Count(); n > 0 && !r.Bad(); n-- {
		i, err := t.restoreEntry(&r, points)
		if err != nil {
			return err
		}
		order = append(order, i)
	}
	if err := t.restoreLists(&r, order); err != nil {
		return err
	}
	if !r.Complete() {
		return fmt.Errorf("%w: it is cut short or has a tail", ErrSnapshot)
	}
	for _, i := range order {
		t.schedule(i)
	}
	return nil
}

func (t *Table) restoreHeader(r *packed.Reader) {
	t.clock = flow.Time(r.Varint())
	t.wheel.pos, t.wall = uint32(r.Uint(maxRecords)), uint32(r.Uint(maxRecords))
	t.wheel.base = t.wheel.pos - t.wheel.pos%wheelSize
	t.partition, t.offset = int32(r.Varint()), r.Varint()
	for i := range t.gaps {
		t.gaps[i] = r.Fix64()
	}
	t.gapAt = r.Byte() % uint8(len(t.gaps))
}

// restoreLists puts the entries into their lists, in the order they were in.
func (t *Table) restoreLists(r *packed.Reader, order []uint32) error {
	for l := listNew; l < numLists; l++ {
		for n := r.Count(); n > 0 && !r.Bad(); n-- {
			at := r.Uint(maxRecords)
			if at >= uint64(len(order)) || t.entries.at(order[at]).list() != listNone {
				return fmt.Errorf("%w: a list names an entry that is not there", ErrSnapshot)
			}
			t.append(order[at], l)
		}
	}
	return nil
}

// restorePoints reads the points at the end of a snapshot and returns them,
// held until all that name them are there, and the rest of the snapshot.
func (t *Table) restorePoints(b []byte) (points []uint32, rest []byte, err error) {
	size, end := uint64(binary.BigEndian.Uint32(b[len(b)-4:])), len(b)-4
	if size >= uint64(end) {
		return nil, nil, fmt.Errorf("%w: it is cut short", ErrSnapshot)
	}
	r := packed.Over(b[end-int(size) : end])
	for n := r.Count(); n > 0 && !r.Bad(); n-- {
		v := readInfo(&r)
		i := t.pool.add(&v)
		t.pool.hold(i)
		points = append(points, i)
	}
	if !r.Complete() {
		return nil, nil, fmt.Errorf("%w: its points are cut short", ErrSnapshot)
	}
	return points, b[:end-int(size)], nil
}

func (t *Table) restoreEntry(r *packed.Reader, points []uint32) (uint32, error) {
	state := uint32(r.Uint(maxRecords))
	k, err := flow.ParseKey(r.Take(int(r.Byte())))
	if err != nil || r.Bad() {
		return 0, fmt.Errorf("%w: %w", ErrSnapshot, flow.ErrKey)
	}
	i := t.open(hashKey(&k), &k)
	e := t.entries.at(i)
	e.state = state &^ (stFar | stList | stCounted)
	for _, to := range [...]*uint32{&e.born, &e.start[0], &e.start[1], &e.end[0], &e.end[1], &e.endAt, &e.wall} {
		*to = r.Fix32()
	}
	e.setOrigin(int64(r.Uint(maxPackets)))
	e.evidence, e.conf, e.misc = r.Byte(), r.Byte(), r.Byte()
	if state&stCounted != 0 {
		t.countSource(e)
	}
	if e.is(stClosed) {
		t.stats.Retained++
	}
	if err := t.restoreNodes(r, e, points); err != nil {
		return 0, err
	}
	if err := t.restoreRing(r, i, points); err != nil {
		return 0, err
	}
	if !e.is(stFolded) && e.pend == 0 {
		return 0, fmt.Errorf("%w: an entry of nothing", ErrSnapshot)
	}
	return i, nil
}

func (t *Table) restoreNodes(r *packed.Reader, e *entry, points []uint32) error {
	last := uint32(0)
	for n := r.Count(); n > 0 && !r.Bad(); n-- {
		j := t.nodes.alloc()
		t.link(e, last, j)
		last = j
		if !t.restoreNode(r, t.nodes.at(j), points) {
			return fmt.Errorf("%w: a point that it does not describe", ErrSnapshot)
		}
	}
	return nil
}

func (t *Table) restoreRing(r *packed.Reader, i uint32, points []uint32) error {
	for n := r.Count(); n > 0 && !r.Bad(); n-- {
		p := pending{start: r.Fix32()}
		at := r.Uint(maxRecords)
		p.off, p.lo, p.hi = r.Fix32(), r.Fix64(), r.Fix64()
		if at >= uint64(len(points)) || p.lo>>61 != 0 {
			return fmt.Errorf("%w: a pending record is not one", ErrSnapshot)
		}
		if p.info = points[at]; !t.enqueue(i, &p) {
			return fmt.Errorf("%w: a pending record is there twice", ErrSnapshot)
		}
	}
	return nil
}

func (t *Table) restoreNode(r *packed.Reader, v *node, points []uint32) bool {
	bits := r.Fix16()
	at := r.Uint(maxRecords)
	for i := range v.tally {
		v.tally[i] = tally{r.Uint(1<<64 - 1), r.Uint(1<<64 - 1)}
	}
	for i := range v.seen {
		v.seen[i] = r.Fix32()
	}
	v.flags = [2]uint8{r.Byte(), r.Byte()}
	limit := uint16(len(v.seen))
	if bits&nodeKind == nodeMemory {
		limit = memorySize
	}
	// Only what is well formed gets its kind: a node without one holds no point.
	if r.Bad() || bits&nodeSeen>>seenShift >= limit {
		v.bits = nodeTold
		return false
	}
	v.bits = bits
	if k := v.kind(); k == nodeTold || k == nodeSent {
		v.info = uint32(at)
		return true
	}
	if at >= uint64(len(points)) {
		v.bits = nodeTold
		return false
	}
	v.info = points[at]
	t.pool.hold(v.info)
	return true
}
