package stage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// MarkMode says how a stage marks an output topic with its watermark.
type MarkMode uint8

// The modes of marks.
const (
	// NoMarks is for topics whose readers keep no event time: alerts, rejects.
	NoMarks MarkMode = iota
	// PerPartition is for topics with the partitions of the input, each fed by
	// one input partition: the source of partition p is partition p alone.
	PerPartition
	// PerSlot is for topics that every slot feeds: its sources are the slots.
	PerSlot
)

// OutputTopic is a topic that a fold emits to.
type OutputTopic struct {
	Name  string // logical
	Marks MarkMode
}

// Spec is a stage that reads Kafka: a fold over the partitions of a topic.
type Spec struct {
	Input   string // logical
	Outputs []OutputTopic
	// Config is the fold's configuration, in bytes that are equal exactly when
	// folds are: a canonical encoding, with a version of the fold's code.
	Config []byte
	// Fold makes the fold of a configuration: of Config, and after a change of
	// the older ones that the tail of a snapshot must be refolded under.
	Fold func(config []byte) (Fold, error)
}

// Run makes a stage that folds spec and runs it until ctx ends.
func Run(ctx context.Context, cfg Config, spec Spec) error {
	st, err := New(cfg, spec)
	if err != nil {
		return err
	}
	return st.Run(ctx)
}

// New returns a stage that folds a Kafka topic.
func New(cfg Config, spec Spec) (*Stage, error) {
	fold, err := spec.Fold(spec.Config)
	if err != nil {
		return nil, fmt.Errorf("stage: the fold's configuration: %w", err)
	}
	if n := fold.Buckets(); n <= 0 || n > maxBuckets {
		return nil, fmt.Errorf("stage: %d buckets; choose 1 to %d", n, maxBuckets)
	}
	var outputs []string
	for _, o := range spec.Outputs {
		outputs = append(outputs, o.Name)
	}
	var st *Stage
	st, err = NewSlots(cfg, outputs, func(slot int) (SlotWorker, error) {
		return &foldWorker{st: st, slot: slot, spec: spec, fold: fold, hash: xxhash.Sum64(spec.Config)}, nil
	})
	if err != nil {
		return nil, err
	}
	st.input = spec.Input
	return st, nil
}

const maxBuckets = 4096

// foldWorker folds the input partitions of one slot.
type foldWorker struct {
	st     *Stage
	slot   int
	spec   Spec
	fold   Fold
	hash   uint64
	ledger map[string][]byte // only while restoring

	cl      *kgo.Client
	parts   []*partition
	by      map[int32]*partition
	lived   map[int32]bool // partitions that have been refolded and reconfigured
	ends    map[int32]int64
	written map[int32]position
	queue   []*kgo.Record
	next    int
	msg     Message // the one being folded
	counted map[int32]partitionStats
	roll    roller
	stored  bool // the configuration is in the ledger
}

// current and old implement folds.
func (w *foldWorker) current() (Fold, uint64) { return w.fold, w.hash }

func (w *foldWorker) old(hash uint64) (Fold, error) {
	config, ok := w.ledger[nameConfig(hash)]
	if !ok {
		return nil, fmt.Errorf("stage: slot %d: a snapshot was made under configuration %x, which the ledger does not hold", w.slot, hash)
	}
	fold, err := w.spec.Fold(config)
	if err != nil {
		return nil, fmt.Errorf("stage: slot %d: the tail of the snapshots must be refolded under configuration %x, which this version can not: %w; let the version that wrote it hand over in order first", w.slot, hash, err)
	}
	return fold, nil
}

// Restore is not used: a fold needs the stage's own ledger records.
func (w *foldWorker) Restore(context.Context, []LedgerRecord) error {
	return errors.New("stage: a fold is restored from the whole ledger")
}

