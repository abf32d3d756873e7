package simtest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/flowstitch/flowstitch/pkg/stage"
)

// watcher looks at a gauge again and again, and remembers its largest value.
func watcher(ctx context.Context, t testing.TB, m *simMember, name string) (largest func() float64) {
	t.Helper()
	seen, done := 0.0, make(chan struct{})
	go func() {
		defer close(done)
		for ; ctx.Err() == nil; wait(ctx, 5*time.Millisecond) {
			seen = max(seen, metric(t, m.fold.Telemetry.Registry, "flowstitch_stage_"+name))
		}
	}()
	return func() float64 { <-done; return seen }
}

// TestGaugesFollowTheWork: lag and refold rise and fall to 0, every bucket's
// snapshot is younger than two rounds, and aborted transactions are counted by
// their reason.
func TestGaugesFollowTheWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, &Load{Seed: 30, Slots: 2, Records: 2000, Keys: 200, PerSec: 50, Jitter: 5, Burst: 20, Pace: 200 * time.Millisecond})
		b.fold.MaxTxnBytes = 2000
		a := b.join()
		value := func(m *simMember, name string, want ...string) float64 {
			return metric(t, m.fold.Telemetry.Registry, "flowstitch_stage_"+name, want...)
		}
		a.link.Slow(20*time.Millisecond, 6*time.Second)
		ctx, cancel := context.WithTimeout(context.Background(), 6*time.Second)
		defer cancel()
		if lag := watcher(ctx, t, a, "lag_records")(); lag == 0 {
			t.Error("lag_records is 0 behind a slow network")
		}
		wait(context.Background(), 3*time.Second)
		if lag := value(a, "lag_records"); lag > 200 {
			t.Errorf("lag_records is %v when the stage has caught up", lag)
		}
		for p := range testPartitions {
			at := int64(value(a, "snapshot_oldest_milliseconds", fmt.Sprintf("partition=%d", p)))
			if age := time.Since(time.UnixMilli(at)); age > 2*b.fold.SnapshotPeriod {
				t.Errorf("partition %d: the oldest snapshot is %v old, the round takes %v", p, age, b.fold.SnapshotPeriod)
			}
		}
		b.k.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.UnknownServerError, Count: 1, When: func(r kmsg.Request) bool {
			return bytes.Contains([]byte(r.(*kmsg.EndTxnRequest).TransactionalID), []byte("sessionize"))
		}})
		wait(context.Background(), time.Second)
		if value(a, "transactions_aborted_total", "reason=UNKNOWN_SERVER_ERROR") == 0 || value(a, "slots_dropped_total", "reason=UNKNOWN_SERVER_ERROR") == 0 {
			t.Error("a transaction that the broker failed is counted neither as aborted nor as a slot dropped")
		}
		a.link.Cut()
		b.bury.Died(a.id)
		a.stop()
		b.gone.Go(a.done.Wait)
		next := b.join()
		next.link.Slow(20*time.Millisecond, 20*time.Second)
		ctx, cancel = context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if largest := watcher(ctx, t, next, "refold_records")(); largest == 0 || value(next, "refold_records") != 0 {
			t.Errorf("refold_records was %v at most after a crash, and is %v when it is over", largest, value(next, "refold_records"))
		}
		if value(next, "refolded_records_total") == 0 {
			t.Error("refolded_records_total is 0 after a crash")
		}
		b.exact()
		b.end(next)
	})
}

// TestGapInTheLogIsCounted: records that the broker deleted before they were
// folded are counted, and the partition goes on behind them.
func TestGapInTheLogIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, &Load{Seed: 31, Slots: 2, Records: 1500, Keys: 200, PerSec: 50, Jitter: 5, Burst: 20, Pace: 200 * time.Millisecond})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		b.src.Telemetry = fresh(b.src.Telemetry)
		go func() { done <- stage.RunSlots(ctx, b.src, []string{stage.FlowsTopic}, b.load.NewSource) }()
		folding := func(d time.Duration) *simMember {
			fctx, stop := context.WithCancel(context.Background())
			m := &simMember{member: &member{stop: stop, errs: make(chan error, 2), fold: b.fold}}
			m.fold.Telemetry = fresh(b.fold.Telemetry)
			m.errs <- nil // there is no source
			m.done.Go(func() { m.errs <- stage.Run(fctx, m.fold, b.toy.Spec()) })
			wait(context.Background(), d)
			return m
		}
		folding(5 * time.Second).end(t)
		wait(context.Background(), 3*time.Second)
		cl, err := kgo.NewClient(b.observer()...)
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		adm, flows := kadm.NewClient(cl), (&stage.Topics{Prefix: "sim."}).Name(stage.FlowsTopic)
		at, err := adm.FetchOffsets(ctx, b.fold.Group())
		if err != nil {
			t.Fatal(err)
		}
		folded, _ := at.Lookup(flows, 3)
		const missing = 7
		if _, err := adm.DeleteRecords(ctx, kadm.Offsets{flows: {3: {Topic: flows, Partition: 3, At: folded.At + missing}}}); err != nil {
			t.Fatal(err)
		}
		next := folding(5 * time.Second)
		if n := metric(t, next.fold.Telemetry.Registry, "flowstitch_stage_input_gap_records_total"); n != missing {
			t.Errorf("input_gap_records_total is %v, want the %d that were deleted", n, missing)
		}
		if metric(t, next.fold.Telemetry.Registry, "flowstitch_stage_records_in_total") == 0 {
			t.Error("the stage does not go on")
		}
		next.end(t)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		b.end()
	})
}

