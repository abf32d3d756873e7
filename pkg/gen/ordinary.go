package gen

import (
	"github.com/flowstitch/flowstitch/pkg/flow"
)

// tcp fills the counters of a talk that carries so many bytes of payload each
// way over TCP as Linux speaks it: SYN of 60 bytes, headers of 52, a segment of
// 1,400 bytes, an ACK for every second one.
func (t *talk) tcp(payOut, payIn int64) {
	segOut, segIn := payOut/1400+1, payIn/1400+1
	t.outPackets = uint64(segOut + segIn/2 + 3)
	t.inPackets = uint64(segIn + segOut/2 + 2)
	t.outBytes = 52*t.outPackets + 8 + uint64(payOut)
	t.inBytes = 52*t.inPackets + 8 + uint64(payIn)
	t.protocol = protoTCP
}

// between starts a talk between two hosts of ours.
func (s *Stream) between(client, server int16, port uint16) talk {
	return talk{
		client: flow.Endpoint{Addr: s.points[client].addr4, Port: s.port(client)},
		server: flow.Endpoint{Addr: s.points[server].addr4, Port: port},
		start:  s.now, end: s.now,
		clientPoint: client, srvPoint: server,
		out: flow.Accept, in: flow.Accept,
	}
}

// outward starts a talk from a host of ours to an address outside.
func (s *Stream) outward(client int16, server flow.Addr, port uint16) talk {
	src := s.points[client].addr4
	if !server.Is4() {
		src = s.points[client].addr6
	}
	return talk{
		client: flow.Endpoint{Addr: src, Port: s.port(client)},
		server: flow.Endpoint{Addr: server, Port: port},
		start:  s.now, end: s.now,
		clientPoint: client, srvPoint: -1,
		out: flow.Accept, in: flow.Accept,
	}
}

// inward starts a talk from an address outside to a host of ours.
func (s *Stream) inward(client flow.Endpoint, server int16, port uint16) talk {
	dst := s.points[server].addr4
	if !client.Addr.Is4() {
		dst = s.points[server].addr6
	}
	return talk{
		client: client, server: flow.Endpoint{Addr: dst, Port: port},
		start: s.now, end: s.now,
		clientPoint: -1, srvPoint: server,
		out: flow.Accept, in: flow.Accept,
	}
}

// sessions adds the sessions that people cause.
func (b *habits) sessions() {
	if len(b.balancers) > 0 {
		b.share("visits", shareVisits, b.visit)
	}
	if len(b.balancers) > 0 && len(b.webs) > 0 {
		b.share("forward", shareForward, b.forward)
	}
	if len(b.desks) > 0 {
		b.share("outside", shareOutside, b.outside)
	}
	if len(b.desks) > 0 && len(b.intranets) > 0 {
		b.share("intranet", shareIntranet, func(s *Stream, r *rng) {
			t := s.between(pick(r, b.desks), pick(r, b.intranets), 443)
			t.tcp(600+r.heavy(200, 5), 3000+r.heavy(2000, 6))
			t.end += int32(r.tailed(12))
			s.start(&t)
		})
	}
	if len(b.desks) > 0 && len(b.files) > 0 {
		b.share("files", shareFiles, func(s *Stream, r *rng) {
			t := s.between(pick(r, b.desks), pick(r, b.files), 445)
			t.tcp(2000+r.heavy(2000, 7), 4000+r.heavy(8000, 7))
			t.end += 20 + int32(r.tailed(120))
			s.start(&t)
		})
	}
	if len(b.webs) > 0 {
		b.share("storage", shareStorage, b.storage)
	}
}

// visit is a person on the Internet at our site. One in a hundred leaves a last
// packet that arrives after the end and is refused.
func (b *habits) visit(s *Stream, r *rng) {
	// A client comes back about every five minutes.
	pool := min(max(200, b.rate*300/micro), clientPool)
	n := r.n(pool)
	at := pick(r, b.balancers)
	who := flow.Endpoint{Addr: benchAddr(18, n), Port: uint16(r.between(32768, 60999))}
	if n%100 < s.sc.IPv6Percent && s.points[at].addr6.IsValid() {
		who.Addr = clientAddr6(n)
	}
	t := s.inward(who, at, 443)
	t.tcp(700+r.heavy(300, 5), 4000+r.heavy(4000, 7))
	t.end += int32(r.tailed(15))
	late := t
	s.start(&t)
	if r.percent(1) {
		late.start = t.end
		late.outPackets, late.outBytes, late.inPackets, late.inBytes = 1, 52, 0, 0
		late.out, late.style = flow.Reject, styleMid
		if late.start < s.now+s.interval {
			s.start(&late)
		}
	}
}

// storage is a page of ours that writes to S3: several objects at once, small
// and large.
func (b *habits) storage(s *Stream, r *rng) {
	web := pick(r, b.webs)
	for range r.between(1, 3) {
		t := s.outward(web, storageAddr(r.n(4)), 443)
		t.tcp(1500+r.heavy(300, 10), 4000+r.heavy(2000, 8))
		t.end += int32(r.tailed(5))
		t.amazon = true
		s.start(&t)
	}
}

