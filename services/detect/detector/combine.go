package detector

import (
	"fmt"

	"github.com/flowstitch/flowstitch/pkg/detect"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/rule"
	"github.com/flowstitch/flowstitch/pkg/session"
	"github.com/flowstitch/flowstitch/pkg/stage"
	"github.com/flowstitch/flowstitch/pkg/wire"
)

// combineBuckets is one, because an entity is summed within a bucket and each
// bucket sends its own sums: with four, a busy server's were sent four times
// (docs/performance.md). It is part of the layout.
const combineBuckets = 1

// combineFold adapts detect.Combiner to the stage.
type combineFold struct {
	set     *detect.Settings
	rules   []*rule.Rule
	metrics *metrics
}

// Buckets implements stage.Fold.
func (f *combineFold) Buckets() int { return combineBuckets }

// Route implements stage.Fold: by the session's key, or a gap's interface.
func (f *combineFold) Route(m *stage.Message) (int, error) {
	if k, err := flow.ParseKey(m.Key); err == nil {
		return session.BucketOf(k, combineBuckets), nil
	}
	return stage.BucketOf(m.Key, combineBuckets), nil
}

// NewBucket implements stage.Fold.
func (f *combineFold) NewBucket(int32, int) stage.Bucket {
	set := *f.set
	set.CombineEntities *= combineShare
	set.FloodClients *= combineShare
	if len(f.rules) == 0 {
		return &combineBucket{c: detect.NewCombiner(&set), metrics: f.metrics}
	}
	return &combineBucket{c: detect.NewCombiner(&set, rule.NewTap(f.rules, f.set.Pane)), metrics: f.metrics}
}

// combineShare is how many of the combiners that detect's bounds are meant for
// the one of a partition stands for.
const combineShare = 4

// Watermark implements stage.Fold.
func (f *combineFold) Watermark(clock flow.Time) flow.Time { return f.set.Watermark(clock) }

type combineBucket struct {
	c        *detect.Combiner
	metrics  *metrics
	reported detect.CombineStats
	held     int
	event    session.Event
	out      stage.Emitter
	key, val []byte
}

// Fold implements stage.Bucket.
func (b *combineBucket) Fold(m *stage.Message, out stage.Emitter) error {
	if err := wire.ParseSession(m.Key, m.Value, &b.event); err != nil {
		return fmt.Errorf("%w: %w", stage.ErrPoison, err)
	}
	b.out = out
	b.c.Fold(&b.event, m.Partition, m.Offset, b)
	return nil
}

// Observe implements detect.Sink.
func (b *combineBucket) Observe(o *detect.Observation) {
	b.key, b.val = o.Entity.AppendKey(b.key[:0]), detect.AppendObservation(b.val[:0], o)
	b.out.Emit(stage.Output{Topic: stage.ObservationsTopic, Partition: stage.ByKey, Key: b.key, Value: b.val})
}

// Full implements detect.Sink.
func (b *combineBucket) Full() bool { return b.out.Full() }

// Tick implements stage.Bucket.
func (b *combineBucket) Tick(wall int64, out stage.Emitter) {
	b.out = out
	b.c.Tick(wall, b)
	b.report(b.c.Entities())
}

// Advance implements stage.Bucket.
func (b *combineBucket) Advance(clock flow.Time, out stage.Emitter) bool {
	b.out = out
	done := b.c.Advance(clock, b)
	b.report(b.c.Entities())
	return done
}

// Close implements stage.Closer: another member shows the bucket now.
func (b *combineBucket) Close() { b.report(0) }

func (b *combineBucket) report(held int) {
	now := b.c.Stats()
	b.metrics.countCombine(b.reported, now)
	b.metrics.sums.Add(float64(held - b.held))
	b.reported, b.held = now, held
}

// AppendSnapshot implements stage.Bucket.
func (b *combineBucket) AppendSnapshot(p []byte) []byte { return b.c.AppendSnapshot(p) }

// Restore implements stage.Bucket.
func (b *combineBucket) Restore(p []byte) error { return b.c.Restore(p) }
