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
	// NewPeer is by how much the largest pane ever must be exceeded by what a
	// single peer got that the host never sent much to before.
	NewPeer float64 `yaml:"new_peer"`
	// History is how many panes with such traffic the course must have, of
	// the last Memory seconds. A host with fewer is judged by Young bytes, or,
	// if it has had as many panes with other traffic to the outside, by Rare.
	History int64 `yaml:"history"`
	Memory  int64 `yaml:"memory_seconds"`
	Young   int64 `yaml:"young"`
	Rare    int64 `yaml:"rare"`
	// Upload is by how much a peer must have got more than it gave.
	Upload float64 `yaml:"upload"`
}

// defaultData: labelled exfiltrations peak at 10 to 30 MB in 5 min where the
// host's ordinary pair moves kilobytes. 100 MB a flow and 500 MB an hour are
// Slips' and Tailpipe's figures without history. A series of n values with a
// tail as heavy as that of file sizes (Pareto, alpha 1.2) exceeds four times its
// own maximum once in 5 n: as seldom as ten times its 95th percentile.
func defaultData() DataTuning {
	return DataTuning{Bytes: 5e6, Ratio: 10, NewPeer: 4, History: 12, Memory: 7 * day, Young: 500e6, Rare: 100e6, Upload: 2}
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
	d     data
	own   window.Baseline // bytes to the outside a pane
	seen  int64           // panes with traffic to the outside, at most History
	peers known           // who got a tenth of Bytes or more in a pane
	sent  int64           // of panes that were an excess, today
	day   int64
}

// outward is what a host sent to one peer outside, and got from it.
type outward struct {
	row      *Row
	family   Family
	out, got int64
}

// uploads lists the peers outside that got more than they gave, and the sum of
// what they got.
func (s *dataState) uploads(p *Pane) (list []outward, sum int64) {
	w := p.scratch()
	list = w.outward[:0]
	for _, row := range p.Set(Pair).Rows() {
		list = s.upload(list, outward{row, Pair, row.Counts.BytesOut, row.Counts.BytesIn})
	}
	for _, row := range p.Set(Caller).Rows() {
		if !row.Ours {
			list = s.upload(list, outward{row, Caller, row.Counts.BytesIn, row.Counts.BytesOut})
		}
	}
	for i := range list {
		sum += list[i].out
	}
	w.outward = list
	return list, sum
}

func (s *dataState) upload(list []outward, o outward) []outward {
	if o.out <= 0 || float64(o.out) < s.d.t.Upload*float64(o.got) {
		return list
	}
	return append(list, o)
}

// larger orders uploads, the largest first.
func larger(a, b outward) int { return int(min(max(b.out-a.out, -1), 1)) }

// judgement is what a pane is held against.
type judgement struct {
	sum, limit float64 // bytes to all, or to the new peer
	normal     window.Normal
	young      bool // fewer than History panes of uploads
	rare       bool // young, but known for other traffic
	fresh      bool // the top peer is new, and it alone is too much
}

// judge reports whether the pane is an excess. Bytes only grow, so what is
// true early stays true.
func (s *dataState) judge(p *Pane, list []outward, sum int64) (j judgement, yes bool) {
	t := &s.d.t
	if sum < s.least() {
		return j, false
	}
	n := s.own.At(p.Start, t.Memory)
	j = judgement{sum: float64(sum), normal: n, young: int64(n.N) < t.History}
	switch {
	case !j.young:
		j.limit = max(float64(t.Bytes), t.Ratio*n.High)
	case s.seen >= t.History:
		j.limit, j.rare = max(float64(t.Rare), t.Ratio*n.High), true
	default:
		j.limit = max(float64(t.Young), t.Ratio*n.High)
	}
	if j.sum >= j.limit && sum > 0 {
		return j, j.young || !s.visited(list, j.limit, n.High)
	}
	if j.young || len(list) == 0 {
		return j, false
	}
	top := slices.MinFunc(list, larger)
	limit := max(float64(t.Bytes), t.NewPeer*n.Max)
	if float64(top.out) < limit || s.peers.has(hashAddr(top.row.Key.Peer)) {
		return j, false
	}
	j.sum, j.limit, j.fresh = float64(top.out), limit, true
	return j, true
}

// least is what no limit lies below.
func (s *dataState) least() int64 { return min(s.d.t.Bytes, s.d.t.Rare, s.d.t.Young) }

// visited reports whether it is visitors who make the sum: clients that came to
// a service of ours, of whom none got more than the host seldom exceeds to all
// of them together. More visitors than usual are no loss of data. It can become
// false while a pane lasts, never true again: what each got only grows.
func (s *dataState) visited(list []outward, limit, high float64) bool {
	called := 0.0
	for _, o := range list {
		if o.family == Pair {
			called += float64(o.out)
		} else if float64(o.out) >= max(high, float64(s.d.t.Bytes)/s.d.t.Ratio) {
			return false
		}
	}
	return called < limit
}

