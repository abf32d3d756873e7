package stage

import (
	"errors"
	"fmt"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/wire"
)

// partition folds one input partition: its records in order, into buckets,
// with the clock that its marks make. It knows nothing of Kafka, goroutines or
// time, so what it does is a function of the records and of the transaction
// sizes alone; and what it puts out, in sequence, is a function of the records.
//
// The position within a mark that closes many sessions is the number of
// records put out since that mark: recovery refolds the mark and discards so
// many.
type partition struct {
	id      int32
	topic   [16]byte
	inName  string // logical input topic, for the keys of rejects
	fold    Fold
	clock   clockVector
	settled promise // what the finished records promise
	offset  int64   // of the next record, or of the one that is unfinished
	emitted uint64  // by the unfinished record so far
	start   int64
	begun   uint64   // configuration at start
	done    position // what is committed: output below it is discarded
	buckets []bucketState
	mark    unfinished
	out     emitter
	stats   partitionStats
}

// promise is a clock that has taken full effect: an unfinished mark has moved
// the clock, but what it closes is not all out yet.
type promise struct {
	clock flow.Time
	idle  bool
}

type bucketState struct {
	Bucket
	from   int64 // fold records from here on: the offset of the snapshot
	config uint64
	chunks int  // of the last snapshot
	dirty  bool // changed since the last snapshot
	moved  bool // must be written under the new configuration before anything else
}

// unfinished is a mark whose consequences did not fit the transaction.
type unfinished struct {
	active          bool
	ticks, advances bool
	bucket          int  // the next to be told
	ticked          bool // that bucket has had its tick
}

type partitionStats struct {
	records, marks, bytes uint64 // refolds apart
	poison, refolded      uint64
	switches              uint64
}

// emitter counts what one partition puts out, and discards what was committed
// before.
type emitter struct {
	p  *partition
	tx *Tx
}

// suppressed reports whether the next emission has been committed before.
func (e *emitter) suppressed() bool {
	d := &e.p.done
	return e.p.offset < d.offset || e.p.offset == d.offset && e.p.emitted < d.emitted
}

func (e *emitter) Emit(o Output) {
	old := e.suppressed()
	e.p.emitted++
	if old {
		return
	}
	e.put(o)
	for next := o.And; next != nil; next = next.And {
		e.put(*next)
	}
}

// put queues one record.
func (e *emitter) put(o Output) {
	if o.Partition == SameAsIn {
		o.Partition = e.p.id
	}
	e.tx.Emit(o)
}

func (e *emitter) Full() bool { return !e.suppressed() && e.tx.Full() }

// refolding reports whether the partition is still behind what it committed.
func (p *partition) refolding() bool { return p.out.suppressed() }

// step takes in the record m, which has isMark set if it is one, or goes on
// with the unfinished mark at the same offset. done=false means that tx is full
// and that step must be called with the same record again.
func (p *partition) step(m *Message, tx *Tx) (done bool, err error) {
	p.out = emitter{p, tx}
	if !p.mark.active {
		if m.Offset < p.offset {
			return true, nil // the reader began a batch before our position
		}
		p.offset, p.emitted = m.Offset, 0
		p.count(m)
		if err := p.begin(m); err != nil {
			return false, err
		}
	}
	if p.mark.active && !p.resume() {
		return false, tx.err
	}
	p.settle()
	return true, tx.err
}

// count counts a record that is about to be taken in.
func (p *partition) count(m *Message) {
	switch {
	case p.refolding():
		p.stats.refolded++
		return
	case wire.IsMark(m.Value):
		p.stats.marks++
	default:
		p.stats.records++
	}
	p.stats.bytes += uint64(len(m.Key) + len(m.Value))
}

// settle ends the record at p.offset.
func (p *partition) settle() {
	p.offset, p.emitted = p.offset+1, 0
	p.settled = promise{p.clock.clock, p.clock.idle}
}

