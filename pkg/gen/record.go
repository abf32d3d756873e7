package gen

import "github.com/flowstitch/flowstitch/pkg/flow"

// record writes what l's interface saw in the interval that ends now, and
// schedules the next interval if the talk goes on.
func (s *Stream) record(l *live) {
	a, b := s.now-s.interval, s.now
	first, last := max(a, l.start), min(b-1, l.end)
	egress := l.point == l.clientPoint
	if p, n := cut(l.outPackets, l.outBytes, l.start, l.end, a, b); p > 0 {
		s.deliver(pending{
			src: l.client, dst: l.server, packets: p, bytes: n, start: first, end: lastSecond(l, p, first, last),
			point: l.point, protocol: l.protocol, flags: l.flags(false, a, b),
			action: l.out, direction: side(egress), amazonDst: l.amazon,
		})
	}
	if p, n := cut(l.inPackets, l.inBytes, l.start, l.end, a, b); p > 0 {
		s.deliver(pending{
			src: l.server, dst: l.client, packets: p, bytes: n, start: first, end: lastSecond(l, p, first, last),
			point: l.point, protocol: l.protocol, flags: l.flags(true, a, b),
			action: l.in, direction: side(!egress), amazonSrc: l.amazon,
		})
	}
	if l.end >= b {
		next := (b + s.interval) & (slots - 1)
		s.talks[next] = append(s.talks[next], *l)
		s.waiting++
	}
}

// lastSecond is when the last of p packets went: a single one went at once.
func lastSecond(l *live, p uint64, first, last int32) int32 {
	if p == 1 && first == l.start {
		return first
	}
	return last
}

func side(egress bool) flow.Direction {
	if egress {
		return flow.Egress
	}
	return flow.Ingress
}

func (s *Stream) deliver(p pending) {
	s.seen[p.point] = true
	at := (s.now + s.delay(p.point)) & (slots - 1)
	s.out[at] = append(s.out[at], p)
	s.waiting++
}

// delay is how late the interval that ends now is delivered for a point: all
// its records come together, as a batch of the delivery service does.
func (s *Stream) delay(point int16) int32 {
	r := rng{s.points[point].noiseState ^ uint64(s.now)<<20}
	return int32(r.n(int64(s.sc.Delay.Seconds()) + 1))
}

// idle writes a NODATA record for each interface whose interval ends now
// without traffic.
func (s *Stream) idle() {
	phase := s.now % s.interval
	for _, i := range s.phases[phase] {
		if !s.seen[i] && s.now >= s.interval && s.now < s.duration+s.interval {
			s.deliver(pending{kind: flow.KindNoData, point: i, start: s.now - s.interval, end: s.now - 1})
		}
		s.seen[i] = false
	}
}

// fill turns what was delivered into a record of the flow log.
func (s *Stream) fill(r *flow.Record, p *pending) {
	pt := &s.points[p.point]
	r.Reset()
	r.Kind = p.kind
	r.AccountID, r.InterfaceID = s.sc.Network.Account, pt.id
	r.VPCID, r.SubnetID, r.InstanceID, r.Region = s.sc.Network.VPC, pt.subnet, pt.instance, s.sc.Network.Region
	r.Start, r.End = s.origin.Add(int64(p.start)), s.origin.Add(int64(p.end))
	if p.kind != flow.KindFlow {
		return
	}
	r.Src, r.Dst, r.PktSrc, r.PktDst = p.src, p.dst, p.src.Addr, p.dst.Addr
	r.Protocol, r.Action, r.Direction = p.protocol, p.action, p.direction
	r.Packets, r.Bytes = p.packets, p.bytes
	r.TCPFlags, r.HasFlags = p.flags, p.protocol == protoTCP
	r.Attrs = append(r.Attrs, flow.Attr{Name: "type", Value: family(p.src.Addr)})
	if p.direction == flow.Egress {
		r.Path = s.path(p.dst.Addr)
	}
	if p.amazonSrc {
		r.SrcService = "S3"
	}
	if p.amazonDst {
		r.DstService = "S3"
	}
}

// family is the value of the type field.
func family(a flow.Addr) string {
	if a.Is4() {
		return "IPv4"
	}
	return "IPv6"
}

// Values of traffic-path: to another interface of the VPC, or through the
// Internet gateway.
const (
	pathSameVPC = 1
	pathGateway = 8
)

func (s *Stream) path(dst flow.Addr) uint8 {
	for i := range s.points {
		if p := &s.points[i]; p.addr4 == dst || p.addr6 == dst {
			return pathSameVPC
		}
	}
	return pathGateway
}
