package rule

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"

	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/detect"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/session"
)

const base flow.Time = 1772323200 // 2026-03-01T00:00:00Z

// closed makes a session that was over when it was first told.
func closed(at flow.Time, client, server string, port uint16, bytesOut int64, outcome session.Outcome) *session.Event {
	c := flow.Endpoint{Addr: flow.MustAddr(client), Port: uint16(20000 + at%20000)}
	s := flow.Endpoint{Addr: flow.MustAddr(server), Port: port}
	key, _ := flow.NewKey(0, 6, c, s)
	e := &session.Event{
		Kind: session.KindClose, Key: key, Client: c, Server: s, Outcome: outcome, Direction: session.Inbound,
		First: at, Last: at + 10, DeltaFirst: at, New: true, Opened: true, Reason: session.ReasonFIN,
		Out: session.Traffic{Packets: 5, Bytes: bytesOut}, In: session.Traffic{Packets: 3, Bytes: 300},
	}
	e.OutDelta, e.OutFinal, e.InDelta, e.InFinal = e.Out, e.Out, e.In, e.In
	binary.BigEndian.PutUint64(e.ID[:], xxhash.Sum64String(fmt.Sprint(at, client, server, port)))
	return e
}

func parseRules(t testing.TB, text string) []*Rule {
	t.Helper()
	rules, err := Parse(language(t, Sessions()), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

// run folds events in the order of their starts and returns the last statement
// of each finding, as text.
func run(t testing.TB, rules []*Rule, events []*session.Event) []string {
	t.Helper()
	last := make(map[alert.UID]alert.Alert)
	r := NewRunner(rules, detect.DefaultSettings(), func(a *alert.Alert) { last[a.UID] = *a })
	clock := flow.MinTime
	for i, e := range events {
		r.Event(e, 0, int64(i))
		if c := e.DeltaFirst - 600; c > clock+60 {
			clock = c
			r.Advance(clock)
		}
	}
	r.Advance(flow.MaxTime)
	var out []string
	for _, a := range last {
		out = append(out, fmt.Sprintf("%s %s %s %s | %s", a.Detector.ID, a.Verdict, a.Severity, a.Entity.Value, a.Title))
	}
	slices.Sort(out)
	return out
}

const guessing = `
rules:
- id: guessing
  title: "{{client}} failed {{count}} times in {{window}}"
  match: server_port == 22 && failed
  group_by: [client]
  window: 1m
  having: count >= 5
  severity: medium
  attack: [T1110.001]
  cooldown: 1h
`

func attempts(n int, every flow.Time, client string) (events []*session.Event) {
	for i := range n {
		events = append(events, closed(base+1020+flow.Time(i)*every, client, "10.0.0.5", 22, 60, session.OutcomeRejected))
	}
	return events
}

func TestThreshold(t *testing.T) {
	rules := parseRules(t, guessing)
	got := run(t, rules, attempts(6, 5, "203.0.113.9"))
	want := []string{"rule:guessing confirmed Medium 203.0.113.9 | 203.0.113.9 failed 6 times in 1m"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := run(t, rules, attempts(20, 30, "2001:db8::9")); len(got) != 0 {
		t.Errorf("two attempts a minute fired: %q", got)
	}
	var spread []*session.Event
	for i := range 9 {
		spread = append(spread, closed(base+1000+flow.Time(i), fmt.Sprintf("203.0.113.%d", i), "10.0.0.5", 22, 60, session.OutcomeRejected))
	}
	if got := run(t, rules, spread); len(got) != 0 {
		t.Errorf("nine sources with one attempt each fired: %q", got)
	}
}

func TestKinds(t *testing.T) {
	for name, c := range map[string]struct {
		rule   string
		events []*session.Event
		want   string
	}{
		"sliding": {`{id: r, title: "{{count}}", match: server_port == 22, group_by: [client], window: 10m, slide: 1m, having: count >= 10, severity: low}`,
			attempts(12, 50, "203.0.113.9"), "203.0.113.9 | 12"},
		"tumbling misses what straddles": {`{id: r, title: "{{count}}", match: server_port == 22, group_by: [client], window: 10m, having: count >= 11, severity: low}`,
			attempts(12, 50, "203.0.113.9"), ""},
		"distinct": {`{id: r, title: "{{distinct(server_port)}} ports of {{server}}", group_by: [client, server], window: 5m, having: distinct(server_port) >= 15, severity: low}`,
			ports(20), "client=203.0.113.9 server=10.0.0.5 | 20 ports of 10.0.0.5"},
		"distinct address": {`{id: r, title: "{{distinct(client)}}", group_by: [server], window: 5m, having: distinct(client) == 1, severity: low}`,
			ports(20), "10.0.0.5 | 1"},
		"sum and network": {`{id: r, title: "{{sum(bytes_out)}} from {{client}}", group_by: [client/24], window: 1h, having: sum(bytes_out) > "1kB", severity: low}`,
			ports(20), "203.0.113.0/24 | 1.2 kB from 203.0.113.0/24"},
		"rate and max": {`{id: r, title: "{{max(bytes_out)}}", window: 1m, having: rate(count) > 0.3 && max(bytes_out) == 60, severity: low}`,
			ports(20), "all | 60 B"},
		"falls": {`{id: r, title: "few: {{count}}", group_by: [client], window: 10m, having: count < 30, severity: low}`,
			ports(20), "203.0.113.9 | few: 20"},
		"exception": {`{id: r, title: x, group_by: [client], window: 5m, severity: low, except: [{match: 'client in "203.0.113.0/24"', reason: ours}]}`,
			ports(20), ""},
		"expired exception": {`{id: r, title: x, group_by: [client], window: 5m, severity: low, except: [{match: 'client in "203.0.113.0/24"', reason: ours, until: 2026-01-01T00:00:00Z}]}`,
			ports(20), "203.0.113.9 | x"},
		"grows": {`{id: r, title: "{{count}}", match: bytes_out >= 60 && seconds > 5, group_by: [client], window: 5m, having: count >= 20, severity: low}`,
			ports(20), "203.0.113.9 | 20"},
	} {
		rules := parseRules(t, "rules:\n- "+c.rule)
		got := strings.Join(run(t, rules, c.events), "\n")
		if c.want == "" && got != "" || !strings.HasSuffix(got, c.want) || strings.Count(got, "\n") > 0 {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

// TestMany counts beyond the bound of rows: estimates, within a few percent.
func TestMany(t *testing.T) {
	rules := parseRules(t, `
rules:
- {id: ports, title: "{{distinct(server_port)}}", group_by: [client], window: 10m, having: distinct(server_port) > 2000, severity: low}
- {id: failed, title: "{{count}}", match: failed, group_by: [client], window: 10m, having: count > 2000, severity: low}
`)
	var events []*session.Event
	for i := range 3000 {
		events = append(events, closed(base+1200+flow.Time(i)/20, "203.0.113.9", "10.0.0.5", uint16(1+i), 60, session.OutcomeRejected))
	}
	got := run(t, rules, events)
	if len(got) != 2 {
		t.Fatalf("got %q", got)
	}
	for _, g := range got {
		n, err := strconv.Atoi(strings.ReplaceAll(g[strings.LastIndex(g, " ")+1:], ",", ""))
		if err != nil || n < 2700 || n > 3300 {
			t.Errorf("%s: %v, not within 10 percent of 3000", g, err)
		}
	}
}

// TestManyInAMinute counts beyond the bound of rows in windows finer than a
// pane: each minute of the sample stands for its own part.
func TestManyInAMinute(t *testing.T) {
	rules := parseRules(t, `
rules:
- {id: sources, title: "{{distinct(client)}}", group_by: [server], window: 1m, having: distinct(client) > 300, severity: low, cooldown: 1h}
- {id: failed, title: "{{count}}", match: failed, group_by: [server], window: 1m, having: count > 300, severity: low, cooldown: 1h}
`)
	var events []*session.Event
	for i := range 2000 { // 400 a minute for five minutes
		events = append(events, closed(base+1200+flow.Time(i)*300/2000, fmt.Sprintf("203.0.%d.%d", i/200, i%200), "10.0.0.5", 443, 60, session.OutcomeRejected))
	}
	got := run(t, rules, events)
	if len(got) != 2 {
		t.Fatalf("got %q", got)
	}
	for _, g := range got {
		n, err := strconv.Atoi(g[strings.LastIndex(g, " ")+1:])
		if err != nil || n < 320 || n > 520 { // the largest of five samples of about a hundred
			t.Errorf("%s: %v, not about 400", g, err)
		}
	}
}

func ports(n int) (events []*session.Event) {
	for i := range n {
		events = append(events, closed(base+1210+flow.Time(i), "203.0.113.9", "10.0.0.5", uint16(1000+i), 60, session.OutcomeRejected))
	}
	return events
}

func TestBaseline(t *testing.T) {
	rules := parseRules(t, `
rules:
- {id: more, title: "{{sum(bytes_out)}}", group_by: [client], window: 10m, having: 'ratio(sum(bytes_out)) > 10', severity: high}
`)
	var events []*session.Event
	for i := range 20 {
		size := int64(1000 + i%3)
		if i == 15 {
			size = 50000
		}
		events = append(events, closed(base+flow.Time(i)*600+30, "10.0.0.7", "198.51.100.1", 443, size, session.OutcomeAnswered))
	}
	got := run(t, rules, events)
	if len(got) != 1 || !strings.Contains(got[0], "10.0.0.7 | 50.0 kB") {
		t.Errorf("got %q", got)
	}
	if got := run(t, rules, events[12:]); len(got) != 0 {
		t.Errorf("a past of three windows was judged: %q", got)
	}
}

const takeover = `
rules:
- id: takeover
  title: "{{group}} was guessed, then called out"
  sequence:
  - {name: guessing, match: server_port == 22 && failed, by: [server], at_least: 3}
  - {name: call-out, match: server_port == 443, by: [client]}
  within: 30m
  severity: critical
`

func TestSequence(t *testing.T) {
	rules := parseRules(t, takeover)
	call := func(at flow.Time, from string) *session.Event {
		return closed(at, from, "198.51.100.1", 443, 1000, session.OutcomeAnswered)
	}
	for name, c := range map[string]struct {
		events []*session.Event
		want   int
	}{
		"in order":         {append(attempts(4, 10, "203.0.113.9"), call(base+1900, "10.0.0.5")), 1},
		"another host":     {append(attempts(4, 10, "203.0.113.9"), call(base+1900, "10.0.0.6")), 0},
		"too few":          {append(attempts(2, 10, "203.0.113.9"), call(base+1900, "10.0.0.5")), 0},
		"too late":         {append(attempts(4, 10, "203.0.113.9"), call(base+4000, "10.0.0.5")), 0},
		"the other way":    {append([]*session.Event{call(base+900, "10.0.0.5")}, attempts(4, 10, "203.0.113.9")...), 0},
		"in the same pane": {append(attempts(4, 10, "203.0.113.9"), call(base+1100, "10.0.0.5")), 1},
	} {
		if got := run(t, rules, c.events); len(got) != c.want {
			t.Errorf("%s: got %q, want %d", name, got, c.want)
		}
	}
}

// TestOrderDoesNotMatter shuffles within the lateness, cuts the events over
// several combiners and restores from a snapshot in between: the findings and
// their last state stay the same.
func TestOrderDoesNotMatter(t *testing.T) {
	rules := parseRules(t, guessing+`
- {id: ports, title: "{{distinct(server_port)}}", group_by: [client], window: 5m, having: distinct(server_port) >= 15, severity: low}
- {id: slow, title: "{{sum(bytes)}}", group_by: [server], window: 20m, slide: 5m, having: 'sum(bytes) > 2000 && count < 500', severity: low}
`+strings.TrimPrefix(takeover, "\nrules:")+strings.TrimPrefix(both, "\nrules:"))
	rnd := rand.New(rand.NewSource(5))
	var events []*session.Event
	for i := range 3000 {
		at := base + flow.Time(i*2)
		e := closed(at, fmt.Sprintf("203.0.113.%d", rnd.Intn(30)), fmt.Sprintf("10.0.0.%d", rnd.Intn(4)), []uint16{22, 443, uint16(rnd.Intn(3000))}[rnd.Intn(3)], 60, session.Outcome(1+rnd.Intn(4)))
		if rnd.Intn(4) == 0 {
			e.Client, e.Server = e.Server, e.Client
			e.Client.Port, e.Server.Port = e.Server.Port, 443
		}
		binary.BigEndian.PutUint64(e.ID[:], xxhash.Sum64String(fmt.Sprint(i)))
		events = append(events, e)
	}
	want := digest(t, rules, events, 1, nil)
	if strings.Count(want, "\n") < 10 {
		t.Fatalf("too few findings for a test: %s", want)
	}
	for cut := 1; cut <= 4; cut++ {
		if got := digest(t, rules, events, cut, rand.New(rand.NewSource(int64(cut)))); got != want {
			t.Fatalf("with %d combiners and a shuffle:\n%s\nwant\n%s", cut, got, want)
		}
	}
}

type collect struct {
	last map[alert.UID]string
}

func (c *collect) Alert(a *alert.Alert) {
	a.Evidence = slices.Clone(a.Evidence)
	for i := range a.Evidence {
		a.Evidence[i].Partition, a.Evidence[i].Offset = 0, 0
	}
	c.last[a.UID] = fmt.Sprintf("%s %s %s %s %v %v %v", a.Detector.ID, a.Verdict, a.Entity.Value, a.Title, a.Counts, a.Window, a.Evidence)
}
func (*collect) Full() bool { return false }

type queue struct{ obs []*detect.Observation }

func (q *queue) Observe(o *detect.Observation) {
	back := &detect.Observation{}
	if detect.ParseObservation(detect.AppendObservation(nil, o), back) == nil {
		q.obs = append(q.obs, back)
	}
}
func (*queue) Full() bool { return false }

func digest(t *testing.T, rules []*Rule, events []*session.Event, cut int, shuffle *rand.Rand) string {
	t.Helper()
	set := detect.DefaultSettings()
	combiners := make([]*detect.Combiner, cut)
	for i := range combiners {
		combiners[i] = detect.NewCombiner(&set, NewTap(rules, set.Pane))
	}
	judge, said := NewJudge(set, rules, 1), &collect{last: map[alert.UID]string{}}
	order := slices.Clone(events)
	if shuffle != nil {
		for i := 0; i+100 <= len(order); i += 100 { // 100 events are 200 s: less than the lateness below
			shuffle.Shuffle(100, func(a, b int) { order[i+a], order[i+b] = order[i+b], order[i+a] })
		}
	}
	q := &queue{}
	flush := func(clock flow.Time) {
		for _, c := range combiners {
			c.Advance(clock, q)
		}
		if shuffle != nil {
			shuffle.Shuffle(len(q.obs), func(a, b int) { q.obs[a], q.obs[b] = q.obs[b], q.obs[a] })
		}
		for _, o := range q.obs {
			if Owns(o.Entity) {
				judge.Fold(o, said)
			}
		}
		q.obs = nil
		judge.Advance(set.Watermark(clock), said)
	}
	for i, e := range order {
		combiners[int(hashAddr(e.Client.Addr))%cut].Fold(e, 0, int64(i), q)
		if i%150 == 149 {
			flush(e.DeltaFirst - 400)
		}
		if shuffle != nil && i%700 == 699 {
			judge = restored(t, judge, set, rules)
		}
	}
	flush(flow.MaxTime)
	var out []string
	for _, s := range said.last {
		out = append(out, s)
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

func restored(t *testing.T, j *Judge, set detect.Settings, rules []*Rule) *Judge {
	t.Helper()
	snap := j.AppendSnapshot(nil)
	n := NewJudge(set, rules, 1)
	if err := n.Restore(snap); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(n.AppendSnapshot(nil), snap) {
		t.Fatal("a restored judge has another snapshot")
	}
	return n
}

func TestEarly(t *testing.T) {
	rules := parseRules(t, guessing)
	var said []string
	r := NewRunner(rules, detect.DefaultSettings(), func(a *alert.Alert) { said = append(said, a.Activity.String()+" "+a.Verdict.String()) })
	for i, e := range attempts(6, 5, "203.0.113.9") {
		r.Event(e, 0, int64(i))
	}
	r.Tick(1)
	if !slices.Equal(said, []string{"create provisional"}) {
		t.Errorf("after a tick: %q", said)
	}
	r.Advance(flow.MaxTime)
	if said[len(said)-1] != "close confirmed" {
		t.Errorf("in the end: %q", said)
	}
}

func TestRuleMistakes(t *testing.T) {
	l := language(t, Sessions())
	for text, want := range map[string]string{
		`{id: X, title: x, window: 5m, severity: low}`:                                                                     "lower case",
		`{id: x, title: x, window: 5m, severity: loud}`:                                                                    "severity",
		`{id: x, title: x, window: 5m, severity: low, match: bytess > 1}`:                                                  "did you mean bytes",
		`{id: x, title: x, window: 5m, severity: low, having: "count >= 5 && distinct(prot) > 1"}`:                         "did you mean",
		`{id: x, title: x, window: 5m, severity: low, having: "sum(seconds) >= 5"}`:                                        "only counters",
		`{id: x, title: x, window: 5m, severity: low, having: "bytes >= 5"}`:                                               "sum(bytes)",
		`{id: x, title: x, window: 5m, severity: low, having: "contu() >= 5"}`:                                             "count",
		`{id: x, title: x, window: 5m, severity: low, group_by: [clinet]}`:                                                 "did you mean client",
		`{id: x, title: x, window: 5m, severity: low, group_by: [interfaces]}`:                                             "single value",
		`{id: x, title: "{{nope}}", window: 5m, severity: low}`:                                                            "there is no {{nope}}",
		`{id: x, title: x, window: 5m, slide: 2m, severity: low}`:                                                          "multiple",
		`{id: x, title: x, severity: low}`:                                                                                 "window",
		`{id: x, title: x, window: 5m, severity: low, attack: [brute]}`:                                                    "ATT&CK",
		`{id: x, title: x, window: 5m, severity: low, except: [{match: failed}]}`:                                          "reason",
		`{id: x, title: x, window: 5m, severity: low, colour: red}`:                                                        "colour",
		`{id: x, title: x, within: 5m, severity: low, sequence: [{match: failed, by: [client]}]}`:                          "2 to 5",
		`{id: x, title: x, window: 5m, severity: low, having: "distinct(client_port) > distinct(last) && max(bytes) > 1"}`: "2 fields",
	} {
		_, err := Parse(l, []byte("rules:\n- "+text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v lacks %q", text, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(guessing)
	f.Add(takeover)
	l := language(f, Sessions())
	f.Fuzz(func(t *testing.T, text string) {
		rules, err := Parse(l, []byte(text))
		if err == nil {
			run(t, rules, ports(3))
		}
	})
}
