package detector

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/detect"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/session"
	"github.com/flowstitch/flowstitch/pkg/stage"
	"github.com/flowstitch/flowstitch/pkg/wire"
)

// sink keeps what a bucket emits.
type sink struct{ out []stage.Output }

func (s *sink) Emit(o stage.Output) {
	o.Key, o.Value = bytes.Clone(o.Key), bytes.Clone(o.Value)
	s.out = append(s.out, o)
}
func (*sink) Full() bool { return false }

const guessing = `
rules:
- {id: guessing, title: "{{client}} failed {{count}} times", match: server_port == 22 && failed, group_by: [client], window: 5m, having: count >= 5, severity: medium}
`

func failedLogin(i int) *stage.Message {
	at := flow.Time(1772323200 + int64(i)*10)
	c := flow.Endpoint{Addr: flow.MustAddr("203.0.113.9"), Port: uint16(40000 + i)}
	s := flow.Endpoint{Addr: flow.MustAddr("10.0.0.5"), Port: 22}
	key, _ := flow.NewKey(0, 6, c, s)
	e := session.Event{
		Kind: session.KindClose, Key: key, Client: c, Server: s, Outcome: session.OutcomeRejected, Direction: session.Inbound,
		First: at, Last: at, DeltaFirst: at, New: true, Opened: true,
		Out: session.Traffic{RejectPackets: 1, RejectBytes: 60}, OutDelta: session.Traffic{RejectPackets: 1, RejectBytes: 60}, OutFinal: session.Traffic{RejectPackets: 1, RejectBytes: 60},
	}
	e.ID[0], e.ID[1] = byte(i), 1
	return &stage.Message{Offset: int64(i), Key: wire.AppendSessionKey(nil, &e), Value: wire.AppendSession(nil, &e)}
}

// TestRulesInTheFolds takes a user's rule through both stages, with a restart
// of the second in between: one finding, with the rule's id.
func TestRulesInTheFolds(t *testing.T) {
	rules, err := compileRules([]string{guessing})
	if err != nil {
		t.Fatal(err)
	}
	set := detect.DefaultSettings()
	enc, err := (&Config{Alerts: Default().Alerts}).writers()
	if err != nil {
		t.Fatal(err)
	}
	m := newMetrics(prometheus.NewRegistry())
	combine := (&combineFold{set: &set, rules: rules, metrics: m}).NewBucket(0, 0)
	observations := &sink{}
	for i := range 6 {
		if err := combine.Fold(failedLogin(i), observations); err != nil {
			t.Fatal(err)
		}
	}
	combine.Advance(flow.MaxTime, observations)
	fold := &evaluateFold{set: &set, rules: rules, writers: enc, metrics: m, now: time.Now}
	evaluate, alerts := fold.NewBucket(0, 0), &sink{}
	for _, o := range observations.out {
		if err := evaluate.Fold(&stage.Message{Key: o.Key, Value: o.Value}, alerts); err != nil {
			t.Fatal(err)
		}
	}
	snapshot := evaluate.AppendSnapshot(nil)
	again := fold.NewBucket(0, 0)
	if err := again.Restore(snapshot); err != nil || !bytes.Equal(again.AppendSnapshot(nil), snapshot) {
		t.Fatalf("the restored bucket differs: %v", err)
	}
	for !again.Advance(flow.MaxTime, alerts) {
	}
	var last *alert.Alert
	for _, o := range alerts.out {
		if a, err := alert.Parse(o.Value); err == nil && a.Detector.ID == "rule:guessing" {
			last = a
		}
	}
	if last == nil || last.Title != "203.0.113.9 failed 6 times" || last.Entity.Value != "203.0.113.9" {
		t.Errorf("the rule said %+v", last)
	}
}

func TestReadRules(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"a.yaml": guessing, "b.txt": "no rules", "sub/c.yaml": strings.ReplaceAll(guessing, "id: guessing", "id: other")} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	texts, err := readRules([]string{dir, filepath.Join(dir, "a.yaml")})
	if err != nil || len(texts) != 2 {
		t.Fatalf("%d texts, %v", len(texts), err)
	}
	if rules, err := compileRules(texts); err != nil || len(rules) != 2 {
		t.Errorf("%d rules, %v", len(rules), err)
	}
	if _, err := compileRules(append(texts, guessing)); err == nil || !strings.Contains(err.Error(), "two rules") {
		t.Errorf("the same id twice: %v", err)
	}
	if _, err := readRules([]string{filepath.Join(dir, "gone")}); err == nil {
		t.Error("a missing file is no error")
	}
}

// TestRuleMetrics: groups beyond a rule's max_groups are forgotten, and that is
// counted; what is remembered is shown, and no longer once the bucket moves on.
func TestRuleMetrics(t *testing.T) {
	rules, err := compileRules([]string{strings.Replace(guessing, "severity: medium", "severity: medium, max_groups: 4", 1)})
	if err != nil {
		t.Fatal(err)
	}
	set := detect.DefaultSettings()
	m := newMetrics(prometheus.NewRegistry())
	combine := (&combineFold{set: &set, rules: rules, metrics: m}).NewBucket(0, 0)
	observations := &sink{}
	for i := range 20 {
		var e session.Event
		msg := failedLogin(i)
		if err := wire.ParseSession(msg.Key, msg.Value, &e); err != nil {
			t.Fatal(err)
		}
		e.Client.Addr = flow.AddrFrom4([4]byte{203, 0, 113, byte(i)})
		e.Key, _ = flow.NewKey(0, 6, e.Client, e.Server)
		if err := combine.Fold(&stage.Message{Key: wire.AppendSessionKey(nil, &e), Value: wire.AppendSession(nil, &e)}, observations); err != nil {
			t.Fatal(err)
		}
	}
	end := flow.Time(1772323200 + 3600)
	combine.Advance(end, observations)
	evaluate, alerts := (&evaluateFold{set: &set, rules: rules, writers: ocsf(), metrics: m, now: time.Now}).NewBucket(0, 0), &sink{}
	for _, o := range observations.out {
		if err := evaluate.Fold(&stage.Message{Key: o.Key, Value: o.Value}, alerts); err != nil {
			t.Fatal(err)
		}
	}
	evaluate.Advance(flow.Time(1772323200), alerts)
	if n := testutil.ToFloat64(m.ruleEvicted.WithLabelValues("guessing")); n < 10 {
		t.Errorf("%v groups were forgotten", n)
	}
	if n := testutil.ToFloat64(m.ruleGroups.WithLabelValues("guessing")); n < 1 || n > 4 {
		t.Errorf("%v groups are remembered", n)
	}
	evaluate.(stage.Closer).Close()
	if n := testutil.ToFloat64(m.ruleGroups.WithLabelValues("guessing")); n != 0 {
		t.Errorf("%v groups are shown by a bucket that has gone", n)
	}
}
