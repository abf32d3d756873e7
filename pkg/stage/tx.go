package stage

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/wire"
)

// MaxRecord bounds the key and value of anything produced, in bytes: what is
// larger goes to rejects in pieces (design: "nothing that is produced exceeds 900 kB").
const MaxRecord = 900 << 10

// AllPartitions makes a Watermark hold for every partition of its topic.
const AllPartitions int32 = -1

// Watermark is what a worker promises about an output topic as of the end of a
// transaction. The stage turns it into marks (ARCHITECTURE.md, "How time
// travels").
type Watermark struct {
	Topic       string // logical name
	Partition   int32  // or AllPartitions
	Slot, Slots uint32 // the source's slot, and how many it has
	Time        flow.Time
	Idle        bool
}

// Tx collects what one transaction will hold: output, ledger records and
// watermarks. Nothing reaches Kafka before the worker's Fill has returned, so
// no transaction is open while a worker waits for anything. It is an Emitter.
type Tx struct {
	names    *Topics
	topics   map[string]*outTopic // by logical name
	maxBytes int
	deadline time.Time
	ahead    *atomic.Bool // the transaction before is on its way
	now      func() time.Time

	recs   records
	arena  arena
	bytes  int
	ledger []LedgerRecord
	marks  []Watermark
	stage  string
	err    error
}

// outTopic is a topic that a transaction may write to.
type outTopic struct {
	name        string
	partitions  int32
	partitioner kgo.TopicPartitioner
	touched     []bool // by partition: written to in this transaction
}

func (t *outTopic) place(r *kgo.Record) int32 {
	return int32(t.partitioner.Partition(r, int(t.partitions)))
}

func newTx(stage string, names *Topics, counts map[string]int32, maxBytes int) *Tx {
	tx := &Tx{stage: stage, names: names, topics: map[string]*outTopic{}, maxBytes: maxBytes}
	for t, n := range counts {
		tx.topics[t] = &outTopic{
			name: names.Name(t), partitions: n, touched: make([]bool, n),
			// With a key, this is Java's murmur2, Kafka's default.
			partitioner: kgo.StickyKeyPartitioner(nil).ForTopic(t),
		}
	}
	return tx
}

// Deadline is when Fill should return at the latest, as of now. While the
// transaction before is on its way, this one could not be sent anyway: the
// deadline then moves on, so that a slow broker gets larger transactions
// instead of waiting workers. Ask again rather than keep the answer.
func (tx *Tx) Deadline() time.Time {
	if tx.ahead != nil && tx.ahead.Load() {
		if later := tx.now().Add(deadlineStep); later.After(tx.deadline) {
			return later
		}
	}
	return tx.deadline
}

// deadlineStep is how soon a worker looks again whether the transaction before
// has ended.
const deadlineStep = 20 * time.Millisecond

// Full reports that the transaction has reached its size.
func (tx *Tx) Full() bool { return tx.bytes >= tx.maxBytes }

// Bytes is what has been collected so far: keys, values and ledger.
func (tx *Tx) Bytes() int { return tx.bytes }

// Records is how many output records have been collected so far.
func (tx *Tx) Records() int { return tx.recs.n }

func (tx *Tx) empty() bool { return tx.recs.n+len(tx.ledger)+len(tx.marks) == 0 }

func (tx *Tx) reset(deadline time.Time) {
	tx.recs.reset()
	tx.ledger, tx.marks = tx.ledger[:0], tx.marks[:0]
	tx.arena.reset()
	for _, t := range tx.topics {
		clear(t.touched)
	}
	tx.bytes, tx.deadline, tx.err = 0, deadline, nil
}

// Emit queues one record; SameAsIn has no meaning here, since Tx knows no
// input partition.
func (tx *Tx) Emit(o Output) {
	t := tx.topics[o.Topic]
	if t == nil {
		tx.fail(fmt.Errorf("stage: output to %q, which is not among the declared outputs", o.Topic))
		return
	}
	if len(o.Key)+len(o.Value) > MaxRecord {
		tx.Reject(wire.Reject{
			Stage: tx.stage, Class: "too-large", Topic: t.name,
			Reason: fmt.Sprintf("%d bytes to produce, more than %d", len(o.Key)+len(o.Value), MaxRecord),
		}, o.Value)
		return
	}
	r := tx.recs.next()
	r.Topic, r.Key, r.Value, r.Partition = t.name, tx.arena.copy(o.Key), tx.arena.copy(o.Value), o.Partition
	if o.Timestamp != 0 {
		r.Timestamp = time.UnixMilli(o.Timestamp)
	}
	for _, h := range o.Headers {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: []byte(h.Value)})
	}
	switch {
	case o.Partition == ByKey:
		if r.Key == nil {
			r.Key = []byte{} // a nil key would be placed at random
		}
		r.Partition = t.place(r)
	case o.Partition < 0 || o.Partition >= t.partitions:
		tx.fail(fmt.Errorf("stage: output to partition %d of %s, which has %d", o.Partition, o.Topic, t.partitions))
		return
	}
	t.touched[r.Partition] = true
	tx.bytes += len(o.Key) + len(o.Value) + recordOverhead
}

