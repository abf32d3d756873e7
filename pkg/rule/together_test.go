package rule

import (
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"

	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/detect"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/session"
)

const both = `
rules:
- id: both
  title: "{{group}} was guessed and called out"
  together:
  - {name: guessed, match: server_port == 22 && failed, by: [server], at_least: 3}
  - {name: called out, match: server_port == 443, by: [client]}
  within: 30m
  severity: high
`

func TestTogether(t *testing.T) {
	rules := parseRules(t, both)
	call := func(at flow.Time, from string) *session.Event {
		return closed(at, from, "198.51.100.1", 443, 1000, session.OutcomeAnswered)
	}
	for name, c := range map[string]struct {
		events []*session.Event
		want   int
	}{
		"in one order":     {append(attempts(4, 10, "203.0.113.9"), call(base+1900, "10.0.0.5")), 1},
		"in the other":     {append([]*session.Event{call(base+300, "10.0.0.5")}, attempts(4, 10, "203.0.113.9")...), 1},
		"in the same pane": {append(attempts(4, 10, "203.0.113.9"), call(base+1030, "10.0.0.5")), 1},
		"another host":     {append(attempts(4, 10, "203.0.113.9"), call(base+1900, "10.0.0.6")), 0},
		"too few":          {append(attempts(2, 10, "203.0.113.9"), call(base+1900, "10.0.0.5")), 0},
		"too late":         {append(attempts(4, 10, "203.0.113.9"), call(base+4000, "10.0.0.5")), 0},
		"just in time":     {append([]*session.Event{call(base+1040-1800, "10.0.0.5")}, attempts(4, 10, "203.0.113.9")...), 1},
		"too early":        {append([]*session.Event{call(base+1040-1801, "10.0.0.5")}, attempts(3, 10, "203.0.113.9")...), 0},
	} {
		got := run(t, rules, c.events)
		if len(got) != c.want || c.want == 1 && !strings.Contains(got[0], "rule:both confirmed High 10.0.0.5 | 10.0.0.5 was guessed and called out") {
			t.Errorf("%s: got %q, want %d", name, got, c.want)
		}
	}
}

// TestTogetherSays: the sentence names each step, and what is told early is
// provisional.
func TestTogetherSays(t *testing.T) {
	var first, last alert.Alert
	r := NewRunner(parseRules(t, both), detect.DefaultSettings(), func(a *alert.Alert) {
		if first.Activity == 0 {
			first = *a
		}
		last = *a
	})
	events := append([]*session.Event{closed(base+1000, "10.0.0.5", "198.51.100.1", 443, 1000, session.OutcomeAnswered)}, attempts(3, 10, "203.0.113.9")...)
	for i, e := range events {
		e.Kind = session.KindUpdate
		r.Event(e, 0, int64(i))
	}
	r.Tick(1 << 40)
	for i, e := range events {
		e.Kind, e.New = session.KindClose, false
		e.OutDelta, e.InDelta = session.Traffic{}, session.Traffic{}
		r.Event(e, 0, int64(10+i))
	}
	r.Advance(flow.MaxTime)
	if first.Verdict != alert.Provisional {
		t.Errorf("the first statement is %v", first.Verdict)
	}
	if last.Verdict != alert.Confirmed || !strings.Contains(last.Sentence, "called out at 2026-03-01T00:16:40Z") || !strings.Contains(last.Sentence, "guessed at 2026-03-01T00:17:00Z") {
		t.Errorf("%v: %s", last.Verdict, last.Sentence)
	}
	if len(last.Evidence) != 2 || last.Counts[1].Observed != 40 {
		t.Errorf("evidence %v, counts %v", last.Evidence, last.Counts)
	}
}

// TestTogetherAgainstAll holds the one pass over what is kept to trying every
// span of everything that was ever seen.
func TestTogetherAgainstAll(t *testing.T) {
	rnd := rand.New(rand.NewSource(11))
	for round := range 300 {
		steps := make([]Step, 2+rnd.Intn(3))
		for i := range steps {
			steps[i].AtLeast = 1 + rnd.Intn(3)
		}
		s := &together{sightings{rule: &Rule{Spec: Spec{Together: steps}, window: int64(5 + rnd.Intn(20))}}}
		var all []sighting
		for pane := range flow.Time(8) {
			start, end := pane*10, pane*10+10
			for range rnd.Intn(6) {
				all = append(all, sighting{at: start + flow.Time(rnd.Intn(10)), step: uint8(rnd.Intn(len(steps))), n: int64(1 + rnd.Intn(2))})
			}
			order := func(a, b sighting) int { return int(a.at-b.at)*10 + int(a.step) - int(b.step) }
			slices.SortStableFunc(all, order)
			times := append(slices.Clone(s.times), all[slices.IndexFunc(append(all, sighting{at: end}), func(x sighting) bool { return x.at >= start }):]...)
			from, to, ok := s.gather(times, start)
			wantFrom, wantTo, want := everySpan(s.rule, all, start)
			if ok != want || ok && (from != wantFrom || to != wantTo) {
				t.Fatalf("round %d pane %d: %v %v %v, want %v %v %v\n%s", round, pane, from, to, ok, wantFrom, wantTo, want, fmt.Sprint(all))
			}
			s.times = s.newest(s.since(times, end))
		}
	}
}

func everySpan(r *Rule, all []sighting, since flow.Time) (from, to flow.Time, ok bool) {
	for _, last := range all {
		if last.at < since {
			continue
		}
		for _, first := range slices.Backward(all) {
			if first.at > last.at || first.at.Add(r.window) < last.at {
				continue
			}
			seen := make([]int64, len(r.Spec.Together))
			for _, x := range all {
				if x.at >= first.at && x.at <= last.at {
					seen[x.step] += x.n
				}
			}
			if enough(r.Spec.Together, seen) {
				return first.at, last.at, true
			}
		}
	}
	return 0, 0, false
}
