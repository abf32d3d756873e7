package stage

import (
	"errors"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// Fold is the pure heart of a stage that reads Kafka partitions: sessionize,
// combine and evaluate each are one. A partition's state is cut into buckets by
// key hash, each independent of the others, so that snapshots can roll.
type Fold interface {
	// Buckets is how many buckets a partition's state is cut into. It is part
	// of the layout: changing it changes where keys live.
	Buckets() int
	// Route returns the bucket of a data record, from its key or, where that
	// does not suffice, its value. An error makes the record a poison reject.
	Route(m *Message) (bucket int, err error)
	// NewBucket returns the empty state of one bucket.
	NewBucket(partition int32, bucket int) Bucket
	// Watermark maps the partition's clock to the watermark that the stage
	// promises downstream.
	Watermark(clock flow.Time) flow.Time
}

// Bucket is the state of one bucket of one partition: a deterministic function
// of the calls made on it. The stage calls it from one goroutine at a time.
type Bucket interface {
	// Fold folds in one data record. An error that wraps ErrPoison sends the
	// record to rejects; any other stops the stage.
	Fold(m *Message, out Emitter) error
	// Tick tells that the running maximum of the wall times in the
	// partition's marks has reached wall, in Unix milliseconds. It paces
	// provisional output and nothing else.
	Tick(wall int64, out Emitter)
	// Advance moves the bucket's clock. It reports done=false when it stopped
	// because out was full; it is then called again with the same clock, in
	// another transaction. No Fold or Tick comes between.
	Advance(clock flow.Time, out Emitter) (done bool)
	// AppendSnapshot appends the whole state. It is never called inside an
	// unfinished Advance. Equal states give equal bytes.
	AppendSnapshot(b []byte) []byte
	// Restore replaces an empty bucket's state with a snapshot's.
	Restore(b []byte) error
}

// Closer is a Bucket that wants to know when this process lets go of it, for
// its gauges. It changes no state.
type Closer interface{ Close() }

// Message is a data record of an input partition. Key and Value are valid
// during the call only.
type Message struct {
	Partition  int32
	Offset     int64
	Key, Value []byte
}

// Emitter takes what a fold puts out; during a refold it discards it.
type Emitter interface {
	// Emit queues one record. The bytes are copied before it returns.
	Emit(o Output)
	// Full reports that the transaction has reached its size: Advance should
	// return at the next point where it can be resumed.
	Full() bool
}

// Where an Output goes within its topic.
const (
	ByKey    int32 = -1 // Kafka's default partitioner, murmur2 of the key
	SameAsIn int32 = -2 // the partition number that the input came from
)

// Output is one record to produce. Topic is the logical name ("sessions"); the
// stage adds prefix and wire version.
type Output struct {
	Topic      string
	Partition  int32 // ByKey, SameAsIn or a number
	Key, Value []byte
	Headers    []Header
	Timestamp  int64 // Unix milliseconds; 0 is left to the broker
	// And is the same statement once more, to another topic. Both are one
	// emission: recovery counts emissions, so a configuration that says a
	// statement once or twice may change between a crash and its recovery.
	And *Output
}

// Header is a record header.
type Header struct{ Key, Value string }

// ErrPoison marks a record that can never be folded: it goes to rejects with
// its position and the partition goes on.
var ErrPoison = errors.New("poison record")
