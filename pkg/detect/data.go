package detect

import (
	"fmt"
	"slices"

	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/window"
)

// DataTuning are the thresholds of data-excess.
type DataTuning struct {
	// Bytes to the outside in a pane below which nothing is ever an excess.
	Bytes int64 `yaml:"bytes"`
	// Ratio to the host's own course (its 95th percentile) that is an excess.
	Ratio float64 `yaml:"ratio"`
	// History is how many panes with such traffic the course must have, of
	// the last Memory seconds. A younger host is judged by Young bytes alone.
	History int64 `yaml:"history"`
	Memory  int64 `yaml:"memory_seconds"`
	Young   int64 `yaml:"young"`
	// Upload is by how much a peer must have got more than it gave.
	Upload float64 `yaml:"upload"`
}

// defaultData: labelled exfiltrations peak at 10 to 30 MB in 5 min where the
// host's ordinary pair moves kilobytes; 100 MB is Slips' figure without history.
func defaultData() DataTuning {
	return DataTuning{Bytes: 5e6, Ratio: 10, History: 12, Memory: 7 * day, Young: 100e6, Upload: 2}
}

// data finds hosts of ours that send far more to the outside than they usually
// do: see docs/alerts/data-excess.md.
type data struct{ t DataTuning }

func (d data) Spec() Spec {
	return Spec{
		Detector: alert.Detector{
			ID: "data-excess", Name: "Excessive outbound data", Version: "1", Method: alert.MethodStatistical, Doc: doc("data-excess"),
		},
		Bucket: day, Quiet: 2 * hour, Attacks: []string{"T1041", "T1048"},
		FalseAlarm: "A backup, a migration, a release that is published, or a large upload by a person.",
	}
}

func (d data) Wants(e Entity, p *Part) bool {
	return e.Kind == KindHost && p.Owned && (p.Set(Pair).Len() > 0 || p.Server.BytesIn > 0)
}

func (d data) New() State { return &dataState{d: d} }

type dataState struct {
	d    data
	own  window.Baseline // bytes to the outside a pane
	sent int64           // of panes that were an excess, today
	day  int64
}

// outward is what a host sent to one peer outside, and got from it.
type outward struct {
	row      *Row
	family   Family
	out, got int64
}

// uploads lists the peers outside that got more than they gave, the largest
// first, and the sum of what they got.
func (s *dataState) uploads(p *Pane) (list []outward, sum int64) {
	for _, row := range p.Set(Pair).Rows() {
		list = append(list, outward{row, Pair, row.Counts.BytesOut, row.Counts.BytesIn})
	}
	for _, row := range p.Set(Caller).Rows() {
		if !row.Ours {
			list = append(list, outward{row, Caller, row.Counts.BytesIn, row.Counts.BytesOut})
		}
	}
	list = slices.DeleteFunc(list, func(o outward) bool { return o.out <= 0 || float64(o.out) < s.d.t.Upload*float64(o.got) })
	for _, o := range list {
		sum += o.out
	}
	slices.SortStableFunc(list, func(a, b outward) int { return int(min(max(b.out-a.out, -1), 1)) })
	return list, sum
}

// limit is what is too much, and the course that says so.
func (s *dataState) limit(p *Pane) (float64, window.Normal) {
	normal := s.own.At(p.Start, s.d.t.Memory)
	if int64(normal.N) < s.d.t.History {
		return float64(s.d.t.Young), normal
	}
	return max(float64(s.d.t.Bytes), s.d.t.Ratio*normal.High), normal
}

// Early implements State: bytes only grow.
func (s *dataState) Early(p *Pane, r Reporter) {
	list, sum := s.uploads(p)
	if limit, normal := s.limit(p); float64(sum) >= limit {
		r.Raise(s.finding(p, list, sum, limit, &normal))
	}
}

// Final implements State.
func (s *dataState) Final(p *Pane, r Reporter) {
	if d := int64(p.Start.Floor(day)); d != s.day {
		s.day, s.sent = d, 0
	}
	list, sum := s.uploads(p)
	limit, normal := s.limit(p)
	if float64(sum) < limit {
		s.own.Learn(p.Start, float64(sum))
		return
	}
	if int64(normal.N) < s.d.t.History {
		s.own.Learn(p.Start, float64(sum)) // too young to know better
	}
	f := s.finding(p, list, sum, limit, &normal)
	s.sent += sum
	f.Weight = uint64(s.sent)
	r.Raise(f)
}

func (s *dataState) finding(p *Pane, list []outward, sum int64, limit float64, normal *window.Normal) *Finding {
	f := &Finding{Weight: uint64(s.sent + sum)}
	f.Entity = alert.AddressEntity(p.Entity.Scope, p.Entity.Addr, true, alert.RoleActor)
	top := list[0]
	f.Title = "Excessive data from " + p.Entity.Addr.String()
	young := int64(normal.N) < s.d.t.History
	usual := fmt.Sprintf("it usually sends %s, and seldom more than %s", size(normal.Median), size(normal.High))
	c := against("bytes_out", "bytes", float64(sum), normal.Median, "this host before", limit)
	if young {
		usual = "it is too new for its usual amount to be known"
		c.HasBaseline, c.Of = false, "too young to judge"
	}
	f.Sentence = fmt.Sprintf("Our host %s sent %s to the outside in %s, %s of it to %s; %s.",
		p.Entity.Addr, size(float64(sum)), span(int64(p.End-p.Start)), size(float64(top.out)), top.row.Key.Peer, usual)
	f.Severity = alert.Rate(alert.Impact{Base: alert.Low, ActorOurs: true, Ratio: float64(sum) / max(normal.High, limit/s.d.t.Ratio)})
	f.Confidence = 60
	f.Counts = []alert.Count{c, count("bytes_to_top_peer", "bytes", float64(top.out), 0)}
	f.First, f.Last = p.Start, p.Start
	var rows []*Row
	for _, o := range list[:min(len(list), listPeers)] {
		f.Peers = append(f.Peers, alert.Peer{Addr: o.row.Key.Peer, Sessions: o.row.Counts.Sessions, Bytes: o.row.Counts.Bytes()})
		widen(&f.Alert, &o.row.Counts)
		if o.family == top.family {
			rows = append(rows, o.row)
		}
	}
	f.PeersMore = int64(len(list) - len(f.Peers))
	if top.family == Pair {
		f.Ports = portsOf(rows)
	}
	f.Window = alert.Window{Start: p.Start, End: p.End}
	f.Evidence, f.EvidenceMore = evidenceOf(p.Entity, top.family, rows)
	return f
}

// AppendTo implements State.
func (s *dataState) AppendTo(b []byte) []byte {
	return s.own.AppendTo(window.AppendInt(window.AppendInt(b, s.sent), s.day))
}

// Restore implements State.
func (s *dataState) Restore(r *window.Reader) {
	s.sent, s.day = r.Varint(), r.Varint()
	s.own = window.ReadBaseline(r)
}
