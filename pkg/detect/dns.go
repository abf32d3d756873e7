package detect

import (
	"fmt"
	"net/netip"

	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/window"
)

// DNSTuning are the settings of external-dns.
type DNSTuning struct {
	// Resolvers are those that our hosts may use.
	Resolvers []netip.Prefix `yaml:"resolvers"`
	// Bytes out in a pane above which DNS carries more than questions: 1 MB in
	// 300 s are 40 questions a second of 80 bytes.
	Bytes int64 `yaml:"bytes"`
}

func defaultDNS() DNSTuning { return DNSTuning{Bytes: 1 << 20} }

// dns finds hosts that ask resolvers other than Amazon's, whose own traffic is
// never recorded: see docs/alerts/external-dns.md.
type dns struct{ t DNSTuning }

func (d dns) Spec() Spec {
	return Spec{
		Detector: alert.Detector{
			ID: "external-dns", Name: "DNS past the resolver", Version: "1", Method: alert.MethodRule, Doc: doc("external-dns"),
		},
		Bucket: day, Every: hour, Attacks: []string{"T1071.004"},
		FalseAlarm: "A resolver of ours that was not listed, or software that brings its own DNS, such as a browser.",
	}
}

func (d dns) Wants(e Entity, p *Part) bool {
	return e.Kind == KindHost && p.Owned && p.Set(Pair).Len() > 0
}

func (d dns) New() State { return &dnsState{d: d} }

type dnsState struct {
	d     dns
	today destinations
	heavy bool // a pane of the day carried more than questions
}

// Early implements State.
func (s *dnsState) Early(*Pane, Reporter) {}

// Final implements State.
func (s *dnsState) Final(p *Pane, r Reporter) {
	if p.Start.Floor(day) != s.today.day {
		s.heavy = false
	}
	s.today.roll(p.Start)
	added, out := false, int64(0)
	for _, row := range p.Set(Pair).Rows() {
		if row.Key.Port != 53 && row.Key.Port != 853 || containsIP(s.d.t.Resolvers, row.Key.Peer.IP()) || silentByNature(row.Key) {
			continue
		}
		s.today.add(row)
		out += row.Counts.BytesOut
		added = true
	}
	if !added {
		return
	}
	s.heavy = s.heavy || out >= s.d.t.Bytes
	f := p.finding()
	sessions, total := s.today.fill(p, f)
	f.Entity = alert.AddressEntity(p.Entity.Scope, p.Entity.Addr, true, alert.RoleActor)
	f.Title = "DNS past the resolver from " + p.Entity.Addr.String()
	f.Sentence = fmt.Sprintf("Our host %s asked %s outside for names, %s in all with %s sent; Amazon's resolver, which it should use, leaves no trace in flow logs.",
		p.Entity.Addr, plural(int64(len(f.Peers)), "resolver"), plural(sessions, "session"), size(float64(total)))
	impact := alert.Impact{Base: alert.Informational}
	if s.heavy {
		impact = alert.Impact{Base: alert.Low, ActorOurs: true}
		f.Sentence += " That is more than questions."
		f.Attacks = alert.AttacksOf("T1071.004", "T1048")
	}
	f.Severity = alert.Rate(impact)
	f.Confidence = 90
	f.Counts = append(f.Counts,
		count("resolvers", "resolvers", float64(len(f.Peers)), 1), count("bytes_out", "bytes", float64(total), float64(s.d.t.Bytes)),
	)
	r.Raise(f)
}

// AppendTo implements State.
func (s *dnsState) AppendTo(b []byte) []byte { return s.today.appendTo(window.AppendBool(b, s.heavy)) }

// Restore implements State.
func (s *dnsState) Restore(r *window.Reader) {
	s.heavy = r.Bool()
	s.today.restore(r)
}
