package detect

import (
	"runtime"
	"testing"

	"github.com/flowstitch/flowstitch/internal/race"
	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/session"
)

// TestCombineAllocatesNothing folds the same hosts' sessions pane after pane:
// parts and rows come from the panes before.
func TestCombineAllocatesNothing(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates too")
	}
	const events = 512
	set := DefaultSettings()
	c, m := NewCombiner(&set), &meter{}
	var e session.Event
	start := t0
	pane := func() {
		for i := range events {
			synAt(&e, numbered(10, i%20), numbered(52, i%70), uint16(440+i%5), start.Add(int64(i)%set.Pane))
			e.Outcome = session.OutcomeAnswered
			c.Fold(&e, 0, int64(i), m)
		}
		start = start.Add(set.Pane)
		c.Tick(int64(start)*1000, m)
		c.Advance(start, m)
	}
	for range 30 {
		pane()
	}
	sent := m.records
	// The list of what is due and its sort are once a pane, not once an event.
	if n := testing.AllocsPerRun(20, pane); n > events/50 {
		t.Errorf("%.0f allocations for %d events of a pane", n, events)
	}
	if m.records == sent {
		t.Error("nothing was sent")
	}
}

// TestMergeAllocatesNothing parses and folds observations of panes that are
// open already.
func TestMergeAllocatesNothing(t *testing.T) {
	set := DefaultSettings()
	c, keep := NewCombiner(&set), &keeper{}
	var e session.Event
	for i := range 2000 {
		synAt(&e, numbered(10, i%20), numbered(52, i%70), 443, t0.Add(int64(i)%set.Pane))
		e.Outcome = session.OutcomeAnswered
		c.Fold(&e, 0, int64(i), keep)
	}
	c.Advance(t0.Add(set.Pane), keep)
	v, m := NewEvaluator(&set, Detectors(&set)), &meter{}
	var p Parser
	round := func() {
		for _, b := range keep.list {
			o, err := p.Parse(b)
			if err != nil {
				t.Fatal(err)
			}
			v.Fold(o, m)
		}
	}
	for range 30 {
		round()
	}
	if n := testing.AllocsPerRun(20, round); n > float64(len(keep.list))/50 {
		t.Errorf("%.1f allocations for %d observations", n, len(keep.list))
	}
}

// TestEvaluateAllocatesLittle judges the same hosts' panes one after the other,
// with traffic that every kind of detector has something to say of: only the
// texts of findings, statements, and what is remembered longer than a window may
// cost memory. It was 3,200 bytes an event before lists were used again.
func TestEvaluateAllocatesLittle(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates too")
	}
	const events, panes, most = 700, 60, 160 // bytes an event
	set := DefaultSettings()
	c, v, m := NewCombiner(&set), NewEvaluator(&set, Detectors(&set)), &countSink{}
	p := v.Parser()
	var e session.Event
	var before, after runtime.MemStats
	allocated, judged := uint64(0), 0
	for n := range panes {
		start, keep := t0.Add(int64(n)*set.Pane), &keeper{}
		for i := range events {
			busy(&e, i, start.Add(int64(i)%set.Pane))
			c.Fold(&e, 0, int64(i), keep)
			if i%100 == 0 {
				c.Tick(int64(start)*1000+int64(i)*set.EarlyHold, keep)
			}
		}
		c.Advance(start.Add(set.Pane), keep)
		runtime.ReadMemStats(&before)
		for _, b := range keep.list {
			o, err := p.Parse(b)
			if err != nil {
				t.Fatal(err)
			}
			v.Fold(o, m)
		}
		v.Advance(start.Add(set.Pane), m)
		runtime.ReadMemStats(&after)
		if n >= panes/2 { // the first half fills tables
			allocated += after.TotalAlloc - before.TotalAlloc
			judged += events
		}
	}
	if each := allocated / uint64(judged); each > most {
		t.Errorf("%d bytes an event, want %d at most", each, most)
	}
	for _, id := range []string{"brute-force", "port-scan", "host-sweep", "session-excess", "crafted-probe", "outbound-callout", "beacon"} {
		if m.said[id] == 0 {
			t.Errorf("%s said nothing: the test shows nothing of it", id)
		}
	}
	t.Logf("%d bytes an event; said %v", allocated/uint64(judged), m.said)
}

