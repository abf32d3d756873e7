package operations

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/flowstitch/flowstitch/internal/facts"
	"github.com/flowstitch/flowstitch/internal/pipeline"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/kafkatest"
	"github.com/flowstitch/flowstitch/pkg/service"
	"github.com/flowstitch/flowstitch/pkg/telemetry"
	"github.com/flowstitch/flowstitch/pkg/wire"
)

// example is two hours of traffic with every attack in it.
const example = "../../examples/incident.log.gz"

// TestMoveToAnotherLayoutLosesNothing is the procedure of docs/sizing.md: the
// same source read under another prefix, with another number of partitions and
// slots, on the same cluster. Every final session and every finding is the same.
func TestMoveToAnotherLayoutLosesNothing(t *testing.T) {
	cluster := kafkatest.Embedded(t)
	run{cluster: cluster, partitions: 2, slots: 2}.toEnd(t, example)
	run{cluster: cluster, prefix: "l1.", partitions: 6, slots: 3}.toEnd(t, example)
	old, moved := factsOf(t, cluster, ""), factsOf(t, cluster, "l1.")
	if old.Closed < 1000 || len(old.Findings) < 10 {
		t.Fatalf("only %d sessions and %d findings: the example has many more", old.Closed, len(old.Findings))
	}
	if err := facts.Check(old, moved); err != nil {
		t.Error(err)
	}
	t.Logf("%d flow records, %d sessions, %d findings under both layouts", moved.Flows, moved.Closed, len(moved.Findings))
}

// run is a run of the whole pipeline over files.
type run struct {
	cluster           *kafkatest.Cluster
	prefix            string
	partitions, slots int
	format            string // of the log; empty is inferred
	// until ends the run before its end, in order; nil waits for the end.
	until func(*telemetry.Telemetry) bool
	log   io.Writer // of the services; nil drops it
}

// config is the pipeline's.
func (r run) config(files ...string) pipeline.Config {
	common := service.DefaultCommon()
	common.Kafka.Brokers = r.cluster.Addrs
	common.Pipeline.Prefix, common.Pipeline.Partitions, common.Pipeline.Slots, common.Pipeline.Replication = r.prefix, int32(r.partitions), r.slots, 1
	common.Telemetry.Listen = ""
	cfg := pipeline.Default(common)
	cfg.Ingest.Files, cfg.Ingest.Logs.Format = files, r.format
	return cfg
}

// toEnd runs until everything has been judged, or what until waits for has come.
func (r run) toEnd(t *testing.T, files ...string) *telemetry.Telemetry {
	t.Helper()
	tel, err := r.start(t, files...)
	if err != nil {
		t.Fatal(err)
	}
	return tel
}

// start is toEnd for a run that may refuse to go on.
func (r run) start(t *testing.T, files ...string) (*telemetry.Telemetry, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	tel, done := telemetry.Quiet(), make(chan error, 1)
	if r.log != nil {
		tel.Log = slog.New(slog.NewTextHandler(r.log, nil))
	}
	go func() { done <- pipeline.Run(ctx, r.config(files...), tel) }()
	over := r.until
	if over == nil {
		over = func(tel *telemetry.Telemetry) bool { return pipeline.Finished(tel.Registry, r.partitions) }
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !over(tel) {
		select {
		case <-tick.C:
		case err := <-done:
			return tel, errors.Join(errors.New("the pipeline ended early"), err)
		case <-ctx.Done():
			return tel, errors.New("the pipeline did not finish")
		}
	}
	cancel()
	if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
		return tel, err
	}
	return tel, nil
}

func factsOf(t *testing.T, cluster *kafkatest.Cluster, prefix string) *facts.Facts {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	f, err := facts.Read(ctx, cluster.Opts(), prefix)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// readAll reads a topic until the mark of every partition says that its source
// is finished.
func readAll(t *testing.T, cluster *kafkatest.Cluster, topic string, partitions int) []*kgo.Record {
	t.Helper()
	cl, err := kgo.NewClient(append(cluster.Opts(), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	var out []*kgo.Record
	ended := map[int32]bool{}
	for len(ended) < partitions {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		fetches := cl.PollFetches(ctx)
		cancel()
		if err := fetches.Err0(); err != nil {
			t.Fatal(err)
		}
		for _, r := range fetches.Records() {
			var m wire.Mark
			if wire.IsMark(r.Value) && wire.ParseMark(r.Value, &m) == nil && m.Watermark == flow.MaxTime {
				ended[r.Partition] = true // the source is finished: this partition's last word
			}
			out = append(out, r)
		}
	}
	return out
}
