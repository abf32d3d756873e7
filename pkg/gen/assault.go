package gen

import (
	"fmt"
	"time"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// assault is an attack under way.
type assault struct {
	Attack
	rng    rng
	done   int64
	from   int16     // the attacker's interface, -1 outside
	source flow.Addr // the attacker's address; none for a surge
	hits   []target
	truth  Truth
}

type target struct {
	point int16 // -1 outside
	addr  flow.Addr
}

func newAssault(s *Stream, i int, a Attack) (assault, error) {
	a = a.withDefaults(&s.sc)
	x := assault{Attack: a, rng: newRNG(s.sc.Seed, a.label(i)), from: int16(s.sc.host(a.Source))}
	switch {
	case x.from >= 0:
		x.source = s.points[x.from].addr4
	case a.Source != "":
		x.source = flow.MustAddr(a.Source)
	}
	for _, t := range a.Targets {
		hit, ok := x.target(s, t)
		if ok {
			x.hits = append(x.hits, hit)
		}
	}
	if len(x.hits) == 0 {
		return x, fmt.Errorf("attacks[%d] (%s): no target that %s could reach: another host with an address of the same IP version is needed",
			i, a.Kind, a.Source)
	}
	if s.sc.Attacks[i].Count == 0 && a.Kind == KindHostSweep {
		x.Count = int64(len(x.hits)) // the attacker itself is none of them
	}
	x.truth = newTruth(s, &x)
	return x, nil
}

// target resolves one target's name or address to what the attacker speaks to:
// the IPv6 address of a host if it is named by that, or if the attacker has
// only IPv6. It reports false for the attacker itself and for another version.
func (x *assault) target(s *Stream, t string) (target, bool) {
	h := int16(s.sc.host(t))
	if h < 0 {
		a := flow.MustAddr(t)
		return target{point: -1, addr: a}, x.speaks(s, a)
	}
	p := &s.points[h]
	hit := target{point: h, addr: p.addr4}
	if t == p.host.IPv6 || x.from < 0 && x.source.IsValid() && !x.source.Is4() {
		hit.addr = p.addr6
	}
	return hit, h != x.from && hit.addr.IsValid() && x.speaks(s, hit.addr)
}

// speaks reports whether the attacker has an address of a's version.
func (x *assault) speaks(s *Stream, a flow.Addr) bool {
	return x.from < 0 && (!x.source.IsValid() || x.source.Is4() == a.Is4()) ||
		x.from >= 0 && (a.Is4() || s.points[x.from].addr6.IsValid())
}

// run starts the sessions that are due this second.
func (x *assault) run(s *Stream) {
	for x.done < x.Count && len(x.hits) > 0 && x.due() <= s.now {
		k := x.done
		x.done++
		x.strike(s, k)
	}
}

// due is the second of the next session: spread evenly, a beacon at its period.
func (x *assault) due() int32 {
	at := x.At + x.For/time.Duration(x.Count)*time.Duration(x.done)
	if x.Kind == KindBeacon {
		at = x.At + x.Every*time.Duration(x.done)
		if x.Jitter > 0 {
			r := rng{x.rng.state ^ uint64(x.done)}
			at += time.Duration(r.between(0, 2*int64(x.Jitter/time.Second))) * time.Second
		}
	}
	return int32(at / time.Second)
}

func (x *assault) strike(s *Stream, k int64) {
	if x.Kind == KindGap {
		for _, h := range x.hits {
			s.skip(h.point)
		}
		x.truth.gap(s)
		return
	}
	t := x.talk(s, k)
	x.shape(s, &t)
	s.start(&t)
	x.truth.add(s, &t)
}

// talk chooses who speaks to whom in the k-th session.
func (x *assault) talk(s *Stream, k int64) talk {
	n := int64(len(x.hits))
	h := x.hits[k%n]
	var port uint16
	if len(x.Ports) > 0 {
		port = x.Ports[(k/n)%int64(len(x.Ports))]
	} else {
		port = scanPort(k / n)
	}
	t := talk{
		client: flow.Endpoint{Addr: x.source, Port: uint16(x.rng.between(32768, 60999))},
		server: flow.Endpoint{Addr: h.addr, Port: port},
		start:  s.now, end: s.now, clientPoint: x.from, srvPoint: h.point,
		protocol: protoTCP, out: flow.Accept, in: flow.Accept,
	}
	switch x.Kind {
	case KindSurge:
		t.client.Addr = surgeAddr(x.rng.n(x.Sources), h.addr.Is4())
	case KindNewService:
		if !x.source.IsValid() {
			t.client.Addr = surgeAddr(x.rng.n(20), h.addr.Is4())
		}
	case KindICMPErrors:
		t.client.Port, t.server.Port = 0, 0
	default:
	}
	if t.clientPoint >= 0 {
		if !h.addr.Is4() {
			t.client.Addr = s.points[t.clientPoint].addr6
		}
		if t.client.Port != 0 {
			// Above the range of the host's ordinary connections, whose ports
			// must not depend on whether there are attacks.
			t.client.Port = uint16(61000 + k%4536)
		}
	}
	return t
}

// surgeAddr is the n-th source of a surge, apart from every ordinary client.
func surgeAddr(n int64, four bool) flow.Addr {
	if !four {
		a := clientAddr6(n)
		a[6] = 1
		return a
	}
	if n < 1<<15 {
		return benchAddr(19, 1<<15+n)
	}
	return flow.AddrFrom4([4]byte{240 + byte(n>>16&7), byte(n >> 8), byte(n), byte(n>>16) + 1})
}

// shape gives a session its size, length and fate, after the header sizes in
// what attackers' tools send: 40 bytes are a TCP header without options, 44 one
// with the segment size alone (nmap), 56 an ICMP error that quotes 28.
func (x *assault) shape(s *Stream, t *talk) {
	r := &x.rng
	six := uint64(0)
	if !t.server.Addr.Is4() {
		six = 20
	}
	switch x.Kind {
	case KindProbeSweep:
		t.refused(2, 40+six)
	case KindPortScan, KindHostSweep:
		x.scan(s, t, 44+six)
	case KindSSHGuessing:
		t.protocol = protoTCP
		t.outPackets, t.inPackets = uint64(r.between(13, 15)), uint64(r.between(12, 14))
		t.outBytes, t.inBytes = 52*t.outPackets+1250+uint64(r.n(60)), 52*t.inPackets+1900+uint64(r.n(80))
		t.end += int32(r.between(2, 3))
	case KindBeacon:
		t.tcp(420+r.n(8), 260+r.n(8))
		t.end++
	case KindExfiltration:
		t.tcp(x.Bytes/x.Count, 20_000+r.n(4000))
		t.end += max(int32(int64(x.For/time.Second)/x.Count)-1, 1)
	case KindSurge:
		t.style = styleSYN
		t.outPackets, t.outBytes, t.inPackets, t.inBytes = 1, 60+six, 3, 3*(60+six)
		t.end += 3
	case KindCallout:
		t.tcp(3000+r.n(2000), 5000+r.n(4000))
		t.end += 30 + int32(r.n(60))
	case KindICMPErrors:
		t.protocol = protoICMP
		t.outPackets, t.outBytes = 1, 56+six
	case KindExternalDNS:
		t.protocol = protoUDP
		t.outPackets, t.outBytes, t.inPackets, t.inBytes = 1, uint64(70+r.n(20)), 1, uint64(110+r.n(90))
	case KindNewService:
		t.tcp(1500+r.n(500), 6000+r.n(4000))
		t.end += 4
	default: // a gap has no session
	}
}

// refused makes t an attempt that a security group drops.
func (t *talk) refused(packets, size uint64) {
	t.style, t.out = styleSYN, flow.Reject
	t.outPackets, t.outBytes = packets, packets*size
	t.inPackets, t.inBytes = 0, 0
}

// scan is one attempt of a scanner: a security group drops it from outside; in
// the network a closed port answers with RST; an open one with SYN-ACK.
func (x *assault) scan(s *Stream, t *talk, size uint64) {
	open := t.srvPoint >= 0 && s.open(t.srvPoint, t.server.Port)
	switch {
	case open:
		t.style = styleSYN
		t.outPackets, t.outBytes, t.inPackets, t.inBytes = 2, size+size-4, 1, size
	case x.from < 0:
		t.refused(1, size)
	default:
		t.style = styleReset
		t.outPackets, t.outBytes, t.inPackets, t.inBytes = 1, size, 1, size-4
	}
}

// open reports whether a host answers on a port.
func (s *Stream) open(point int16, port uint16) bool {
	switch s.points[point].host.Role {
	case RoleBalancer:
		return port == 443
	case RoleWeb:
		return port == 8080 || port == 22
	case RoleDatabase:
		return port == 5432
	case RoleCache:
		return port == 6379
	case RoleBastion:
		return port == 22
	case RoleFiles:
		return port == 445
	case RoleIntranet:
		return port == 443
	default:
		return false
	}
}

// skip writes a SKIPDATA record for the minute that an interface lost.
func (s *Stream) skip(point int16) {
	s.deliver(pending{kind: flow.KindSkipData, point: point, start: s.now, end: s.now + s.interval - 1})
}