// busy makes event i of a pane: guessed passwords, scans, knocks, calls to the
// outside and a source that asks for far more than others.
func busy(e *session.Event, i int, at flow.Time) {
	answered := func(packets, bytes int64) {
		e.Outcome = session.OutcomeAnswered
		e.Out = session.Traffic{Packets: packets, Bytes: bytes, Records: 1, Flags: flow.SYN | flow.ACK}
		e.OutDelta, e.OutFinal = e.Out, e.Out
	}
	switch k := i / 10; i % 10 {
	case 0, 1, 2, 3: // each of two strangers at 8 hosts of ours
		synAt(e, numbered(45, k%2), numbered(10, (i+k)%8), 22, at)
		answered(20, 2000)
	case 4:
		synAt(e, numbered(46, k%3), numbered(10, k%5), uint16(1000+k), at)
	case 5:
		synAt(e, numbered(47, k%2), numbered(10, k), 445, at)
	case 6:
		synAt(e, numbered(10, k%4), numbered(52, k%7), uint16(443+k%2), at)
		answered(9, 900)
	case 7:
		synAt(e, numbered(48, k%20), numbered(10, 1), 8443, at)
		answered(5, 500)
	default: // one source of that service
		synAt(e, numbered(48, 99), numbered(10, 1), 8443, at)
		answered(5, 500)
	}
	if i%70 == 4 {
		e.Out.Bytes = e.Out.Packets * 40 // no TCP option
		e.OutDelta, e.OutFinal = e.Out, e.Out
	}
	e.Client.Port = uint16(33000 + i)
	e.Key, _ = flow.NewKey(0, protoTCP, e.Client, e.Server)
}

// countSink counts statements by detector.
type countSink struct{ said map[string]int }

func (s *countSink) Full() bool { return false }
func (s *countSink) Alert(a *alert.Alert) {
	if s.said == nil {
		s.said = map[string]int{}
	}
	s.said[a.Detector.ID]++
}

// TestReusedPartsKeepNothing sends panes of different hosts through one
// combiner and one parser: what they tell is what fresh ones do.
func TestReusedPartsKeepNothing(t *testing.T) {
	set := DefaultSettings()
	pane := func(c *Combiner, n int, m Sink) {
		var e session.Event
		for i := range 300 * (n%3 + 1) {
			synAt(&e, numbered(10, (i*7+n*13)%40), numbered(52, i*n%90), uint16(20+i%(n+5)), t0.Add(int64(i)%set.Pane))
			if i%3 == n%3 {
				e.Outcome = session.OutcomeAnswered
			}
			c.Fold(&e, 0, int64(i), m)
		}
		c.Advance(flow.MaxTime, m)
	}
	var p Parser
	reused := NewCombiner(&set)
	for n := range 8 {
		got, want := &keeper{}, &keeper{}
		pane(reused, n, got)
		reused.clock = flow.MinTime
		pane(NewCombiner(&set), n, want)
		if len(got.list) != len(want.list) {
			t.Fatalf("%d observations, want %d", len(got.list), len(want.list))
		}
		for i := range want.list {
			if string(got.list[i]) != string(want.list[i]) {
				t.Fatalf("round %d: observation %d differs from that of a fresh combiner", n, i)
			}
			o, err := p.Parse(got.list[i])
			if err != nil {
				t.Fatal(err)
			}
			if string(AppendObservation(nil, o)) != string(want.list[i]) {
				t.Fatalf("round %d: observation %d parsed into used memory differs", n, i)
			}
		}
	}
}
