package session

import (
	"github.com/flowstitch/flowstitch/pkg/flow"
)

// Emit takes one event. The event and what it points to are reused: it is
// valid during the call only.
type Emit func(*Event)

// Verdict says what became of a record.
type Verdict uint8

// What becomes of a record. Late and Invalid ones belong to rejects.
const (
	Taken     Verdict = iota // it is part of a session
	Duplicate                // an exact repeat of one already taken
	Corrected                // behind the clock, and told as a correction
	Late                     // too far behind the clock to correct anything
	NoData                   // counted: the interface was silent
	GapTold                  // SKIPDATA, told as a gap
	Invalid                  // no addresses, or times that can not be
)

// String returns the name of the verdict, as metrics and rejects carry it.
func (v Verdict) String() string {
	return name(v, "taken", "duplicate", "corrected", "late", "nodata", "gap", "invalid")
}

// Stats counts what a table has done, since it was made or restored, and what
// it holds. Records is the sum over all verdicts.
type Stats struct {
	Verdicts                           [Invalid + 1]uint64
	Updates, Progress, Closes, Evicted uint64
	Gaps, Corrections                  uint64

	Open     int // sessions that have begun or are about to, by entries
	Retained int // closed ones kept for corrections
	Pending  int // records that the clock has not passed
	Points   int // observation points known; 0 for one made by NewTableBeside
	Bytes    int // memory of all that, by its parts
}

// Records returns how many records have been observed.
func (s *Stats) Records() (n uint64) {
	for _, v := range s.Verdicts {
		n += v
	}
	return n
}

// Table is the sessions of one bucket. It is a deterministic function of the
// calls made on it and is used by one goroutine at a time.
type Table struct {
	cfg       Config
	entries   slab[entry]
	links     []*[1 << slabBits]link // of the entries
	nodes     slab[node]
	pendings  slab[pending]
	keys6     slab[[2]flow.Addr]
	idx       index
	pool      *pool
	lodger    bool // the pool is another table's
	wheel     wheel
	lists     [numLists]list
	clock     flow.Time
	wall      uint32 // deciseconds
	partition int32
	offset    int64
	gaps      [8]uint64 // fingerprints of recent gaps, to know repeats
	gapAt     uint8
	sources   [256]uint32 // probes held, by a hash of who sent them
	probes    uint32      // how many that are
	stats     Stats

	batch    []uint32
	due      []dueEntry
	seen     []seen
	ev       Event
	gap      Gap
	at       uint32 // event time of the event under way
	lastMore info   // the last point that found no room in it
}

// NewTable returns an empty bucket. The configuration must be valid.
func NewTable(cfg Config) *Table {
	return &Table{cfg: cfg, clock: flow.MinTime, wheel: wheel{farAt: noTime}, pool: new(pool)}
}

// NewTableBeside returns an empty bucket that shares with another what is known
// of observation points. Both are then used by the same goroutine. The buckets of
// a partition see the same interfaces: each on its own would keep them all, which
// is more than the sessions of a small bucket take.
func NewTableBeside(cfg Config, other *Table) *Table {
	t := NewTable(cfg)
	t.pool, t.lodger = other.pool, true
	return t
}

// Clock returns how far the table has been advanced.
func (t *Table) Clock() flow.Time { return t.clock }

// Stats returns the counters and sizes of the table.
func (t *Table) Stats() Stats {
	s := t.stats
	s.Open = t.entries.live - s.Retained
	s.Pending, s.Bytes = t.pendings.live, t.bytes()
	if !t.lodger {
		s.Points = len(t.pool.infos)
	}
	return s
}

const (
	entrySize, nodeSize, pendingSize, key6Size = 84, 64, 32, 32 // an entry with its link and timers
	// timerSize is what an entry costs in the wheel: one timer or two of 4.6 bytes.
	timerSize = 8
	// indexSize is what an entry costs in the index. It takes 10 to 12.5 bytes; a
	// higher number here would evict other sessions than before at the same
	// MaxBytes.
	indexSize = 8
)

func (t *Table) bytes() int {
	return t.entries.live*(entrySize+indexSize) + t.nodes.live*nodeSize + t.pendings.live*pendingSize + t.keys6.live*key6Size
}

// Observe takes one record, read at the given position of the flows topic,
// with the scope that the configuration gives it.
func (t *Table) Observe(r *flow.Record, partition int32, offset int64, emit Emit) Verdict {
	return t.ObserveIn(t.cfg.Scopes.Of(r), r, partition, offset, emit)
}

// ObserveIn is Observe for a record whose scope is known. It emits only gaps,
// corrections and, over the memory bound, what is evicted.
func (t *Table) ObserveIn(scope uint16, r *flow.Record, partition int32, offset int64, emit Emit) Verdict {
	v := t.observe(scope, r, partition, offset, emit)
	t.stats.Verdicts[v]++
	return v
}

