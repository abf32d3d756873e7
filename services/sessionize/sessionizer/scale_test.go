package sessionizer

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/segmentio/encoding/json"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/flowstitch/flowstitch/pkg/kafkatest"
	"github.com/flowstitch/flowstitch/pkg/stage"
	"github.com/flowstitch/flowstitch/pkg/telemetry"
	"github.com/flowstitch/flowstitch/pkg/wire"
)

// TestMeasureTakeOver measures what a crash and an orderly hand-over cost with a
// million open sessions (FLOWSTITCH_SESSIONS for another number), on real Kafka.
func TestMeasureTakeOver(t *testing.T) {
	if os.Getenv("FLOWSTITCH_LONG") != "1" {
		t.Skip("set FLOWSTITCH_LONG=1: a measurement of some minutes")
	}
	c := kafkatest.Real(t)
	n := 1_000_000
	if v := os.Getenv("FLOWSTITCH_SESSIONS"); v != "" {
		var err error
		if n, err = strconv.Atoi(v); err != nil {
			t.Fatal(err)
		}
	}
	cfg := Default()
	cfg.Kafka.Brokers = c.Addrs
	cfg.Pipeline.Prefix, cfg.Pipeline.Partitions, cfg.Pipeline.Slots = kafkatest.Prefix(t), 8, 8
	flowBytes := openSessions(t, c, &cfg, n)
	t.Logf("%d sessions of two flows each, %d bytes of flows", n, flowBytes)

	m := watchMemory(t, n)
	first := runMember(t, &cfg, time.Millisecond) // its hand-over is cut off: as good as a crash
	first.folded(t, 2*n)
	m.log("all sessions open")
	t.Logf("folded at %.0f flows/s; ledger %.0f bytes, sessions %.0f bytes", 2*float64(n)/first.took.Seconds(), first.value(t, "ledger_bytes_total"), first.value(t, "bytes_out_total"))
	first.end(t)

	crashed := runMember(t, &cfg, time.Minute)
	crashed.live(t, cfg.Pipeline.Slots)
	refolded := crashed.value(t, "refolded_records_total")
	t.Logf("after a crash: live in %v; ledger read %.0f bytes, %.0f records refolded, %.0f bytes of flows, %.0f a second and core",
		crashed.took, crashed.value(t, "ledger_read_bytes_total"), refolded, refolded/2/float64(n)*float64(flowBytes), refolded/m.cpu().Seconds())
	m.log("after a crash")
	began := time.Now()
	crashed.end(t)
	t.Logf("orderly hand-over: %v, %.0f buckets in %.0f bytes (%.0f a session)", time.Since(began), crashed.value(t, "snapshots_total"),
		crashed.value(t, "snapshot_bytes_total"), crashed.value(t, "snapshot_bytes_total")/float64(n))

	m.log("after an orderly hand-over")
	handed := runMember(t, &cfg, time.Minute)
	handed.live(t, cfg.Pipeline.Slots)
	m.log("from snapshots")
	t.Logf("after an orderly hand-over: live in %v; ledger read %.0f bytes, %.0f records refolded", handed.took, handed.value(t, "ledger_read_bytes_total"), handed.value(t, "refolded_records_total"))
	if v := handed.value(t, "refolded_records_total"); v != 0 {
		t.Errorf("%v records refolded after an orderly hand-over", v)
	}
	handed.end(t)
}

// memory watches the process, which runs one member and nothing else.
type memory struct {
	t    *testing.T
	n    int
	used time.Duration // processor time up to the last look
}

// watchMemory forgets what the process has used so far.
func watchMemory(t *testing.T, n int) *memory {
	t.Helper()
	m := &memory{t: t, n: n}
	m.reset()
	return m
}

func (m *memory) reset() {
	debug.FreeOSMemory()
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // the peak starts here; Linux only
	m.used = processorTime()
}

// cpu is the processor time since the last look.
func (m *memory) cpu() time.Duration { return processorTime() - m.used }

func processorTime() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// log tells the peak since the last look, and what is live now.
func (m *memory) log(what string) {
	m.t.Helper()
	status, _ := os.ReadFile("/proc/self/status")
	peak := 0.0
	for line := range strings.Lines(string(status)) {
		if v, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, _ := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(v), "kB")), 64)
			peak = kb * 1024
		}
	}
	cpu := m.cpu()
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	per := func(b float64) float64 { return b / float64(m.n) }
	m.t.Logf("%s: peak of the process %.0f bytes a session (%.0f MB), live heap %.0f, its spans %.0f; %v of processor time",
		what, per(peak), peak/1e6, per(float64(s.HeapAlloc)), per(float64(s.HeapInuse)), cpu.Round(10*time.Millisecond))
	m.reset()
}

