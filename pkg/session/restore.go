package session

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/flow/packed"
)

// ErrSnapshot reports bytes that are no snapshot, or of another version.
var ErrSnapshot = errors.New("session: not a snapshot that this version reads")

// Restore replaces the state of an empty table with a snapshot's. It refuses
// what AppendSnapshot can not have written; the table is then of no use.
func (t *Table) Restore(b []byte) error {
	if t.entries.live != 0 {
		return errors.New("session: restore into a table that is not empty: make a new one")
	}
	if len(b) < 5 || b[0] == 0 || b[0] > snapshotVersion {
		return ErrSnapshot
	}
	s := restorer{t: t, old: b[0] == 1}
	defer func() {
		for _, i := range s.points {
			t.pool.drop(i)
		}
	}()
	b, err := s.readPoints(b)
	if err != nil {
		return err
	}
	s.Reader = packed.Over(b[1:])
	s.header()
	order := make([]uint32, 0, 64)
	for n := s.Count(); n > 0 && !s.Bad(); n-- {
		i, err := s.entry()
		if err != nil {
			return err
		}
		order = append(order, i)
	}
	if err := s.lists(order); err != nil {
		return err
	}
	if !s.Complete() {
		return fmt.Errorf("%w: it is cut short or has a tail", ErrSnapshot)
	}
	for _, i := range order {
		t.schedule(i)
		if t.entries.at(i).pend != 0 {
			t.schedulePending(i)
		}
	}
	return nil
}

// restorer reads a snapshot into a table.
type restorer struct {
	packed.Reader
	t      *Table
	old    bool     // version 1
	points []uint32 // held until all that name them are there
	key    [flow.KeySize6]byte
}

// readPoints reads the points at the end of a snapshot and returns the rest of it.
func (s *restorer) readPoints(b []byte) (rest []byte, err error) {
	size, end := uint64(binary.BigEndian.Uint32(b[len(b)-4:])), len(b)-4
	if size >= uint64(end) {
		return nil, fmt.Errorf("%w: it is cut short", ErrSnapshot)
	}
	r := packed.Over(b[end-int(size) : end])
	before := info{}
	for n := r.Count(); n > 0 && !r.Bad(); n-- {
		var v info
		if s.old {
			v = readInfo(&r)
		} else {
			v = readAfter(&r, &before)
		}
		before = v
		i := s.t.pool.add(&v)
		s.t.pool.hold(i)
		s.points = append(s.points, i)
	}
	if !r.Complete() {
		return nil, fmt.Errorf("%w: its points are cut short", ErrSnapshot)
	}
	return b[:end-int(size)], nil
}

func (s *restorer) header() {
	t := s.t
	t.clock = flow.Time(s.Varint())
	t.wheel.pos, t.wall = uint32(s.Uint(maxRecords)), uint32(s.Uint(maxRecords))
	t.partition, t.offset = int32(s.Varint()), s.Varint()
	for i := range t.gaps {
		if s.old {
			t.gaps[i] = s.Fix64()
		} else {
			t.gaps[i] = s.Uint(1<<64 - 1)
		}
	}
	t.gapAt = s.Byte() % uint8(len(t.gaps))
}

// lists puts the entries into their lists, in the order they were in.
func (s *restorer) lists(order []uint32) error {
	for l := listNew; l < numLists; l++ {
		for n := s.Count(); n > 0 && !s.Bad(); n-- {
			at := s.Uint(maxRecords)
			if at >= uint64(len(order)) || s.t.entries.at(order[at]).list() != listNone {
				return fmt.Errorf("%w: a list names an entry that is not there", ErrSnapshot)
			}
			s.t.append(order[at], l)
		}
	}
	return nil
}

func (s *restorer) entry() (uint32, error) {
	t := s.t
	state := uint32(s.Uint(maxRecords))
	k, err := flow.ParseKey(s.keyBytes())
	if err != nil || s.Bad() {
		return 0, fmt.Errorf("%w: %w", ErrSnapshot, flow.ErrKey)
	}
	i := t.open(hashKey(&k), &k)
	e := t.entries.at(i)
	e.state = state &^ (stWas | stList | stCounted)
	if s.old {
		s.times1(e, t.linkAt(i))
	} else {
		s.times(e, t.linkAt(i))
	}
	e.evidence, e.conf, e.misc = s.Byte(), s.Byte(), s.Byte()
	if state&stCounted != 0 {
		t.countSource(e)
	}
	if e.is(stClosed) {
		t.stats.Retained++
	}
	if err := s.nodes(e); err != nil {
		return 0, err
	}
	if err := s.ring(i); err != nil {
		return 0, err
	}
	if !e.is(stFolded) && e.pend == 0 {
		return 0, fmt.Errorf("%w: an entry of nothing", ErrSnapshot)
	}
	return i, nil
}

// keyBytes reads a key: what it shares with the one before stays in s.key.
func (s *restorer) keyBytes() []byte {
	if s.old {
		return s.Take(int(s.Byte()))
	}
	head := int(s.Byte())
	same, size := head>>1, flow.KeySize4
	if head&1 != 0 {
		size = flow.KeySize6
	}
	if same > size {
		s.Fail()
		return nil
	}
	copy(s.key[same:size], s.Take(size-same))
	return s.key[:size]
}

