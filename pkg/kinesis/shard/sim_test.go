package shard

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// world is a stream whose shards split and merge at random, read by slots that
// stop and start and that hear of each other late.
type world struct {
	t       *testing.T
	rng     *rand.Rand
	now     int64 // wall ms
	shards  []*simShard
	next    int
	counter int
	slots   []*simSlot
	ledger  map[Key]Checkpoint // committed
	marks   []flow.Time        // last per slot
	spoken  []bool
	clock   flow.Time // downstream, a running maximum
	seen    map[int]int
	order   map[string][]int // counters delivered by shard
	policy  Policy

	late    int // records that came out behind the clock, where that is allowed
	refused int
	paused  int // turns in which a shard was too far ahead to be read
	failing map[string]bool
	most    map[string]int // records of a turn, where they are not as many as it likes
	ahead   int64          // the largest distance between two shards that are read
	gaps    []Gap
	allow   func(r simRec) bool // to be late
}

type simShard struct {
	Shard
	recs []simRec
}

type simRec struct {
	counter int
	end     flow.Time
	arrival int64
}

type simSlot struct {
	n       int
	up      bool
	table   *Table
	listing *Listing
	view    *Ledger
}

const simName = "vpc"

func hashAt(eighth int) (h Hash) { // eighth of 0..256 as the top byte
	h[0] = byte(eighth)
	return h
}

func newWorld(t *testing.T, seed uint64, shards, slots int) *world {
	w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 1)), now: 1_700_000_000_000, ledger: map[Key]Checkpoint{},
		seen: map[int]int{}, order: map[string][]int{}, policy: PolicyFor(time.Minute), clock: flow.MinTime,
		failing: map[string]bool{}, most: map[string]int{}, allow: func(simRec) bool { return false }}
	w.policy.StuckAfter = 0
	step := 256 / shards
	for i := range shards {
		w.add(nil, i*step, (i+1)*step-1)
	}
	for i := range slots {
		w.slots = append(w.slots, &simSlot{n: i})
		w.marks, w.spoken = append(w.marks, flow.MaxTime), append(w.spoken, false)
	}
	return w
}

func (w *world) add(parents []string, lo, hi int) {
	h := hashAt(hi)
	for i := 1; i < len(h); i++ {
		h[i] = 0xff
	}
	w.shards = append(w.shards, &simShard{Shard: Shard{ID: fmt.Sprintf("shardId-%012d", w.next), Parents: parents, Lo: hashAt(lo), Hi: h}})
	w.next++
}

func (w *world) open() []*simShard {
	var out []*simShard
	for _, s := range w.shards {
		if !s.Closed {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b *simShard) int { return int(a.Lo[0]) - int(b.Lo[0]) })
	return out
}

func (w *world) reshard() {
	open := w.open()
	i := w.rng.IntN(len(open))
	s := open[i]
	lo, hi := int(s.Lo[0]), int(s.Hi[0])
	if w.rng.IntN(2) == 0 && hi > lo {
		s.Closed = true
		mid := (lo + hi) / 2
		w.add([]string{s.ID}, lo, mid)
		w.add([]string{s.ID}, mid+1, hi)
	} else if i+1 < len(open) {
		o := open[i+1]
		s.Closed, o.Closed = true, true
		w.add([]string{s.ID, o.ID}, lo, int(o.Hi[0]))
	}
}

func (w *world) put() {
	open := w.open()
	s := open[w.rng.IntN(len(open))]
	w.counter++
	end := flow.Time(w.now/1000 - w.rng.Int64N(w.policy.Lateness/2))
	s.recs = append(s.recs, simRec{w.counter, end, w.now})
}

