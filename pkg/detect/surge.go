package detect

import (
	"fmt"

	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/window"
)

// SurgeTuning are the thresholds of traffic-surge.
type SurgeTuning struct {
	// Packets, Sessions in a pane below which nothing is ever a surge.
	Packets  int64 `yaml:"packets"`
	Sessions int64 `yaml:"sessions"`
	// Ratio to the address's own course (its 95th percentile) of packets or
	// sessions, together with Sources times as many clients; or Alone times
	// the packets or sessions without more clients.
	Ratio   float64 `yaml:"ratio"`
	Sources float64 `yaml:"sources"`
	Alone   float64 `yaml:"alone"`
	// History is how many panes the course must have, of the last Memory
	// seconds. A younger address is judged by YoungSessions and YoungPackets.
	History       int64 `yaml:"history"`
	Memory        int64 `yaml:"memory_seconds"`
	YoungSessions int64 `yaml:"young_sessions"`
	YoungPackets  int64 `yaml:"young_packets"`
}

// defaultSurge: four times the bytes and four times the sources are Nemea's
// (ddos_detector), its 270,000 SYN in 300 s (hoststats) and FastNetMon's 20,000
// packets a second are the figures without history.
func defaultSurge() SurgeTuning {
	return SurgeTuning{
		Packets: 30_000, Sessions: 3_000, Ratio: 4, Sources: 4, Alone: 20, History: 12, Memory: 7 * day,
		YoungSessions: 270_000, YoungPackets: 6_000_000,
	}
}

// surge finds traffic to one of our addresses that rises far above its own
// recent course: see docs/alerts/traffic-surge.md.
type surge struct{ t SurgeTuning }

func (d surge) Spec() Spec {
	return Spec{
		Detector: alert.Detector{
			ID: "traffic-surge", Name: "Traffic surge", Version: "1", Method: alert.MethodStatistical, Doc: doc("traffic-surge"),
		},
		Bucket: day, Quiet: hour, Attacks: []string{"T1498.001"},
		FalseAlarm: "A product launch, a load test, a crawler, or a backup that comes in.",
	}
}

func (d surge) Wants(e Entity, p *Part) bool {
	return e.Kind == KindHost && p.Owned && p.Server.PacketsOut > 0
}

func (d surge) New() State { return &surgeState{d: d} }

type surgeState struct {
	d                          surge
	packets, sessions, sources window.Baseline // of a pane
}

// surged is how a pane compares with the course.
type surged struct {
	packets, sessions, sources window.Normal
	ratio                      float64 // the larger of packets' and sessions'
	young                      bool
}

// judge reports whether the pane is a surge. All that it asks for only grows
// while the pane lasts.
func (s *surgeState) judge(p *Pane) (g surged, yes bool) {
	t := &s.d.t
	n, sessions, clients := p.Server.PacketsOut, p.Server.Sessions, p.CallersCount()
	if n < t.Packets && sessions < t.Sessions {
		return g, false
	}
	g.packets, g.sessions = s.packets.At(p.Start, t.Memory), s.sessions.At(p.Start, t.Memory)
	g.sources = s.sources.At(p.Start, t.Memory)
	if int64(g.packets.N) < t.History {
		g.young = true
		g.ratio = max(float64(n)/float64(t.YoungPackets), float64(sessions)/float64(t.YoungSessions))
		return g, g.ratio >= 1
	}
	if n >= t.Packets {
		g.ratio = float64(n) / max(g.packets.High, 1)
	}
	if sessions >= t.Sessions {
		g.ratio = max(g.ratio, float64(sessions)/max(g.sessions.High, 1))
	}
	many := float64(clients) >= t.Sources*max(g.sources.High, 1)
	return g, g.ratio >= t.Alone || many && g.ratio >= t.Ratio
}

// Early implements State.
func (s *surgeState) Early(p *Pane, r Reporter) {
	if g, yes := s.judge(p); yes {
		r.Raise(s.finding(p, &g))
	}
}

// Final implements State. The course learns from no surge.
func (s *surgeState) Final(p *Pane, r Reporter) {
	g, yes := s.judge(p)
	if yes {
		r.Raise(s.finding(p, &g))
	}
	if !yes || g.young {
		s.packets.Learn(p.Start, float64(p.Server.PacketsOut))
		s.sessions.Learn(p.Start, float64(p.Server.Sessions))
		s.sources.Learn(p.Start, float64(p.CallersCount()))
	}
}

