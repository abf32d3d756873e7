package alert

import (
	"testing"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"pgregory.net/rapid"
)

func view(s Severity, v Verdict, at flow.Time) *Alert {
	return &Alert{Severity: s, Verdict: v, Time: at}
}

func TestLife(t *testing.T) {
	type step struct {
		a       *Alert
		weight  uint64
		closing bool
		want    Activity // 0: not said
	}
	cases := map[string][]step{
		"create, then only doublings, at a bounded rate, then close once": {
			{view(Low, Provisional, 1000), 10, false, Create},
			{view(Low, Provisional, 1010), 25, false, 0}, // doubled, too soon
			{view(Low, Provisional, 1400), 15, false, 0}, // late, not doubled
			{view(Low, Provisional, 1400), 25, false, Update},
			{view(Low, Confirmed, 1800), 25, true, Close},
			{view(Low, Confirmed, 1800), 25, true, 0},
		},
		"an escalation is said at once": {
			{view(Low, Provisional, 1000), 10, false, Create},
			{view(High, Provisional, 1001), 11, false, Update},
			{view(Medium, Provisional, 1002), 11, false, 0},
		},
		"a verdict is said": {
			{view(Low, Provisional, 1000), 10, false, Create},
			{view(Low, Confirmed, 1001), 10, false, Update},
			{view(Low, Confirmed, 1002), 10, false, 0},
		},
		"what was never said is not withdrawn": {
			{view(Low, Withdrawn, 1000), 0, true, 0},
		},
		"withdrawn": {
			{view(Low, Provisional, 1000), 10, false, Create},
			{view(Low, Withdrawn, 1300), 2, true, Close},
		},
		"final at first sight: create, then close": {
			{view(Low, Confirmed, 1000), 10, true, Create},
			{view(Low, Confirmed, 1000), 10, true, Close},
			{view(Low, Confirmed, 1000), 10, true, 0},
		},
		"a correction after the close": {
			{view(Low, Confirmed, 1000), 10, true, Create},
			{view(Low, Confirmed, 1000), 10, true, Close},
			{view(Low, Confirmed, 2000), 100, false, 0},
			{view(High, Confirmed, 2000), 100, false, Update},
			{view(High, Confirmed, 2000), 100, true, Close},
		},
	}
	for name, steps := range cases {
		t.Run(name, func(t *testing.T) {
			var l Life
			var said uint32
			for i, s := range steps {
				ok := l.Next(s.a, s.weight, DefaultUpdateEvery, s.closing)
				if ok != (s.want != 0) || ok && s.a.Activity != s.want {
					t.Fatalf("step %d: said %v %v, want %v", i, ok, s.a.Activity, s.want)
				}
				if ok {
					said++
					if s.a.Sequence != said {
						t.Fatalf("step %d: sequence %d, want %d", i, s.a.Sequence, said)
					}
				}
			}
		})
	}
}

func TestLifeSnapshot(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := Life{
			Sequence: rapid.Uint32().Draw(t, "seq"),
			Severity: Severity(rapid.IntRange(0, 6).Draw(t, "sev")),
			Verdict:  Verdict(rapid.IntRange(0, 2).Draw(t, "verdict")),
			Closed:   rapid.Bool().Draw(t, "closed"),
			Said:     flow.Time(rapid.Int64().Draw(t, "said")),
			Weight:   rapid.Uint64().Draw(t, "weight"),
		}
		var got Life
		if err := got.Restore(l.AppendTo(nil)); err != nil || got != l {
			t.Fatalf("restored %+v, %v; want %+v", got, err, l)
		}
	})
	var l Life
	for _, b := range [][]byte{nil, make([]byte, LifeSize-1), {4: 7, LifeSize - 1: 0}, {5: 3, LifeSize - 1: 0}, {6: 2, LifeSize - 1: 0}} {
		if l.Restore(b) == nil {
			t.Errorf("Restore(%v) took damaged bytes", b)
		}
	}
}

