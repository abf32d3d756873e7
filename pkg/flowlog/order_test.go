package flowlog

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// busy makes what some interfaces record: they serve and are clients, strangers
// are refused, and an answer may begin a second after its question.
func busy(seed uint64, n int) []flow.Record {
	rng := rand.New(rand.NewPCG(seed, 9))
	recs := traffic(seed, n)
	out := make([]flow.Record, 0, 2*n)
	for i := range recs {
		r := recs[i]
		host := 1 + rng.IntN(6)
		own := flow.MustAddr("10.0.0." + string(rune('0'+host)))
		r.InterfaceID = "eni-" + string(rune('0'+host))
		// Every second conversation is one that a host serves.
		served := i%4 >= 2
		if (i%2 == 0) != served {
			r.Src.Addr, r.Direction = own, flow.Egress
		} else {
			r.Dst.Addr, r.Direction = own, flow.Ingress
		}
		if i%2 == 1 {
			mate := &out[len(out)-1] // both directions are of one interface
			r.Src, r.Dst, r.InterfaceID = mate.Dst, mate.Src, mate.InterfaceID
			r.Start = mate.Start + flow.Time(rng.IntN(2))
			r.End = max(r.End, r.Start)
			out = append(out, r)
			if i%8 == 3 {
				out = append(out, refused1(&r, rng))
			}
			continue
		}
		out = append(out, r)
	}
	return out
}

// refused1 is an attempt from outside that a security group has dropped, at the
// interface of r.
func refused1(r *flow.Record, rng *rand.Rand) flow.Record {
	p := *r
	if r.Direction == flow.Egress {
		p.Dst.Addr = r.Src.Addr
	}
	p.Src.Addr = flow.MustAddr("198.51.100." + string(rune('1'+rng.IntN(9))))
	p.Src.Port, p.Dst.Port = uint16(40000+rng.IntN(9999)), 23
	p.Protocol, p.TCPFlags, p.Packets, p.Bytes = 6, flow.SYN, 1, 40
	p.Action, p.Direction = flow.Reject, flow.Ingress
	return p
}

// same reports whether what was read is what was written.
func same(got, want *flow.Record) bool {
	return got.Src == want.Src && got.Dst == want.Dst && got.Protocol == want.Protocol && got.Packets == want.Packets &&
		got.Bytes == want.Bytes && got.Start == want.Start && got.End == want.End &&
		got.PktSrc == want.PktSrc && got.PktDst == want.PktDst
}

