package gen

import (
	"fmt"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// Shape describes an endless load for a benchmark. Every number changes one
// cost of the pipeline, and only that.
type Shape struct {
	Seed  uint64
	Start flow.Time
	// Rate is how many records one second of event time holds: it decides how
	// often clocks advance and panes pass.
	Rate int64
	// Sessions are open at the same time: the size of the session table.
	Sessions int64
	// Intervals is how many aggregation intervals a session lasts; each gives
	// two records (one a direction) at each of Interfaces.
	Intervals int64
	// Interfaces is how many interfaces of ours see each conversation: 1 for
	// traffic with the Internet, 2 within the VPC, 3 through a gateway.
	Interfaces int64
	// Sources and Servers are how many distinct addresses talk.
	Sources, Servers int64
	// SkewPercent is how many of a hundred sessions belong to the first
	// hundredth of the sources (at least one): hot keys.
	SkewPercent int64
	// IPv6Percent is how many of a hundred sources speak IPv6.
	IPv6Percent int64
	// SilentPercent is how many of a hundred sessions are never answered.
	SilentPercent int64
	// LatePercent is how many of a hundred records are delivered LateBy seconds
	// after their time.
	LatePercent, LateBy int64
}

// Balanced is an ordinary mixture: 100,000 open sessions of three intervals,
// seen twice, from 50,000 sources.
func Balanced() Shape {
	return Shape{
		Seed: 1, Start: 1_772_438_400, Rate: 20_000, Sessions: 100_000, Intervals: 3, Interfaces: 2,
		Sources: 50_000, Servers: 200, SkewPercent: 20, IPv6Percent: 10, SilentPercent: 5,
	}
}

// Bounds of a Shape.
const (
	maxLoadSessions = 50_000_000
	maxLoadAddrs    = 1 << 24
)

// Validate reports the first number that makes no sense.
func (s *Shape) Validate() error {
	for _, c := range []struct {
		name   string
		v      int64
		lo, hi int64
	}{
		{"rate", s.Rate, 1, 1 << 40},
		{"sessions", s.Sessions, 1, maxLoadSessions},
		{"intervals", s.Intervals, 1, 1 << 30},
		{"interfaces", s.Interfaces, 1, 8},
		{"sources", s.Sources, 1, maxLoadAddrs},
		{"servers", s.Servers, 1, maxLoadAddrs},
		{"skew", s.SkewPercent, 0, 100},
		{"ipv6", s.IPv6Percent, 0, 100},
		{"silent", s.SilentPercent, 0, 100},
		{"late", s.LatePercent, 0, 100},
		{"late-by", s.LateBy, 0, 1 << 30},
	} {
		if c.v < c.lo || c.v > c.hi {
			return fmt.Errorf("gen: %s is %d; it must be between %d and %d", c.name, c.v, c.lo, c.hi)
		}
	}
	return nil
}

// Load generates the records of a Shape for ever, without allocating.
type Load struct {
	shape Shape
	rng   rng
	open  []session // ring of open sessions
	next  int       // session whose turn it is
	step  int64     // record within its turn: interface and direction
	count int64     // records generated

	ids [8]string // interface ids
}

// session is an open session of a load.
type session struct {
	client, server flow.Endpoint
	left           int64 // intervals to go
	silent         bool
}

// NewLoad validates the shape and opens its sessions.
func NewLoad(s Shape) (*Load, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	l := &Load{shape: s, rng: newRNG(s.Seed, "load"), open: make([]session, s.Sessions)}
	for i := range l.ids {
		l.ids[i] = awsID("eni-", s.Seed, fmt.Sprint(i))
	}
	for i := range l.open {
		l.begin(&l.open[i])
		// Staggered, so that sessions end evenly.
		l.open[i].left = l.rng.between(1, s.Intervals)
	}
	return l, nil
}

func (l *Load) begin(s *session) {
	r := &l.rng
	n := r.n(l.shape.Sources)
	if r.percent(l.shape.SkewPercent) {
		n = r.n(max(l.shape.Sources/100, 1))
	}
	m := r.n(l.shape.Servers)
	s.client = flow.Endpoint{Addr: loadClient(n), Port: uint16(r.between(1024, 65535))}
	s.server = flow.Endpoint{Addr: loadServer(m), Port: loadPorts[m%int64(len(loadPorts))]}
	if n*37%100 < l.shape.IPv6Percent { // spread over hot and cold sources alike
		s.client.Addr, s.server.Addr = loadAddr6(1, n), loadAddr6(2, m)
	}
	s.left, s.silent = l.shape.Intervals, r.percent(l.shape.SilentPercent)
}

var loadPorts = [...]uint16{443, 80, 22, 5432, 8080, 3306, 6379, 25}

// loadClient is in 100.64.0.0/10 and beyond, loadServer in 10.0.0.0/8.
func loadClient(n int64) flow.Addr {
	return flow.AddrFrom4([4]byte{100 + byte(n>>22), 64 + byte(n>>16)&63, byte(n >> 8), byte(n)})
}

func loadServer(n int64) flow.Addr {
	return flow.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
}

func loadAddr6(net byte, n int64) flow.Addr {
	return flow.Addr{0x20, 0x01, 0x0d, 0xb8, net, 15: byte(n), 14: byte(n >> 8), 13: byte(n >> 16)}
}

// Next fills r with the next record. Its text lives as long as the load.
func (l *Load) Next(r *flow.Record) {
	s := &l.open[l.next]
	reply := l.step&1 == 1
	if reply && s.silent {
		// A silent session has no second direction: its turn has half the records.
		l.step++
		if l.turn(s) {
			s = &l.open[l.next]
		}
		reply = false
	}
	l.fill(r, s, reply, l.step>>1)
	l.count++
	l.step++
	l.turn(s)
}

// turn moves on to the next session when this one's records are out.
func (l *Load) turn(s *session) bool {
	if l.step < 2*l.shape.Interfaces {
		return false
	}
	l.step = 0
	if s.left--; s.left <= 0 {
		l.begin(s)
	}
	if l.next++; l.next == len(l.open) {
		l.next = 0
	}
	return true
}

// loadInterval is the aggregation interval of a load, in seconds.
const loadInterval = 60

func (l *Load) fill(r *flow.Record, s *session, reply bool, seenBy int64) {
	r.Reset()
	r.AccountID, r.InterfaceID = "123456789010", l.ids[seenBy]
	r.Protocol, r.Action = protoTCP, flow.Accept
	r.Src, r.Dst, r.Packets, r.Bytes = s.client, s.server, 9, 1800
	if reply {
		r.Src, r.Dst, r.Packets, r.Bytes = s.server, s.client, 11, 9000
	}
	r.HasFlags = true
	if s.left == l.shape.Intervals {
		r.TCPFlags = flow.SYN
		if reply {
			r.TCPFlags |= flow.ACK
		}
	}
	if s.left == 1 && !s.silent {
		r.TCPFlags |= flow.FIN
	}
	r.Direction = side((seenBy == 0) != reply)
	now := l.shape.Start.Add(l.count / l.shape.Rate)
	if l.shape.LatePercent > 0 && l.rng.percent(l.shape.LatePercent) {
		now = now.Add(-l.shape.LateBy)
	}
	r.Start, r.End = now.Add(-loadInterval), now.Add(-1)
}

// Time is the event time that the load has reached.
func (l *Load) Time() flow.Time { return l.shape.Start.Add(l.count / l.shape.Rate) }