// near reads a distance from a second that is known, and second one that may
// be missing, which 0 stands for.
func (s *restorer) near(to uint32) uint32 { return uint32(s.Varint() + int64(to)) }

func (s *restorer) second(to, missing uint32) uint32 {
	v := s.Uint(1<<64 - 1)
	if v == 0 {
		return missing
	}
	v--
	return uint32(int64(v>>1) ^ -int64(v&1) + int64(to))
}

func (s *restorer) times(e *entry, at *link) {
	t := s.t
	if e.is(stFolded) {
		e.born = s.near(t.wheel.pos)
		for side := range e.start {
			if e.start[side] = s.second(e.born, noTime); e.start[side] != noTime {
				e.end[side] = s.near(e.start[side])
			}
		}
		e.setOrigin(min(max(t.offset-s.Varint(), 0), maxPackets))
	}
	e.endAt = s.second(t.wheel.pos, 0)
	at.wall = uint32(int64(t.wall) - s.Varint())
}

func (s *restorer) nodes(e *entry) error {
	last := uint32(0)
	for n := s.Count(); n > 0 && !s.Bad(); n-- {
		j := s.t.nodes.alloc()
		s.t.link(e, last, j)
		last = j
		v, at := s.t.nodes.at(j), uint64(0)
		// Only what is well formed gets its kind: a node without one holds no point.
		v.bits = nodeTold
		bits := uint16(0)
		if s.old {
			bits, at = s.node1(v)
		} else {
			bits, at = s.node(e, v)
		}
		limit := uint16(len(v.seen))
		if bits&nodeKind == nodeMemory {
			limit = memorySize
		}
		if s.Bad() || bits&nodeSeen>>seenShift >= limit {
			return fmt.Errorf("%w: a node that can not be", ErrSnapshot)
		}
		if k := bits & nodeKind; k == nodeTold || k == nodeSent {
			v.bits, v.info = bits, uint32(at)
			continue
		}
		if at >= uint64(len(s.points)) {
			return fmt.Errorf("%w: a point that it does not describe", ErrSnapshot)
		}
		v.bits, v.info = bits, s.points[at]
		s.t.pool.hold(v.info)
	}
	return nil
}

// node reads all but the kind and the point of a node, and returns these.
func (s *restorer) node(e *entry, v *node) (bits uint16, at uint64) {
	head := s.Uint(1<<17 - 1)
	bits = uint16(head >> 1)
	kind := bits & nodeKind
	if kind == nodeObserved || kind == nodeMemory {
		at = s.Uint(maxRecords)
	} else {
		at = uint64(uint32(s.Varint() + int64(int32(s.t.wheel.pos))))
	}
	for i := range v.tally {
		if kind == nodeMemory {
			v.tally[i] = tally{s.Fix64(), s.Fix64()}
			continue
		}
		count := s.Uint(2*maxRecords + 1)
		packets, bytes := uint64(0), uint64(0)
		if count&1 != 0 {
			packets, bytes = s.Uint(maxPackets), s.Uint(maxBytes)
		}
		v.tally[i] = newTally(packets, bytes, count>>1)
	}
	if head&1 != 0 {
		v.flags = [2]uint8{s.Byte(), s.Byte()}
	}
	s.prints(e, v, bits)
	return bits, at
}

func (s *restorer) prints(e *entry, v *node, bits uint16) {
	codes := s.Uint(1<<(len(v.seen)*printBits) - 1)
	full := *v // the guesses need its bits, which it does not have yet
	full.bits = bits
	for i := range v.seen {
		switch code := codes >> (i * printBits) & (1<<printBits - 1); {
		case code == printNone:
		case code == printRaw:
			v.seen[i] = s.Fix32()
		case code < printOf+guesses:
			v.seen[i] = full.guess(e, int(code-printOf))
		default:
			s.Fail()
		}
	}
}

func (s *restorer) ring(i uint32) error {
	start, off := s.t.wheel.pos, uint32(s.t.offset)
	for n := s.Count(); n > 0 && !s.Bad(); n-- {
		var p pending
		at := uint64(0)
		if s.old {
			at = s.pending1(&p)
		} else {
			at = s.pending(&p, start, off)
		}
		start, off = p.start, p.off
		if s.Bad() || at >= uint64(len(s.points)) || p.lo>>61 != 0 {
			return fmt.Errorf("%w: a pending record is not one", ErrSnapshot)
		}
		p.info = s.points[at]
		if _, ok := s.t.enqueue(i, &p); !ok {
			return fmt.Errorf("%w: a pending record is there twice", ErrSnapshot)
		}
	}
	return nil
}

func (s *restorer) pending(p *pending, start, off uint32) (at uint64) {
	p.start = s.near(start)
	at = s.Uint(maxRecords)
	p.off = off - uint32(s.Varint())
	rest := s.Uint(1<<(pendingRest+4) - 1)
	p.lo = s.Uint(pendBytes) | rest&(1<<pendingRest-1)<<pendFlags
	p.hi = s.Uint(maxPackets) | s.Uint(maxDuration)<<pendDuration | rest>>pendingRest<<pendPath
	return at
}
