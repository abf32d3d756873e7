package simtest

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/flowstitch/flowstitch/internal/race"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/kafkatest"
	"github.com/flowstitch/flowstitch/pkg/stage"
	"github.com/flowstitch/flowstitch/pkg/wire"
)

// metric adds up the samples of a metric whose labels contain all of want
// ("topic=..."); 0 where there is none yet.
func metric(t testing.TB, reg *prometheus.Registry, name string, want ...string) (sum float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
	next:
		for _, m := range f.GetMetric() {
			for _, w := range want {
				ok := false
				for _, l := range m.GetLabel() {
					ok = ok || strings.Contains(l.GetName()+"="+l.GetValue(), w)
				}
				if !ok {
					continue next
				}
			}
			switch {
			case m.GetCounter() != nil:
				sum += m.GetCounter().GetValue()
			case m.GetGauge() != nil:
				sum += m.GetGauge().GetValue()
			case m.GetHistogram() != nil:
				sum += float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return sum
}

// until waits for cond, which it asks often.
func until(t testing.TB, limit time.Duration, what string, cond func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	for !cond() {
		wait(ctx, 20*time.Millisecond)
		if ctx.Err() != nil {
			t.Fatalf("waited %v in vain for: %s", limit, what)
		}
	}
}

// read returns the first n committed records of a logical topic.
func read(t testing.TB, c *kafkatest.Cluster, prefix, logical string, n int) (out []*kgo.Record) {
	t.Helper()
	names := stage.Topics{Prefix: prefix}
	cl, err := kgo.NewClient(append(c.Opts(), kgo.ConsumeTopics(names.Name(logical)),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for len(out) < n {
		fs := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("%s: got %d records of %d: %v", logical, len(out), n, ctx.Err())
		}
		out = append(out, fs.Records()...)
	}
	return out
}

func rejectOf(r *kgo.Record) wire.Reject {
	var hs []wire.Header
	for _, h := range r.Headers {
		hs = append(hs, wire.Header{Key: h.Key, Value: string(h.Value)})
	}
	return wire.ParseReject(hs)
}

// script is a slot worker that emits given records once.
type script struct {
	outs []stage.Output
	done bool
}

func (s *script) Restore(_ context.Context, ledger []stage.LedgerRecord) error {
	s.done = len(ledger) > 0
	return nil
}

func (s *script) Fill(ctx context.Context, tx *stage.Tx) error {
	if s.done {
		wait(ctx, time.Until(tx.Deadline()))
		return nil
	}
	for _, o := range s.outs {
		tx.Emit(o)
	}
	tx.Ledger("done", []byte{1})
	s.done = true
	return nil
}

func (s *script) Close() {}

// TestRefusedRecordsGoToRejectsAlone: a broker refuses single records for their
// timestamp and their size; each goes to rejects, all others arrive.
func TestRefusedRecordsGoToRejectsAlone(t *testing.T) {
	c := kafkatest.Real(t)
	prefix := kafkatest.Prefix(t)
	cfg, _ := configs(c, prefix, &Load{Slots: 1})
	cfg.Telemetry = fresh(cfg.Telemetry)
	alerts := stage.AlertsSpec(2)
	alerts.Configs["max.message.bytes"] = "20000"
	alerts.Configs["message.timestamp.after.max.ms"] = "3600000"
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := stage.EnsureTopics(ctx, &cfg, append(cfg.StageTopics(), alerts, stage.RejectsSpec(1))...); err != nil {
		t.Fatal(err)
	}
	const n = 300
	var outs []stage.Output
	for i := range n {
		o := stage.Output{Topic: stage.AlertsTopic, Partition: stage.ByKey, Key: fmt.Appendf(nil, "k%d", i), Value: []byte("fine")}
		switch i {
		case 77:
			o.Timestamp = time.Now().Add(48 * time.Hour).UnixMilli()
		case 200:
			o.Value = incompressible(60_000)
		}
		outs = append(outs, o)
	}
	outs = append(outs, stage.Output{Topic: stage.AlertsTopic, Partition: stage.ByKey, Key: []byte("huge"), Value: incompressible(1 << 20)})
	done := make(chan error, 1)
	go func() {
		done <- stage.RunSlots(ctx, cfg, []string{stage.AlertsTopic}, func(int) (stage.SlotWorker, error) { return &script{outs: outs}, nil })
	}()
	rejects := read(t, c, prefix, stage.RejectsTopic, 4)
	good := read(t, c, prefix, stage.AlertsTopic, n-2)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	classes := map[string]int{}
	for _, r := range rejects {
		classes[rejectOf(r).Class]++
	}
	if len(good) != n-2 || len(rejects) != 4 || classes["refused"] != 2 || classes["too-large"] != 2 {
		t.Errorf("%d alerts (want %d), rejects by class %v (want 2 refused, 2 pieces of one too large)", len(good), n-2, classes)
	}
	reg := cfg.Telemetry.Registry
	if v := metric(t, reg, "flowstitch_stage_records_refused_total"); v != 2 {
		t.Errorf("records_refused_total is %v, want 2", v)
	}
	if v := metric(t, reg, "flowstitch_stage_transactions_aborted_total"); v == 0 {
		t.Error("transactions_aborted_total is 0 after a refusal")
	}
}

func incompressible(n int) []byte {
	b := make([]byte, n)
	x := uint64(1)
	for i := range b {
		x = mix(x)
		b[i] = byte(x)
	}
	return b
}

// TestPoisonDoesNotStopAPartition: what can not be decoded goes to rejects with
// its position, once, and the rest is folded.
func TestPoisonDoesNotStopAPartition(t *testing.T) {
	c := kafkatest.Embedded(t)
	prefix := kafkatest.Prefix(t)
	l := &Load{Seed: 5, Slots: 1, Records: 5000, Keys: 50, PerSec: 100, Jitter: 3}
	toy := &Toy{Width: 10, Cuts: 4}
	src, fold := configs(c, prefix, l)
	ensure(t, &src, &fold)
	names := stage.Topics{Prefix: prefix}
	cl, err := kgo.NewClient(append(c.Opts(), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	bad := [][]byte{[]byte("nonsense"), {0x0a, 0xff}, wire.AppendMark(nil, &wire.Mark{Slot: 9, Slots: 2})}
	for _, v := range bad {
		if err := cl.ProduceSync(ctx, &kgo.Record{Topic: names.Name(stage.FlowsTopic), Partition: 3, Value: v}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	m := start(src, fold, l, toy)
	judge(t, m, c, prefix, l, toy, busy)
	for i, r := range read(t, c, prefix, stage.RejectsTopic, len(bad)) {
		rej := rejectOf(r)
		if string(r.Value) != string(bad[i]) || rej.Class != "poison" || rej.Partition != 3 || rej.Offset != int64(i) || rej.Topic != names.Name(stage.FlowsTopic) {
			t.Errorf("reject %d: %+v with value %q, want the poison record and its position", i, rej, r.Value)
		}
	}
	if v := metric(t, m.fold.Telemetry.Registry, "flowstitch_stage_poison_records_total"); v != 3 {
		t.Errorf("poison_records_total is %v, want 3", v)
	}
	m.end(t)
}

// TestHandOverInOrder: a member that ends in order leaves nothing to refold, a
// new one goes on where it stopped, and every metric has moved.
func TestHandOverInOrder(t *testing.T) {
	c := kafkatest.Start(t)
	prefix := kafkatest.Prefix(t)
	l := &Load{Seed: 6, Slots: 2, Records: 30_000, Keys: 300, PerSec: 100, Jitter: 3, Burst: 500, Pace: 20 * time.Millisecond}
	toy := &Toy{Width: 10, Cuts: 4}
	src, fold := configs(c, prefix, l)
	fold.SnapshotPeriod = time.Hour // only the hand-over writes snapshots
	ensure(t, &src, &fold)
	a := start(src, fold, l, toy)
	reg := a.fold.Telemetry.Registry
	until(t, 30*time.Second, "the first member to have folded a few thousand records", func() bool {
		return metric(t, reg, "flowstitch_stage_records_in_total") > 5000
	})
	until(t, busy, "readiness", func() bool { _, ok := a.fold.Telemetry.Health.Ready(); return ok })
	for _, name := range []string{"slots", "lag_records", "tick_milliseconds", "clock_seconds", "sources_behind", "refold_records", "snapshot_oldest_milliseconds"} {
		v := metric(t, reg, "flowstitch_stage_"+name)
		if v == 0 && (name == "slots" || name == "tick_milliseconds" || name == "clock_seconds" || name == "sources_behind") {
			t.Errorf("gauge %s is 0 while the stage works", name)
		}
	}
	a.end(t)
	b := start(src, fold, l, toy)
	judge(t, b, c, prefix, l, toy, busy)
	b.end(t)
	if v := metric(t, b.fold.Telemetry.Registry, "flowstitch_stage_refolded_records_total"); v != 0 {
		t.Errorf("the successor refolded %v records after an orderly hand-over, want 0", v)
	}
	for _, name := range []string{
		"transactions_committed_total", "commit_seconds", "time_to_live_seconds", "ledger_bytes_total", "ledger_read_bytes_total", "records_out_total",
		"bytes_out_total", "records_in_total", "bytes_in_total", "marks_in_total", "snapshots_total", "snapshot_bytes_total",
	} {
		if metric(t, reg, "flowstitch_stage_"+name) == 0 {
			t.Errorf("%s has not moved", name)
		}
	}
	in := metric(t, reg, "flowstitch_stage_records_in_total") + metric(t, b.fold.Telemetry.Registry, "flowstitch_stage_records_in_total")
	if int(in) != l.Slots*l.Records {
		t.Errorf("the two members folded %v records in, want %d", in, l.Slots*l.Records)
	}
	lagSeen(t, c, &fold)
}

// lagSeen: the positions are the group's offsets too, for tools that know
// nothing of ledgers.
func lagSeen(t testing.TB, c *kafkatest.Cluster, fold *stage.Config) {
	t.Helper()
	cl, err := kgo.NewClient(c.Opts()...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	offsets, err := kadm.NewClient(cl).FetchOffsets(ctx, fold.Group())
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	offsets.Each(func(kadm.OffsetResponse) { n++ })
	if n != testPartitions {
		t.Errorf("the group has offsets of %d partitions, want %d", n, testPartitions)
	}
}

// TestZombieIsFencedAndSettles: somebody else fences a slot while the group
// still gives it to us. The stage asks the coordinator, takes the slot again,
// and nothing is lost or told twice.
func TestZombieIsFencedAndSettles(t *testing.T) {
	c := kafkatest.Start(t)
	prefix := kafkatest.Prefix(t)
	l := &Load{Seed: 7, Slots: 2, Records: 20_000, Keys: 300, PerSec: 100, Jitter: 3, Burst: 200, Pace: 20 * time.Millisecond}
	toy := &Toy{Width: 10, Cuts: 4}
	src, fold := configs(c, prefix, l)
	ensure(t, &src, &fold)
	m := start(src, fold, l, toy)
	reg := m.fold.Telemetry.Registry
	until(t, 30*time.Second, "some records", func() bool { return metric(t, reg, "flowstitch_stage_records_in_total") > 1000 })
	// A stranger takes the ids of all slots of the fold, as a zombie would.
	for slot := range fold.Slots {
		cl, err := kgo.NewClient(append(c.Opts(), kgo.TransactionalID(fmt.Sprintf("%sflowstitch.sessionize.main.0.%d", prefix, slot)))...)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := cl.ProducerID(context.Background()); err != nil {
			t.Fatal(err)
		}
		cl.Close()
	}
	judge(t, m, c, prefix, l, toy, busy)
	if v := metric(t, reg, "flowstitch_stage_slots_dropped_total", "reason=fenced"); v == 0 {
		t.Error("no slot was dropped for being fenced")
	}
	m.end(t)
}

// TestOlderGenerationStepsBack: the ledger names an owner of a newer generation
// than ours. The stage asks the coordinator who is right before it goes on.
func TestOlderGenerationStepsBack(t *testing.T) {
	c := kafkatest.Embedded(t)
	prefix := kafkatest.Prefix(t)
	l := &Load{Seed: 11, Slots: 2, Records: 3000, Keys: 100, PerSec: 50, Jitter: 3}
	toy := &Toy{Width: 10, Cuts: 4}
	src, fold := configs(c, prefix, l)
	ensure(t, &src, &fold)
	cl, err := kgo.NewClient(append(c.Opts(), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	// Generation 1000 of a member "gone", in the ledger's own encoding: varints
	// of generation and layout, then member and nonce with their lengths.
	owner := append(binary.AppendVarint(binary.AppendVarint(nil, 1000), 0), "\x04gone\x01n"...)
	topic := (&stage.Topics{Prefix: prefix}).Name(fold.LedgerTopic())
	for p := range int32(fold.Slots) {
		if err := cl.ProduceSync(context.Background(), &kgo.Record{Topic: topic, Partition: p, Key: []byte("~owner"), Value: owner}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	// Such a group was deleted: the coordinator gives us the slots, so we work.
	asked := false
	c.Fake.ControlKey(int16(kmsg.DescribeGroups), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.Fake.KeepControl()
		asked = true
		return nil, nil, false
	})
	m := start(src, fold, l, toy)
	judge(t, m, c, prefix, l, toy, busy)
	m.end(t)
	if !asked {
		t.Error("slots of a newer generation were taken without asking the coordinator")
	}
}

// TestConfigurationChangeTakesEffectAtAnOffset: a member with another
// configuration goes on from the state of the first; all totals hold.
func TestConfigurationChangeTakesEffectAtAnOffset(t *testing.T) {
	c := kafkatest.Embedded(t)
	prefix := kafkatest.Prefix(t)
	l := &Load{Seed: 8, Slots: 2, Records: 20_000, Keys: 300, PerSec: 100, Jitter: 3, Burst: 500, Pace: 20 * time.Millisecond}
	src, fold := configs(c, prefix, l)
	ensure(t, &src, &fold)
	a := start(src, fold, l, &Toy{Width: 10, Cuts: 4, Tag: 'A'})
	until(t, 30*time.Second, "some records", func() bool {
		return metric(t, a.fold.Telemetry.Registry, "flowstitch_stage_records_in_total") > 5000
	})
	a.end(t)
	toy := &Toy{Width: 10, Cuts: 4, Tag: 'B'}
	b := start(src, fold, l, toy)
	judge(t, b, c, prefix, l, toy, busy)
	if v := metric(t, b.fold.Telemetry.Registry, "flowstitch_stage_buckets_reconfigured_total"); v != testPartitions*4 {
		t.Errorf("%v buckets were handed to the new configuration, want %d", v, testPartitions*4)
	}
	b.end(t)
}

// busy bounds waits for events that come in seconds, on a machine that many
// tests share with a Java broker's start.
const busy = 5 * time.Minute

// TestBrokerAway: the broker goes, readiness says so, it comes back, and the
// stage goes on; liveness never depends on it.
func TestBrokerAway(t *testing.T) {
	if testing.Short() {
		t.Skip("stops and starts a Java broker")
	}
	c := kafkatest.Real(t) // no test runs beside this one
	if c.Kind != kafkatest.JVM {
		t.Skip("needs a broker that it may stop")
	}
	p, back := c.Proc, false
	restart := func() {
		if back {
			return
		}
		back = true
		if err := p.Restart(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	prefix := kafkatest.Prefix(t)
	l := &Load{Seed: 9, Slots: 2, Records: 30_000, Keys: 300, PerSec: 100, Jitter: 3, Burst: 200, Pace: 20 * time.Millisecond}
	toy := &Toy{Width: 10, Cuts: 4}
	src, fold := configs(c, prefix, l)
	ensure(t, &src, &fold)
	m := start(src, fold, l, toy)
	until(t, busy, "some records", func() bool {
		return metric(t, m.fold.Telemetry.Registry, "flowstitch_stage_records_in_total") > 2000
	})
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	defer restart() // for the tests behind, if this one fails
	until(t, busy, "readiness to say that the broker is away", func() bool {
		waiting, ok := m.fold.Telemetry.Health.Ready()
		return !ok && strings.Contains(fmt.Sprint(waiting), "no broker answers since")
	})
	if os.Getenv("FLOWSTITCH_LONG") == "1" { // eleven minutes of it are simulated in internal/simpipeline
		wait(context.Background(), 90*time.Second)
	}
	if bad := m.fold.Telemetry.Health.Live(); len(bad) != 0 {
		t.Errorf("not live while the broker is away: %v", bad)
	}
	if waiting, ok := m.fold.Telemetry.Health.Ready(); ok || !strings.Contains(fmt.Sprint(waiting), "no broker answers since") {
		t.Errorf("readiness is %v and says %v", ok, waiting)
	}
	restart()
	until(t, busy, "readiness again", func() bool {
		_, ok := m.fold.Telemetry.Health.Ready()
		return ok
	})
	judge(t, m, c, prefix, l, toy, busy)
	m.end(t)
}

// TestBacklogClosesNothingEarly: a fold that starts when everything has been
// written gives the same final facts as one that follows live.
func TestBacklogClosesNothingEarly(t *testing.T) {
	c := kafkatest.Embedded(t)
	prefix := kafkatest.Prefix(t)
	l := &Load{Seed: 10, Slots: 3, Records: 40_000, Keys: 300, PerSec: 50, Jitter: 10}
	if race.Enabled {
		l.Records = 12_000
	}
	toy := &Toy{Width: 10, Cuts: 4}
	src, fold := configs(c, prefix, l)
	ensure(t, &src, &fold)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	src.Telemetry = fresh(src.Telemetry)
	go func() { done <- stage.RunSlots(ctx, src, []string{stage.FlowsTopic}, l.NewSource) }()
	until(t, time.Minute, "the whole load to be written", func() bool {
		return metric(t, src.Telemetry.Registry, "flowstitch_stage_records_out_total", "topic=") > float64(l.Slots*l.Records)
	})
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	m := start(src, fold, l, toy)
	judge(t, m, c, prefix, l, toy, busy)
	m.end(t)
}

// TestLedgerView: what one slot commits, every member sees.
func TestLedgerView(t *testing.T) {
	c := kafkatest.Embedded(t)
	prefix := kafkatest.Prefix(t)
	cfg, fold := configs(c, prefix, &Load{Slots: 4})
	ensure(t, &cfg, &fold)
	st, err := stage.NewSlots(cfg, []string{stage.FlowsTopic}, func(slot int) (stage.SlotWorker, error) { return &namer{slot: slot}, nil })
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	view := stage.NewLedgerView(st)
	done := make(chan error, 2)
	go func() { done <- st.Run(ctx) }()
	go func() { done <- view.Run(ctx) }()
	until(t, 20*time.Second, "the records of all four slots", func() bool { return len(view.All("shard/")) == 4 })
	if err := view.Sync(ctx); err != nil {
		t.Error(err)
	}
	if r, ok := view.Get("shard/2"); !ok || r.Slot != 2 || string(r.Value) != "2" {
		t.Errorf("got %+v, %v", r, ok)
	}
	cancel()
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// namer writes one ledger record.
type namer struct {
	script
	slot int
}

func (n *namer) Fill(ctx context.Context, tx *stage.Tx) error {
	if n.done {
		wait(ctx, time.Until(tx.Deadline()))
		return nil
	}
	tx.Ledger(fmt.Sprintf("shard/%d", n.slot), fmt.Append(nil, n.slot))
	tx.Watermark(stage.Watermark{Topic: stage.FlowsTopic, Partition: stage.AllPartitions, Slot: uint32(n.slot), Slots: 4, Time: flow.MaxTime})
	n.done = true
	return nil
}