// kind names the flood by what it consists of.
func (s *surgeState) kind(p *Pane) (name string, attacks []string) {
	c := &p.Server
	var top *Row
	rows, asked := p.Set(Served).Rows(), int64(0)
	for _, row := range rows {
		asked += row.Counts.PacketsOut
		if top == nil || row.Counts.PacketsOut > top.Counts.PacketsOut {
			top = row
		}
	}
	switch {
	case c.Sessions > 0 && c.Halfopen*10 >= c.Sessions*8 && (top == nil || top.Key.Protocol == protoTCP):
		return "SYN flood", []string{"T1498.001", "T1499"}
	case top == nil || len(rows) < maxRows && asked < c.PacketsOut-asked:
		return "flood of answers that it did not ask for, as of reflection", []string{"T1498.002"}
	case top.Key.Protocol == protoUDP && top.Key.Port >= ephemeralFrom:
		return "UDP flood at client ports, as of reflected answers", []string{"T1498.002"}
	case top.Key.Protocol == protoUDP:
		return "UDP flood", []string{"T1498.001"}
	case isICMP(top.Key.Protocol):
		return "ICMP flood", []string{"T1498.001"}
	case c.Sessions >= s.d.t.Sessions:
		return "flood of connections", []string{"T1499"}
	}
	return "flood of data", []string{"T1498.001"}
}

func (s *surgeState) finding(p *Pane, g *surged) *Finding {
	c := &p.Server
	kind, attacks := s.kind(p)
	f := p.finding()
	f.Weight = uint64(max(c.PacketsOut, 1))
	f.Entity = alert.AddressEntity(p.Entity.Scope, p.Entity.Addr, true, alert.RoleTarget)
	f.Title = fmt.Sprintf("Traffic surge at %s: %s", p.Entity.Addr, kind)
	f.Attacks = alert.AttacksOf(attacks...)
	usual := fmt.Sprintf("it usually gets %s in %s from %s",
		plural(int64(g.packets.Median), "packet"), plural(int64(g.sessions.Median), "session"), plural(int64(g.sources.Median), "client"))
	if g.young {
		usual = "it is too new for its usual traffic to be known"
	}
	f.Sentence = fmt.Sprintf("Our address %s got %s in %s from about %s within %s (%s); %s.", p.Entity.Addr,
		plural(c.PacketsOut, "packet"), plural(c.Sessions, "session"), plural(p.CallersCount(), "client"), span(int64(p.End-p.Start)), kind, usual)
	f.Severity = alert.Rate(alert.Impact{Base: alert.Low, Answered: c.Answered*10 >= c.Sessions && c.Answered > 0, Ratio: g.ratio})
	f.Confidence = 70
	f.Counts = s.counts(p, g)
	rows := p.Set(Caller).Rows()
	for _, row := range rows {
		f.Peers = append(f.Peers, alert.Peer{Addr: row.Key.Peer, Ours: row.Ours, Sessions: row.Counts.Sessions, Bytes: row.Counts.Bytes()})
	}
	sortPeers(f.Peers)
	f.Peers = f.Peers[:min(len(f.Peers), listPeers)]
	f.PeersMore = max(p.CallersCount()-int64(len(f.Peers)), 0)
	p.portsOf(f, p.Set(Served).Rows())
	widen(&f.Alert, c)
	f.Window = alert.Window{Start: p.Start, End: p.End}
	p.evidence(f, Caller, rows)
	return f
}

func (s *surgeState) counts(p *Pane, g *surged) []alert.Count {
	c, t := &p.Server, &s.d.t
	out := []alert.Count{
		against("packets", "packets", float64(c.PacketsOut), g.packets.Median, "this address before", max(float64(t.Packets), t.Ratio*g.packets.High)),
		against("sessions", "sessions", float64(c.Sessions), g.sessions.Median, "this address before", max(float64(t.Sessions), t.Ratio*g.sessions.High)),
		against("clients", "clients", float64(p.CallersCount()), g.sources.Median, "this address before", t.Sources*g.sources.High),
	}
	if g.young {
		for i := range out {
			out[i].HasBaseline, out[i].Of, out[i].Threshold = false, "too young to judge", 0
		}
		out[0].Threshold, out[1].Threshold = float64(t.YoungPackets), float64(t.YoungSessions)
	}
	return out
}

// AppendTo implements State.
func (s *surgeState) AppendTo(b []byte) []byte {
	return s.sources.AppendTo(s.sessions.AppendTo(s.packets.AppendTo(b)))
}

// Restore implements State.
func (s *surgeState) Restore(r *window.Reader) {
	s.packets = window.ReadBaseline(r)
	s.sessions = window.ReadBaseline(r)
	s.sources = window.ReadBaseline(r)
}
