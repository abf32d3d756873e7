package detect

import (
	"testing"

	"github.com/flowstitch/flowstitch/internal/race"
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
