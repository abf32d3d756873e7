package detect

import (
	"fmt"
	"net/netip"

	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/window"
)

// List is a list of addresses that the user supplies.
type List struct {
	Name string
	// Base is where the severity starts; 0 is alert.Low.
	Base alert.Severity
	Nets []netip.Prefix
}

// listed finds peers of our hosts that are on a user's list: see
// docs/alerts/listed-address.md. One finding for each host, list and day.
type listed struct{ lists []List }

func (d listed) Spec() Spec {
	return Spec{
		Detector: alert.Detector{
			ID: "listed-address", Name: "Listed address", Version: "1", Method: alert.MethodRule, Doc: doc("listed-address"),
		},
		Bucket: day, Every: hour, Attacks: []string{"T1071"},
		FalseAlarm: "A list that is out of date: addresses change hands, and shared hosting puts good names beside bad ones.",
	}
}

func (d listed) Wants(e Entity, p *Part) bool {
	return len(d.lists) > 0 && e.Kind == KindHost && p.Owned
}

func (d listed) New() State { return &listedState{d: d, by: make([]listedDay, len(d.lists))} }

type listedState struct {
	d  listed
	by []listedDay // by list
}

type listedDay struct {
	in  knockers // they came to us
	out knockers // our host went to them
}

// Early implements State: a match does not pass.
func (s *listedState) Early(*Pane, Reporter) {}

// Final implements State.
func (s *listedState) Final(p *Pane, r Reporter) {
	for i := range s.d.lists {
		l, x := &s.d.lists[i], &s.by[i]
		x.in.roll(p.Start)
		x.out.roll(p.Start)
		before := x.in.sessions + x.out.sessions
		for _, row := range p.Set(Contact).Rows() {
			if row.Counts.Sessions > 0 && containsIP(l.Nets, row.Key.Peer.IP()) {
				x.out.addContact(p.Entity, row, row.Counts.Sessions)
			}
		}
		for _, row := range p.Set(Caller).Rows() {
			if row.Counts.Sessions > 0 && containsIP(l.Nets, row.Key.Peer.IP()) {
				x.in.add(p.Entity, row, row.Counts.Sessions)
			}
		}
		if x.in.sessions+x.out.sessions > before {
			r.Raise(s.finding(p, l, x))
		}
	}
}

func (s *listedState) finding(p *Pane, l *List, x *listedDay) *Finding {
	f := p.finding()
	x.out.fill(p, f)
	out := len(f.Peers)
	x.in.fill(p, f)
	f.Evidence = f.Evidence[:min(len(f.Evidence), maxEvidence)]
	f.Weight = uint64(x.in.count() + x.out.count())
	f.Entity = alert.AddressEntity(p.Entity.Scope, p.Entity.Addr, true, alert.RoleAffected)
	f.Entity.Kind, f.Entity.Value = alert.EntityPair, p.Entity.Addr.String()+">list "+l.Name
	f.Title = fmt.Sprintf("%s and addresses on the list %s", p.Entity.Addr, l.Name)
	f.Sentence = fmt.Sprintf(
		"Our host %s called %s on the list %q on %s, and %s on it came to our host; %d of them got an answer.",
		p.Entity.Addr, plural(x.out.count(), "address"), l.Name, f.Window.Start.UTC().Format("2006-01-02"),
		plural(x.in.count(), "address"), x.in.answered()+x.out.answered())
	base := l.Base
	if base == 0 {
		base = alert.Low
	}
	f.Severity = alert.Rate(alert.Impact{Base: base, ActorOurs: out > 0, Answered: x.in.answered()+x.out.answered() > 0})
	f.Confidence = 70
	f.Counts = append(f.Counts,
		count("called", "addresses", float64(x.out.count()), 1), count("callers", "addresses", float64(x.in.count()), 1),
	)
	return f
}

// AppendTo implements State.
func (s *listedState) AppendTo(b []byte) []byte {
	b = window.AppendUint(b, uint64(len(s.by)))
	for i := range s.by {
		b = s.by[i].out.appendTo(s.by[i].in.appendTo(b))
	}
	return b
}

// Restore implements State. Lists that were added start empty.
func (s *listedState) Restore(r *window.Reader) {
	for i := range r.Len() {
		var x listedDay
		x.in.restore(r)
		x.out.restore(r)
		if i < len(s.by) {
			s.by[i] = x
		}
	}
}