// TestRefusedRecordIsFoundAmongMany: a broker that refuses every batch with one
// record in it gets all others, and rejects gets that one; simulated, so that it
// is seen without a real broker too.
func TestRefusedRecordIsFoundAmongMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, &Load{Slots: 1})
		b.src.Slots, b.src.Telemetry = 1, fresh(b.src.Telemetry)
		b.src.Prefix = "refused."
		if err := stage.EnsureTopics(context.Background(), &b.src, append(b.src.StageTopics(), stage.AlertsSpec(1), stage.RejectsSpec(1))...); err != nil {
			t.Fatal(err)
		}
		cl, err := kgo.NewClient(b.observer()...)
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		topics, err := kadm.NewClient(cl).ListTopics(context.Background(), "refused.flowstitch.alerts.v1")
		if err != nil {
			t.Fatal(err)
		}
		id, marker := [16]byte(topics["refused.flowstitch.alerts.v1"].ID), incompressible(64)
		b.k.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, TopicID: id, Err: kerr.InvalidTimestamp, Count: -1, When: func(r kmsg.Request) bool {
			for _, topic := range r.(*kmsg.ProduceRequest).Topics {
				for _, p := range topic.Partitions {
					if topic.TopicID == id && bytes.Contains(p.Records, marker[:32]) {
						return true
					}
				}
			}
			return false
		}})
		const n = 100
		var outs []stage.Output
		for i := range n {
			o := stage.Output{Topic: stage.AlertsTopic, Partition: 0, Key: fmt.Appendf(nil, "k%d", i), Value: []byte("fine")}
			if i == 61 {
				o.Value = marker
			}
			outs = append(outs, o)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() {
			done <- stage.RunSlots(ctx, b.src, []string{stage.AlertsTopic}, func(int) (stage.SlotWorker, error) { return &script{outs: outs}, nil })
		}()
		wait(ctx, 30*time.Second)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		reg := b.src.Telemetry.Registry
		refused, aborted := metric(t, reg, "flowstitch_stage_records_refused_total"), metric(t, reg, "flowstitch_stage_transactions_aborted_total", "reason=INVALID_TIMESTAMP")
		alerts, rejects := metric(t, reg, "flowstitch_stage_records_out_total", "alerts"), metric(t, reg, "flowstitch_stage_records_out_total", "rejects")
		if refused != 1 || aborted == 0 || alerts != n-1 || rejects != 1 {
			t.Errorf("%v refused, %v aborted, %v alerts and %v rejects out; want 1, some, %d, 1", refused, aborted, alerts, rejects, n-1)
		}
		b.end()
	})
}

// TestEveryStageMetricIsRead: a test of this package reads each metric that a
// stage has.
func TestEveryStageMetricIsRead(t *testing.T) {
	cfg := stage.Default()
	cfg.Client, cfg.Service, cfg.Telemetry = []kgo.Opt{kgo.SeedBrokers("127.0.0.1:1")}, "x", fresh(cfg.Telemetry)
	if _, err := stage.NewSlots(cfg, nil, nil); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var tests []byte
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		tests = append(tests, b...)
	}
	descs := make(chan *prometheus.Desc, 100)
	cfg.Telemetry.Registry.Describe(descs)
	close(descs)
	n := 0
	for d := range descs {
		name := regexp.MustCompile(`"flowstitch_stage_(\w+)"`).FindStringSubmatch(d.String())
		if name == nil {
			continue
		}
		if n++; !regexp.MustCompile(`"(flowstitch_stage_)?` + name[1] + `"`).Match(tests) {
			t.Errorf("no test reads %s", name[1])
		}
	}
	if n < 20 {
		t.Errorf("only %d metrics found", n)
	}
}
