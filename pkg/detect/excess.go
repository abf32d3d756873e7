package detect

import (
	"fmt"
	"slices"

	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/window"
)

// ExcessTuning are the thresholds of session-excess.
type ExcessTuning struct {
	// Sessions is the least number that is ever an excess: in Window seconds
	// beside other sources, in a pane beside the source's own history.
	Sessions int64 `yaml:"sessions"`
	Window   int64 `yaml:"window_seconds"`
	// Peers is how many other sources there must be to compare with.
	Peers int64 `yaml:"peers"`
	// Ratio is by how much the other sources' 90th percentile, or the
	// source's own 95th, must be exceeded.
	Ratio float64 `yaml:"ratio"`
	// History is how many panes the source's own course must have, of the
	// last Memory seconds.
	History int64 `yaml:"history"`
	Memory  int64 `yaml:"memory_seconds"`
}

func defaultExcess() ExcessTuning {
	return ExcessTuning{Sessions: 100, Window: hour, Peers: 5, Ratio: 10, History: 24, Memory: 7 * day}
}

// excess finds a source that has far more sessions than the other sources of
// that service, or than itself before: see docs/alerts/session-excess.md.
type excess struct{ t ExcessTuning }

func (d excess) Spec() Spec {
	return Spec{
		Detector: alert.Detector{
			ID: "session-excess", Name: "Excessive number of sessions", Version: "1",
			Method: alert.MethodStatistical, Doc: doc("session-excess"),
		},
		Bucket: day, Quiet: 2 * hour, Attacks: []string{"T1499"},
		FalseAlarm: "A proxy, a NAT gateway, a load balancer or a crawler that stands for many users, or a batch job that runs seldom.",
	}
}

func (d excess) Wants(e Entity, p *Part) bool {
	return e.Kind == KindService || e.Kind == KindHost && p.Owned && p.Client.Sessions > 0
}

func (d excess) New() State { return &excessState{d: d} }

type excessState struct {
	d     excess
	panes []excessPane    // service: of the window
	own   window.Baseline // host: sessions a pane
}

type excessPane struct {
	start flow.Time
	rows  []source // ascending by key
}

// source is what one had of a service in a pane.
type source struct {
	key         RowKey
	ours        bool
	sessions    int64
	first, last flow.Time
}

func (x *source) counts() Counts { return Counts{Sessions: x.sessions, First: x.first, Last: x.last} }

// Early implements State. How many sessions others have is known only when the
// pane is over.
func (s *excessState) Early(*Pane, Reporter) {}

// Final implements State.
func (s *excessState) Final(p *Pane, r Reporter) {
	if p.Entity.Kind == KindService {
		s.beside(p, r)
		return
	}
	s.before(p, r)
}

// beside compares the sources of a service with each other.
func (s *excessState) beside(p *Pane, r Reporter) {
	old, spare := p.Start.Add(-s.d.t.Window), []source(nil)
	s.panes = slices.DeleteFunc(s.panes, func(x excessPane) bool {
		if x.start <= old {
			spare = x.rows[:0]
		}
		return x.start <= old
	})
	x := excessPane{start: p.Start, rows: spare}
	for _, row := range p.Set(Caller).Rows() {
		x.rows = append(x.rows, source{row.Key, row.Ours, row.Counts.Sessions, row.Counts.First, row.Counts.Last})
	}
	s.panes = append(s.panes, x)
	// Hosts of ours and clients from outside use a service in different ways,
	// so each is compared with its own kind.
	w := p.scratch()
	set := s.sums(w.mem)
	for _, ours := range [...]bool{false, true} {
		w.rows = w.rows[:0]
		for _, row := range set.Rows() {
			if row.Ours == ours {
				w.rows = append(w.rows, row)
			}
		}
		s.among(p, w.rows, r)
	}
	w.mem.freeSet(set)
}

// among compares sources of one kind with each other.
func (s *excessState) among(p *Pane, sums []*Row, r Reporter) {
	many := func(row *Row) bool { return row.Counts.Sessions >= s.d.t.Sessions }
	if int64(len(sums)) <= s.d.t.Peers || !slices.ContainsFunc(sums, many) {
		return
	}
	w := p.scratch()
	all := w.numbers[:0]
	for _, row := range sums {
		all = append(all, float64(row.Counts.Sessions))
	}
	slices.Sort(all)
	w.numbers = all
	for _, row := range sums {
		if !many(row) {
			continue
		}
		n := float64(row.Counts.Sessions)
		others := append(w.others[:0], all...)
		at, _ := slices.BinarySearch(others, n)
		others = slices.Delete(others, at, at+1)
		w.others = others
		high := others[len(others)*9/10]
		if n >= s.d.t.Ratio*high {
			r.Raise(s.besideFinding(p, row, window.Median(others), high, int64(len(others))))
		}
	}
}

