package detect

import (
	"fmt"

	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/window"
)

// CraftedTuning are the thresholds of crafted-probe.
type CraftedTuning struct {
	// Every is how many seconds lie at least between two statements of a
	// roll-up that only has new names.
	Every int64 `yaml:"every_seconds"`
	// Targets is how many addresses one of our own hosts must have sent
	// crafted packets to in a day. One alone may be what a log without
	// tcp-flags shows of a closed connection.
	Targets int64 `yaml:"targets"`
}

func defaultCrafted() CraftedTuning { return CraftedTuning{Every: 900, Targets: 3} }

// crafted finds TCP attempts without any TCP option, which no ordinary
// operating system sends: see docs/alerts/crafted-probe.md. Those from outside
// are one finding for each of our addresses and day; one of our own hosts that
// sends them is a finding of its own.
type crafted struct {
	t    CraftedTuning
	walk int64 // ScanTuning.steps
}

func (d crafted) Spec() Spec {
	return Spec{
		Detector: alert.Detector{
			ID: "crafted-probe", Name: "Crafted probe", Version: "1",
			Method: alert.MethodFingerprinting, Doc: doc("crafted-probe"),
		},
		Bucket: day, Every: d.t.Every, Attacks: []string{"T1595.001"},
		FalseAlarm: "A load balancer's or monitor's bare TCP check, a device with a minimal IP stack, or, in a log without tcp-flags, late packets of closed connections.",
	}
}

func (d crafted) Wants(e Entity, p *Part) bool {
	return e.Kind == KindHost && (p.Owned && p.Server.Bare > 0 || p.Owned && p.Client.Bare > 0)
}

func (d crafted) New() State { return &craftedState{d: d, in: knockers{walk: d.walk}} }

type craftedState struct {
	d   crafted
	in  knockers // who sent them to us
	out knockers // whom our own host sent them to
}

// Early implements State: a probe is never urgent.
func (s *craftedState) Early(*Pane, Reporter) {}

// Final implements State.
func (s *craftedState) Final(p *Pane, r Reporter) {
	s.in.roll(p.Start)
	s.out.roll(p.Start)
	if p.Owned && p.Server.Bare > 0 {
		added := false
		for _, row := range p.Set(Caller).Rows() {
			if row.Counts.Bare > 0 && !row.Ours {
				s.in.add(p.Entity, row, row.Counts.Bare)
				added = true
			}
		}
		if added {
			r.Raise(s.inbound(p))
		}
	}
	if p.Owned && p.Client.Bare > 0 {
		for _, row := range p.Set(Contact).Rows() {
			if row.Counts.Bare > 0 {
				s.out.addContact(p.Entity, row, row.Counts.Bare)
			}
		}
		if s.out.count() >= s.d.t.Targets || s.out.ports() >= 2*s.d.t.Targets {
			r.Raise(s.outbound(p))
		}
	}
}

func (s *craftedState) inbound(p *Pane) *Finding {
	f := p.finding()
	s.in.fill(p, f)
	n, answered := s.in.count(), s.in.answered()
	f.Entity = anyone(p.Entity)
	f.Title = "Crafted probes of " + p.Entity.Addr.String()
	f.Sentence = fmt.Sprintf(
		"%s sent %s TCP packets of exactly %d bytes, a header without any option, to %s on %s; %s got an answer%s; no ordinary system sends such a packet.",
		plural(n, "source"), p.Entity.Addr, minTCP(p.Entity.Addr), plural(int64(len(f.Ports)), "port"),
		f.Window.Start.UTC().Format("2006-01-02"), none(answered), s.in.slow())
	f.Severity = alert.Rate(alert.Impact{Base: alert.Informational, Answered: answered > 0})
	f.Confidence = 90
	f.Counts = append(f.Counts,
		count("sources", "sources", float64(n), 1), count("answered_sources", "sources", float64(answered), 1),
		count("sessions", "sessions", float64(s.in.sessions), 1), count("scanners", "sources", float64(s.in.scanners()), 1),
	)
	return f
}

func (s *craftedState) outbound(p *Pane) *Finding {
	f := p.finding()
	s.out.fill(p, f)
	f.Entity = alert.AddressEntity(p.Entity.Scope, p.Entity.Addr, true, alert.RoleActor)
	f.Title = "Crafted probes from " + p.Entity.Addr.String()
	f.Sentence = fmt.Sprintf(
		"Our host %s sent TCP packets of exactly %d bytes, a header without any option, to %s; no ordinary system sends such a packet, scanners do.",
		p.Entity.Addr, minTCP(p.Entity.Addr), plural(s.out.count(), "address"))
	f.Severity = alert.Rate(alert.Impact{Base: alert.Low, ActorOurs: true, Answered: s.out.answered() > 0})
	f.Confidence = 80
	f.Counts = append(f.Counts, count("targets", "addresses", float64(s.out.count()), float64(s.d.t.Targets)))
	f.Attacks = alert.AttacksOf("T1046")
	return f
}

// AppendTo implements State.
func (s *craftedState) AppendTo(b []byte) []byte { return s.out.appendTo(s.in.appendTo(b)) }

// Restore implements State.
func (s *craftedState) Restore(r *window.Reader) {
	s.in.restore(r)
	s.out.restore(r)
}
