package operations

import (
	"bufio"
	"compress/gzip"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/flowstitch/flowstitch/internal/facts"
	"github.com/flowstitch/flowstitch/internal/pipeline"
	"github.com/flowstitch/flowstitch/pkg/kafkatest"
	"github.com/flowstitch/flowstitch/pkg/stage"
	"github.com/flowstitch/flowstitch/pkg/telemetry"
)

// TestLostOffsets: every consumer group and its offsets are deleted in the
// middle, and nothing is different in the end.
func TestLostOffsets(t *testing.T) {
	several(t)
	cluster, want := kafkatest.Embedded(t), reference(t)
	r := run{cluster: cluster, partitions: 2, slots: 2}
	half(r, "evaluate", 3000).toEnd(t, example)
	admin(t, cluster, func(a *kadm.Client) {
		groups, err := a.ListGroups(t.Context())
		if err != nil || len(groups) < 4 {
			t.Fatalf("groups %v: %v", groups.Groups(), err)
		}
		for _, g := range groups.Groups() {
			if _, err := a.DeleteGroup(t.Context(), g); err != nil {
				t.Fatalf("deleting group %s: %v", g, err)
			}
		}
		t.Logf("deleted %v", groups.Groups())
	})
	r.toEnd(t, example)
	if err := facts.Check(want, factsOf(t, cluster, "")); err != nil {
		t.Error(err)
	}
}

