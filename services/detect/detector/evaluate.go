package detector

import (
	"fmt"
	"sync"
	"time"

	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/detect"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/rule"
	"github.com/flowstitch/flowstitch/pkg/stage"
	"github.com/flowstitch/flowstitch/pkg/window"
)

// evaluateBuckets is how many pieces a partition's entities are cut into. It is
// part of the layout.
const evaluateBuckets = 32

// evaluateFold adapts detect.Evaluator to the stage.
type evaluateFold struct {
	set     *detect.Settings
	rules   []*rule.Rule
	writers []writer // one for each topic of alerts
	metrics *metrics
	now     func() time.Time // bounds the record timestamp only: brokers refuse the future

	mu    sync.Mutex
	rooms map[int32]*room // by partition
}

// room is what the buckets of a partition share, which one goroutine folds:
// memory to use again and no state.
type room struct {
	pool   *detect.Pool
	values [][]byte // by writer: the value that is encoded
}

// room returns that of a partition. The first of its buckets makes it.
func (f *evaluateFold) room(partition int32, bucket int) *room {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.rooms[partition]
	if r == nil || bucket == 0 {
		if f.rooms == nil {
			f.rooms = map[int32]*room{}
		}
		r = &room{pool: detect.NewPool(), values: make([][]byte, len(f.writers))}
		f.rooms[partition] = r
	}
	return r
}

// leave lets go of the room of a partition, which its buckets still hold.
func (f *evaluateFold) leave(partition int32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.rooms, partition)
}

// Buckets implements stage.Fold.
func (f *evaluateFold) Buckets() int { return evaluateBuckets }

// Route implements stage.Fold: by the entity.
func (f *evaluateFold) Route(m *stage.Message) (int, error) {
	return stage.BucketOf(m.Key, evaluateBuckets), nil
}

// NewBucket implements stage.Fold.
func (f *evaluateFold) NewBucket(partition int32, bucket int) stage.Bucket {
	room := f.room(partition, bucket)
	v := room.pool.Evaluator(f.set, detect.Detectors(f.set))
	return &evaluateBucket{fold: f, partition: partition, room: room, v: v, parser: v.Parser(), rules: rule.NewJudgeIn(room.pool, *f.set, f.rules, evaluateBuckets)}
}

// Watermark implements stage.Fold: alerts carry no marks.
func (f *evaluateFold) Watermark(clock flow.Time) flow.Time { return clock }

type evaluateBucket struct {
	fold      *evaluateFold
	partition int32
	room      *room
	v         *detect.Evaluator
	// rules judges the groups of users' rules, each of which belongs to one.
	rules  *rule.Judge
	parser *detect.Parser
	out    stage.Emitter
	err    error

	reported detect.EvaluateStats
	ofRules  []rule.Stats
	held     int
}

// Fold implements stage.Bucket.
func (b *evaluateBucket) Fold(m *stage.Message, out stage.Emitter) error {
	o, err := b.parser.Parse(m.Value)
	if err != nil {
		return fmt.Errorf("%w: %w", stage.ErrPoison, err)
	}
	b.out = out
	if rule.Owns(o.Entity) {
		b.rules.Fold(o, b)
	} else {
		b.v.Fold(o, b)
	}
	return b.failed()
}

// Alert implements detect.AlertSink.
func (b *evaluateBucket) Alert(a *alert.Alert) {
	b.fold.metrics.said(a)
	var all *stage.Output
	for i := range b.fold.writers {
		out, err := b.write(i, a)
		if err != nil {
			b.err = err
			return
		}
		out.And, all = all, out
	}
	b.out.Emit(*all)
}

// write encodes an alert for the topic of a writer. It is good until the next.
func (b *evaluateBucket) write(i int, a *alert.Alert) (*stage.Output, error) {
	w := &b.fold.writers[i]
	r, err := w.encoder.RecordIn(b.room.values[i], a)
	if err != nil {
		return nil, err
	}
	b.room.values[i] = r.Value
	headers := make([]stage.Header, len(r.Headers))
	for i, h := range r.Headers {
		headers[i] = stage.Header(h)
	}
	return &stage.Output{
		Topic: w.topic, Partition: stage.ByKey, Key: r.Key, Value: r.Value, Headers: headers,
		Timestamp: min(r.Timestamp, b.fold.now().UnixMilli()),
	}, nil
}

// Full implements detect.AlertSink.
func (b *evaluateBucket) Full() bool { return b.out.Full() }

func (b *evaluateBucket) failed() error {
	err := b.err
	b.err = nil
	return err
}

// Tick implements stage.Bucket: evaluation is paced by its input alone.
func (b *evaluateBucket) Tick(int64, stage.Emitter) {}

// Advance implements stage.Bucket.
func (b *evaluateBucket) Advance(clock flow.Time, out stage.Emitter) bool {
	b.out = out
	done := b.v.Advance(clock, b) && b.rules.Advance(clock, b)
	b.report(b.v.Entities())
	b.reportRules(b.rules.Stats())
	return done
}

// Close implements stage.Closer: another member shows the bucket now.
func (b *evaluateBucket) Close() {
	b.fold.leave(b.partition)
	b.report(0)
	gone := b.rules.Stats()
	for i := range gone {
		gone[i].Groups = 0
	}
	b.reportRules(gone)
}

func (b *evaluateBucket) reportRules(now []rule.Stats) {
	b.fold.metrics.countRules(b.ofRules, now)
	b.ofRules = now
}

func (b *evaluateBucket) report(held int) {
	now := b.v.Stats()
	b.fold.metrics.countEvaluate(b.reported, now)
	b.fold.metrics.entities.Add(float64(held - b.held))
	b.reported, b.held = now, held
}

// AppendSnapshot implements stage.Bucket.
func (b *evaluateBucket) AppendSnapshot(p []byte) []byte {
	p = window.AppendString(p, b.v.AppendSnapshot(nil))
	return b.rules.AppendSnapshot(p)
}

// Restore implements stage.Bucket.
func (b *evaluateBucket) Restore(p []byte) error {
	r := window.NewReader(p)
	v := r.Bytes()
	if err := r.Err(); err != nil {
		return err
	}
	if err := b.v.Restore(v); err != nil {
		return err
	}
	return b.rules.Restore(r.Rest())
}
