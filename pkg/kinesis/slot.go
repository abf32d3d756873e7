package kinesis

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/kinesis/shard"
)

// Slot reads the shards of one slot for as long as it is held. All its methods
// are called from one goroutine.
type Slot struct {
	c       *Consumer
	ctx     context.Context
	cancel  context.CancelFunc
	table   *shard.Table
	readers map[shard.Key]*reader
	cursors map[shard.Key]*cursor
	order   []shard.Key // of cursors
	paused  map[shard.Key]bool
	turn    int
	quantum int // bytes left of this turn
	wake    chan struct{}
	ready   func() bool

	version uint64 // of the last plan
	planned time.Time
	slowest int64 // arrival in ms up to which the slowest was read, as of the last plan
	known   bool
	gaps    []Gap
	clock   flow.Time
	idle    bool
	out     Delivery
	current *cursor
}

// Delivery is one user record. It is valid until the next call of [Slot.Next].
type Delivery struct {
	Data    []byte
	Origin  flow.Origin
	Arrival int64 // Unix milliseconds
	// Broken says that the data is a whole Kinesis record which begins like a
	// KPL aggregate and is damaged: one reject.
	Broken bool

	key      shard.Key
	sequence string
	done     uint64 // what the checkpoint's Sub will be
}

// Gap is a stretch of event time that a stream's silence says nothing about.
type Gap struct {
	Stream, Shard string // Stream is the configured name
	From, To      flow.Time
	Reason        string
}

// Save is a change to a slot's ledger; a nil value deletes the name.
type Save struct {
	Name  string
	Value []byte
}

// Slot takes a slot over: ledger holds what the slot's ledger has under names
// that begin with [shard.NamePrefix]. No shard is started before ready, which
// tells that the consumer has learned of all slots what was committed before
// now; nil means that it has.
func (c *Consumer) Slot(ctx context.Context, n int, ledger map[string][]byte, ready func() bool) (*Slot, error) {
	s := &Slot{
		c: c, table: shard.NewTable(n, c.slots, c.policy), readers: map[shard.Key]*reader{}, cursors: map[shard.Key]*cursor{},
		paused: map[shard.Key]bool{},
		wake:   make(chan struct{}, 1), ready: ready, clock: flow.MinTime,
	}
	for name, value := range ledger {
		if !strings.HasPrefix(name, shard.NamePrefix) {
			continue
		}
		cp, err := shard.ParseCheckpoint(value)
		if err == nil {
			err = s.table.Restore(cp)
		}
		if err != nil {
			return nil, fmt.Errorf("kinesis: ledger record %s of slot %d: %w", name, n, err)
		}
		if _, ok := c.streams[nameOf(cp.Stream)]; !ok {
			c.log.Warn("the ledger has a shard of a stream that is not configured; it is not read", "stream", cp.Stream, "shard", cp.Shard)
		}
	}
	s.ctx, s.cancel = context.WithCancel(ctx)
	return s, nil
}

// Close stops the readers and gives their memory back.
func (s *Slot) Close() {
	s.cancel()
	for k := range s.readers {
		s.stopReading(k)
	}
	for k := range s.paused {
		s.setPaused(k, false)
	}
}

// planEvery is how often a plan is made when nothing is known to have changed:
// time itself changes what it gives.
const planEvery = 500 * time.Millisecond

// plan takes and drops shards as the listing and the ledgers of all slots say.
func (s *Slot) plan() {
	now := time.Now()
	if s.ready != nil {
		if !s.ready() {
			return
		}
		s.ready = nil
	}
	s.c.mu.Lock()
	if s.c.version == s.version && now.Sub(s.planned) < planEvery {
		s.c.mu.Unlock()
		return
	}
	s.version, s.planned = s.c.version, now
	for k, r := range s.readers {
		if since := r.failing.Load(); since > 0 {
			s.table.Failing(k, since)
		} else {
			s.table.Alive(k)
		}
	}
	v := s.c.view(now)
	change := s.table.Plan(v)
	s.slowest, s.known = s.table.Slowest(v)
	s.c.mu.Unlock()
	for _, k := range change.Lost {
		s.stopReading(k)
		if s.paused[k] {
			s.setPaused(k, false)
		}
	}
	for _, g := range change.Gaps {
		s.gap(g)
	}
	s.follow()
}

