package detect

import (
	"fmt"

	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/window"
)

// icmpErrors finds ICMP that reaches one of our hosts without having been asked
// for, at the size of error messages: see docs/alerts/inbound-icmp-errors.md.
// One finding for each of our addresses and day.
type icmpErrors struct{ every int64 }

func (d icmpErrors) Spec() Spec {
	return Spec{
		Detector: alert.Detector{
			ID: "inbound-icmp-errors", Name: "Unsolicited inbound ICMP", Version: "1",
			Method: alert.MethodFingerprinting, Doc: doc("inbound-icmp-errors"),
		},
		Bucket: day, Every: d.every, Attacks: []string{"T1595.001"},
		FalseAlarm: "Path MTU discovery, a traceroute of ours, or errors that answer UDP which our host sent.",
	}
}

func (d icmpErrors) Wants(e Entity, p *Part) bool {
	return e.Kind == KindHost && p.Owned && p.Server.Failed > 0
}

func (d icmpErrors) New() State { return &icmpState{} }

type icmpState struct {
	in     knockers
	errors int64 // sources whose packets have the size of an error, of the day
}

// Early implements State: ICMP is never urgent.
func (s *icmpState) Early(*Pane, Reporter) {}

// Final implements State.
func (s *icmpState) Final(p *Pane, r Reporter) {
	if p.Start.Floor(day) != s.in.day {
		s.errors = 0
	}
	s.in.roll(p.Start)
	asked := p.Set(Contact)
	added := false
	for _, row := range p.Set(Caller).Rows() {
		if !isICMP(row.Key.Protocol) || row.Ours || row.Counts.Failed == 0 {
			continue
		}
		if asked.find(RowKey{Peer: row.Key.Peer, Protocol: row.Key.Protocol}) != nil {
			continue // our host pings it: what comes back was asked for
		}
		s.in.add(p.Entity, row, row.Counts.Sessions)
		s.errors += row.Counts.Errors
		added = true
	}
	if !added {
		return
	}
	f := p.finding()
	s.in.fill(p, f)
	f.Ports = nil
	n := s.in.count()
	f.Entity = anyone(p.Entity)
	f.Title = "Unsolicited ICMP to " + p.Entity.Addr.String()
	f.Sentence = fmt.Sprintf(
		"%s sent ICMP to our address %s on %s that it had not asked for, %s at the size of an error message; normally nobody does, and the type is not recorded.",
		plural(n, "source"), p.Entity.Addr, f.Window.Start.UTC().Format("2006-01-02"), plural(s.errors, "time"))
	base := alert.Informational
	if s.errors > 0 {
		base = alert.Low
	}
	f.Severity = alert.Rate(alert.Impact{Base: base})
	f.Confidence = 50
	f.Counts = append(f.Counts,
		count("sources", "sources", float64(n), 1), count("error_sized", "sessions", float64(s.errors), 1),
		count("sessions", "sessions", float64(s.in.sessions), 1),
	)
	r.Raise(f)
}

// AppendTo implements State.
func (s *icmpState) AppendTo(b []byte) []byte { return s.in.appendTo(window.AppendInt(b, s.errors)) }

// Restore implements State.
func (s *icmpState) Restore(r *window.Reader) {
	s.errors = r.Varint()
	s.in.restore(r)
}
