package eval

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/flowlog"
)

// TCP, UDP and ICMP, and the sizes of packets that most talks here consist of.
const (
	tcp, udp, icmp, icmp6 = 6, 17, 1, 58
	synLinux, synWindows  = 60, 52
	synNmap               = 44
)

// reply is what becomes of a talk's packets.
type reply uint8

const (
	answered reply = iota
	silent         // accepted, and nobody answers
	refused        // REJECT of a security group
	reset          // accepted, and answered by RST
)

// talk is one conversation of a variety: what each end sends, evenly spread
// from at over lasts seconds.
type talk struct {
	at, lasts      int64 // seconds since the start
	client, server string
	cport, sport   uint16
	proto          uint8
	out, in        uint64 // packets
	outB, inB      uint64
	reply          reply
}

// variety is traffic of some networks of ours, as VPC flow logs show it.
type variety struct {
	name     string
	interval int64 // aggregation, seconds
	flags    bool  // version 5, else 2
	v6       bool
	r        *rand.Rand
	talks    []talk
	port     uint16
}

// start is a Tuesday morning, so that neither day nor week turns.
const varietyStart = flow.Time(1_772_524_800)

func newVariety(name string, interval int64, flags, v6 bool) *variety {
	h := fnv.New64a()
	fmt.Fprint(h, name)
	return &variety{name: name, interval: interval, flags: flags, v6: v6, r: rand.New(rand.NewPCG(h.Sum64(), 7)), port: 33000}
}

// ours and theirs are addresses inside and outside.
func (v *variety) ours(n int) string {
	if v.v6 {
		return fmt.Sprintf("2001:db8:1:%x::%x", n/200, n%200+16)
	}
	return fmt.Sprintf("10.20.%d.%d", n/200, n%200+10)
}

func (v *variety) theirs(n int) string {
	if v.v6 {
		return fmt.Sprintf("2001:db8:ffff:%x::%x", n/200, n%200+1)
	}
	return fmt.Sprintf("198.%d.%d.%d", 18+n/50000, n/200%250, n%200+1)
}

func (v *variety) cport() uint16 {
	if v.port++; v.port > 60000 {
		v.port = 33000
	}
	return v.port
}

func (v *variety) add(t talk) {
	if t.proto == 0 {
		t.proto = tcp
	}
	if t.cport == 0 && (t.proto == tcp || t.proto == udp) {
		t.cport = v.cport()
	}
	v.talks = append(v.talks, t)
}

// try is an attempt that comes to nothing.
func (v *variety) try(at int64, client, server string, port uint16, how reply, packets, size uint64) {
	if v.v6 {
		size += 20 // what its header is longer
	}
	t := talk{at: at, client: client, server: server, sport: port, out: packets, outB: packets * size, reply: how}
	if packets > 1 {
		t.lasts = 1
	}
	if how == reset {
		t.in, t.inB = 1, v.bare()
	}
	v.add(t)
}

// bare is a TCP packet without options.
func (v *variety) bare() uint64 {
	if v.v6 {
		return 60
	}
	return 40
}

// visit is an ordinary session of a client.
func (v *variety) visit(at, lasts int64, client, server string, port uint16, out, in uint64) {
	m := in/1200 + 5
	n := max(out/800+6, m/2) // what comes is acknowledged
	v.add(talk{at: at, lasts: lasts, client: client, server: server, sport: port, out: n, outB: out + n*52, in: m, inB: in + m*52})
}

// every calls do so often, with the time of each.
func (v *variety) every(from, to, step, jitter int64, do func(at int64, i int)) {
	for i, at := 0, from; at < to; i++ {
		j := int64(0)
		if jitter > 0 {
			j = v.r.Int64N(2*jitter+1) - jitter
		}
		do(max(at+j, 0), i)
		at += step
	}
}

// random calls do at random times, a mean of gap seconds apart.
func (v *variety) random(from, to int64, gap float64, do func(at int64)) {
	for at := float64(from); ; {
		if at += v.r.ExpFloat64() * gap; int64(at) >= to {
			return
		}
		do(int64(at))
	}
}

// background is the ordinary traffic of six servers and four workstations.
func (v *variety) background(to int64) {
	v.random(0, to, 8, func(at int64) { // customers of two web servers, each with a fleet's other ends
		w := v.ours(v.r.IntN(2))
		v.visit(at, v.r.Int64N(20), v.theirs(1000+v.r.IntN(150)), w, 443, 500+v.r.Uint64N(3000), 2000+v.r.Uint64N(60000))
		v.visit(at, 1, w, v.ours(2+v.r.IntN(2)), 8080, 400, 2000)
	})
	v.random(0, to, 30, func(at int64) { v.visit(at, 1, v.ours(2+v.r.IntN(2)), v.ours(4), 5432, 900, 4000) })
	v.random(0, to, 25, func(at int64) { // people
		v.visit(at, v.r.Int64N(60), v.ours(20+v.r.IntN(4)), v.theirs(2000+int(v.r.ExpFloat64()*30)), 443, 800+v.r.Uint64N(4000), 3000+v.r.Uint64N(400000))
	})
	v.random(0, to, 900, func(at int64) {
		v.try(at, v.ours(20+v.r.IntN(4)), v.theirs(2500+v.r.IntN(50)), 443, silent, 4, synLinux)
	})
}