// TestLostTopic: a topic between two stages is deleted in the middle and made
// again. The stage that reads it refuses to go on from offsets of another topic
// and says what to do; under a new prefix the source gives every fact again.
func TestLostTopic(t *testing.T) {
	long(t)
	for logical, reader := range map[string]string{
		stage.FlowsTopic: "sessionize", stage.SessionsTopic: "combine", stage.ObservationsTopic: "evaluate",
	} {
		t.Run(logical, func(t *testing.T) {
			cluster, want := kafkatest.Embedded(t), reference(t)
			r := run{cluster: cluster, partitions: 2, slots: 2}
			half(r, reader, 3000).toEnd(t, example)
			remove(t, cluster, (&stage.Topics{}).Name(logical))
			refused := r
			var said sentence
			refused.log, refused.until = &said, func(*telemetry.Telemetry) bool { return said.has("deleted and made again") }
			refused.toEnd(t, example)
			r.prefix = "again."
			r.toEnd(t, example)
			if err := facts.Check(want, factsOf(t, cluster, "again.")); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestLostLedger: a stage's ledger is deleted in the middle. The stage begins
// again at the oldest record of its input and says everything once more: no
// session is lost or changed, and none has another id. What is said twice is why
// docs/operations.md sends the reader to a new prefix.
func TestLostLedger(t *testing.T) {
	long(t)
	for _, name := range []string{"ingest", "sessionize"} {
		t.Run(name, func(t *testing.T) {
			cluster, want := kafkatest.Embedded(t), reference(t)
			r := run{cluster: cluster, partitions: 2, slots: 2}
			half(r, "evaluate", 3000).toEnd(t, example)
			remove(t, cluster, (&stage.Topics{}).Name(name+".ledger"))
			r.toEnd(t, example)
			have := factsOf(t, cluster, "")
			sessions := facts.Against(want.Sessions, have.Sessions)
			if sessions.Lost != 0 || sessions.Changed != 0 {
				t.Errorf("sessions: %+v", sessions)
			}
			again := map[string]bool{"ingest": have.Flows > want.Flows, "sessionize": sessions.Duplicated > 0}
			if !again[name] {
				t.Error("nothing was said twice: the ledger was not lost")
			}
			t.Logf("%d flow records of %d, %d sessions told again, findings %+v",
				have.Flows, want.Flows, sessions.Duplicated, facts.Against(want.Findings, have.Findings))
		})
	}
}

// TestWrongFormatForAnHour: ingest reads the log with a format that does not fit.
// Every line is in rejects, byte for byte; read again with the right format
// under a prefix of its own, from the source or from the rejects, it gives every
// fact that it would have given.
func TestWrongFormatForAnHour(t *testing.T) {
	several(t)
	cluster, want := kafkatest.Embedded(t), reference(t)
	wrong := run{cluster: cluster, partitions: 2, slots: 2, format: "${version} ${account-id} ${interface-id} ${srcaddr} ${dstaddr} ${srcport} ${dstport} ${start} ${end} ${protocol} ${packets} ${bytes} ${action} ${log-status}"}
	tel := wrong.toEnd(t, example)
	have := factsOf(t, cluster, "")
	lines := pipeline.Metrics(tel.Registry, "flowstitch_ingest_lines_total")[0].GetCounter().GetValue()
	if have.Flows != 0 || have.Rejects != int(lines) || have.Rejects != want.Flows+want.Rejects {
		t.Fatalf("%d flows and %d rejects of %v lines", have.Flows, have.Rejects, lines)
	}
	source := run{cluster: cluster, prefix: "source.", partitions: 2, slots: 2}
	source.toEnd(t, example)
	if err := facts.Check(want, factsOf(t, cluster, "source.")); err != nil {
		t.Errorf("from the source: %v", err)
	}
	rejects := run{cluster: cluster, prefix: "rejects.", partitions: 2, slots: 2}
	rejects.toEnd(t, rejected(t, cluster, have.Rejects))
	if err := facts.Check(want, factsOf(t, cluster, "rejects.")); err != nil {
		t.Errorf("from the rejects: %v", err)
	}
}

// rejected writes the raw bytes of the rejects topic to a file, as flowstitch
// tail -format raw rejects does.
func rejected(t *testing.T, cluster *kafkatest.Cluster, n int) string {
	t.Helper()
	cl, err := kgo.NewClient(append(cluster.Opts(), kgo.ConsumeTopics((&stage.Topics{}).Name(stage.RejectsTopic)),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	var all []*kgo.Record
	for len(all) < n {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		fetches := cl.PollFetches(ctx)
		cancel()
		if err := fetches.Err0(); err != nil {
			t.Fatal(err)
		}
		all = append(all, fetches.Records()...)
	}
	path := filepath.Join(t.TempDir(), "rejects.log.gz")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z := gzip.NewWriter(f)
	w := bufio.NewWriter(z)
	for _, r := range all {
		if _, err := w.Write(append(slices.Clone(r.Value), '\n')); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// several skips what runs the pipeline a few times over.
func several(t *testing.T) {
	t.Helper()
	if os.Getenv("FLOWSTITCH_LONG") != "1" && os.Getenv("FLOWSTITCH_REAL") != "1" {
		t.Skip("runs the pipeline several times over; set FLOWSTITCH_REAL=1")
	}
}

// long skips what runs it many times.
func long(t *testing.T) {
	t.Helper()
	if os.Getenv("FLOWSTITCH_LONG") != "1" {
		t.Skip("runs the pipeline many times over; set FLOWSTITCH_LONG=1")
	}
}

var (
	undisturbed sync.Once
	calm        *facts.Facts
)

// reference are the facts of a run to which nothing happened.
func reference(t *testing.T) *facts.Facts {
	t.Helper()
	undisturbed.Do(func() {
		cluster := kafkatest.Embedded(t)
		run{cluster: cluster, partitions: 2, slots: 2}.toEnd(t, example)
		calm = factsOf(t, cluster, "")
	})
	if calm == nil {
		t.Fatal("the undisturbed run has failed")
	}
	return calm
}

// half ends a run, in order, in the middle: when a stage has taken in n records.
func half(r run, stage string, n float64) run {
	r.until = func(tel *telemetry.Telemetry) bool {
		sum := 0.0
		for _, m := range pipeline.Metrics(tel.Registry, "flowstitch_stage_records_in_total") {
			if pipeline.Label(m, "stage") == stage || pipeline.Label(m, "service") == stage {
				sum += m.GetCounter().GetValue()
			}
		}
		return sum >= n
	}
	return r
}

// sentence keeps what a run logs.
type sentence struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write implements io.Writer.
func (s *sentence) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

// has reports that the log holds some words.
func (s *sentence) has(words string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(s.text.String(), words)
}

// admin gives do a client for administration.
func admin(t *testing.T, cluster *kafkatest.Cluster, do func(*kadm.Client)) {
	t.Helper()
	cl, err := kgo.NewClient(cluster.Opts()...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	do(kadm.NewClient(cl))
}

// remove deletes a topic.
func remove(t *testing.T, cluster *kafkatest.Cluster, topic string) {
	t.Helper()
	admin(t, cluster, func(a *kadm.Client) {
		if _, err := a.DeleteTopic(t.Context(), topic); err != nil {
			t.Fatalf("deleting %s: %v", topic, err)
		}
	})
}