// layoutOfNames is the layout of a list of names.
func layoutOfNames(t *testing.T, names string) *Format {
	t.Helper()
	f, err := ParseFormat(names)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// readAs decodes records written in a layout, without configuration, and
// returns the layout they were read with, or nil and the first reason.
func readAs(t *testing.T, f *Format, recs []flow.Record) (*Format, string) {
	t.Helper()
	d, k := decode(t, Config{}, flow.Origin{Source: "s"}, written(f, recs))
	if len(k.records) == 0 {
		for i := range k.rejects {
			if k.rejects[i].Class != ClassLayout {
				t.Fatalf("%s: %s", f, k.rejects[i].Reason)
			}
		}
		return nil, k.rejects[0].Reason
	}
	for i := range k.records {
		if i >= len(recs) || len(k.records) == len(recs) && !same(&k.records[i], &recs[i]) {
			t.Fatalf("%s was read as %s:\n%+v\n%+v", f, d.Choices()[0].Format, k.records[i], recs[i])
		}
	}
	if len(k.records) != len(recs) {
		t.Fatalf("%s: %d records of %d, %q", f, len(k.records), len(recs), k.rejects[0].Reason)
	}
	return d.Choices()[0].Format, d.Choices()[0].Why
}

// Whatever the order of its pairs and whatever they stand among, a layout is read
// right or asked for.
func TestOrderIsNeverWrong(t *testing.T) {
	right, turned, asked := 0, 0, 0
	for seed := range uint64(120) {
		rng := rand.New(rand.NewPCG(seed, 3))
		f := shuffled(t, rng)
		list := f.String()
		isTurned := strings.Index(list, "dstport") < strings.Index(list, "srcport") || strings.Index(list, "dstaddr") < strings.Index(list, "srcaddr")
		chosen, _ := readAs(t, f, busy(seed, 60+int(seed)))
		switch {
		case chosen == nil:
			asked++
		case isTurned:
			turned++
		default:
			right++
		}
	}
	t.Logf("%d layouts in the usual order and %d in another were worked out, %d asked for", right, turned, asked)
	if right < 20 || turned < 5 || asked == 0 {
		t.Error("the rule has become useless, or the test")
	}
}

// shuffled draws a layout with its fields in any order at all.
func shuffled(t *testing.T, rng *rand.Rand) *Format {
	names := strings.Fields(customLayout(rng).String())
	rng.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	if rng.IntN(2) == 0 { // the usual order in half of them
		for _, pair := range [...][2]string{{"${srcaddr}", "${dstaddr}"}, {"${srcport}", "${dstport}"}} {
			i, j := slices.Index(names, pair[0]), slices.Index(names, pair[1])
			if i > j {
				names[i], names[j] = names[j], names[i]
			}
		}
	}
	return layoutOfNames(t, strings.Join(names, " "))
}

const (
	telling = "interface-id SRC DST PSRC PDST protocol packets bytes start end action tcp-flags flow-direction log-status"
	silent  = "account-id SRC DST PSRC PDST protocol packets bytes start end action log-status"
)

func withPairs(layout, addrs, ports string) string {
	a, p := strings.Fields(addrs), strings.Fields(ports)
	return strings.NewReplacer("PSRC", p[0], "PDST", p[1], "SRC", a[0], "DST", a[1]).Replace(layout)
}

// The four orders of the two pairs: with proof all are told, without it none
// but asked for, with both candidates and the key to set in the reason.
func TestOrderOfPairs(t *testing.T) {
	for _, addrs := range []string{"srcaddr dstaddr", "dstaddr srcaddr"} {
		for _, ports := range []string{"srcport dstport", "dstport srcport"} {
			f := layoutOfNames(t, withPairs(telling, addrs, ports))
			if got, why := readAs(t, f, busy(1, 200)); got == nil || got.String() != f.String() || !strings.Contains(why, "prove") {
				t.Errorf("%s %s: read as %v: %s", addrs, ports, got, why)
			}
			f = layoutOfNames(t, withPairs(silent, addrs, ports))
			got, why := readAs(t, f, traffic(1, 200))
			named := strings.Contains(why, f.String()) || strings.Contains(why, "one pair exchanged")
			if got != nil || !named || !strings.Contains(why, "srcaddr and dstaddr, and of srcport and dstport") || !strings.Contains(why, "logs.format") {
				t.Errorf("%s %s: read as %v: %s", addrs, ports, got, why)
			}
		}
	}
}

// Support speaks for the usual order only: without flags and direction that one
// is taken when refused and first packets go its way, the other is asked for.
func TestOrderSupported(t *testing.T) {
	layout := strings.NewReplacer(" tcp-flags flow-direction", "").Replace(telling)
	f := layoutOfNames(t, withPairs(layout, "srcaddr dstaddr", "srcport dstport"))
	if got, why := readAs(t, f, busy(2, 200)); got == nil || got.String() != f.String() || !strings.Contains(why, "not proved") {
		t.Errorf("read as %v: %s", got, why)
	}
	for _, pairs := range [][2]string{{"dstaddr srcaddr", "srcport dstport"}, {"srcaddr dstaddr", "dstport srcport"}, {"dstaddr srcaddr", "dstport srcport"}} {
		f := layoutOfNames(t, withPairs(layout, pairs[0], pairs[1]))
		if got, why := readAs(t, f, busy(2, 200)); got != nil || !strings.Contains(why, f.String()) {
			t.Errorf("%v: read as %v: %s", pairs, got, why)
		}
	}
}

// AWS's own orders need no configuration, whatever the traffic; one that looks
// like them with a pair exchanged is found out where there is proof.
func TestOrderDocumented(t *testing.T) {
	for _, v := range []uint8{2, 3, 5, 11} {
		for _, recs := range [][]flow.Record{busy(3, 120), traffic(3, 120), traffic(3, 4)} {
			if got, why := readAs(t, UpTo(v), recs); got == nil || got.String() != UpTo(v).String() {
				t.Errorf("version %d: read as %v: %s", v, got, why)
			}
		}
	}
	names := UpTo(5).String()
	for _, pair := range [][2]string{{"srcaddr", "dstaddr"}, {"srcport", "dstport"}} {
		a, b := "${"+pair[0]+"}", "${"+pair[1]+"}"
		f := layoutOfNames(t, strings.NewReplacer(a, b, b, a).Replace(names))
		recs := busy(3, 200)
		for i := range recs { // a scanner from port 53 changes nothing
			if recs[i].Action == flow.Reject && i%3 == 0 {
				recs[i].Src.Port, recs[i].Dst.Port = 53, 40000
			}
		}
		if got, why := readAs(t, f, recs); got == nil || got.String() != f.String() {
			t.Errorf("%v exchanged: read as %v: %s", pair, got, why)
		}
	}
}

// Only a scanner's packets, with a service's port as their source: they prove
// nothing about the layout.
func TestOrderScanner(t *testing.T) {
	var recs []flow.Record
	for i := range 100 {
		r := traffic(1, 1)[0]
		r.Protocol, r.TCPFlags, r.Action, r.Direction = 6, flow.SYN, flow.Reject, flow.Ingress
		r.Src, r.Dst = flow.Endpoint{Addr: flow.MustAddr("198.51.100.7"), Port: 53}, flow.Endpoint{Addr: flow.MustAddr("10.0.0.5"), Port: uint16(33000 + i)}
		recs = append(recs, r)
	}
	if got, why := readAs(t, UpTo(5), recs); got == nil || got.String() != UpTo(5).String() {
		t.Errorf("read as %v: %s", got, why)
	}
}

// The default and two more addresses: they are told by being equal.
func TestOrderOfPacketAddresses(t *testing.T) {
	recs := busy(4, 100)
	for i := range recs {
		recs[i].PktSrc, recs[i].PktDst = recs[i].Src.Addr, recs[i].Dst.Addr
		if i%5 == 0 { // a NAT gateway: the far end differs
			recs[i].PktDst = flow.MustAddr("192.0.2.1")
		}
	}
	for _, more := range []string{" pkt-srcaddr pkt-dstaddr", " pkt-dstaddr tcp-flags pkt-srcaddr"} {
		f := layoutOfNames(t, V2().String()+more)
		if got, why := readAs(t, f, recs); got == nil || got.String() != f.String() {
			t.Errorf("%s: read as %v: %s", more, got, why)
		}
	}
	for i := range recs {
		recs[i].PktSrc, recs[i].PktDst = flow.MustAddr("192.0.2.1"), flow.MustAddr("192.0.2.2")
	}
	if got, why := readAs(t, layoutOfNames(t, V2().String()+" pkt-srcaddr pkt-dstaddr"), recs); got != nil || !strings.Contains(why, "pkt-srcaddr and pkt-dstaddr") {
		t.Errorf("read as %v: %s", got, why)
	}
	f := layoutOfNames(t, withPairs(telling, "srcaddr dstaddr pkt-srcaddr pkt-dstaddr", "srcport dstport")+" pkt-srcaddr pkt-dstaddr")
	if got, why := readAs(t, f, recs); got != nil || !strings.Contains(why, "pkt-srcaddr") {
		t.Errorf("read as %v: %s", got, why)
	}
}

// Times: start and end are told by any interval that is longer than a second,
// and a layout with them exchanged is not taken for a known one.
func TestOrderOfTimes(t *testing.T) {
	swap := strings.NewReplacer("start", "end", "end", "start")
	f := layoutOfNames(t, swap.Replace(withPairs(telling, "srcaddr dstaddr", "srcport dstport")))
	recs := busy(5, 200)
	if got, why := readAs(t, f, recs); got == nil || got.String() != f.String() {
		t.Errorf("read as %v: %s", got, why)
	}
	for i := range recs {
		recs[i].End = recs[i].Start
	}
	if got, why := readAs(t, f, recs); got != nil || !strings.Contains(why, "equal in all") {
		t.Errorf("read as %v: %s", got, why)
	}
	for i := range recs {
		recs[i].End = recs[i].Start + flow.Time(i%5/4)*30 // one in five has an interval
	}
	d, k := decode(t, Config{}, flow.Origin{Source: "s"}, written(layoutOfNames(t, swap.Replace(V2().String())), recs))
	for i := range k.records {
		if k.records[i].Start > k.records[i].End {
			t.Fatalf("read as %s", d.Choices()[0].Format)
		}
	}
	if len(k.records) > 0 && len(k.rejects) > 0 {
		t.Errorf("%d records and %d rejects of one layout", len(k.records), len(k.rejects))
	}
}

// Two columns of one shape are not told apart by which comes first.
func TestOrderOfTwins(t *testing.T) {
	recs := busy(6, 100)
	for i := range recs {
		recs[i].Attrs = []flow.Attr{{Name: "next-hop-interface-id", Value: "eni-9"}, {Name: "next-hop-vpc-id", Value: "vpc-9"}}
	}
	base := withPairs(telling, "srcaddr dstaddr", "srcport dstport")
	for _, c := range []struct{ layout, want string }{
		{"version next-hop-interface-id " + base, "both look like interface-id"},
		{base + " vpc-id next-hop-vpc-id", "both look like vpc-id"},
		{V2().String() + " next-hop-vpc-id vpc-id", "both look like vpc-id"},
	} {
		if got, why := readAs(t, layoutOfNames(t, c.layout), recs); got != nil || !strings.Contains(why, c.want) {
			t.Errorf("%s: read as %v: %s", c.layout, got, why)
		}
	}
	// What is "-" towards the world is a next hop: kept as text, never the interface.
	for i := range recs {
		recs[i].Version = 11
		if i%2 == 0 {
			recs[i].Attrs = nil
		}
	}
	got, why := readAs(t, layoutOfNames(t, "version next-hop-interface-id "+base), recs)
	if got == nil || got.Names()[1] != "field-2" || got.Names()[2] != "interface-id" {
		t.Errorf("read as %v: %s", got, why)
	}
}