// sums adds the window's panes up by source. The set is to be freed.
func (s *excessState) sums(m *memory) *RowSet {
	set := m.set()
	for i := range s.panes {
		for j := range s.panes[i].rows {
			x := &s.panes[i].rows[j]
			if row := set.Row(x.key); row != nil {
				c := x.counts()
				row.Counts.Add(&c)
				row.Ours = row.Ours || x.ours
			}
		}
	}
	set.trim()
	return set
}

func (s *excessState) besideFinding(p *Pane, row *Row, median, high float64, others int64) *Finding {
	what := service(p.Entity.Protocol, p.Entity.Port)
	n := row.Counts.Sessions
	f := p.finding()
	f.Weight = uint64(n)
	f.Entity = alert.Entity{
		Kind: alert.EntityPair, Scope: p.Entity.Scope, Value: row.Key.Peer.String() + ">" + what,
		Addr: row.Key.Peer, Ours: row.Ours, Role: alert.RoleActor,
	}
	kind := " from outside"
	if row.Ours {
		kind = " among our own hosts"
	}
	f.Title = fmt.Sprintf("Excess of sessions at %s from %s", what, row.Key.Peer)
	f.Sentence = fmt.Sprintf("%s had %s with %s in %s; half of the %s had at most %.0f, and nine in ten at most %.0f.",
		subject(row.Key.Peer, row.Ours), plural(n, "session"), what, span(s.d.t.Window), plural(others, "other source")+kind, median, high)
	limit := max(s.d.t.Ratio*high, float64(s.d.t.Sessions))
	// That sessions were answered is what a service is there for, and ten times
	// the normal is what it takes to be told at all: neither makes it worse.
	impact := alert.Impact{Base: alert.Low, Ratio: float64(n) / limit}
	if row.Ours {
		impact.Base, impact.ActorOurs = alert.Informational, true
	}
	f.Severity = alert.Rate(impact)
	f.Confidence = 60
	f.Counts = append(f.Counts, against("sessions", "sessions", float64(n), median, "other sources of "+what, limit))
	f.Ports = append(f.Ports, alert.Port{Protocol: p.Entity.Protocol, Port: p.Entity.Port, Sessions: n})
	widen(&f.Alert, &row.Counts)
	f.Window = alert.Window{Start: p.End.Add(-s.d.t.Window), End: p.End}
	f.EvidenceMore = n
	return f
}

// before compares a host of ours with its own course.
func (s *excessState) before(p *Pane, r Reporter) {
	n := p.Client.Sessions
	if n == 0 {
		return
	}
	if n < s.d.t.Sessions { // no limit lies below
		s.own.Learn(p.Start, float64(n))
		return
	}
	normal := s.own.At(p.Start, s.d.t.Memory)
	limit := max(float64(s.d.t.Sessions), s.d.t.Ratio*max(normal.High, normal.Median))
	if int64(normal.N) < s.d.t.History || float64(n) < limit {
		s.own.Learn(p.Start, float64(n))
		return
	}
	f := p.finding()
	f.Weight = uint64(n)
	f.Entity = alert.AddressEntity(p.Entity.Scope, p.Entity.Addr, true, alert.RoleActor)
	f.Title = "Excess of sessions from " + p.Entity.Addr.String()
	f.Sentence = fmt.Sprintf("Our host %s started %s in %s; it usually starts %s, and seldom more than %s.",
		p.Entity.Addr, plural(n, "session"), span(int64(p.End-p.Start)), amount(int64(normal.Median)), amount(int64(normal.High)))
	f.Severity = alert.Rate(alert.Impact{Base: alert.Informational, ActorOurs: true})
	f.Confidence = 50
	f.Counts = append(f.Counts, against("sessions", "sessions", float64(n), normal.Median, "this host before", limit))
	p.portsOf(f, p.Set(Contact).Rows())
	widen(&f.Alert, &p.Client)
	f.Window = alert.Window{Start: p.Start, End: p.End}
	p.evidence(f, Contact, p.Set(Contact).Rows())
	r.Raise(f)
}

// AppendTo implements State.
func (s *excessState) AppendTo(b []byte) []byte {
	b = window.AppendUint(b, uint64(len(s.panes)))
	for i := range s.panes {
		b = window.AppendInt(b, int64(s.panes[i].start))
		b = window.AppendUint(b, uint64(len(s.panes[i].rows)))
		for j := range s.panes[i].rows {
			x := &s.panes[i].rows[j]
			b = window.AppendString(b, appendRow(nil, &Row{Key: x.key, Ours: x.ours, Counts: x.counts()}))
		}
	}
	return s.own.AppendTo(b)
}

// Restore implements State.
func (s *excessState) Restore(r *window.Reader) {
	for range r.Len() {
		p := excessPane{start: flow.Time(r.Varint())}
		for range r.Len() {
			row := readRow(r) // which versions up to 4 of the fold kept as a whole
			p.rows = append(p.rows, source{row.Key, row.Ours, row.Counts.Sessions, row.Counts.First, row.Counts.Last})
		}
		s.panes = append(s.panes, p)
	}
	s.own = window.ReadBaseline(r)
}