// begin folds a data record, or works out what a mark sets off.
func (p *partition) begin(m *Message) error {
	if wire.IsMark(m.Value) {
		var mark wire.Mark
		err := wire.ParseMark(m.Value, &mark)
		if err == nil {
			var advanced, ticked bool
			if advanced, ticked, err = p.clock.apply(&mark); advanced || ticked {
				p.mark = unfinished{active: true, ticks: ticked, advances: advanced}
			}
		}
		if err != nil {
			p.poison(m, err)
		}
		return nil
	}
	i, err := p.fold.Route(m)
	if err != nil {
		p.poison(m, err)
		return nil
	}
	if i < 0 || i >= len(p.buckets) {
		return fmt.Errorf("stage: partition %d offset %d: routed to bucket %d of %d", p.id, m.Offset, i, len(p.buckets))
	}
	b := &p.buckets[i]
	if m.Offset < b.from {
		return nil
	}
	b.dirty = true
	if err := b.Fold(m, &p.out); errors.Is(err, ErrPoison) {
		p.poison(m, err)
	} else if err != nil {
		return fmt.Errorf("stage: folding partition %d offset %d: %w", p.id, m.Offset, err)
	}
	return nil
}

// resume tells the buckets of the mark, from where it stopped. It reports
// false when the transaction is full.
func (p *partition) resume() bool {
	u := &p.mark
	for ; u.bucket < len(p.buckets); u.bucket, u.ticked = u.bucket+1, false {
		b := &p.buckets[u.bucket]
		if p.offset < b.from {
			continue
		}
		b.dirty = true
		if u.ticks && !u.ticked {
			u.ticked = true
			b.Tick(p.clock.tick, &p.out)
		}
		if !u.advances {
			continue
		}
		for !b.Advance(p.clock.clock, &p.out) {
			if p.out.Full() {
				return false
			}
		}
	}
	p.mark = unfinished{}
	return true
}

// poison sends a record to rejects. It is an emission like any other, so that
// a refold does not repeat it.
func (p *partition) poison(m *Message, why error) {
	old := p.out.suppressed()
	p.emitted++
	if old {
		return
	}
	p.stats.poison++
	tx := p.out.tx
	tx.Reject(wire.Reject{
		Stage: tx.stage, Class: "poison", Reason: why.Error(),
		Topic: tx.names.Name(p.inName), Partition: m.Partition, Offset: m.Offset,
	}, m.Value)
}

// position is what a transaction that ends now commits.
func (p *partition) position() position {
	return position{topic: p.topic, start: p.start, offset: p.offset, emitted: p.emitted, config: p.begun}
}

// finish ends the mark that is unfinished, as far as tx has room.
func (p *partition) finish(tx *Tx) bool {
	if !p.mark.active {
		return true
	}
	p.out = emitter{p, tx}
	if !p.resume() {
		return false
	}
	p.settle()
	return true
}

// snapshot writes one bucket to tx. It must not be called while a mark is
// unfinished or while refolding.
func (p *partition) snapshot(i int, tx *Tx, scratch *snapshotBuffer) int {
	b := &p.buckets[i]
	scratch.body = b.AppendSnapshot(scratch.body[:0])
	s := snapshot{offset: p.offset, config: b.config, buckets: len(p.buckets), clock: p.clock, body: scratch.body}
	size, n := 0, 0
	n, scratch.head = s.chunks(p.id, i, scratch.head, func(name string, value []byte) {
		tx.put(name, value)
		size += len(value)
	})
	for c := n; c < b.chunks; c++ {
		tx.put(nameBucket(p.id, i, c), nil)
	}
	b.chunks, b.dirty, b.moved = n, false, false
	return size
}

// snapshotBuffer is reused from snapshot to snapshot.
type snapshotBuffer struct{ body, head []byte }

// folds makes the fold of a configuration by its hash.
type folds interface {
	current() (Fold, uint64)
	old(hash uint64) (Fold, error)
}

