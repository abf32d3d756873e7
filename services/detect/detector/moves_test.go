package detector

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/flowstitch/flowstitch/pkg/detect"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/session"
	"github.com/flowstitch/flowstitch/pkg/stage"
	"github.com/flowstitch/flowstitch/pkg/telemetry"
	"github.com/flowstitch/flowstitch/pkg/wire"
)

// course is a bad day in small: guessing, a flood from many sources, sources
// that are allowed, records that are late, and bounds that are too low for it.
type course struct {
	t                 *testing.T
	reg               *prometheus.Registry
	most              map[string]float64 // the most that each family has shown
	combine, evaluate stage.Bucket
	sent, said        outputs
	judged            int // observations that evaluate has seen
	n                 int
}

// look remembers what every family shows now.
func (c *course) look() {
	families, err := c.reg.Gather()
	if err != nil {
		c.t.Fatal(err)
	}
	for _, f := range families {
		sum := 0.0
		for _, m := range f.GetMetric() {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
		c.most[f.GetName()] = max(c.most[f.GetName()], sum)
	}
}

// event folds a session of a client with our server.
func (c *course) event(at flow.Time, client string, port uint16, change func(*session.Event)) {
	c.t.Helper()
	e := guess(c.n)
	c.n++
	e.Client.Addr, e.Server.Port, e.First, e.Last, e.DeltaFirst = flow.MustAddr(client), port, at, at+2, at
	if change != nil {
		change(e)
	}
	e.Key, _ = flow.NewKey(0, 6, e.Client, e.Server)
	if err := c.combine.Fold(&stage.Message{Offset: int64(c.n), Key: wire.AppendSessionKey(nil, e), Value: wire.AppendSession(nil, e)}, &c.sent); err != nil {
		c.t.Fatal(err)
	}
}

// advance moves both clocks, with everything that was sent between them.
func (c *course) advance(clock flow.Time) {
	c.t.Helper()
	c.combine.Tick(int64(clock)*1000, &c.sent)
	c.look()
	for !c.combine.Advance(clock, &c.sent) {
	}
	for ; c.judged < len(c.sent.list); c.judged++ {
		o := c.sent.list[c.judged]
		if err := c.evaluate.Fold(&stage.Message{Offset: int64(c.judged), Key: o.Key, Value: o.Value}, &c.said); err != nil {
			c.t.Fatal(err)
		}
	}
	for !c.evaluate.Advance(clock, &c.said) {
	}
	c.look()
}

// TestEveryMetricMoves: there is traffic that moves every metric which detect
// exports. A new metric needs traffic that moves it here.
func TestEveryMetricMoves(t *testing.T) {
	rules, err := compileRules([]string{"rules:\n- {id: knocks, title: knocks, match: server_port == 443, group_by: [client], window: 5m, having: count >= 1, severity: low, max_groups: 4}\n"})
	if err != nil {
		t.Fatal(err)
	}
	set := detect.DefaultSettings()
	set.FloodClients, set.CombineEntities, set.EvaluateEntities = 4, 30, 16
	host := func(s string) []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix(s)} }
	set.Allow = []detect.Allow{
		{Reason: "a scanner of ours", Until: flow.MaxTime, Clients: host("192.0.2.1/32")},
		{Reason: "an administrator", Until: flow.MaxTime, Detectors: []string{"brute-force"}, Clients: host("198.51.100.9/32")},
	}
	c := &course{t: t, reg: prometheus.NewRegistry(), most: map[string]float64{}}
	m := newMetrics(c.reg)
	c.combine = (&combineFold{set: &set, rules: rules, metrics: m}).NewBucket(0, 0)
	c.evaluate = (&evaluateFold{set: &set, rules: rules, writers: ocsf(), metrics: m, now: time.Now}).NewBucket(0, 0)
	c.play()
	reloadOnce(t, c)
	c.look()
	for name, v := range c.most {
		if v == 0 {
			t.Errorf("nothing moves %s", name)
		}
	}
	if len(c.most) < 18 {
		t.Errorf("only %d families are exported", len(c.most))
	}
}

// play is the traffic.
func (c *course) play() {
	start := flow.Time(1_700_006_400)
	for i := range 30 {
		for _, client := range []string{"198.51.100.7", "198.51.100.9", "192.0.2.1"} {
			c.event(start.Add(int64(4*i)), client, 22, nil)
		}
	}
	for i := range 400 {
		c.event(start.Add(int64(i/2)), fmt.Sprintf("203.0.%d.%d", 100+i/200, i%200+1), 443, func(e *session.Event) {
			e.Outcome = session.OutcomeUnanswered
			e.In, e.InDelta, e.InFinal = session.Traffic{}, session.Traffic{}, session.Traffic{}
		})
	}
	for i := range 60 { // strangers, each at a host of its own
		c.event(start.Add(int64(i)), fmt.Sprintf("203.1.0.%d", i+1), 8080, func(e *session.Event) {
			e.Server.Addr = flow.MustAddr(fmt.Sprintf("10.0.1.%d", i+1))
		})
	}
	c.advance(start.Add(600))
	c.event(start, "198.51.100.8", 22, nil) // its pane has passed
	c.advance(start.Add(900))
	late := c.sent.list[0] // and so has that of an observation
	if err := c.evaluate.Fold(&stage.Message{Key: late.Key, Value: late.Value}, &c.said); err != nil {
		c.t.Fatal(err)
	}
	c.advance(start.Add(1200))
	c.look()
	c.advance(flow.MaxTime)
}

// reloadOnce lets a reloader refuse a tuning and take another.
func reloadOnce(t *testing.T, c *course) {
	t.Helper()
	tel := telemetry.Quiet()
	tel.Registry = c.reg
	path := filepath.Join(t.TempDir(), "tuning.yaml")
	put := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("{}")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	lives := 0
	err := newReloader(path, tel).run(ctx, 5*time.Millisecond, func(ctx context.Context, _ *detect.Settings) error {
		if lives++; lives == 2 {
			return nil
		}
		put("threshold: {}")
		for c.most["flowstitch_detect_tuning_refused_total"] == 0 && ctx.Err() == nil {
			c.look()
			runtime.Gosched()
		}
		put("thresholds: {brute_force: {attempts: 9}}")
		<-ctx.Done()
		return nil
	})
	if err != nil || lives != 2 {
		t.Fatalf("%d lives: %v", lives, err)
	}
}
