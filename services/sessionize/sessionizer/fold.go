package sessionizer

import (
	"fmt"
	"sync"

	"github.com/segmentio/encoding/json"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/session"
	"github.com/flowstitch/flowstitch/pkg/stage"
	"github.com/flowstitch/flowstitch/pkg/wire"
)

// buckets is how many pieces a partition's table is cut into. It is part of
// the layout: with 64, one snapshot is about a hundredth of a partition's state
// and a round of 40 minutes writes one every 38 s.
const buckets = 64

// fold adapts session.Table to the stage.
type fold struct {
	cfg     session.Config
	metrics *metrics

	mu    sync.Mutex
	first map[int32]*session.Table // of a partition: the one whose points the others share
}

// foldConfig is what a fold depends on, as the ledger keeps it: a tail is
// refolded under the configuration that its snapshot names.
type foldConfig struct {
	Version int            `json:"version"`
	Session session.Config `json:"session"`
}

// foldVersion counts up when the same records would fold differently, that is,
// with any change of meaning in pkg/session.
const foldVersion = 1

// parseFold makes the fold of a configuration of the ledger.
func parseFold(config []byte, m *metrics) (stage.Fold, error) {
	var c foldConfig
	if err := json.Unmarshal(config, &c); err != nil {
		return nil, fmt.Errorf("sessionize: the ledger's fold configuration: %w", err)
	}
	if c.Version != foldVersion {
		return nil, fmt.Errorf("sessionize: the ledger's snapshots were made by version %d of the fold and this program has version %d; let the old version end in order (SIGTERM), so that nothing is left to refold", c.Version, foldVersion)
	}
	return &fold{cfg: c.Session, metrics: m, first: map[int32]*session.Table{}}, nil
}

// Buckets implements stage.Fold.
func (f *fold) Buckets() int { return buckets }

// Route implements stage.Fold. A record without endpoints is keyed by its
// interface and lives in the bucket of that text.
func (f *fold) Route(m *stage.Message) (int, error) {
	if k, err := flow.ParseKey(m.Key); err == nil {
		return session.BucketOf(k, buckets), nil
	}
	return stage.BucketOf(m.Key, buckets), nil
}

// NewBucket implements stage.Fold.
// The buckets of a partition are made in order, by the goroutine that works
// it: bucket 0 begins anew, so that nothing is shared with an owner before, which
// may still be on its way out.
func (f *fold) NewBucket(partition int32, i int) stage.Bucket {
	f.mu.Lock()
	defer f.mu.Unlock()
	b := &bucket{metrics: f.metrics, fold: f, partition: partition}
	if other := f.first[partition]; i > 0 && other != nil {
		b.table = session.NewTableBeside(f.cfg, other)
		return b
	}
	b.table = session.NewTable(f.cfg)
	f.first[partition] = b.table
	return b
}

// forget ends the sharing with a partition's buckets so far.
func (f *fold) forget(partition int32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.first, partition)
}

// Watermark implements stage.Fold: by the clock less the active timeout every
// final delta has been sent.
func (f *fold) Watermark(clock flow.Time) flow.Time { return clock.Add(-f.cfg.Active) }

// bucket is one table and the buffers of its adapter.
type bucket struct {
	table     *session.Table
	fold      *fold
	partition int32
	metrics   *metrics
	reported  session.Stats
	rec       flow.Record
	out       stage.Emitter
	key, val  []byte
}

// Fold implements stage.Bucket.
func (b *bucket) Fold(m *stage.Message, out stage.Emitter) error {
	scope, err := wire.ParseFlow(m.Key, m.Value, &b.rec)
	if err != nil {
		return fmt.Errorf("%w: %w", stage.ErrPoison, err)
	}
	b.out = out
	switch b.table.ObserveIn(scope, &b.rec, m.Partition, m.Offset, b.emit) {
	case session.Late:
		b.late(m)
	case session.Invalid:
		return fmt.Errorf("%w: a flow without addresses, or with times that can not be", stage.ErrPoison)
	case session.Taken, session.Duplicate, session.Corrected, session.NoData, session.GapTold:
	}
	return nil
}

// late sends a record that came too late for its session to rejects, as the
// flows topic had it.
func (b *bucket) late(m *stage.Message) {
	r := wire.Reject{
		Stage: "sessionize", Class: "late", Topic: stage.FlowsTopic, Partition: m.Partition, Offset: m.Offset, Origin: b.rec.Origin,
		Reason: fmt.Sprintf("the record starts at %v, too far behind the clock %v to correct its session; raise sessions.corrections and ingest's lateness if this is usual", b.rec.Start, b.table.Clock()),
	}
	list := r.Headers()
	headers := make([]stage.Header, len(list))
	for i, h := range list {
		headers[i] = stage.Header(h)
	}
	b.out.Emit(stage.Output{Topic: stage.RejectsTopic, Partition: stage.ByKey, Key: r.Key(), Value: m.Value, Headers: headers})
}

func (b *bucket) emit(e *session.Event) {
	b.key, b.val = wire.AppendSessionKey(b.key[:0], e), wire.AppendSession(b.val[:0], e)
	b.out.Emit(stage.Output{Topic: stage.SessionsTopic, Partition: stage.SameAsIn, Key: b.key, Value: b.val})
}

// Tick implements stage.Bucket.
func (b *bucket) Tick(wall int64, out stage.Emitter) {
	b.out = out
	b.table.Tick(wall, b.emit)
	b.report()
}

// Advance implements stage.Bucket.
func (b *bucket) Advance(clock flow.Time, out stage.Emitter) bool {
	b.out = out
	done := b.table.Advance(clock, b.emit, out.Full)
	b.report()
	return done
}

// AppendSnapshot implements stage.Bucket.
func (b *bucket) AppendSnapshot(p []byte) []byte { return b.table.AppendSnapshot(p) }

// Restore implements stage.Bucket.
func (b *bucket) Restore(p []byte) error { return b.table.Restore(p) }

// Close takes the bucket out of the gauges: another member shows it now.
func (b *bucket) Close() {
	b.metrics.hold(&b.reported, &session.Stats{})
	b.fold.forget(b.partition)
}

// report brings the metrics up to date. Counters begin with the process: what
// a refold repeats is counted as it is folded.
func (b *bucket) report() {
	now := b.table.Stats()
	b.metrics.count(&b.reported, &now)
	b.metrics.hold(&b.reported, &now)
	b.reported = now
}
