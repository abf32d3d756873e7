package detector

import (
	"encoding/binary"
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

// outputs keeps what a fold puts out.
type outputs struct{ list []stage.Output }

func (o *outputs) Full() bool { return false }
func (o *outputs) Emit(x stage.Output) {
	x.Key, x.Value = append([]byte(nil), x.Key...), append([]byte(nil), x.Value...)
	o.list = append(o.list, x)
}

// ocsf writes alerts as the defaults do.
func ocsf() []writer {
	return []writer{{topic: stage.AlertsTopic, encoder: alert.NewEncoder(alert.Options{})}}
}

// TestFolds runs guessed passwords through both adapters, as records, and reads
// every metric that must have moved.
func TestFolds(t *testing.T) {
	set := detect.DefaultSettings()
	m := newMetrics(prometheus.NewRegistry())
	combine := (&combineFold{set: &set, metrics: m}).NewBucket(0, 0)
	evaluate := (&evaluateFold{set: &set, metrics: m, writers: ocsf(), now: time.Now}).NewBucket(0, 0)
	var observations, alerts outputs
	for i := range 15 {
		e := guess(i)
		msg := stage.Message{Offset: int64(i), Key: wire.AppendSessionKey(nil, e), Value: wire.AppendSession(nil, e)}
		if err := combine.Fold(&msg, &observations); err != nil {
			t.Fatal(err)
		}
	}
	combine.Tick(1, &observations)
	early := len(observations.list)
	combine.Advance(flow.MaxTime, &observations)
	for i, o := range observations.list {
		if err := evaluate.Fold(&stage.Message{Offset: int64(i), Key: o.Key, Value: o.Value}, &alerts); err != nil {
			t.Fatal(err)
		}
	}
	if early == 0 || len(alerts.list) == 0 {
		t.Fatalf("%d early observations and %d early alerts", early, len(alerts.list))
	}
	evaluate.Advance(flow.MaxTime, &alerts)
	first := alerts.list[0]
	if a, err := alert.Parse(first.Value); err != nil || string(first.Key) != a.UID.String() || a.Detector.ID != "brute-force" {
		t.Fatalf("the first alert is %s: %v", first.Value, err)
	}
	for name, v := range map[string]float64{
		"events": testutil.ToFloat64(m.events), "observations": testutil.ToFloat64(m.observations),
		"early": testutil.ToFloat64(m.early), "judged": testutil.ToFloat64(m.judged), "expired": testutil.ToFloat64(m.expired),
		"alerts": testutil.ToFloat64(m.alerts.WithLabelValues("brute-force", "create", "provisional", severityOf(t, first))),
	} {
		if v == 0 {
			t.Errorf("the metric of %s has not moved", name)
		}
	}
	if testutil.ToFloat64(m.sums) != 0 {
		t.Error("sums are left over")
	}
}

func severityOf(t *testing.T, o stage.Output) string {
	a, err := alert.Parse(o.Value)
	if err != nil {
		t.Fatal(err)
	}
	return a.Severity.String()
}

// TestPoison: what can not be read goes to rejects, not to a crash.
func TestPoison(t *testing.T) {
	set := detect.DefaultSettings()
	m := newMetrics(prometheus.NewRegistry())
	var out outputs
	for _, b := range []stage.Bucket{
		(&combineFold{set: &set, metrics: m}).NewBucket(0, 0),
		(&evaluateFold{set: &set, metrics: m, writers: ocsf(), now: time.Now}).NewBucket(0, 0),
	} {
		if err := b.Fold(&stage.Message{Key: []byte("x"), Value: []byte{0xff, 0xff}}, &out); err == nil {
			t.Error("nonsense was folded")
		}
	}
}

func guess(i int) *session.Event {
	at := flow.Time(1_700_006_400 + 4*i)
	c := flow.Endpoint{Addr: flow.MustAddr("198.51.100.7"), Port: uint16(40000 + i)}
	s := flow.Endpoint{Addr: flow.MustAddr("10.0.0.1"), Port: 22}
	out, in := session.Traffic{Packets: 14, Bytes: 1900, Records: 1, Flags: 3}, session.Traffic{Packets: 12, Bytes: 2400, Records: 1, Flags: 19}
	e := &session.Event{
		Kind: session.KindClose, Client: c, Server: s, Evidence: session.EvidenceFlags, Confidence: 95,
		Outcome: session.OutcomeAnswered, Reason: session.ReasonFIN, First: at, Last: at + 2, DeltaFirst: at,
		Out: out, In: in, OutDelta: out, InDelta: in, OutFinal: out, InFinal: in, New: true, Opened: true,
		Direction: session.Inbound, Owned: flow.OwnDst,
	}
	e.Key, _ = flow.NewKey(0, 6, c, s)
	binary.BigEndian.PutUint64(e.ID[:], uint64(i)+1)
	return e
}