func (w *world) list() *Listing {
	shards := make([]Shard, 0, len(w.shards))
	for _, s := range w.shards {
		shards = append(shards, s.Shard)
	}
	l, err := NewListing(simName, IncarnationOf(simName, 1), 0, shards)
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

func (w *world) start(s *simSlot) {
	s.up, s.table, s.view, s.listing = true, NewTable(s.n, len(w.slots), w.policy), NewLedger(), w.list()
	for _, c := range w.ledger {
		s.view.Put(c)
		if c.Slot == s.n {
			if err := s.table.Restore(c); err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

func (w *world) find(id string) *simShard {
	i := slices.IndexFunc(w.shards, func(s *simShard) bool { return s.ID == id })
	return w.shards[i]
}

// turn is one transaction of one slot that hears of the others late; a crash
// drops it before the commit.
func (w *world) turn(s *simSlot, crash bool) {
	if w.rng.IntN(3) == 0 { // the listing and the tail are often old
		s.listing = w.list()
	}
	for k, c := range w.ledger {
		if w.rng.IntN(2) == 0 {
			s.view.Put(c)
		}
		_ = k
	}
	w.transact(s, crash)
}

// hear lets a slot know all that there is to know.
func (w *world) hear(s *simSlot) {
	s.listing = w.list()
	for _, c := range w.ledger {
		s.view.Put(c)
	}
}

func (w *world) transact(s *simSlot, crash bool) {
	v := View{Names: []string{simName}, Listings: map[string]*Listing{simName: s.listing}, Ledger: s.view, Now: w.now}
	change := s.table.Plan(v)
	slowest, known := s.table.Slowest(v)
	var delivered []delivery
	for _, k := range s.table.Reading() {
		if slices.Contains(change.Taken, k) { // read only after the taking has committed
			continue
		}
		if known && s.table.Pause(k, slowest) {
			w.paused++
			s.table.Alive(k)
			continue
		}
		if w.failing[k.Shard] {
			s.table.Failing(k, w.now)
			continue
		}
		delivered = append(delivered, w.read(s.table, k)...)
	}
	mark, _, ok := s.table.Watermark(v)
	if crash {
		s.up = false
		return
	}
	for _, save := range s.table.Saves(w.now, false) {
		c := save.Checkpoint
		w.ledger[c.Key] = c
	}
	w.gaps = append(w.gaps, change.Gaps...)
	w.deliver(delivered)
	if ok {
		w.marks[s.n], w.spoken[s.n] = mark, true
	}
	w.advance()
	w.measure()
}

// measure takes down how far the shards that are being read are apart.
func (w *world) measure() {
	low, high := int64(math.MaxInt64), int64(0)
	for _, c := range w.ledger {
		if c.State == Reading && c.Arrival > 0 {
			low, high = min(low, c.Arrival), max(high, c.Arrival)
		}
	}
	if low < high {
		w.ahead = max(w.ahead, (high-low)/1000)
	}
}

type delivery struct {
	key Key
	simRec
}

func (w *world) read(t *Table, k Key) (out []delivery) {
	c, _ := t.Get(k)
	src := w.find(k.Shard)
	at := 0
	if c.Sequence != "" {
		fmt.Sscan(c.Sequence, &at)
	}
	n := w.rng.IntN(6)
	if most, set := w.most[k.Shard]; set {
		n = most
	}
	for ; at < len(src.recs) && n > 0; at, n = at+1, n-1 {
		r := src.recs[at]
		if w.policy.Check(r.end, r.end, r.arrival) != nil {
			w.refused++
			t.Record(k, fmt.Sprint(at+1), 0, 0, r.arrival)
			continue
		}
		t.Record(k, fmt.Sprint(at+1), 0, r.end, r.arrival)
		out = append(out, delivery{k, r})
	}
	t.Alive(k)
	switch {
	case at < len(src.recs):
	case src.Closed:
		t.End(k)
	default:
		t.Tip(k, w.now)
	}
	return out
}

func (w *world) deliver(ds []delivery) {
	for _, d := range ds {
		switch {
		case d.end >= w.clock:
		case w.allow(d.simRec):
			w.late++
		default:
			w.t.Fatalf("record %d of %s ends at %v, the clock is at %v", d.counter, d.key.Shard, d.end, w.clock)
		}
		for _, p := range w.find(d.key.Shard).Parents {
			if len(w.order[p]) != len(w.find(p).recs) {
				w.t.Fatalf("%s is read before its parent %s has been read to its end", d.key.Shard, p)
			}
		}
		w.seen[d.counter]++
		w.order[d.key.Shard] = append(w.order[d.key.Shard], d.counter)
	}
}

func (w *world) advance() {
	if slices.Contains(w.spoken, false) {
		return
	}
	w.clock = max(w.clock, slices.Min(w.marks))
}

func (w *world) step() {
	w.now += w.rng.Int64N(20_000)
	for range w.rng.IntN(12) {
		w.put()
	}
	if w.rng.IntN(12) == 0 {
		w.reshard()
	}
	s := w.slots[w.rng.IntN(len(w.slots))]
	if !s.up {
		if w.rng.IntN(4) == 0 {
			w.start(s)
		}
		return
	}
	w.turn(s, w.rng.IntN(15) == 0)
}

// drain brings all slots up and reads all there is.
func (w *world) drain() {
	for range 3000 {
		w.now += 1000
		if w.behind() < w.policy.MaxDelay+60 && len(w.seen) == w.counter {
			return
		}
		for _, s := range w.slots {
			if !s.up {
				w.start(s)
			}
			w.turn(s, false)
		}
	}
}

// seeds is how many worlds are tried: a short cut for every day, many for
// make test-long.
func seeds() int {
	if os.Getenv("FLOWSTITCH_LONG") == "1" {
		return 2000
	}
	return 40
}

func (w *world) behind() int64 { return w.now/1000 - int64(max(w.clock, 0)) }

func TestSimulationDeliversOnceInOrderAndNeverLate(t *testing.T) {
	for seed := range uint64(seeds()) {
		w := newWorld(t, seed, 4, 5)
		for range 400 {
			w.step()
		}
		w.drain()
		if len(w.seen) != w.counter {
			t.Fatalf("seed %d: %d of %d records delivered", seed, len(w.seen), w.counter)
		}
		for n, times := range w.seen {
			if times != 1 {
				t.Fatalf("seed %d: record %d delivered %d times", seed, n, times)
			}
		}
		w.checkOrder(seed)
		if w.behind() > w.policy.MaxDelay+60 {
			t.Fatalf("seed %d: the clock is %d s behind after all is read", seed, w.behind())
		}
	}
}

// checkOrder: within a shard in order, and no child before its parents' last.
func (w *world) checkOrder(seed uint64) {
	for _, s := range w.shards {
		got := w.order[s.ID]
		if !slices.IsSorted(got) {
			w.t.Fatalf("seed %d: %s delivered out of order", seed, s.ID)
		}
		for _, p := range s.Parents {
			if prev := w.order[p]; len(prev) > 0 && len(got) > 0 && prev[len(prev)-1] > got[0] {
				w.t.Fatalf("seed %d: %s began before its parent %s ended", seed, s.ID, p)
			}
		}
	}
}
