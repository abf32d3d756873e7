package simtest

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/kafkatest"
	"github.com/flowstitch/flowstitch/pkg/stage"
)

// passing is a fold that keeps nothing and passes everything on.
type passing struct{}

func (passing) Buckets() int                          { return 16 }
func (passing) Route(m *stage.Message) (int, error)   { return int(m.Key[0]) % 16, nil }
func (passing) NewBucket(int32, int) stage.Bucket     { return passing{} }
func (passing) Watermark(clock flow.Time) flow.Time   { return clock }
func (passing) Tick(int64, stage.Emitter)             {}
func (passing) Advance(flow.Time, stage.Emitter) bool { return true }
func (passing) AppendSnapshot(b []byte) []byte        { return b }
func (passing) Restore([]byte) error                  { return nil }
func (passing) Fold(m *stage.Message, out stage.Emitter) error {
	out.Emit(stage.Output{Topic: stage.SessionsTopic, Partition: stage.SameAsIn, Key: m.Key, Value: m.Value})
	return nil
}

// TestMeasureSlotsAgainstGroupSession measures the choice that the stage rests
// on: a transactional producer a slot, with a ledger, against franz-go's
// GroupTransactSession, which keeps positions as group offsets and has no ledger.
func TestMeasureSlotsAgainstGroupSession(t *testing.T) {
	if os.Getenv("FLOWSTITCH_LONG") != "1" {
		t.Skip("set FLOWSTITCH_LONG=1: a measurement of some minutes")
	}
	c := kafkatest.Real(t)
	const n, partitions = 2_000_000, 24
	for _, slots := range []int{24, 8, 4} {
		t.Run(fmt.Sprintf("%d slots", slots), func(t *testing.T) {
			prefix := kafkatest.Prefix(t)
			_, cfg := configs(c, prefix, &Load{Slots: 1})
			cfg.Slots, cfg.CommitInterval, cfg.Telemetry = slots, 250*time.Millisecond, fresh(cfg.Telemetry)
			cfg.SessionTimeout, cfg.TxnTimeout = 10*time.Second, 10*time.Second
			specs := append(cfg.StageTopics(), stage.DataTopic(stage.FlowsTopic, partitions), stage.DataTopic(stage.SessionsTopic, partitions), stage.RejectsSpec(1))
			if err := stage.EnsureTopics(context.Background(), &cfg, specs...); err != nil {
				t.Fatal(err)
			}
			fillTopic(t, c, prefix, n)
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() {
				done <- stage.Run(ctx, cfg, stage.Spec{
					Input: stage.FlowsTopic, Outputs: []stage.OutputTopic{{Name: stage.SessionsTopic, Marks: stage.PerPartition}},
					Fold: func([]byte) (stage.Fold, error) { return passing{}, nil },
				})
			}()
			rate(t, n, func() int {
				return int(metric(t, cfg.Telemetry.Registry, "flowstitch_stage_records_out_total", "sessions"))
			})
			t.Logf("ledger: %.0f bytes in %.0f transactions", metric(t, cfg.Telemetry.Registry, "flowstitch_stage_ledger_bytes_total"),
				metric(t, cfg.Telemetry.Registry, "flowstitch_stage_transactions_committed_total"))
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("GroupTransactSession", func(t *testing.T) {
		prefix := kafkatest.Prefix(t)
		_, cfg := configs(c, prefix, &Load{Slots: 1})
		if err := stage.EnsureTopics(context.Background(), &cfg, stage.DataTopic(stage.FlowsTopic, partitions), stage.DataTopic(stage.SessionsTopic, partitions)); err != nil {
			t.Fatal(err)
		}
		fillTopic(t, c, prefix, n)
		var out atomic.Int64
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		wg.Go(func() { groupSession(ctx, t, c, prefix, &out) })
		rate(t, n, func() int { return int(out.Load()) })
		cancel()
		wg.Wait()
	})
}

// rate waits until n records are out and logs how many that is a second, from
// the first to the last.
func rate(t *testing.T, n int, out func() int) {
	t.Helper()
	asked := time.Now()
	until(t, 2*time.Minute, "the first records", func() bool { return out() > 0 })
	first, began := out(), time.Now()
	until(t, 5*time.Minute, "all records", func() bool { return out() >= n })
	took := time.Since(began)
	t.Logf("%.0f records/s (%d in %v, first after %v)", float64(n-first)/took.Seconds(), n, took.Round(time.Millisecond), began.Sub(asked).Round(time.Millisecond))
}

func fillTopic(t *testing.T, c *kafkatest.Cluster, prefix string, n int) {
	t.Helper()
	names := stage.Topics{Prefix: prefix}
	cl, err := kgo.NewClient(append(c.Opts(), kgo.MaxBufferedRecords(200_000), kgo.ProducerLinger(20*time.Millisecond), kgo.ProducerBatchCompression(kgo.Lz4Compression()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	value := make([]byte, 100)
	for i := range n {
		h := mix(uint64(i))
		v := append([]byte{'d'}, value...)
		for j := range 4 {
			v[10+j*8] = byte(h >> (8 * j))
		}
		cl.Produce(context.Background(), &kgo.Record{Topic: names.Name(stage.FlowsTopic), Key: fmt.Appendf(nil, "%016x", h), Value: v}, func(_ *kgo.Record, err error) {
			if err != nil {
				t.Error(err)
			}
		})
	}
	if err := cl.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func groupSession(ctx context.Context, t *testing.T, c *kafkatest.Cluster, prefix string, out *atomic.Int64) {
	names := stage.Topics{Prefix: prefix}
	s, err := kgo.NewGroupTransactSession(append(c.Opts(),
		kgo.ConsumerGroup(prefix+"group"), kgo.ConsumeTopics(names.Name(stage.FlowsTopic)), kgo.TransactionalID(prefix+"txn"),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.MaxBufferedRecords(1<<20), kgo.ProducerBatchCompression(kgo.Lz4Compression()), kgo.ProducerLinger(20*time.Millisecond),
		kgo.FetchMaxBytes(32<<20), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		t.Error(err)
		return
	}
	defer s.Close()
	for ctx.Err() == nil {
		if err := s.Begin(); err != nil {
			t.Error(err)
			return
		}
		n := 0
		for began := time.Now(); time.Since(began) < 250*time.Millisecond && ctx.Err() == nil; {
			pctx, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
			fs := s.PollFetches(pctx)
			cancel()
			for it := fs.RecordIter(); !it.Done(); {
				r := it.Next()
				s.Produce(ctx, &kgo.Record{Topic: names.Name(stage.SessionsTopic), Partition: r.Partition, Key: r.Key, Value: r.Value}, nil)
				n++
			}
		}
		ok, err := s.End(context.WithoutCancel(ctx), kgo.TryCommit)
		if err != nil {
			t.Error(err)
			return
		}
		if ok {
			out.Add(int64(n))
		}
	}
}

// TestMeasureRollingRestart measures how long a partition stands still while
// every member is restarted in order, one after another.
func TestMeasureRollingRestart(t *testing.T) {
	if os.Getenv("FLOWSTITCH_LONG") != "1" {
		t.Skip("set FLOWSTITCH_LONG=1: a measurement of half a minute")
	}
	c := kafkatest.Real(t)
	prefix := kafkatest.Prefix(t)
	l := &Load{Seed: 12, Slots: 2, Records: 50_000, Keys: 5000, PerSec: 100, Jitter: 3, Burst: 100, Pace: 50 * time.Millisecond}
	toy := &Toy{Width: 10, Cuts: 4}
	src, fold := configs(c, prefix, l)
	ensure(t, &src, &fold)
	run := func() (stop func()) {
		ctx, cancel := context.WithCancel(context.Background())
		cfg := fold
		cfg.Telemetry = fresh(fold.Telemetry)
		done := make(chan error, 1)
		go func() { done <- stage.Run(ctx, cfg, toy.Spec()) }()
		until(t, 30*time.Second, "a member to be ready", func() bool { _, ok := cfg.Telemetry.Health.Ready(); return ok })
		return func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
	members := []func(){run(), run(), run()}
	// The source comes with a fourth member, which stays.
	source := start(src, fold, l, toy)
	wait(context.Background(), 5*time.Second)
	began := time.Now()
	for i := range members {
		members[i]()
		members[i] = run()
	}
	took := time.Since(began)
	wait(context.Background(), 3*time.Second)
	last, worst := map[int32]time.Time{}, map[int32]time.Duration{}
	for _, r := range readFor(t, c, prefix, 8*time.Second) {
		if at, ok := last[r.Partition]; ok && r.Timestamp.After(began) {
			worst[r.Partition] = max(worst[r.Partition], r.Timestamp.Sub(at))
		}
		last[r.Partition] = r.Timestamp
	}
	t.Logf("3 members restarted in %v; longest silence by partition (a mark goes out each second at the latest): %v", took, worst)
	for _, stop := range members {
		stop()
	}
	source.end(t)
}

// readFor returns what can be read of sessions within d.
func readFor(t *testing.T, c *kafkatest.Cluster, prefix string, d time.Duration) (out []*kgo.Record) {
	t.Helper()
	cl, err := kgo.NewClient(append(c.Opts(), kgo.ConsumeTopics((&stage.Topics{Prefix: prefix}).Name(stage.SessionsTopic)),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	for ctx.Err() == nil {
		out = append(out, cl.PollFetches(ctx).Records()...)
	}
	return out
}