// Early implements State: bytes only grow.
func (s *dataState) Early(p *Pane, r Reporter) {
	if p.Client.BytesOut+p.Server.BytesIn < s.least() {
		return
	}
	list, sum := s.uploads(p)
	if j, yes := s.judge(p, list, sum); yes {
		r.Raise(s.finding(p, list, sum, &j))
	}
}

// Final implements State.
func (s *dataState) Final(p *Pane, r Reporter) {
	if d := int64(p.Start.Floor(day)); d != s.day {
		s.day, s.sent = d, 0
	}
	list, sum := s.uploads(p)
	j, yes := s.judge(p, list, sum)
	s.seen = min(s.seen+1, s.d.t.History)
	if !yes || j.young { // too young to know better
		s.learn(p, list, sum)
	}
	if yes {
		f := s.finding(p, list, sum, &j)
		s.sent += sum
		f.Weight = uint64(s.sent)
		r.Raise(f)
	}
}

// learn adds a pane to the course. Nothing is learned from an excess, or it
// would be ordinary the next time.
func (s *dataState) learn(p *Pane, list []outward, sum int64) {
	s.own.Learn(p.Start, float64(sum))
	for _, o := range list {
		if o.out >= s.d.t.Bytes/10 {
			s.peers.see(hashAddr(o.row.Key.Peer), p.Start)
		}
	}
	s.peers.forget(p.Start.Add(-s.d.t.Memory))
}

func (s *dataState) finding(p *Pane, list []outward, sum int64, j *judgement) *Finding {
	f := p.finding()
	f.Weight = uint64(s.sent + sum)
	f.Entity = alert.AddressEntity(p.Entity.Scope, p.Entity.Addr, true, alert.RoleActor)
	slices.SortStableFunc(list, larger)
	top, normal := list[0], &j.normal
	f.Title = "Excessive data from " + p.Entity.Addr.String()
	usual := fmt.Sprintf("it usually sends %s, and seldom more than %s", size(normal.Median), size(normal.High))
	c := against("bytes_out", "bytes", j.sum, normal.Median, "this host before", j.limit)
	ratio := j.sum / max(normal.High, float64(s.d.t.Bytes)/s.d.t.Ratio)
	switch {
	case j.rare:
		usual = "it seldom sends anything to the outside but requests"
		c.HasBaseline, c.Of, ratio = false, "too few uploads to judge", 0
	case j.young:
		usual = "too little is known of it to say what is usual"
		c.HasBaseline, c.Of, ratio = false, "too young to judge", 0
	case j.fresh:
		usual = fmt.Sprintf("it never sent that peer much before, and never more than %s to all together", size(normal.Max))
		c.Name = "bytes_to_new_peer"
	}
	f.Sentence = fmt.Sprintf("Our host %s sent %s to the outside in %s, %s of it to %s; %s.",
		p.Entity.Addr, size(float64(sum)), span(int64(p.End-p.Start)), size(float64(top.out)), top.row.Key.Peer, usual)
	base := alert.Low
	if j.young && !j.rare {
		base = alert.Informational
	}
	f.Severity = alert.Rate(alert.Impact{Base: base, ActorOurs: true, Ratio: ratio})
	f.Confidence = 60
	f.Counts = append(f.Counts, c, count("bytes_to_top_peer", "bytes", float64(top.out), 0))
	f.First, f.Last = p.Start, p.Start
	rows := p.scratch().rows[:0]
	for _, o := range list[:min(len(list), listPeers)] {
		f.Peers = append(f.Peers, alert.Peer{Addr: o.row.Key.Peer, Sessions: o.row.Counts.Sessions, Bytes: o.row.Counts.Bytes()})
		widen(&f.Alert, &o.row.Counts)
		if o.family == top.family {
			rows = append(rows, o.row)
		}
	}
	p.scratch().rows = rows
	f.PeersMore = int64(len(list) - len(f.Peers))
	if top.family == Pair {
		p.portsOf(f, rows)
	}
	f.Window = alert.Window{Start: p.Start, End: p.End}
	p.evidence(f, top.family, rows)
	return f
}

// AppendTo implements State.
func (s *dataState) AppendTo(b []byte) []byte {
	b = window.AppendInt(window.AppendInt(window.AppendInt(b, s.sent), s.day), s.seen)
	return s.own.AppendTo(s.peers.appendTo(b))
}

// Restore implements State.
func (s *dataState) Restore(r *window.Reader) {
	s.sent, s.day, s.seen = r.Varint(), r.Varint(), r.Varint()
	s.peers.restore(r)
	s.own = window.ReadBaseline(r)
}
