package detector

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/flowstitch/flowstitch/internal/alerttest"
	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/kafkatest"
	"github.com/flowstitch/flowstitch/pkg/stage"
	"github.com/flowstitch/flowstitch/pkg/telemetry"
)

// TestTwoTopics runs detect with alerts in both formats: each statement is on
// both topics, under the same key and time, valid in its own format.
func TestTwoTopics(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cluster := kafkatest.Embedded(t)
	cfg := Default()
	cfg.Kafka.Brokers = cluster.Addrs
	cfg.Pipeline.Prefix, cfg.Pipeline.Partitions, cfg.Pipeline.Slots = kafkatest.Prefix(t), 1, 1
	cfg.Pipeline.CommitInterval = 20 * time.Millisecond
	cfg.Alerts.Also = "ecs"
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	l := newLive(t, cluster, cfg.Pipeline.Prefix)
	ended := make(chan error, 1)
	running, stop := context.WithCancel(ctx)
	go func() { ended <- Run(running, cfg, l.tel) }()
	l.guesses(ctx, 0, 12, flow.MaxTime)

	names := stage.Topics{Prefix: cfg.Pipeline.Prefix}
	by := map[string][]*kgo.Record{} // topic -> statements in order
	l.client.AddConsumeTopics(names.Name("alerts"), names.Name("alerts-ecs"))
	closed := func(topic string) bool {
		list := by[names.Name(topic)]
		return len(list) > 0 && headerOf(list[len(list)-1], "ce_type") == "io.flowstitch.finding.close"
	}
	for !closed("alerts") || !closed("alerts-ecs") {
		l.client.PollFetches(ctx).EachRecord(func(r *kgo.Record) { by[r.Topic] = append(by[r.Topic], r) })
		if ctx.Err() != nil {
			t.Fatalf("no finding was closed on both topics: %d and %d statements", len(by[names.Name("alerts")]), len(by[names.Name("alerts-ecs")]))
		}
	}
	stop()
	if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	ocsf, ecs := by[names.Name("alerts")], by[names.Name("alerts-ecs")]
	if len(ocsf) != len(ecs) {
		t.Fatalf("%d statements in OCSF and %d in ECS", len(ocsf), len(ecs))
	}
	for i := range ocsf {
		same(t, ocsf[i], ecs[i])
	}
	t.Run("schema", func(t *testing.T) {
		validOCSF, validECS := alerttest.OCSF(t), alerttest.ECS(t)
		for i := range ocsf {
			if err := errors.Join(validOCSF(ocsf[i].Value), validECS(ecs[i].Value)); err != nil {
				t.Error(err)
			}
		}
	})
}

// same compares two forms of one statement.
func same(t *testing.T, ocsf, ecs *kgo.Record) {
	t.Helper()
	a, err := alert.Parse(ocsf.Value)
	if err != nil {
		t.Fatal(err)
	}
	b, err := alert.Parse(ecs.Value)
	if err != nil {
		t.Fatal(err)
	}
	if string(ocsf.Key) != string(ecs.Key) || !ocsf.Timestamp.Equal(ecs.Timestamp) || headerOf(ocsf, "ce_id") != headerOf(ecs, "ce_id") {
		t.Errorf("key, time or id differ: %s %v, %s %v", ocsf.Key, ocsf.Timestamp, ecs.Key, ecs.Timestamp)
	}
	if headerOf(ocsf, "ce_dataschema") == headerOf(ecs, "ce_dataschema") {
		t.Error("both say the same schema")
	}
	if d := cmp.Diff([]any{a.UID, a.Sequence, a.Activity, a.Verdict, a.Severity, a.Sentence}, []any{b.UID, b.Sequence, b.Activity, b.Verdict, b.Severity, b.Sentence}, cmpopts.EquateEmpty()); d != "" {
		t.Error(d)
	}
}

func headerOf(r *kgo.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

// TestAlsoIsAnotherFormat: the second topic has the other format.
func TestAlsoIsAnotherFormat(t *testing.T) {
	for _, x := range []struct{ format, also, want string }{
		{"ocsf", "ecs", ""}, {"ecs", "ocsf", ""}, {"ecs", "ecs", "alerts.also"}, {"", "ocsf", "alerts.also"}, {"ocsf", "cef", "alerts.also"},
	} {
		cfg := Default()
		cfg.Alerts.Format, cfg.Alerts.Also = x.format, x.also
		err := cfg.Validate()
		if (err == nil) != (x.want == "") || err != nil && !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s also %s: %v", x.format, x.also, err)
		}
	}
}

// newLive returns a client of a broker on which a service will run.
func newLive(t *testing.T, cluster *kafkatest.Cluster, prefix string) *live {
	t.Helper()
	l := &live{t: t, tel: telemetry.Quiet(), topics: stage.Topics{Prefix: prefix}, wall: 1_800_000_000_000}
	var err error
	l.client, err = kgo.NewClient(append(cluster.Opts(), kgo.UnknownTopicRetries(100), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.client.Close)
	return l
}