// follow makes the readers those of the shards that are to be read and are not
// too far ahead of the slowest.
func (s *Slot) follow() {
	for _, k := range s.table.Reading() {
		if _, configured := s.c.streams[nameOf(k.Stream)]; !configured {
			continue
		}
		pause := s.known && s.table.Pause(k, s.slowest)
		if pause != s.paused[k] {
			s.setPaused(k, pause)
		}
		if _, running := s.readers[k]; !pause && !running {
			s.startReading(k)
		}
	}
}

// setPaused stops the reader of a shard, so that what it read ahead takes no
// memory from the shards that lag behind.
func (s *Slot) setPaused(k shard.Key, pause bool) {
	gauge := s.c.metrics.paused.WithLabelValues(nameOf(k.Stream))
	if !pause {
		delete(s.paused, k)
		gauge.Dec()
		return
	}
	s.stopReading(k)
	s.table.Alive(k)
	s.paused[k] = true
	gauge.Inc()
}

func (s *Slot) startReading(k shard.Key) {
	cp, _ := s.table.Get(k)
	s.readers[k] = s.c.startReader(s.ctx, &cp, s.wake)
	name := nameOf(k.Stream)
	s.cursors[k] = &cursor{key: k, name: name, took: s.c.metrics.userRecords.WithLabelValues(name), skip: cp.Sub, at: cp.Sequence}
	i, _ := slices.BinarySearchFunc(s.order, k, shard.Key.Compare)
	s.order = slices.Insert(s.order, i, k)
	s.c.metrics.shards.WithLabelValues(name).Inc()
}

func (s *Slot) stopReading(k shard.Key) {
	r, ok := s.readers[k]
	if !ok {
		return
	}
	r.stop()
	s.c.metrics.behind.drop(k)
	if p := s.cursors[k].page; p != nil {
		s.c.release(p.size)
	}
	delete(s.readers, k)
	delete(s.cursors, k)
	i, _ := slices.BinarySearchFunc(s.order, k, shard.Key.Compare)
	s.order = slices.Delete(s.order, i, i+1)
	s.c.metrics.shards.WithLabelValues(nameOf(k.Stream)).Dec()
}

func (s *Slot) gap(g shard.Gap) {
	name := nameOf(g.Stream)
	s.c.metrics.gaps.WithLabelValues(name).Inc()
	s.c.log.Warn("coverage gap", "stream", name, "shard", g.Shard, "from", g.From, "to", g.To, "reason", g.Reason)
	s.gaps = append(s.gaps, Gap{Stream: name, Shard: g.Shard, From: g.From, To: g.To, Reason: g.Reason})
}

// turnBytes is how much one shard hands over before the next has its turn.
const turnBytes = 256 << 10

// Next returns the next user record of any shard, or nil when ctx ends before
// there is one. Each must be followed by [Slot.Accept].
func (s *Slot) Next(ctx context.Context) *Delivery {
	for {
		for n := len(s.order); n >= 0 && len(s.order) > 0; n-- {
			if s.quantum <= 0 {
				s.turn, s.quantum = s.turn+1, turnBytes
			}
			cur := s.cursors[s.order[s.turn%len(s.order)]]
			if s.deliver(cur) {
				return &s.out
			}
			s.quantum = 0
		}
		s.plan()
		if s.atHand() {
			continue
		}
		t := time.NewTimer(planEvery)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil
		case <-s.wake:
		case <-t.C:
		}
		t.Stop()
	}
}

// atHand reports whether some shard has a page, which the plan may have begun
// to read since the last look.
func (s *Slot) atHand() bool {
	for _, k := range s.order {
		if s.cursors[k].page != nil || len(s.readers[k].pages) > 0 {
			return true
		}
	}
	return false
}

