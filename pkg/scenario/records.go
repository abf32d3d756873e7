package scenario

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// spec is a flow or talk line while it is read.
type spec struct {
	r       flow.Record
	talk    bool
	out, in [2]uint64 // packets, bytes
	bytes   bool      // given, not derived
	ours    string
	dirSet  bool
}

// records reads flow, talk, nodata and skipdata.
func (p *parser) records(word string, args []string) error {
	if len(args) < 2 {
		return fmt.Errorf("%s: write a time and an interface", word)
	}
	at, err := seconds(args[0])
	if err != nil {
		return err
	}
	s := spec{talk: word == "talk", out: [2]uint64{1, 100}, in: [2]uint64{1, 100}}
	s.r.Start = p.s.Start + flow.Time(at)
	s.r.End = s.r.Start
	s.r.InterfaceID, s.r.Origin.LogGroup, _ = strings.Cut(args[1], "@")
	args = args[2:]
	if word == "nodata" || word == "skipdata" {
		s.r.Kind = flow.KindNoData
		if word == "skipdata" {
			s.r.Kind = flow.KindSkipData
		}
		s.r.End += 60
		return p.finish(&s, args)
	}
	if len(args) < 4 || args[2] != "->" {
		return fmt.Errorf("%s: write a protocol, a source, -> and a destination", word)
	}
	if s.r.Protocol, err = protocol(args[0]); err != nil {
		return err
	}
	if s.r.Src, err = endpoint(args[1]); err != nil {
		return err
	}
	if s.r.Dst, err = endpoint(args[3]); err != nil {
		return err
	}
	s.r.Action = flow.Accept
	return p.finish(&s, args[4:])
}

// finish reads the options and adds the record, or both.
func (p *parser) finish(s *spec, args []string) error {
	for len(args) > 0 {
		n, err := s.option(args)
		if err != nil {
			return err
		}
		args = args[n:]
	}
	if !s.talk {
		s.own("src", "dst")
		if s.r.Kind == flow.KindFlow {
			s.r.Packets, s.r.Bytes = s.out[0], s.out[1]
			if !s.bytes {
				s.r.Bytes = 100 * s.out[0]
			}
		}
		p.add(Step{Op: OpFlow, Record: s.r})
		return nil
	}
	s.own("client", "server")
	if !s.dirSet {
		s.r.Direction = map[string]flow.Direction{"client": flow.Egress, "server": flow.Ingress}[s.ours]
	}
	s.r.Packets, s.r.Bytes = s.out[0], s.out[1]
	if s.out[0] > 0 {
		p.add(Step{Op: OpFlow, Record: s.r})
	}
	if s.in[0] > 0 {
		p.add(Step{Op: OpFlow, Record: s.reply()})
	}
	return nil
}

func (s *spec) own(src, dst string) {
	switch s.ours {
	case src:
		s.r.Owned = flow.OwnSrc
	case dst:
		s.r.Owned = flow.OwnDst
	case "both":
		s.r.Owned = flow.OwnSrc | flow.OwnDst
	}
}

// reply turns the client's record of a talk into the server's.
func (s *spec) reply() flow.Record {
	r := s.r
	r.Src, r.Dst, r.PktSrc, r.PktDst = r.Dst, r.Src, r.PktDst, r.PktSrc
	r.SrcService, r.DstService = r.DstService, r.SrcService
	r.Packets, r.Bytes, r.Action, r.Path = s.in[0], s.in[1], flow.Accept, 0
	r.Owned = r.Owned>>1 | r.Owned&1<<1
	if r.Direction != flow.DirectionUnknown {
		r.Direction = flow.Ingress + flow.Egress - r.Direction
	}
	if r.TCPFlags&flow.SYN != 0 {
		r.TCPFlags |= flow.ACK
	}
	return r
}

// option reads one option and returns how many words it took.
func (s *spec) option(args []string) (int, error) {
	switch args[0] {
	case "accept":
		s.r.Action = flow.Accept
	case "reject":
		s.r.Action = flow.Reject
		if s.talk {
			s.in = [2]uint64{}
		}
	case "egress", "ingress":
		s.r.Direction, s.dirSet = flow.Egress, true
		if args[0] == "ingress" {
			s.r.Direction = flow.Ingress
		}
	case "none":
		s.r.Direction, s.dirSet = flow.DirectionUnknown, true
	case "pkt":
		return s.pkt(args)
	case "attr":
		if len(args) < 3 {
			return 0, fmt.Errorf("attr: write a name and a value")
		}
		s.r.Attrs = append(s.r.Attrs[:len(s.r.Attrs):len(s.r.Attrs)], flow.Attr{Name: args[1], Value: args[2]})
		return 3, nil
	default:
		if len(args) < 2 {
			return 0, fmt.Errorf("%q is no option, or has no value", args[0])
		}
		return 2, s.valued(args[0], args[1])
	}
	return 1, nil
}

