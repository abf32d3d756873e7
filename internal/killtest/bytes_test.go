package killtest

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/flowstitch/flowstitch/internal/pipeline"
	"github.com/flowstitch/flowstitch/pkg/flowlog"
	"github.com/flowstitch/flowstitch/pkg/kafkatest"
	"github.com/flowstitch/flowstitch/pkg/service"
	"github.com/flowstitch/flowstitch/pkg/stage"
	"github.com/flowstitch/flowstitch/pkg/telemetry"
)

// TestMeasureBytes measures what sessionize writes for each byte of flows, as
// it lies compressed on the broker's disk. Two hours of traffic pass as fast as
// they go, so that the snapshot period of 40 minutes is scaled by about the same factor.
func TestMeasureBytes(t *testing.T) {
	if os.Getenv("FLOWSTITCH_LONG") != "1" {
		t.Skip("set FLOWSTITCH_LONG=1: a measurement of some minutes")
	}
	c := kafkatest.Real(t)
	for _, version := range []uint8{2, 5} { // without TCP flags and with them
		k := plan{rate: 72, format: flowlog.UpTo(version)}
		log, size, lines := k.flowLog(t)
		for _, period := range []time.Duration{15 * time.Second, 40 * time.Minute} {
			t.Logf("version %d: %d lines of %d bytes, snapshot period %v", version, lines, size, period)
			measureBytes(t, c, log, period)
		}
	}
}

// measureBytes runs the services over a log, in this process.
func measureBytes(t *testing.T, c *kafkatest.Cluster, log string, period time.Duration) {
	t.Helper()
	common := service.DefaultCommon()
	common.Kafka.Brokers = c.Addrs
	common.Pipeline.Prefix, common.Pipeline.SnapshotPeriod = kafkatest.Prefix(t), period
	cfg := pipeline.Default(common)
	cfg.Ingest.Files = []string{log}
	ensureUncompacted(t, &common)
	tel := telemetry.Quiet()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	began := time.Now()
	go func() { done <- pipeline.Run(ctx, cfg, tel) }()
	judgedBy(t, tel, int(common.Pipeline.Partitions), done)
	took := time.Since(began)
	disk := onDisk(t, c, common.Pipeline.Prefix)
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	flows, sessions, ledger := disk["flows"], disk["sessions"], disk["sessionize.ledger"]
	t.Logf("in %v; on disk: flows %d, sessions %d (%.2f), sessionize ledger %d (%.2f), both %.2f bytes a byte of flows; all topics %v",
		took.Round(time.Second), flows, sessions, float64(sessions)/float64(flows), ledger, float64(ledger)/float64(flows),
		float64(sessions+ledger)/float64(flows), disk)
	for _, m := range pipeline.Metrics(tel.Registry, "flowstitch_stage_bytes_out_total") {
		t.Logf("before compression: %s %s: %.0f bytes", pipeline.Label(m, "service"), pipeline.Label(m, "topic"), m.GetCounter().GetValue())
	}
	for _, m := range pipeline.Metrics(tel.Registry, "flowstitch_sessionize_events_total") {
		t.Logf("session events: %s: %.0f", pipeline.Label(m, "kind"), m.GetCounter().GetValue())
	}
}

// ensureUncompacted makes the ledger of sessionize so that what is written to
// it stays: the disk then shows what was written.
func ensureUncompacted(t *testing.T, common *service.Common) {
	t.Helper()
	sc, err := common.Stage("sessionize", "", telemetry.Quiet())
	if err != nil {
		t.Fatal(err)
	}
	specs := sc.StageTopics()
	for i := range specs {
		specs[i].Configs["min.compaction.lag.ms"] = "86400000"
	}
	if err := stage.EnsureTopics(context.Background(), &sc, specs...); err != nil {
		t.Fatal(err)
	}
}

// judgedBy waits until the pipeline in this process has judged everything.
func judgedBy(t *testing.T, tel *telemetry.Telemetry, n int, done <-chan error) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !pipeline.Finished(tel.Registry, n) {
		select {
		case err := <-done:
			t.Fatalf("the pipeline ended with %v", err)
		case <-tick.C:
		}
	}
}

// onDisk returns the size of each topic under prefix, by logical name.
func onDisk(t *testing.T, c *kafkatest.Cluster, prefix string) map[string]int64 {
	t.Helper()
	cl, err := kgo.NewClient(c.Opts()...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	all, err := kadm.NewClient(cl).DescribeAllLogDirs(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	names := stage.Topics{Prefix: prefix}
	out := map[string]int64{}
	for _, dirs := range all {
		dirs.EachPartition(func(p kadm.DescribedLogDirPartition) {
			if logical, ok := names.Logical(p.Topic); ok {
				out[logical] += p.Size
			}
		})
	}
	return out
}