func (b *habits) forward(s *Stream, r *rng) {
	t := s.between(pick(r, b.balancers), pick(r, b.webs), 8080)
	t.tcp(2000+r.heavy(1000, 5), 9000+r.heavy(9000, 6))
	t.end += 5 + int32(r.tailed(30))
	s.start(&t)
}

// outsideServices is how many services outside the workstations use; everybody
// has favourites among them, and all are in use from the first minutes.
const outsideServices = 12

func (b *habits) outside(s *Stream, r *rng) {
	n := min(r.n(outsideServices), r.n(outsideServices))
	t := s.outward(pick(r, b.desks), serviceAddr(n), 443)
	t.tcp(800+r.heavy(400, 6), 5000+r.heavy(5000, 8))
	t.end += int32(r.tailed(40))
	s.start(&t)
}

// housekeeping adds what machines do.
func (b *habits) housekeeping() {
	b.pools()
	b.checks()
	b.admin()
	if len(b.dbs) > 0 {
		// The database archives its log whenever a segment of 16 MiB is full.
		h := habit{rng: newRNG(b.s.sc.Seed, "archive"), every: 300 * micro, do: func(s *Stream, r *rng) {
			t := s.outward(b.dbs[0], storageAddr(8), 443)
			t.tcp(16<<20+r.n(200_000), 9000+r.n(500))
			t.end += 12 + int32(r.n(6))
			t.amazon = true
			s.start(&t)
		}}
		h.due = h.rng.n(100 * micro)
		b.list = append(b.list, h)
	}
}

// poolSeconds is how long a pooled connection lives: about half an hour.
const poolSeconds = 1800

func (b *habits) pools() {
	pool := func(from, to int16, port uint16) {
		name := "pool " + b.s.sc.Hosts[from].Name + " " + b.s.sc.Hosts[to].Name
		b.timer(name, poolSeconds, func(s *Stream, r *rng) {
			t := s.between(from, to, port)
			t.tcp(r.between(200_000, 400_000), r.between(900_000, 1_800_000))
			t.end += poolSeconds - 1
			s.start(&t)
		})
	}
	for _, w := range b.webs {
		for _, d := range b.dbs[:min(1, len(b.dbs))] {
			pool(w, d, 5432)
		}
		for _, c := range b.caches {
			pool(w, c, 6379)
		}
	}
	for i := 1; i < len(b.dbs); i++ {
		pool(b.dbs[i], b.dbs[0], 5432)
	}
}

// checks are the perfect beacons of every network: health checks, pings, time.
func (b *habits) checks() {
	for _, lb := range b.balancers {
		for _, w := range b.webs {
			b.timer("health "+b.s.sc.Hosts[lb].Name+" "+b.s.sc.Hosts[w].Name, 30, func(s *Stream, _ *rng) {
				t := s.between(lb, w, 8080)
				t.tcp(120, 180)
				s.start(&t)
			})
		}
	}
	if len(b.monitors) == 0 {
		return
	}
	m := b.monitors[0]
	for _, h := range b.all {
		name := b.s.sc.Hosts[h].Name
		if h != m && b.s.sc.Hosts[h].Role != RoleWorkstation {
			b.timer("ping "+name, 60, func(s *Stream, _ *rng) {
				t := s.between(m, h, 0)
				t.client.Port, t.protocol = 0, protoICMP
				t.outPackets, t.outBytes, t.inPackets, t.inBytes = 4, 336, 4, 336
				t.end += 3
				s.start(&t)
			})
		}
		if h != m {
			b.timer("time "+name, 256, func(s *Stream, _ *rng) {
				t := s.between(h, m, 123)
				t.protocol = protoUDP
				t.outPackets, t.outBytes, t.inPackets, t.inBytes = 1, 76, 1, 76
				s.start(&t)
			})
		}
	}
}

// admin is a person at the office who logs in on the bastion now and then and
// from there on a server.
func (b *habits) admin() {
	if len(b.bastions) == 0 {
		return
	}
	h := habit{rng: newRNG(b.s.sc.Seed, "admin"), every: 1500 * micro, do: func(s *Stream, r *rng) {
		office := flow.Endpoint{Addr: flow.MustAddr("203.0.113.20"), Port: uint16(r.between(49152, 65535))}
		t := s.inward(office, pick(r, b.bastions), 22)
		t.tcp(9000+r.heavy(9000, 4), 20_000+r.heavy(20_000, 5))
		t.end += int32(120 + r.tailed(500))
		s.start(&t)
		if len(b.webs) > 0 {
			inner := s.between(pick(r, b.bastions), pick(r, b.webs), 22)
			inner.tcp(8000+r.heavy(8000, 4), 18_000+r.heavy(18_000, 5))
			inner.end = max(t.end-8, s.now)
			s.start(&inner)
		}
	}}
	h.due = h.rng.between(60, 400) * micro
	b.list = append(b.list, h)
}