// recordOverhead is about what a record costs beyond its key and value, in a
// batch and in memory.
const recordOverhead = 32

// Ledger queues a ledger record under a name that must not begin with "~"; a
// nil value deletes it. The bytes are copied.
func (tx *Tx) Ledger(name string, value []byte) {
	if isReserved(name) {
		tx.fail(fmt.Errorf("stage: the ledger name %q is the stage's own; choose one that does not begin with %q", name, reserved))
		return
	}
	tx.put(name, value)
}

func (tx *Tx) put(name string, value []byte) {
	if len(value) > MaxRecord {
		tx.fail(fmt.Errorf("stage: ledger record %q has %d bytes, more than %d; split it", name, len(value), MaxRecord))
		return
	}
	if value != nil {
		value = tx.arena.copy(value)
	}
	tx.ledger = append(tx.ledger, LedgerRecord{Name: name, Value: value})
	tx.bytes += len(name) + len(value) + recordOverhead
}

// Watermark declares a watermark as of the end of this transaction.
func (tx *Tx) Watermark(w Watermark) { tx.marks = append(tx.marks, w) }

// Reject queues a reject with its raw bytes, in pieces if they are large.
func (tx *Tx) Reject(r wire.Reject, raw []byte) {
	const size = MaxRecord - 1024 // room for the key
	r.Parts = max(1, (len(raw)+size-1)/size)
	for i := range r.Parts {
		r.Part = i + 1
		tx.Emit(Output{
			Topic: RejectsTopic, Partition: ByKey, Key: r.Key(),
			Value:   raw[i*size : min(len(raw), (i+1)*size)],
			Headers: rejectHeaders(&r),
		})
	}
}

func rejectHeaders(r *wire.Reject) (out []Header) {
	for _, h := range r.Headers() {
		out = append(out, Header(h))
	}
	return out
}

func (tx *Tx) fail(err error) {
	if tx.err == nil {
		tx.err = err
	}
}

// arena hands out copies of bytes that live until the next reset.
type arena struct {
	chunks [][]byte
	at     int // the chunk in use
}

const arenaChunk = 256 << 10

func (a *arena) copy(b []byte) []byte {
	if b == nil {
		return nil
	}
	for ; a.at < len(a.chunks); a.at++ {
		c := a.chunks[a.at]
		if cap(c)-len(c) >= len(b) {
			n := len(c)
			c = append(c, b...)
			a.chunks[a.at] = c
			return c[n:len(c):len(c)]
		}
	}
	c := append(make([]byte, 0, max(arenaChunk, len(b))), b...)
	a.chunks = append(a.chunks, c)
	return c[0:len(c):len(c)]
}

func (a *arena) reset() {
	keep := a.chunks[:0]
	for _, c := range a.chunks {
		if cap(c) == arenaChunk { // an outsize one is not worth keeping
			keep = append(keep, c[:0])
		}
	}
	clear(a.chunks[len(keep):])
	a.chunks, a.at = keep, 0
}

// SlotWorker is what a stage does for one slot. All calls come from one
// goroutine.
type SlotWorker interface {
	// Restore is called once, with everything in the slot's ledger that the
	// worker has written before, in order of name.
	Restore(ctx context.Context, ledger []LedgerRecord) error
	// Fill collects one commit interval's worth into tx: it returns when tx is
	// full, at tx.Deadline, or when ctx ends. While it runs, the transaction
	// before may still be on its way; if that fails, the worker is closed and a
	// new one is restored.
	Fill(ctx context.Context, tx *Tx) error
	// Close lets go of what the worker holds.
	Close()
}

// Drainer is a SlotWorker with something to write before it hands its slot
// over in order. Drain is called until it reports done.
type Drainer interface {
	Drain(ctx context.Context, tx *Tx) (done bool, err error)
}