func (w *foldWorker) restoreAll(ctx context.Context, ledger map[string][]byte) error {
	w.ledger = ledger
	defer func() { w.ledger = nil }()
	_, w.stored = ledger[nameConfig(w.hash)]
	w.by, w.lived, w.ends, w.written = map[int32]*partition{}, map[int32]bool{}, map[int32]int64{}, map[int32]position{}
	w.counted = map[int32]partitionStats{}
	topic := w.st.names.Name(w.spec.Input)
	firsts, err := kadm.NewClient(w.st.group).ListStartOffsets(ctx, topic)
	if err == nil {
		err = firsts.Error()
	}
	if err != nil {
		return fmt.Errorf("start offsets of %s: %w", topic, err)
	}
	from := map[int32]kgo.Offset{}
	for id := int32(w.slot); id < w.st.in.inputCount; id += int32(w.st.cfg.Slots) {
		first, _ := firsts.Lookup(topic, id)
		p, err := restore(id, w.st.in.inputID, w.spec.Input, ledger, w, first.Offset)
		if err != nil {
			return err
		}
		if missing, lost := p.begins(first.Offset); missing > 0 {
			w.st.m.gap.Add(float64(missing))
			w.st.log.Error("the log begins after the position: records were deleted before they were folded",
				"topic", topic, "partition", id, "offsets_missing", missing, "never_committed", lost)
		}
		w.parts, w.by[id] = append(w.parts, p), p
		w.written[id] = p.done
		from[id] = kgo.NewOffset().At(p.offset)
	}
	w.roll = roller{w: w, last: w.st.cfg.Now()}
	w.cl, err = kgo.NewClient(append(w.st.readOpts(), kgo.WithPools(w.st.pools), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}))...)
	return err
}

// Close implements SlotWorker.
func (w *foldWorker) Close() {
	for _, p := range w.parts {
		w.st.m.show(p.id, nil)
		for i := range p.buckets {
			if b, ok := p.buckets[i].Bucket.(Closer); ok {
				b.Close()
			}
		}
	}
	if w.cl != nil {
		w.cl.Close()
	}
}

// refolded reports whether every partition of the slot is live.
func (w *foldWorker) refolded() bool {
	for _, p := range w.parts {
		if p.refolding() {
			return false
		}
	}
	return true
}

// Fill implements SlotWorker.
func (w *foldWorker) Fill(ctx context.Context, tx *Tx) error {
	turns := 0
	for !tx.Full() {
		if w.next == len(w.queue) {
			if more, err := w.poll(ctx, tx.Deadline()); err != nil || !more {
				return errors.Join(err, w.end(tx, turns))
			}
		}
		done, err := w.fold1(w.queue[w.next], tx)
		if err != nil {
			return err
		}
		if !done {
			break // full
		}
		w.queue[w.next].Recycle() // to the client's pools
		w.next++
		if turns++; turns%256 == 0 && !w.st.cfg.Now().Before(tx.Deadline()) {
			break
		}
	}
	return w.end(tx, turns)
}

// fold1 takes in one record. done=false means that tx is full.
func (w *foldWorker) fold1(r *kgo.Record, tx *Tx) (done bool, err error) {
	p := w.by[r.Partition]
	if !w.lived[p.id] {
		if ok, err := w.goLive(p, tx); err != nil || !ok {
			return false, err
		}
	}
	w.msg = Message{Partition: r.Partition, Offset: r.Offset, Key: r.Key, Value: r.Value}
	return p.step(&w.msg, tx)
}

// goLive makes a change of configuration take effect at the position that is
// committed: behind it, the tail was refolded under the old one. The buckets are
// written under the new one before another record is folded. It reports false
// when tx is full before that is done.
func (w *foldWorker) goLive(p *partition, tx *Tx) (bool, error) {
	if p.refolding() || p.mark.active {
		return true, nil // not there yet: go on folding
	}
	if err := p.reconfigure(w); err != nil {
		return false, err
	}
	for {
		i, ok := p.switching()
		if !ok {
			break
		}
		if tx.Full() {
			return false, nil
		}
		w.snapshot(p, i, tx)
		w.st.m.switched.Inc()
	}
	w.lived[p.id] = true
	return true, nil
}

// poll waits for records, up to the deadline. The queue is what was fetched,
// of all partitions, in each in order.
func (w *foldWorker) poll(ctx context.Context, deadline time.Time) (bool, error) {
	wait := deadline.Sub(w.st.cfg.Now())
	if wait <= 0 || ctx.Err() != nil {
		return false, nil
	}
	clear(w.queue)
	w.queue, w.next = w.queue[:0], 0
	pctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	fs := w.cl.PollRecords(pctx, 20_000)
	var errs []error
	fs.EachError(func(topic string, p int32, err error) {
		if pctx.Err() == nil || !errors.Is(err, pctx.Err()) {
			errs = append(errs, fmt.Errorf("stage: slot %d: fetching %s/%d: %w", w.slot, topic, p, err))
		}
	})
	if len(errs) > 0 {
		return false, errors.Join(errs...)
	}
	fs.EachPartition(func(fp kgo.FetchTopicPartition) {
		w.queue = append(w.queue, fp.Records...)
		w.ends[fp.Partition] = fp.LastStableOffset
	})
	return len(w.queue) > 0, nil
}