// deliver prepares the next user record of a shard. It reports false when the
// shard has nothing at hand.
func (s *Slot) deliver(cur *cursor) bool {
	for {
		if cur.page == nil {
			select {
			case cur.page = <-s.readers[cur.key].pages:
				cur.next = 0
			default:
				return false
			}
		}
		if len(cur.subs) == 0 && cur.next < len(cur.page.recs) {
			cur.open()
		}
		if len(cur.subs) > 0 {
			s.prepare(cur)
			return true
		}
		if s.finish(cur) {
			return false
		}
	}
}

func (s *Slot) prepare(cur *cursor) {
	rec := &cur.page.recs[cur.next]
	d := &s.out
	*d = Delivery{Data: cur.subs[cur.sub], Broken: cur.bad, key: cur.key, sequence: cur.seq}
	if rec.ApproximateArrivalTimestamp != nil {
		d.Arrival = rec.ApproximateArrivalTimestamp.UnixMilli()
	} else {
		cp, _ := s.table.Get(cur.key)
		d.Arrival = cp.Arrival
	}
	d.Origin = flow.Origin{Source: cur.name, Shard: cur.key.Shard, Sequence: d.sequence, Sub: int32(cur.sub)}
	if cur.sub+1 < len(cur.subs) {
		d.done = uint64(cur.sub + 1)
	}
	s.current = cur
}

// Accept tells that the record that Next gave last is dealt with: what was made
// of it is in the transaction. Newest is the latest end of its flow records
// that passed the policy's Check, 0 if there were none.
func (s *Slot) Accept(newest flow.Time) {
	d, cur := &s.out, s.current
	s.table.Record(d.key, d.sequence, d.done, newest, d.Arrival)
	cur.took.Inc()
	if d.Broken {
		s.c.metrics.broken.WithLabelValues(cur.name).Inc()
	}
	s.quantum -= len(d.Data)
	if cur.sub++; cur.sub == len(cur.subs) {
		clear(cur.subs) // let go of the page's bytes
		cur.subs = cur.subs[:0]
		cur.next++
	}
}

// finish takes what an exhausted page tells and lets go of it. It reports true
// when the shard is not read any more: it has ended, or it is paused. A shard
// that may be too far ahead is looked at here and not only with the next plan:
// while it catches up hours may lie between two plans.
func (s *Slot) finish(cur *cursor) (over bool) {
	p := cur.page
	cur.page = nil
	s.c.release(p.size)
	if p.restarted {
		s.gap(s.table.Restarted(cur.key, time.Now().UnixMilli()))
	}
	if p.tip {
		s.table.Tip(cur.key, p.at)
	}
	if p.ended {
		s.table.End(cur.key)
		s.stopReading(cur.key)
		s.c.relist(nameOf(cur.key.Stream))
		s.version = 0 // a child may be ours
		return true
	}
	if !s.known || s.table.Ahead(cur.key, s.slowest) {
		s.planned = time.Time{}
		s.plan()
	}
	return s.cursors[cur.key] != cur
}

// Commit returns what must go into the ledger, and the coverage gaps to tell,
// in the same transaction as everything that was accepted. All asks for every
// position, as a hand-over does. It also moves the clock that [Slot.Clock] gives.
func (s *Slot) Commit(all bool) (saves []Save, gaps []Gap) {
	s.plan()
	for _, sv := range s.table.Saves(time.Now().UnixMilli(), all) {
		save := Save{Name: sv.Name()}
		if !sv.Delete {
			save.Value = sv.Append(nil)
		}
		saves = append(saves, save)
	}
	s.c.mu.Lock()
	w, idle, ok := s.table.Watermark(s.c.view(time.Now()))
	s.c.mu.Unlock()
	s.clock, s.idle = w, idle
	if !ok || s.planned.IsZero() {
		s.clock, s.idle = flow.MinTime, false
	}
	gaps, s.gaps = s.gaps, nil
	return saves, gaps
}

// Clock returns the slot's watermark as of the last Commit: flow.MinTime while
// it does not exist yet. An idle slot has no shard to wait for. It may go back
// when a child shard is taken over; its parent's slot holds the clock then.
func (s *Slot) Clock() (watermark flow.Time, idle bool) { return s.clock, s.idle }
