package gen

import (
	"math"
	"net/netip"
	"strings"
	"time"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// slots is the length of the calendars: a slot a second, a power of two above
// the longest interval plus a second, and above the longest delay.
const slots = 1024

// Stream generates the records of a scenario in the order of their delivery.
type Stream struct {
	sc       Scenario
	origin   flow.Time
	duration int32
	interval int32
	points   []point
	phases   [][]int16 // interfaces by the phase of their intervals
	seen     []bool    // whether an interface had traffic in its interval

	habits  []habit
	attacks []assault

	now     int32
	talks   [slots][]live    // by the second at which the next interval ends
	out     [slots][]pending // by the second of delivery
	waiting int              // entries in talks and out
	cursor  int              // within the slot of out that is being read
}

// point is an interface of ours.
type point struct {
	host       Host
	id         string
	instance   string
	subnet     string
	addr4      flow.Addr
	addr6      flow.Addr // zero without IPv6
	lastPort   uint16    // of outgoing connections
	noiseState uint64    // seed of the delivery delays
}

// NewStream validates the scenario and returns its stream.
func NewStream(sc Scenario) (*Stream, error) {
	if err := sc.Validate(); err != nil {
		return nil, err
	}
	s := &Stream{
		sc: sc, origin: flow.Time(sc.Start.Unix()),
		duration: int32(sc.Duration / time.Second),
		interval: int32(sc.Interval / time.Second),
		seen:     make([]bool, len(sc.Hosts)),
	}
	s.phases = make([][]int16, s.interval)
	for i, h := range sc.Hosts {
		p := newPoint(sc.Seed, h)
		s.points = append(s.points, p)
		phase := p.phase(s.interval)
		s.phases[phase] = append(s.phases[phase], int16(i))
	}
	s.habits = ordinary(s, int64(math.Round(sc.Rate*1e6)))
	for i, a := range sc.Attacks {
		x, err := newAssault(s, i, a)
		if err != nil {
			return nil, err
		}
		s.attacks = append(s.attacks, x)
	}
	s.now = -1
	s.step()
	return s, nil
}

const hexDigits = "0123456789abcdef"

// awsID derives a stable identifier of 17 hex digits from a name.
func awsID(prefix string, seed uint64, name string) string {
	r := newRNG(seed, prefix+name)
	var b strings.Builder
	b.WriteString(prefix)
	b.WriteByte('0')
	for range 16 {
		b.WriteByte(hexDigits[r.n(16)])
	}
	return b.String()
}

func newPoint(seed uint64, h Host) point {
	p := point{host: h, id: h.Interface, addr4: flow.MustAddr(h.Address)}
	if p.id == "" {
		p.id = awsID("eni-", seed, h.Name)
	}
	if h.IPv6 != "" {
		p.addr6 = flow.AddrFrom(netip.MustParseAddr(h.IPv6))
	}
	net := h.Address[:strings.LastIndexByte(h.Address, '.')]
	p.subnet = awsID("subnet-", seed, net)
	if h.Role != RoleBalancer {
		p.instance = awsID("i-", seed, h.Name)
	}
	r := newRNG(seed, "ports "+h.Name)
	p.lastPort = uint16(r.between(32768, 60999))
	p.noiseState = r.next()
	return p
}

// phase is the second within the interval at which the interface's intervals
// begin: real interfaces are not aligned with each other.
func (p *point) phase(interval int32) int32 { return int32(p.noiseState % uint64(interval)) }

// Next fills r with the next record and reports whether there was one. Its
// text lives as long as the stream. Its version is 0, so that a format
// writes the one that AWS would; a format picks the fields that it wants.
func (s *Stream) Next(r *flow.Record) bool {
	for {
		slot := s.out[s.now&(slots-1)]
		if s.cursor < len(slot) {
			s.fill(r, &slot[s.cursor])
			s.cursor++
			s.waiting--
			return true
		}
		if s.now >= s.duration && s.waiting == 0 && s.idleDone() {
			return false
		}
		s.out[s.now&(slots-1)] = slot[:0]
		s.cursor = 0
		s.step()
	}
}

// idleDone reports that the interval in which the scenario ended is over for
// every interface, so that idle ones have said so.
func (s *Stream) idleDone() bool { return s.now >= s.duration+s.interval }

// Delivered is the event second that the stream has reached: when the record
// returned last was delivered.
func (s *Stream) Delivered() flow.Time { return s.origin.Add(int64(s.now)) }

func (s *Stream) step() {
	s.now++
	if s.now < s.duration {
		for i := range s.habits {
			s.habits[i].run(s)
		}
		for i := range s.attacks {
			s.attacks[i].run(s)
		}
	}
	slot := s.talks[s.now&(slots-1)]
	s.waiting -= len(slot)
	for i := range slot {
		s.record(&slot[i])
	}
	s.talks[s.now&(slots-1)] = slot[:0]
	s.idle()
}

// start begins a talk at the interfaces that see it. A talk outlasts the
// scenario by nothing: the log ends for everybody.
func (s *Stream) start(t *talk) {
	t.end = min(max(t.end, t.start), s.duration-1)
	if t.clientPoint >= 0 {
		s.schedule(live{*t, t.clientPoint})
	}
	if t.srvPoint >= 0 {
		s.schedule(live{*t, t.srvPoint})
	}
}

// schedule puts l where the interval of its interface that holds its start ends.
func (s *Stream) schedule(l live) {
	phase := s.points[l.point].phase(s.interval)
	end := l.start + s.interval - (l.start-phase+s.interval)%s.interval
	s.talks[end&(slots-1)] = append(s.talks[end&(slots-1)], l)
	s.waiting++
}