// end completes a transaction: snapshots that are due, positions, watermarks.
func (w *foldWorker) end(tx *Tx, turns int) error {
	for _, p := range w.parts {
		if !w.lived[p.id] { // a partition without traffic goes live here
			if _, err := w.goLive(p, tx); err != nil {
				return err
			}
		}
	}
	w.roll.fill(tx, turns)
	w.positions(tx)
	if turns > 0 {
		w.watermarks(tx)
	}
	w.show()
	return tx.err
}

// positions writes the positions that have moved. While a partition refolds,
// its position in the ledger is ahead.
func (w *foldWorker) positions(tx *Tx) {
	for _, p := range w.parts {
		if p.refolding() {
			continue
		}
		if at := p.position(); at != w.written[p.id] {
			w.storeConfig(tx)
			tx.put(namePosition(p.id), at.append(nil))
			w.written[p.id] = at
		}
	}
}

// watermarks declares what the slot promises: nothing new while one of its
// partitions refolds, since its clock is behind what was promised before.
func (w *foldWorker) watermarks(tx *Tx) {
	low, idle, known := flow.MaxTime, true, true
	for _, p := range w.parts {
		at, silent, ok := p.watermark()
		ok = ok && !p.refolding()
		known = known && ok
		if ok && !silent {
			low, idle = min(low, at), false
		}
		for _, o := range w.spec.Outputs {
			if ok && o.Marks == PerPartition {
				tx.Watermark(Watermark{Topic: o.Name, Partition: p.id, Slots: 1, Time: at, Idle: silent})
			}
		}
	}
	for _, o := range w.spec.Outputs {
		if known && o.Marks == PerSlot {
			tx.Watermark(Watermark{Topic: o.Name, Partition: AllPartitions, Slot: uint32(w.slot), Slots: uint32(w.st.cfg.Slots), Time: low, Idle: idle})
		}
	}
}

// storeConfig puts the configuration into the ledger, before the first record
// that refers to it.
func (w *foldWorker) storeConfig(tx *Tx) {
	if w.stored {
		return
	}
	config := w.spec.Config
	if config == nil {
		config = []byte{} // nil would be a deletion
	}
	tx.put(nameConfig(w.hash), config)
	w.stored = true
}

// snapshot writes one bucket.
func (w *foldWorker) snapshot(p *partition, i int, tx *Tx) {
	w.storeConfig(tx)
	n := p.snapshot(i, tx, &w.roll.buf)
	w.roll.at(p.id, i)
	w.st.m.snapshots.Inc()
	w.st.m.snapshotBytes.Add(float64(n))
}

// Drain implements Drainer: it ends what is unfinished and writes every bucket
// that has changed, so that the successor refolds nothing.
func (w *foldWorker) Drain(_ context.Context, tx *Tx) (done bool, err error) {
	done = true
	for _, p := range w.parts {
		if p.refolding() || !w.lived[p.id] {
			continue
		}
		if !p.finish(tx) {
			done = false
			continue
		}
		for i := range p.buckets {
			if tx.Full() {
				done = false
				break
			}
			if p.buckets[i].dirty {
				w.snapshot(p, i, tx)
			}
		}
	}
	w.positions(tx)
	w.watermarks(tx)
	return done, tx.err
}

func (w *foldWorker) show() {
	for _, p := range w.parts {
		before := w.counted[p.id]
		w.st.m.folded(&p.stats, &before)
		w.counted[p.id] = p.stats
		s := &partitionState{
			position: p.offset, end: w.ends[p.id], clock: p.settled.clock, tickMS: p.clock.tick, oldest: w.roll.oldest(p.id),
		}
		unspoken, holding := p.clock.behind()
		s.behind = unspoken + holding
		if p.refolding() {
			s.refold = max(1, p.done.offset-p.offset)
		}
		w.st.m.show(p.id, s)
	}
}