func TestUID(t *testing.T) {
	e := AddressEntity(0, flow.MustAddr("203.0.113.9"), false, RoleActor)
	u := NewUID("port-scan", e, 1_700_000_100, 3600)
	// Pinned: a UID that changes with a release would double every open finding.
	if got, want := u.String(), "3747e7a0a355d165935b427920f2e14f"; got != want {
		t.Errorf("uid %s, want %s", got, want)
	}
	if back, ok := ParseUID(u.String()); !ok || back != u {
		t.Fatal("ParseUID does not read String")
	}
	if _, ok := ParseUID("zz"); ok {
		t.Fatal("ParseUID took zz")
	}
	same := e
	same.Ours, same.Role = true, RoleTarget
	if NewUID("port-scan", same, flow.Time(1_700_000_100).Floor(3600), 3600) != u {
		t.Error("the UID depends on more than detector, entity and bucket")
	}
	other := e
	other.Scope = 1
	for name, v := range map[string]UID{
		"detector": NewUID("host-sweep", e, 1_700_000_100, 3600),
		"scope":    NewUID("port-scan", other, 1_700_000_100, 3600),
		"bucket":   NewUID("port-scan", e, 1_700_003_700, 3600),
		"width":    NewUID("port-scan", e, 1_700_000_100, 86400),
		"kind":     NewUID("port-scan", TextEntity(EntityOther, 0, e.Value, RoleActor), 1_700_000_100, 3600),
	} {
		if v == u {
			t.Errorf("another %s gives the same UID", name)
		}
	}
}

func TestRate(t *testing.T) {
	for _, c := range []struct {
		name string
		in   Impact
		want Severity
	}{
		{"probes from outside, unanswered", Impact{Base: Low, Ratio: 50}, Low},
		{"a flood, unanswered", Impact{Base: Low, Ratio: 500}, Medium},
		{"a scan that got answers", Impact{Base: Low, Answered: true}, Medium},
		{"guessing, answered, 20 times the threshold", Impact{Base: Low, Answered: true, Ratio: 20}, High},
		{"guessing that got in", Impact{Base: Low, Answered: true, Reached: true, Ratio: 20}, Critical},
		{"our host scans, unanswered", Impact{Base: Low, ActorOurs: true}, Medium},
		{"our host scans a lot", Impact{Base: Low, ActorOurs: true, Ratio: 12}, High},
		{"exfiltration", Impact{Base: Medium, ActorOurs: true, Reached: true}, Critical},
		{"a remark", Impact{Base: Informational}, Informational},
		{"no base", Impact{}, Informational},
	} {
		if got := Rate(c.in); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestRateGrowsWithEvidence(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		i := Impact{
			Base:      Severity(rapid.IntRange(0, 3).Draw(t, "base")),
			ActorOurs: rapid.Bool().Draw(t, "ours"), Answered: rapid.Bool().Draw(t, "answered"),
			Reached: rapid.Bool().Draw(t, "reached"), Ratio: rapid.Float64Range(0, 1e6).Draw(t, "ratio"),
		}
		more := i
		more.ActorOurs, more.Answered, more.Reached = true, true, true
		more.Ratio *= 10
		if Rate(more) < Rate(i) || Rate(i) < Informational || Rate(i) > Critical {
			t.Fatalf("%+v: %v, with more %v", i, Rate(i), Rate(more))
		}
	})
}

func TestAttackOf(t *testing.T) {
	a := AttackOf("T1110.001")
	if a.TechniqueID != "T1110" || a.TechniqueName != "Brute Force" || a.SubName != "Password Guessing" || a.TacticName != "Credential Access" {
		t.Errorf("%+v", a)
	}
	if a := AttackOf("T9999.001"); a.TechniqueID != "T9999" || a.SubID != "T9999.001" || a.ID() != "T9999.001" {
		t.Errorf("unknown sub-technique: %+v", a)
	}
	for _, row := range catalogue {
		a := AttackOf(row[0])
		if a.ID() != row[0] || a.TacticName == "" || a.TechniqueName == "" {
			t.Errorf("%s: incomplete: %+v", row[0], a)
		}
	}
}
