package sessionizer

import (
	"context"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/flowstitch/flowstitch/pkg/kafkatest"
	"github.com/flowstitch/flowstitch/pkg/stage"
	"github.com/flowstitch/flowstitch/pkg/telemetry"
	"github.com/flowstitch/flowstitch/pkg/wire"
)

// TestMeasureTakeOver measures what a crash and an orderly hand-over cost with a
// million open sessions (FLOWSTITCH_SESSIONS for another number), on real Kafka.
// Each member is a process of its own: see TestMember.
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
	cfg := memberConfig(c.Addrs, kafkatest.Prefix(t))
	flowBytes := openSessions(t, c, &cfg, n)
	t.Logf("%d sessions of two flows each, %d bytes of flows", n, flowBytes)
	slots := float64(cfg.Pipeline.Slots)

	first := startMember(t, &cfg, time.Millisecond) // its hand-over is cut off: as good as a crash
	first.await("records_in_total", 2*float64(n))
	r := first.log("all sessions open", n)
	t.Logf("folded at %.0f flows/s; ledger %.0f bytes, sessions %.0f bytes", 2*float64(n)/first.took.Seconds(), r.Values["ledger_bytes_total"], r.Values["bytes_out_total"])
	first.end()

	crashed := startMember(t, &cfg, time.Minute)
	crashed.await("time_to_live_seconds", slots)
	r = crashed.log("after a crash", n)
	refolded := r.Values["refolded_records_total"]
	t.Logf("after a crash: live in %v; ledger read %.0f bytes, %.0f records refolded, %.0f bytes of flows, %.0f a second and core",
		crashed.took, r.Values["ledger_read_bytes_total"], refolded, refolded/2/float64(n)*float64(flowBytes), refolded/r.CPU.Seconds())
	began := time.Now()
	r = crashed.end()
	t.Logf("orderly hand-over: %v, %.0f buckets in %.0f bytes (%.0f a session)", time.Since(began), r.Values["snapshots_total"],
		r.Values["snapshot_bytes_total"], r.Values["snapshot_bytes_total"]/float64(n))
	crashed.tell("with an orderly hand-over", n, &r)

	handed := startMember(t, &cfg, time.Minute)
	handed.await("time_to_live_seconds", slots)
	r = handed.log("from snapshots", n)
	t.Logf("after an orderly hand-over: live in %v; ledger read %.0f bytes, %.0f records refolded", handed.took, r.Values["ledger_read_bytes_total"], r.Values["refolded_records_total"])
	if v := r.Values["refolded_records_total"]; v != 0 {
		t.Errorf("%v records refolded after an orderly hand-over", v)
	}
	handed.end()
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