// restore rebuilds a partition from a slot's ledger. first is where a partition
// that the ledger does not know begins.
func restore(id int32, topic [16]byte, inName string, ledger map[string][]byte, fs folds, first int64) (*partition, error) {
	fold, hash := fs.current()
	p := &partition{id: id, topic: topic, inName: inName, fold: fold, clock: newClock(), start: first, begun: hash}
	p.done = position{topic: topic, start: first, offset: first, config: hash}
	if v, ok := ledger[namePosition(id)]; ok {
		var err error
		if p.done, err = parsePosition(v); err != nil {
			return nil, fmt.Errorf("position of partition %d: %w", id, err)
		}
		if p.done.topic != topic {
			return nil, fmt.Errorf("stage: the ledger holds positions in another topic %s than the one that exists now: it was deleted and made again; delete the ledger topic too, or run under a new prefix", inName)
		}
		p.start, p.begun = p.done.start, p.done.config
	}
	p.buckets = make([]bucketState, fold.Buckets())
	oldest := int64(-1)
	for i := range p.buckets {
		b := &p.buckets[i]
		s, ok, err := joinSnapshot(ledger, id, i)
		if err != nil {
			return nil, err
		}
		if !ok {
			s = snapshot{offset: p.start, clock: newClock(), config: p.begun, buckets: len(p.buckets)}
		}
		if err := p.load(b, i, &s, ok, fs); err != nil {
			return nil, err
		}
		if oldest < 0 || s.offset < oldest {
			oldest, p.clock = s.offset, s.clock
		}
	}
	p.offset = oldest
	p.settled = promise{p.clock.clock, p.clock.idle}
	p.out = emitter{p: p}
	return p, nil
}

// load restores one bucket under the configuration of its snapshot, which is
// also what its tail was folded under. Without a snapshot it begins empty.
func (p *partition) load(b *bucketState, i int, s *snapshot, written bool, fs folds) error {
	if s.buckets != len(p.buckets) {
		return fmt.Errorf("stage: partition %d was cut into %d buckets and is now to have %d: that moves keys; run under a new layout", p.id, s.buckets, len(p.buckets))
	}
	fold, hash := fs.current()
	if s.config != hash {
		var err error
		if fold, err = fs.old(s.config); err != nil {
			return err
		}
	}
	*b = bucketState{Bucket: fold.NewBucket(p.id, i), from: s.offset, config: s.config}
	if !written {
		return nil
	}
	b.chunks = 1 + max(0, len(s.body)-1)/maxChunk
	if err := b.Restore(s.body); err != nil {
		return fmt.Errorf("stage: restoring partition %d bucket %d: %w", p.id, i, err)
	}
	return nil
}

// reconfigure hands the buckets that were made under another configuration to
// the current fold. They must then be written before another record is folded,
// so that the ledger says at which offset the change took effect.
func (p *partition) reconfigure(fs folds) error {
	fold, hash := fs.current()
	for i := range p.buckets {
		b := &p.buckets[i]
		if b.config == hash {
			continue
		}
		n := fold.NewBucket(p.id, i)
		if err := n.Restore(b.AppendSnapshot(nil)); err != nil {
			return fmt.Errorf("stage: handing partition %d bucket %d to the new configuration: %w", p.id, i, err)
		}
		if old, ok := b.Bucket.(Closer); ok {
			old.Close()
		}
		b.Bucket, b.config, b.moved, b.dirty = n, hash, true, true
		p.stats.switches++
	}
	return nil
}

// switching reports whether a bucket still waits to be written under its new
// configuration.
func (p *partition) switching() (bucket int, ok bool) {
	for i := range p.buckets {
		if p.buckets[i].moved {
			return i, true
		}
	}
	return 0, false
}

// watermark is what the partition promises downstream, and whether its clock
// exists at all.
func (p *partition) watermark() (w flow.Time, idle, ok bool) {
	if p.settled.clock == flow.MinTime && !p.settled.idle {
		return 0, false, false
	}
	return p.fold.Watermark(p.settled.clock), p.settled.idle, true
}

// begins tells that the log holds nothing below first, and returns how many
// offsets are missing: those that no recovery can refold, which make the state
// inexact, and among them those whose output was never committed.
func (p *partition) begins(first int64) (missing, lost int64) {
	if first <= p.offset {
		return 0, 0
	}
	missing = first - p.offset
	p.offset, p.emitted = first, 0
	if p.done.offset < first {
		lost = first - p.done.offset
		p.done.offset, p.done.emitted = first, 0
	}
	return missing, lost
}