func (s *spec) pkt(args []string) (n int, err error) {
	if len(args) < 4 || args[2] != "->" {
		return 0, fmt.Errorf("pkt: write a source, -> and a destination address")
	}
	if s.r.PktSrc, err = flow.ParseAddr(args[1]); err == nil {
		s.r.PktDst, err = flow.ParseAddr(args[3])
	}
	return 4, err
}

// valued reads an option of one value.
func (s *spec) valued(name, v string) (err error) {
	text := map[string]*string{
		"vpc": &s.r.VPCID, "account": &s.r.AccountID, "subnet": &s.r.SubnetID, "instance": &s.r.InstanceID,
		"srcservice": &s.r.SrcService, "dstservice": &s.r.DstService,
	}
	if to := text[name]; to != nil {
		*to = v
		return nil
	}
	switch name {
	case "packets":
		s.out[0], err = strconv.ParseUint(v, 10, 64)
	case "bytes":
		s.bytes = true
		s.out[1], err = strconv.ParseUint(v, 10, 64)
	case "out":
		s.bytes = true
		s.out, err = counts(v)
	case "in":
		s.in, err = counts(v)
	case "lasts":
		d, err := seconds(v)
		s.r.End = s.r.Start + flow.Time(d)
		return err
	case "flags":
		s.r.TCPFlags, s.r.HasFlags, err = flags(v)
	case "path":
		var n uint64
		n, err = strconv.ParseUint(v, 10, 4)
		s.r.Path = uint8(n)
	case "ours":
		s.ours = v
		if !slices.Contains([]string{"src", "dst", "both", "client", "server"}, v) {
			return fmt.Errorf("ours: %q is no side: write src, dst, client, server or both", v)
		}
	default:
		return fmt.Errorf("%q is no option of a record", name)
	}
	if err != nil {
		return fmt.Errorf("%s: %q is not what it takes: %w", name, v, err)
	}
	return nil
}

// counts reads packets/bytes.
func counts(v string) (c [2]uint64, err error) {
	a, b, ok := strings.Cut(v, "/")
	if c[0], err = strconv.ParseUint(a, 10, 64); err != nil {
		return c, err
	}
	if c[1] = 100 * c[0]; ok {
		c[1], err = strconv.ParseUint(b, 10, 64)
	}
	return c, err
}

// flags reads SYN+ACK or a number; - is a field without a value.
func flags(v string) (f uint8, has bool, err error) {
	if v == "-" {
		return 0, false, nil
	}
	if n, err := strconv.ParseUint(v, 10, 8); err == nil {
		return uint8(n), true, nil
	}
	for _, w := range strings.Split(strings.ToUpper(v), "+") {
		switch w {
		case "FIN":
			f |= flow.FIN
		case "SYN":
			f |= flow.SYN
		case "RST":
			f |= flow.RST
		case "ACK":
			f |= flow.ACK
		default:
			return 0, false, fmt.Errorf("%q is no flag that flow logs have: FIN, SYN, RST, ACK", w)
		}
	}
	return f, true, nil
}

func protocol(v string) (uint8, error) {
	for _, p := range []struct {
		name string
		n    uint8
	}{{"icmp", 1}, {"tcp", 6}, {"udp", 17}, {"gre", 47}, {"esp", 50}, {"icmpv6", 58}} {
		if v == p.name {
			return p.n, nil
		}
	}
	n, err := strconv.ParseUint(v, 10, 8)
	if err != nil {
		return 0, fmt.Errorf("%q is no protocol: write tcp, udp, icmp, icmpv6, gre, esp or a number", v)
	}
	return uint8(n), nil
}

func endpoint(v string) (flow.Endpoint, error) {
	if a, err := flow.ParseAddr(v); err == nil {
		return flow.Endpoint{Addr: a}, nil
	}
	ap, err := netip.ParseAddrPort(v)
	if err != nil {
		return flow.Endpoint{}, fmt.Errorf("%q is no endpoint: write 10.0.0.1:443, [2001:db8::1]:443 or an address", v)
	}
	return flow.Endpoint{Addr: flow.AddrFrom(ap.Addr()), Port: ap.Port()}, nil
}