// piece names what one interface sees in one direction in an interval.
type piece struct {
	eni, src, dst string
	sport, dport  uint16
	proto         uint8
	action        flow.Action
	window        int64
}

// records returns what the flow log shows, in the order of delivery.
func (v *variety) records() ([]flow.Record, error) {
	owners, err := flowlog.NewOwners(flowlog.OwnersConfig{})
	if err != nil {
		return nil, err
	}
	sums := map[piece]*flow.Record{}
	var order []piece
	for i := range v.talks {
		t := &v.talks[i]
		for _, host := range []string{t.client, t.server} {
			if v.isOurs(host) {
				order = v.seen(t, host, sums, order)
			}
		}
	}
	type late struct {
		at int64
		r  *flow.Record
	}
	list := make([]late, 0, len(order))
	for _, p := range order {
		delay := int64(phase(fmt.Sprint(p.eni, p.window), 40))
		list = append(list, late{p.window + v.interval + delay, sums[p]})
	}
	slices.SortStableFunc(list, func(a, b late) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.r.Start, b.r.Start), cmp.Compare(a.r.InterfaceID, b.r.InterfaceID))
	})
	out := make([]flow.Record, 0, len(list))
	for _, l := range list {
		owners.Stamp(l.r)
		out = append(out, *l.r)
	}
	return out, nil
}

func (v *variety) isOurs(a string) bool {
	return a[:3] == "10." || len(a) > 11 && a[:11] == "2001:db8:1:"
}

func phase(name string, n uint64) uint64 {
	h := fnv.New64a()
	fmt.Fprint(h, name)
	return h.Sum64() % n
}

// seen adds what the interface of host sees of a talk.
func (v *variety) seen(t *talk, host string, sums map[piece]*flow.Record, order []piece) []piece {
	eni := "eni-" + host
	first := int64(phase(eni, uint64(v.interval))) - v.interval
	for w := first + (t.at-first)/v.interval*v.interval; w <= t.at+t.lasts; w += v.interval {
		for _, back := range []bool{false, true} {
			packets, bytes := t.out, t.outB
			if back {
				packets, bytes = t.in, t.inB
			}
			n0, n1 := t.sent(packets, w), t.sent(packets, w+v.interval)
			if n1 == n0 {
				continue
			}
			p := piece{eni: eni, src: t.client, dst: t.server, sport: t.cport, dport: t.sport, proto: t.proto, action: flow.Accept, window: w}
			if t.reply == refused {
				if p.action = flow.Reject; host == t.client {
					p.action = flow.Accept // its own group lets it out
				}
			}
			if back {
				p.src, p.dst, p.sport, p.dport = p.dst, p.src, p.dport, p.sport
			}
			r := sums[p]
			if r == nil {
				r = v.record(&p, host)
				sums[p] = r
				order = append(order, p)
			}
			r.Packets += n1 - n0
			r.Bytes += bytes*n1/packets - bytes*n0/packets
			from, to := varietyStart.Add(max(w, t.at)), varietyStart.Add(min(w+v.interval-1, t.at+t.lasts))
			if n1-n0 == 1 && w <= t.at {
				to = from
			}
			if r.Start == 0 || from < r.Start {
				r.Start = from
			}
			r.End = max(r.End, to)
			if v.flags && t.proto == tcp {
				r.TCPFlags |= t.flags(back, w, w+v.interval)
				r.HasFlags = true
			}
		}
	}
	return order
}

func (v *variety) record(p *piece, host string) *flow.Record {
	r := &flow.Record{
		Version: 2, Protocol: p.proto, Action: p.action, AccountID: "123456789012", InterfaceID: p.eni,
		Src: flow.Endpoint{Addr: flow.MustAddr(p.src), Port: p.sport}, Dst: flow.Endpoint{Addr: flow.MustAddr(p.dst), Port: p.dport},
	}
	if v.flags {
		r.Version, r.VPCID, r.PktSrc, r.PktDst, r.Direction = 5, "vpc-1", r.Src.Addr, r.Dst.Addr, flow.Ingress
		if host == p.src {
			r.Direction = flow.Egress
		}
	}
	return r
}

// sent is how many of n packets went before second b: the first at once, the
// last at the end.
func (t *talk) sent(n uint64, b int64) uint64 {
	switch {
	case n == 0 || b <= t.at:
		return 0
	case b > t.at+t.lasts:
		return n
	}
	return 1 + (n-1)*uint64(b-t.at)/uint64(t.lasts+1)
}

func (t *talk) flags(back bool, a, b int64) (f uint8) {
	if t.at >= a {
		f = flow.SYN
		if back {
			f |= flow.ACK
		}
	}
	switch {
	case t.reply == reset && back:
		return flow.RST
	case t.reply == answered && t.at+t.lasts < b:
		f |= flow.FIN
	}
	return f
}
