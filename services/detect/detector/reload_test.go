package detector

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/kafkatest"
	"github.com/flowstitch/flowstitch/pkg/stage"
	"github.com/flowstitch/flowstitch/pkg/telemetry"
	"github.com/flowstitch/flowstitch/pkg/wire"
)

// live is a detect service on a broker, with a test as its sessionizer.
type live struct {
	t      *testing.T
	tel    *telemetry.Telemetry
	client *kgo.Client
	topics stage.Topics
	wall   int64
}

// metric sums a family of metrics.
func (l *live) metric(name string) (sum float64) {
	families, err := l.tel.Registry.Gather()
	if err != nil {
		l.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// until waits for a metric, bounded by the test's context.
func (l *live) until(ctx context.Context, name string, want float64) {
	l.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for l.metric(name) < want {
		select {
		case <-ctx.Done():
			l.t.Fatalf("%s is %v, not %v", name, l.metric(name), want)
		case <-tick.C:
		}
	}
}

// guesses sends attempts from..to and a mark behind them.
func (l *live) guesses(ctx context.Context, from, to int, clock flow.Time) {
	l.t.Helper()
	var list []*kgo.Record
	topic := l.topics.Name(stage.SessionsTopic)
	for i := from; i < to; i++ {
		e := guess(i)
		list = append(list, &kgo.Record{Topic: topic, Key: wire.AppendSessionKey(nil, e), Value: wire.AppendSession(nil, e)})
	}
	l.wall += 1000
	mark := wire.Mark{Deployment: "default", Slots: 1, Watermark: clock, WallMS: l.wall}
	list = append(list, &kgo.Record{Topic: topic, Value: wire.AppendMark(nil, &mark)})
	if err := l.client.ProduceSync(ctx, list...).FirstErr(); err != nil {
		l.t.Fatal(err)
	}
}

// attempts reads alerts until guessing is confirmed, and returns how many
// attempts it counts.
func (l *live) attempts(ctx context.Context) float64 {
	l.client.AddConsumeTopics(l.topics.Name(stage.AlertsTopic))
	for {
		fetches := l.client.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			l.t.Fatal("no guessing was confirmed")
		}
		for _, r := range fetches.Records() {
			a, err := alert.Parse(r.Value)
			if err != nil {
				l.t.Fatal(err)
			}
			if a.Detector.ID != "brute-force" || a.Verdict != alert.Confirmed {
				continue
			}
			for _, c := range a.Counts {
				if c.Name == "attempts" {
					return c.Observed
				}
			}
		}
	}
}

// TestReloadForgetsNothing changes the tuning and the rules while both stages
// run on a broker: the attempts from before the change count with those from
// after it, under the new threshold.
func TestReloadForgetsNothing(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cluster := kafkatest.Embedded(t)
	dir := t.TempDir()
	tuning, rules := filepath.Join(dir, "tuning.yaml"), filepath.Join(dir, "rules")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(rules, 0o700); err != nil {
		t.Fatal(err)
	}
	write(tuning, "thresholds: {brute_force: {attempts: 12}}\n")

	cfg := Default()
	cfg.Kafka.Brokers = cluster.Addrs
	cfg.Pipeline.Prefix, cfg.Pipeline.Partitions, cfg.Pipeline.Slots = kafkatest.Prefix(t), 1, 1
	cfg.Pipeline.CommitInterval = 20 * time.Millisecond
	cfg.Tuning, cfg.TuningEvery, cfg.Rules = tuning, 50*time.Millisecond, []string{rules}
	l := newLive(t, cluster, cfg.Pipeline.Prefix)
	ended := make(chan error, 1)
	running, stop := context.WithCancel(ctx)
	go func() { ended <- Run(running, cfg, l.tel) }()

	first := guess(0).First
	l.guesses(ctx, 0, 6, first-60)
	l.until(ctx, "flowstitch_detect_session_events_total", 6)
	write(tuning, "thresholds: {brute_force: {attempts: 8}}\n")
	l.until(ctx, "flowstitch_detect_tuning_reloads_total", 1)
	write(filepath.Join(rules, "mine.yaml"), guessing)
	l.until(ctx, "flowstitch_detect_tuning_reloads_total", 2)
	l.guesses(ctx, 6, 10, flow.MaxTime)
	if n := l.attempts(ctx); n != 10 {
		t.Errorf("guessing was told with %v attempts, 6 came before the change and 4 after it", n)
	}
	stop()
	if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
