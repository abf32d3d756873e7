package stage

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/wire"
)

// committer sends a slot's transactions.
type committer struct {
	s     *slot
	cl    *kgo.Client
	marks *marker
	recs  []*kgo.Record
	led   []kgo.Record
}

// commit sends tx as one Kafka transaction. A record that the broker refuses
// for its own sake is replaced by a reject; any other error means that the
// client must be dropped and the slot taken over again.
func (c *committer) commit(ctx context.Context, tx *Tx) error {
	began := c.s.st.cfg.Now()
	if len(tx.ledger) == 0 {
		// Every transaction of a slot touches its ledger: reading the owner
		// record back then shows that all of them are resolved.
		tx.put(nameTxn, []byte{1})
	}
	for attempt := 0; ; attempt++ {
		c.gather(tx)
		refused, err := c.send(ctx)
		if err == nil {
			c.count(tx, c.s.st.cfg.Now().Sub(began))
			return nil
		}
		c.s.st.m.aborted.WithLabelValues(reasonOf(err)).Inc()
		if len(refused) == 0 {
			return c.s.classify("committing", err)
		}
		if attempt == maxRefusals {
			return fmt.Errorf("stage: slot %d: the broker still refuses records after %d attempts: %w", c.s.n, attempt, err)
		}
		if err := c.isolate(ctx, refused, tx); err != nil {
			return err
		}
	}
}

// maxRefusals bounds how often one transaction is sent again without the
// records that were refused: once for the records, once for their rejects.
const maxRefusals = 3

// gather lists what tx sends: output in order, then marks (already among the
// output), then the ledger.
func (c *committer) gather(tx *Tx) {
	c.recs, c.led = c.recs[:0], c.led[:0]
	for i := range tx.recs.n {
		c.recs = append(c.recs, tx.recs.at(i))
	}
	for i := range tx.ledger {
		c.led = append(c.led, kgo.Record{
			Topic: c.s.st.ledger, Partition: int32(c.s.n), Key: []byte(tx.ledger[i].Name), Value: tx.ledger[i].Value,
		})
	}
	for i := range c.led {
		c.recs = append(c.recs, &c.led[i])
	}
}

// send is one attempt. refused are the records of batches that the broker
// refused for what is in them.
func (c *committer) send(ctx context.Context) (refused []*kgo.Record, err error) {
	refused, err = c.produce(ctx, c.recs)
	if err != nil {
		return refused, errors.Join(err, c.abort(ctx))
	}
	// Not to be cancelled: the outcome would be unknown for no reason.
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.s.st.takeOverTimeout())
	defer cancel()
	return nil, c.cl.EndTransaction(end, kgo.TryCommit)
}

func (c *committer) abort(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.s.st.takeOverTimeout())
	defer cancel()
	if err := c.cl.AbortBufferedRecords(ctx); err != nil {
		return err
	}
	return c.cl.EndTransaction(ctx, kgo.TryAbort)
}

// produce begins a transaction and flushes recs into it. A transaction that
// can not be flushed within its timeout is lost anyway.
func (c *committer) produce(ctx context.Context, recs []*kgo.Record) (refused []*kgo.Record, err error) {
	if err := c.cl.BeginTransaction(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.s.st.cfg.TxnTimeout)
	defer cancel()
	var mu sync.Mutex
	var other error
	promise := func(r *kgo.Record, e error) { // one for all records: a closure each would be allocated
		if e == nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if isRefusal(e) {
			refused, err = append(refused, r), e
		} else {
			other = e
		}
	}
	for _, r := range recs {
		r.Context = nil // that of an earlier attempt, which has ended
		c.cl.Produce(ctx, r, promise)
	}
	if e := c.cl.Flush(ctx); e != nil {
		return nil, e
	}
	mu.Lock()
	defer mu.Unlock()
	// After a refusal, the client fails what is behind it in line with errors
	// of another kind; the refusal is the cause.
	if err == nil {
		err = other
	}
	return refused, err
}

