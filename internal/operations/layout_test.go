package operations

import (
	"context"
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/flowstitch/flowstitch/internal/pipeline"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/kafkatest"
	"github.com/flowstitch/flowstitch/pkg/service"
	"github.com/flowstitch/flowstitch/pkg/session"
	"github.com/flowstitch/flowstitch/pkg/stage"
	"github.com/flowstitch/flowstitch/pkg/telemetry"
	"github.com/flowstitch/flowstitch/pkg/wire"
)

// TestMoveToAnotherLayoutLosesNoSession is the procedure of docs/sizing.md: the
// same source read under another prefix, with another number of partitions and
// slots, on the same cluster. Every final session is the same.
func TestMoveToAnotherLayoutLosesNoSession(t *testing.T) {
	cluster := kafkatest.Embedded(t)
	old := finalSessions(t, cluster, "", 2, 2)
	moved := finalSessions(t, cluster, "l1.", 6, 3)
	if len(old) < 1000 {
		t.Fatalf("only %d final sessions: the example has many more", len(old))
	}
	if !maps.Equal(old, moved) {
		for id, v := range old {
			if moved[id] != v {
				t.Errorf("session %s: %+v under the old layout, %+v under the new", id, v, moved[id])
				break
			}
		}
		t.Errorf("%d sessions under the old layout, %d under the new, or they differ", len(old), len(moved))
	}
}

// final is what a session comes to: the sum of its final events.
type final struct{ outBytes, inBytes, packets int64 }

func finalSessions(t *testing.T, cluster *kafkatest.Cluster, prefix string, partitions, slots int) map[session.ID]final {
	t.Helper()
	common := service.DefaultCommon()
	common.Kafka.Brokers = cluster.Addrs
	common.Pipeline.Prefix, common.Pipeline.Partitions, common.Pipeline.Slots, common.Pipeline.Replication = prefix, int32(partitions), slots, 1
	common.Telemetry.Listen = ""
	cfg := pipeline.Default(common)
	cfg.Ingest.Files = []string{"../../examples/incident.log.gz"}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	tel, done := telemetry.Quiet(), make(chan error, 1)
	go func() { done <- pipeline.Run(ctx, cfg, tel) }()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !pipeline.Finished(tel.Registry, partitions) {
		select {
		case <-tick.C:
		case err := <-done:
			t.Fatalf("the pipeline ended early: %v", err)
		case <-ctx.Done():
			t.Fatal("the pipeline did not finish")
		}
	}
	cancel()
	if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	return readFinal(t, cluster, (&stage.Topics{Prefix: prefix}).Name(stage.SessionsTopic), partitions)
}

// readFinal sums the final events of each session.
func readFinal(t *testing.T, cluster *kafkatest.Cluster, topic string, partitions int) map[session.ID]final {
	t.Helper()
	out := map[session.ID]final{}
	for _, r := range readAll(t, cluster, topic, partitions) {
		if wire.IsMark(r.Value) {
			continue
		}
		var e session.Event
		if err := wire.ParseSession(r.Key, r.Value, &e); err != nil {
			t.Fatal(err)
		}
		if e.Kind.Final() && e.Gap == nil {
			f := out[e.ID]
			f.outBytes += e.OutFinal.Bytes
			f.inBytes += e.InFinal.Bytes
			f.packets += e.OutFinal.Packets + e.InFinal.Packets
			out[e.ID] = f
		}
	}
	return out
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
