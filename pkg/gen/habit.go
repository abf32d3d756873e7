package gen

import (
	"github.com/flowstitch/flowstitch/pkg/flow"
)

// habit is something that hosts do again and again.
type habit struct {
	rng   rng
	due   int64 // microsecond since the start at which it happens next
	every int64 // microseconds between, on average
	exact bool  // always every, as machines do; else as people do
	do    func(s *Stream, r *rng)
}

const micro = 1_000_000

func (h *habit) run(s *Stream) {
	for h.due < (int64(s.now)+1)*micro {
		h.do(s, &h.rng)
		if h.exact {
			h.due += h.every
		} else {
			h.due += h.rng.tailed(h.every) + 1
		}
	}
}

// Shares of the ordinary sessions, in percent.
const (
	shareVisits   = 47
	shareForward  = 20
	shareOutside  = 12
	shareIntranet = 12
	shareFiles    = 6
	shareStorage  = 3
)

// ordinary returns the habits of the scenario's hosts. microRate is a million
// times the ordinary sessions a second.
func ordinary(s *Stream, microRate int64) []habit {
	b := habits{s: s, rate: microRate}
	for i, h := range s.sc.Hosts {
		b.by(h.Role, int16(i))
	}
	b.sessions()
	b.housekeeping()
	return b.list
}

// habits collects them. The lists are fixed when sessions is called, so that
// the habits can keep them.
type habits struct {
	s    *Stream
	rate int64
	list []habit

	balancers, webs, dbs, caches, bastions []int16
	files, intranets, desks, monitors, all []int16
}

func (b *habits) by(r Role, i int16) {
	lists := map[Role]*[]int16{
		RoleBalancer: &b.balancers, RoleWeb: &b.webs, RoleDatabase: &b.dbs, RoleCache: &b.caches,
		RoleBastion: &b.bastions, RoleFiles: &b.files, RoleIntranet: &b.intranets,
		RoleWorkstation: &b.desks, RoleMonitor: &b.monitors,
	}
	if l := lists[r]; l != nil {
		*l = append(*l, i)
		b.all = append(b.all, i)
	}
}

// share adds a habit of people that takes percent of the ordinary sessions.
func (b *habits) share(name string, percent int64, do func(*Stream, *rng)) {
	if b.rate <= 0 {
		return
	}
	every := max(micro*micro*100/(b.rate*percent), 1)
	h := habit{rng: newRNG(b.s.sc.Seed, name), every: every, do: do}
	h.due = h.rng.tailed(every)
	b.list = append(b.list, h)
}

// timer adds a habit of machines: every so many seconds, from a random phase.
func (b *habits) timer(name string, seconds int64, do func(*Stream, *rng)) {
	h := habit{rng: newRNG(b.s.sc.Seed, name), every: seconds * micro, exact: true, do: do}
	h.due = h.rng.n(min(seconds, 300) * micro)
	b.list = append(b.list, h)
}

func pick(r *rng, list []int16) int16 { return list[r.n(int64(len(list)))] }

// Address pools, all reserved by RFC 2544, RFC 5737 and RFC 3849, so that no
// log names somebody's address.
const (
	clientPool   = 1 << 16 // 198.18.0.0/16
	servicesBase = 0x00000A
)

func benchAddr(second byte, n int64) flow.Addr {
	return flow.AddrFrom4([4]byte{198, second, byte(n >> 8), byte(n)})
}

func clientAddr6(n int64) (a flow.Addr) {
	a = flow.MustAddr("2001:db8:f000::")
	a[13], a[14], a[15] = byte(n>>16), byte(n>>8), byte(n)
	return a
}

func serviceAddr(n int64) flow.Addr { return benchAddr(19, servicesBase+n) }
func storageAddr(n int64) flow.Addr { return benchAddr(19, 0x0100+n) }

// port returns the next outgoing port of one of our hosts: kernels walk the
// range, so a port is not used again for a long time.
func (s *Stream) port(i int16) uint16 {
	p := &s.points[i]
	p.lastPort++
	if p.lastPort > 60999 || p.lastPort < 32768 {
		p.lastPort = 32768
	}
	return p.lastPort
}