// openSessions writes n sessions that stay open, and the marks that start the
// clock below them.
func openSessions(t *testing.T, c *kafkatest.Cluster, cfg *Config, n int) (size int) {
	t.Helper()
	sc, err := cfg.Stage("sessionize", "", telemetry.Quiet())
	if err != nil {
		t.Fatal(err)
	}
	p := cfg.Pipeline.Partitions
	specs := append(sc.StageTopics(), stage.DataTopic(stage.FlowsTopic, p), stage.DataTopic(stage.SessionsTopic, p), stage.RejectsSpec(p))
	if err := stage.EnsureTopics(context.Background(), &sc, specs...); err != nil {
		t.Fatal(err)
	}
	topic := (&stage.Topics{Prefix: cfg.Pipeline.Prefix}).Name(stage.FlowsTopic)
	cl, err := kgo.NewClient(append(c.Opts(), kgo.MaxBufferedRecords(100_000), kgo.ProducerLinger(20*time.Millisecond),
		kgo.UnknownTopicRetries(-1))...) // a busy broker knows a new topic late
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	fail := func(_ *kgo.Record, err error) {
		if err != nil {
			t.Error(err)
		}
	}
	for i := range n {
		for _, back := range []bool{false, true} {
			r := longSession(i, back)
			rec := &kgo.Record{Topic: topic, Key: wire.AppendFlowKey(nil, 0, &r), Value: wire.AppendFlow(nil, &r)}
			size += len(rec.Key) + len(rec.Value)
			cl.Produce(context.Background(), rec, fail)
		}
	}
	if err := cl.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	marks, err := kgo.NewClient(append(c.Opts(), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer marks.Close()
	for i := range p { // the clock passes all flows and no session's idle gap
		v := wire.AppendMark(nil, &wire.Mark{Deployment: "default", Slots: 1, Watermark: sessionsAt + 260, WallMS: time.Now().UnixMilli()})
		if err := marks.ProduceSync(context.Background(), &kgo.Record{Topic: topic, Partition: i, Value: v}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	return size
}

// memberRun is one member of sessionize in this process.
type memberRun struct {
	tel   *telemetry.Telemetry
	stop  context.CancelFunc
	done  chan error
	began time.Time
	took  time.Duration
}

func runMember(t *testing.T, cfg *Config, handover time.Duration) *memberRun {
	t.Helper()
	m := &memberRun{tel: telemetry.Quiet(), done: make(chan error, 1), began: time.Now()}
	sc, err := cfg.stage(m.tel)
	if err != nil {
		t.Fatal(err)
	}
	sc.HandoverTimeout = handover
	canonical, err := json.Marshal(foldConfig{Version: foldVersion, Session: cfg.table()})
	if err != nil {
		t.Fatal(err)
	}
	counts := newMetrics(m.tel.Registry)
	spec := stage.Spec{
		Input: stage.FlowsTopic, Outputs: []stage.OutputTopic{{Name: stage.SessionsTopic, Marks: stage.PerPartition}}, Config: canonical,
		Fold: func(config []byte) (stage.Fold, error) { return parseFold(config, counts) },
	}
	ctx, cancel := context.WithCancel(context.Background())
	m.stop = cancel
	KeepHeadroom(ctx) // as its main does
	go func() { m.done <- stage.Run(ctx, sc, spec) }()
	return m
}

func (m *memberRun) end(t *testing.T) {
	t.Helper()
	m.stop()
	if err := <-m.done; err != nil {
		t.Error(err)
	}
}

// value sums a metric of the stage.
func (m *memberRun) value(t *testing.T, name string) (sum float64) {
	t.Helper()
	families, err := m.tel.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "flowstitch_stage_"+name {
			continue
		}
		for _, s := range f.GetMetric() {
			sum += s.GetCounter().GetValue() + s.GetGauge().GetValue() + float64(s.GetHistogram().GetSampleCount())
		}
	}
	return sum
}

func (m *memberRun) folded(t *testing.T, n int) {
	t.Helper()
	m.await(t, func() bool { return m.value(t, "records_in_total") >= float64(n) })
}

func (m *memberRun) live(t *testing.T, slots int) {
	t.Helper()
	m.await(t, func() bool { return m.value(t, "time_to_live_seconds") >= float64(slots) })
}

func (m *memberRun) await(t *testing.T, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(10 * time.Minute)
	for !cond() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatal("waited ten minutes in vain")
		}
	}
	m.took = time.Since(m.began)
}