// isRefusal reports whether a broker refuses a batch for its content.
func isRefusal(err error) bool {
	for _, e := range []error{
		kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.InvalidTimestamp, kerr.InvalidRecord, kerr.PolicyViolation,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// isolate finds the records that the broker refuses, by transactions that are
// aborted, and replaces each by a reject.
func (c *committer) isolate(ctx context.Context, suspects []*kgo.Record, tx *Tx) error {
	bad, err := c.bisect(ctx, suspects)
	if err != nil {
		return err
	}
	for _, r := range bad {
		if r.Topic == c.s.st.ledger {
			return fmt.Errorf("stage: slot %d: the broker refuses the ledger record %q of %d bytes; raise max.message.bytes of %s to 1048576", c.s.n, r.Key, len(r.Value), r.Topic)
		}
		c.s.st.m.refused.Inc()
		c.s.st.log.Warn("the broker refuses a record; it goes to rejects", "slot", c.s.n, "topic", r.Topic, "key", string(r.Key), "bytes", len(r.Value))
		c.replace(tx, r)
	}
	return nil
}

// replace makes a reject of r, in its place. A reject that is refused itself
// keeps its headers and loses its value.
func (c *committer) replace(tx *Tx, r *kgo.Record) {
	t := tx.topics[RejectsTopic]
	if r.Topic == t.name {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: "dropped-bytes", Value: fmt.Append(nil, len(r.Value))})
		r.Value, r.Timestamp = nil, time.Time{}
		return
	}
	reject := wire.Reject{
		Stage: tx.stage, Class: "refused", Topic: r.Topic, Partition: r.Partition,
		Reason: fmt.Sprintf("the broker refuses the record (%d bytes, timestamp %s)", len(r.Key)+len(r.Value), r.Timestamp.UTC().Format(time.RFC3339)),
	}
	for _, h := range reject.Headers() {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: []byte(h.Value)})
	}
	r.Key, r.Topic, r.Timestamp = reject.Key(), t.name, time.Time{}
	r.Partition = t.place(r)
}

func (c *committer) bisect(ctx context.Context, suspects []*kgo.Record) (bad []*kgo.Record, err error) {
	refused, err := c.produce(ctx, suspects)
	if aerr := c.abort(ctx); aerr != nil {
		return nil, c.s.classify("aborting a trial", aerr)
	}
	switch {
	case err == nil:
		return nil, nil
	case len(refused) == 0:
		return nil, c.s.classify("trying records that were refused", err)
	case len(suspects) == 1:
		return suspects, nil
	}
	half := len(suspects) / 2
	for _, part := range [][]*kgo.Record{suspects[:half], suspects[half:]} {
		b, err := c.bisect(ctx, part)
		if err != nil {
			return nil, err
		}
		bad = append(bad, b...)
	}
	return bad, nil
}

func (c *committer) count(tx *Tx, took time.Duration) {
	m := &c.s.st.m
	m.committed.Inc()
	m.commitSeconds.Observe(took.Seconds())
	m.produced(tx)
	n := 0
	for i := range tx.ledger {
		n += len(tx.ledger[i].Name) + len(tx.ledger[i].Value)
	}
	m.ledgerBytes.Add(float64(n))
}

// marker turns watermarks into marks: one at the end of each transaction in
// every partition that it wrote data to, and one in every partition when the
// watermark has moved, or a second has passed with something to commit. Moved
// back, too: ingest's goes back when a slot takes a shard over whose parent's
// slot is holding the clock, and lets go once this is committed.
type marker struct {
	st   *Stage
	said map[Watermark]*said // by topic, partition and slot
}

type said struct {
	time flow.Time
	idle bool
	wall int64
}

func newMarker(st *Stage) *marker { return &marker{st: st, said: map[Watermark]*said{}} }

// broadcast is how often, in milliseconds, a mark goes to partitions without
// data, so that their ticks go on.
const broadcast = 1000

// add appends the marks of tx to its output.
func (k *marker) add(tx *Tx, now time.Time) {
	if len(tx.marks) == 0 {
		return
	}
	wall := now.UnixMilli()
	busy := tx.recs.n+len(tx.ledger) > 0
	for _, w := range tx.marks {
		id := Watermark{Topic: w.Topic, Partition: w.Partition, Slot: w.Slot}
		last := k.said[id]
		all := last == nil || w.Time != last.time || w.Idle != last.idle || busy && wall >= last.wall+broadcast
		if all {
			k.said[id] = &said{time: w.Time, idle: w.Idle, wall: wall}
		}
		k.write(tx, &w, wall, all)
	}
	tx.marks = tx.marks[:0]
}

func (k *marker) write(tx *Tx, w *Watermark, wall int64, all bool) {
	value := wire.AppendMark(nil, &wire.Mark{
		Deployment: k.st.cfg.Deployment, Layout: uint32(k.st.cfg.Layout), Slot: w.Slot, Slots: w.Slots,
		Watermark: w.Time, Idle: w.Idle, WallMS: wall,
	})
	t := tx.topics[w.Topic]
	if t == nil {
		return
	}
	for p := range t.partitions {
		if w.Partition != AllPartitions && w.Partition != p {
			continue
		}
		if all || t.touched[p] {
			tx.Emit(Output{Topic: w.Topic, Partition: p, Value: value})
		}
	}
}