func (t *Table) observe(scope uint16, r *flow.Record, partition int32, offset int64, emit Emit) Verdict {
	t.partition, t.offset = partition, max(t.offset, offset)
	switch r.Kind {
	case flow.KindFlow:
	case flow.KindNoData:
		return NoData
	case flow.KindSkipData:
		return t.observeGap(r, partition, offset, emit)
	}
	src, dst := r.Ends()
	if !src.Addr.IsValid() || !dst.Addr.IsValid() || !timed(r) {
		return Invalid
	}
	k, swapped := flow.NewKey(scope, r.Protocol, src, dst)
	side := sideA
	if swapped {
		side = sideB
	}
	var p pending
	p.pack(r, side, t.pool.intern(r, side), offset)
	h := hashKey(&k)
	if r.Start < t.clock {
		return t.observeLate(h, &k, &p, emit)
	}
	i := t.find(h, &k, false)
	if i == 0 {
		i = t.open(h, &k)
	}
	first, ok := t.enqueue(i, &p)
	if !ok {
		return Duplicate
	}
	if first {
		t.schedulePending(i)
	}
	if e := t.entries.at(i); p.packets() > probePackets || e.is(stFolded) {
		t.uncountSource(e)
		e.state |= stBig
	}
	t.wait(i)
	if t.cfg.MaxBytes > 0 {
		t.evict(emit)
	}
	return Taken
}

// timed reports whether a record's times can be: in order, not longer than
// twelve days, and early enough before the end of 32 bits of seconds, in
// February 2106, that every deadline that follows from it fits.
func timed(r *flow.Record) bool {
	return r.Start >= 0 && r.Start <= r.End && r.End < 1<<32-1<<25 && r.End-r.Start <= maxDuration
}

// open makes an empty entry for a key.
func (t *Table) open(h uint64, k *flow.Key) uint32 {
	i := t.entries.alloc()
	t.addLink(i)
	e := t.entries.at(i)
	e.key = pack4(k)
	e.start = [2]uint32{noTime, noTime}
	if !is4(k) {
		a := t.keys6.alloc()
		*t.keys6.at(a) = [2]flow.Addr{k.A.Addr, k.B.Addr}
		e.key.a, e.key.b, e.key.six = a, 0, 1
	}
	t.idx.add(h, i)
	return i
}

// wait puts an entry that has something untold into the list that tells it.
func (t *Table) wait(i uint32) {
	e := t.entries.at(i)
	e.state |= stDirty
	switch e.list() {
	case listNone, listRest, listRest1:
		t.join(i, listNew)
		t.countSource(e)
	}
}

// enqueue puts a record into the ring of those that the clock has not passed,
// in canonical order, unless it is there already. first says that the ring now
// begins earlier.
func (t *Table) enqueue(i uint32, p *pending) (first, ok bool) {
	e := t.entries.at(i)
	if e.pend == 0 {
		n := t.addPending(p)
		t.pendings.at(n).next = n
		e.pend = n
		return true, true
	}
	last := t.pendings.at(e.pend)
	c := t.comparePending(last, p)
	if c == 0 {
		return false, false
	}
	first = c > 0 && p.start < t.pendings.at(last.next).start
	after := e.pend // the one it comes after; the last one also comes before the first
	if c > 0 {
		for n := last.next; ; after, n = n, t.pendings.at(n).next {
			if c := t.comparePending(t.pendings.at(n), p); c == 0 {
				return false, false
			} else if c > 0 {
				break
			}
		}
	}
	n := t.addPending(p)
	t.pendings.at(n).next = t.pendings.at(after).next
	t.pendings.at(after).next = n
	if c < 0 {
		e.pend = n
	}
	return first, true
}

func (t *Table) addPending(p *pending) uint32 {
	n := t.pendings.alloc()
	*t.pendings.at(n) = *p
	t.pool.hold(p.info)
	return n
}

// comparePending is the canonical order in which records are folded: start,
// observation point, content. It is 0 for an exact repeat.
func (t *Table) comparePending(a, b *pending) int {
	switch {
	case a.start != b.start:
		return less(uint64(a.start), uint64(b.start))
	case !t.pool.samePoint(a.info, b.info):
		return t.pool.compare(a.info, b.info)
	case a.lo&pendContent != b.lo&pendContent:
		return less(a.lo&pendContent, b.lo&pendContent)
	}
	return less(a.hi, b.hi)
}

func less(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// firstPending returns the first record of the ring.
func (t *Table) firstPending(e *entry) *pending {
	return t.pendings.at(t.pendings.at(e.pend).next)
}

// popPending takes the first record out of the ring. The reference to its
// point passes to the caller.
func (t *Table) popPending(e *entry) pending {
	last := t.pendings.at(e.pend)
	n := last.next
	p := *t.pendings.at(n)
	if n == e.pend {
		e.pend = 0
	} else {
		last.next = p.next
	}
	t.pendings.release(n)
	return p
}

// free forgets an entry altogether.
func (t *Table) free(i uint32) {
	e := t.entries.at(i)
	t.leave(i)
	t.uncountSource(e)
	if e.is(stClosed) {
		t.stats.Retained--
	}
	for e.pend != 0 {
		p := t.popPending(e)
		t.pool.drop(p.info)
	}
	for e.nodes != 0 {
		n := e.nodes
		e.nodes = t.nodes.at(n).next
		t.releaseNode(n)
	}
	k := t.keyOf(e)
	t.idx.remove(hashKey(&k), i)
	if e.key.six != 0 {
		t.keys6.release(e.key.a)
	}
	t.entries.release(i)
	t.dropLink(i)
}

func (t *Table) releaseNode(n uint32) {
	if v := t.nodes.at(n); v.kind() == nodeObserved || v.kind() == nodeMemory {
		t.pool.drop(v.info)
	}
	t.nodes.release(n)
}
