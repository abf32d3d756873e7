package detect

import (
	"fmt"
	"math"
	"slices"

	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/window"
)

// CalloutTuning are the thresholds of outbound-callout.
type CalloutTuning struct {
	// Usual are the ports at which servers and people ordinarily use services
	// of the Internet. A new destination at any other is told at once.
	Usual []uint16 `yaml:"usual"`
	// Remote are ports of remote administration: also told at once.
	Remote []uint16 `yaml:"remote"`
	// Learn is for how many seconds a host must have been seen before a new
	// destination at a usual port means anything, and Quiet how many new ones
	// it may have had a day for that: a host that people browse from has many.
	Learn int64 `yaml:"learn_seconds"`
	Quiet int64 `yaml:"quiet"`
	// Forget is how many seconds a destination stays known.
	Forget int64 `yaml:"forget_seconds"`
	Every  int64 `yaml:"every_seconds"`
}

// defaultCallout: web, mail submission and retrieval, time, DNS.
func defaultCallout() CalloutTuning {
	return CalloutTuning{
		Usual:  []uint16{25, 53, 80, 110, 123, 143, 443, 465, 587, 853, 993, 995},
		Remote: []uint16{22, 23, 139, 445, 2222, 3389, 5900, 5985, 5986},
		Learn:  3 * day, Quiet: 5, Forget: 14 * day, Every: 900,
	}
}

// callout finds hosts of ours that start sessions with external destinations
// that they have no history with: see docs/alerts/outbound-callout.md. One
// finding for each host and day.
type callout struct{ t CalloutTuning }

func (d callout) Spec() Spec {
	return Spec{
		Detector: alert.Detector{
			ID: "outbound-callout", Name: "Outbound call to a new destination", Version: "1",
			Method: alert.MethodBehavioral, Doc: doc("outbound-callout"),
		},
		Bucket: day, Every: d.t.Every, Attacks: []string{"T1571", "T1071"},
		FalseAlarm: "New software or a new supplier, peer-to-peer programs, games and calls.",
	}
}

func (d callout) Wants(e Entity, p *Part) bool {
	return e.Kind == KindHost && p.Owned && p.Set(Pair).Len() > 0
}

func (d callout) New() State { return &calloutState{d: d} }

type calloutState struct {
	d       callout
	known   known
	today   destinations // what is told
	day     flow.Time
	fresh   int64   // new destinations at usual ports today
	average float64 // of such a day, of the last days
}

// Early implements State. A new destination is no less new when its pane is
// over, and whether it answered is known then.
func (s *calloutState) Early(*Pane, Reporter) {}

// Final implements State.
func (s *calloutState) Final(p *Pane, r Reporter) {
	s.turn(p.Start)
	s.today.roll(p.Start)
	added := false
	for _, row := range p.Set(Pair).Rows() {
		if row.Counts.Sessions == 0 || row.Key.Protocol != protoTCP && row.Key.Protocol != protoUDP || silentByNature(row.Key) {
			continue
		}
		if s.notable(row, p.Start) || s.told(row.Key) {
			s.today.add(row)
			added = true
		}
	}
	s.known.forget(p.Start.Add(-s.d.t.Forget))
	if !added {
		return
	}
	r.Raise(s.finding(p))
}

// turn begins a new day.
func (s *calloutState) turn(t flow.Time) {
	d := t.Floor(day)
	if d == s.day {
		return
	}
	if s.day != 0 {
		s.average += (float64(s.fresh) - s.average) / 2
	}
	s.day, s.fresh = d, 0
}

func (s *calloutState) told(k RowKey) bool {
	return slices.ContainsFunc(s.today.list, func(x destination) bool { return x.key == k })
}

// notable learns a destination and reports whether it is new and tells
// something. UDP counts only where it was answered: so do attempts at usual
// ports, of which any network has many that fail.
func (s *calloutState) notable(row *Row, t flow.Time) bool {
	k := row.Key
	if s.known.see(k.hash(), t) {
		return false
	}
	usual := slices.Contains(s.d.t.Usual, k.Port)
	if usual {
		s.fresh++
		return row.Counts.Answered > 0 && k.Protocol == protoTCP &&
			t >= s.known.first.Add(s.d.t.Learn) && s.average <= float64(s.d.t.Quiet) && s.fresh <= s.d.t.Quiet
	}
	return row.Counts.Answered > 0 && k.Protocol == protoTCP && k.Port < ephemeralFrom || slices.Contains(s.d.t.Remote, k.Port)
}

func (s *calloutState) finding(p *Pane) *Finding {
	f := p.finding()
	sessions, out := s.today.fill(p, f)
	f.Entity = alert.AddressEntity(p.Entity.Scope, p.Entity.Addr, true, alert.RoleActor)
	f.Title = "Calls from " + p.Entity.Addr.String() + " to new destinations"
	x := s.today.list[0]
	for i := range s.today.list {
		if s.today.list[i].sessions > x.sessions {
			x = s.today.list[i]
		}
	}
	why := "such services are seldom used across the Internet"
	if slices.Contains(s.d.t.Usual, x.key.Port) {
		why = fmt.Sprintf("it usually finds %.0f new ones a day at such ports", math.Round(s.average))
	}
	what := fmt.Sprintf("%s at %s, with which it had no history", x.key.Peer, service(x.key.Protocol, x.key.Port))
	if n := int64(len(s.today.list)); n > 1 {
		what = fmt.Sprintf("%s that it had no history with, most of them with %s at %s",
			plural(n, "external service"), x.key.Peer, service(x.key.Protocol, x.key.Port))
	}
	f.Sentence = fmt.Sprintf("Our host %s started %s with %s, and sent %s; %s.", p.Entity.Addr, plural(sessions, "session"), what, size(float64(out)), why)
	f.Severity = alert.Rate(alert.Impact{Base: alert.Informational, ActorOurs: true})
	f.Confidence = 40
	f.Counts = append(f.Counts,
		against("new_services", "services", float64(len(s.today.list)), s.average, "new web destinations of this host in a day", 1),
		count("sessions", "sessions", float64(sessions), 1), count("bytes_out", "bytes", float64(out), 0),
	)
	return f
}

// AppendTo implements State.
func (s *calloutState) AppendTo(b []byte) []byte {
	b = s.today.appendTo(s.known.appendTo(b))
	return window.AppendFloat(window.AppendInt(window.AppendInt(b, int64(s.day)), s.fresh), s.average)
}

// Restore implements State.
func (s *calloutState) Restore(r *window.Reader) {
	s.known.restore(r)
	s.today.restore(r)
	s.day, s.fresh, s.average = flow.Time(r.Varint()), r.Varint(), r.Float()
}
