package detect

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/session"
)

// guessing is n password guesses of one source, a second apart.
func guessing(n int, client, server string) (out []shot) {
	for i := range n {
		out = append(out, shot{
			at: t0.Add(int64(1000 + 2*i)), client: client, server: server, cport: uint16(40000 + i), sport: 22,
			out: tcp(int64(14+i%2), 2000, 3), in: tcp(12, 2400, 19), outcome: session.OutcomeAnswered, dur: 2,
		})
	}
	return out
}

// weather is ordinary and less ordinary traffic of every kind, for tests of
// properties rather than of detectors.
func weather(r *rand.Rand, n int) (out []shot) {
	for i := range n {
		s := shot{
			at: t0.Add(int64(r.IntN(6 * 3600))), client: fmt.Sprintf("203.0.113.%d", r.IntN(40)),
			server: fmt.Sprintf("10.0.0.%d", r.IntN(6)), cport: uint16(1024 + r.IntN(60000)), sport: uint16(20 + r.IntN(100)),
			dur: int64(r.IntN(100)),
		}
		switch r.IntN(6) {
		case 0:
			s.out, s.outcome = tcp(2, 80, 2), session.OutcomeUnanswered
		case 1:
			s.client, s.server = s.server, s.client
			s.sport = 443
			fallthrough
		case 2:
			s.out, s.in, s.outcome = tcp(10, int64(900+r.IntN(1e6)), 3), tcp(12, int64(r.IntN(1e5)), 19), session.OutcomeAnswered
		case 3:
			s.sport = 22
			s.out, s.in, s.outcome = tcp(14, 1900, 3), tcp(15, 2600, 19), session.OutcomeAnswered
		case 4:
			s.proto, s.cport, s.sport = protoICMP, 0, 0
			s.out, s.outcome = tcp(1, 56, 0), session.OutcomeUnanswered
		case 5:
			s.proto, s.sport = protoUDP, 53
			s.client, s.server = s.server, s.client
			s.out, s.in, s.outcome = tcp(1, 70, 0), tcp(1, 170, 0), session.OutcomeAnswered
		}
		_ = i
		out = append(out, s)
	}
	return out
}

// TestFindingsAreAFunctionOfTheSessions holds the promise of the package:
// however the work is cut, whatever order sessions arrive in within a pane, and
// however often the state is thrown away and restored, the findings are equal.
func TestFindingsAreAFunctionOfTheSessions(t *testing.T) {
	for seed := range uint64(2) {
		r := rand.New(rand.NewPCG(seed, 1))
		shots := append(weather(r, 1500), guessing(40, "198.51.100.7", "10.0.0.3")...)
		set := DefaultSettings()
		base := newPipe(t, &set, 1, 1)
		base.run(slices.Clone(shots))
		want := base.facts()
		if len(want) < 3 {
			t.Fatalf("seed %d: only %d findings: the test would prove nothing", seed, len(want))
		}
		for _, cut := range [][2]int{{3, 2}, {24, 8}} {
			p := newPipe(t, &set, cut[0], cut[1])
			p.crash = rand.New(rand.NewPCG(seed, 2))
			mixed := slices.Clone(shots)
			r.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
			p.run(mixed)
			if got := p.facts(); !slices.Equal(got, want) {
				t.Errorf("seed %d, %d combiners and %d evaluators: other findings\n%s", seed, cut[0], cut[1], diff(got, want))
			}
		}
	}
}

func diff(got, want []string) (s string) {
	for _, x := range got {
		if !slices.Contains(want, x) {
			s += "+ " + x + "\n"
		}
	}
	for _, x := range want {
		if !slices.Contains(got, x) {
			s += "- " + x + "\n"
		}
	}
	return s
}

func TestEarlyThenFinal(t *testing.T) {
	set := DefaultSettings()
	p := newPipe(t, &set, 24, 4)
	p.run(guessing(40, "198.51.100.7", "10.0.0.3"))
	var steps []string
	for _, a := range p.said {
		if a.Detector.ID == "brute-force" {
			steps = append(steps, a.Activity.String()+" "+a.Verdict.String())
		}
	}
	if len(steps) < 3 || steps[0] != "create provisional" || steps[len(steps)-1] != "close confirmed" {
		t.Fatalf("the life of the finding is %q", steps)
	}
}

func TestAllowed(t *testing.T) {
	set := DefaultSettings()
	set.Allow = []Allow{{Detectors: []string{"brute-force"}, Until: t0.Add(day), Reason: "test", Clients: mustNets("198.51.100.0/24")}}
	p := newPipe(t, &set, 2, 2)
	p.run(guessing(40, "198.51.100.7", "10.0.0.3"))
	if got := p.fired("brute-force"); len(got) != 0 {
		t.Fatalf("an allowed client was reported: %s", got[0].Sentence)
	}
	set.Allow[0].Until = t0
	p = newPipe(t, &set, 2, 2)
	p.run(guessing(40, "198.51.100.7", "10.0.0.3"))
	if got := p.fired("brute-force"); len(got) != 1 || got[0].Verdict != alert.Confirmed {
		t.Fatalf("an exception that had expired still holds: %v", got)
	}
}

// TestOverride: other thresholds hold for the entities of a network only.
func TestOverride(t *testing.T) {
	set := DefaultSettings()
	lax := set.Tuning
	lax.Brute.Attempts, lax.Brute.SprayAttempts = 1000, 1000
	set.Overrides = []Override{{Nets: mustNets("198.51.100.0/25"), Tuning: lax}}
	p := newPipe(t, &set, 2, 2)
	p.crash = rand.New(rand.NewPCG(3, 3))
	p.run(append(guessing(40, "198.51.100.7", "10.0.0.3"), guessing(40, "198.51.100.200", "10.0.0.3")...))
	got := p.fired("brute-force")
	if len(got) != 1 || got[0].Entity.Addr.String() != "198.51.100.200" {
		t.Fatalf("told of %d sources: %v", len(got), got)
	}
}

// TestBounded: at its bound an evaluator forgets strangers, never an open
// finding or an address of ours.
func TestBounded(t *testing.T) {
	set := DefaultSettings()
	set.EvaluateEntities = 64
	p := newPipe(t, &set, 1, 1)
	shots := guessing(40, "198.51.100.7", "10.0.0.3")
	for i := range 2000 {
		s := world{flags: true}.failed(t0.Add(int64(1500+4*i)), fmt.Sprintf("192.0.%d.%d", i/250, i%250+1), "10.0.0.3", 80, 2, 60)
		shots = append(shots, s)
	}
	p.run(shots)
	if n := p.evaluators[0].Stats().Evicted; n == 0 {
		t.Error("nothing was evicted")
	}
	if got := p.fired("brute-force"); len(got) != 1 || got[0].Verdict != alert.Confirmed {
		t.Errorf("the open finding was lost: %v", got)
	}
	if got := p.fired("port-scan"); len(got) != 1 {
		t.Errorf("the roll-up of our address was lost: %v", got)
	}
}
