package flowlog

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// traffic makes records of both directions with the given seed.
func traffic(seed uint64, n int) []flow.Record {
	rng := rand.New(rand.NewPCG(seed, 1))
	out := make([]flow.Record, 0, n)
	for len(out) < n {
		host, peer := rng.IntN(200)+1, rng.IntN(200)+1
		r := flow.Record{
			Version: 5, Protocol: []uint8{6, 6, 17, 1}[rng.IntN(4)], Action: flow.Accept,
			Packets: uint64(rng.IntN(500) + 1), Start: flow.Time(1616729292 + rng.IntN(5000)),
			AccountID: "123456789010", InterfaceID: fmt.Sprintf("eni-%017d", host), VPCID: "vpc-1", SubnetID: "subnet-1", InstanceID: "i-0123",
			Region: "us-east-1", Direction: flow.Egress, HasFlags: true,
			Attrs: []flow.Attr{{Name: "type", Value: "IPv4"}, {Name: "az-id", Value: "use1-az1"}},
		}
		r.End = r.Start + flow.Time(rng.IntN(60))
		r.Bytes = r.Packets * uint64(40+rng.IntN(1400))
		r.Src = flow.Endpoint{Addr: flow.MustAddr(fmt.Sprintf("10.0.0.%d", host)), Port: uint16(rng.IntN(28000) + 32768)}
		r.Dst = flow.Endpoint{Addr: flow.MustAddr(fmt.Sprintf("203.0.113.%d", peer)), Port: []uint16{22, 53, 443, 3306}[rng.IntN(4)]}
		switch r.Protocol {
		case 6:
			r.TCPFlags = flow.SYN
		case 1:
			r.Src.Port, r.Dst.Port = 0, 0
		}
		back := r
		back.Src, back.Dst, back.Direction = r.Dst, r.Src, flow.Ingress
		if r.Protocol == 6 {
			back.TCPFlags = flow.SYN | flow.ACK
		}
		out = append(out, r, back)
	}
	return out
}

func written(f *Format, recs []flow.Record) []byte {
	var b []byte
	for i := range recs {
		b = append(f.AppendLine(b, &recs[i]), '\n')
	}
	return b
}

// Every layout in AWS's order is found from its values, and is the right one.
func TestInferKnownLayouts(t *testing.T) {
	for v := uint8(2); v <= 11; v++ {
		f := UpTo(v)
		d, k := decode(t, Config{}, flow.Origin{Source: "s"}, written(f, traffic(uint64(v), 100)))
		c := d.Choices()
		if len(k.records) != 100 || len(c) != 1 || c[0].Format.String() != f.String() || c[0].Confidence < 90 {
			t.Errorf("version %d: %d records, %d rejects, %+v", v, len(k.records), len(k.rejects), c)
		}
	}
}

// A custom layout is worked out of the values, or configuration is asked for:
// it is never guessed wrong.
func TestInferCustomLayouts(t *testing.T) {
	worked, asked := 0, 0
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 2))
		f := customLayout(rng)
		recs := traffic(seed, 120)
		d, k := decode(t, Config{}, flow.Origin{Source: "s"}, written(f, recs))
		if len(k.records) == 0 {
			asked++
			if k.rejects[0].Class != ClassLayout {
				t.Errorf("%s: %+v", f, k.rejects[0])
			}
			continue
		}
		worked++
		for i := range k.records {
			got, want := k.records[i], recs[i]
			if got.Src != want.Src || got.Dst != want.Dst || got.Protocol != want.Protocol || got.Packets != want.Packets ||
				got.Bytes != want.Bytes || got.Start != want.Start || got.End != want.End {
				t.Fatalf("%s was read as %s:\n%+v\n%+v", f, d.Choices()[0].Format, got, want)
			}
		}
	}
	t.Logf("%d layouts worked out, %d asked for", worked, asked)
	if worked == 0 {
		t.Error("no layout was worked out")
	}
}

// customLayout draws a layout as people make them: some fields in any order,
// the two addresses side by side, and the two ports.
func customLayout(rng *rand.Rand) *Format {
	groups := []string{"srcaddr dstaddr", "srcport dstport", "protocol", "packets", "bytes", "start", "end", "action", "log-status"}
	for _, g := range []string{"version", "account-id", "interface-id", "vpc-id", "instance-id", "region", "flow-direction", "tcp-flags", "type", "az-id"} {
		if rng.IntN(2) == 0 {
			groups = append(groups, g)
		}
	}
	rng.Shuffle(len(groups), func(i, j int) { groups[i], groups[j] = groups[j], groups[i] })
	f, err := ParseFormat(strings.Join(groups, " "))
	if err != nil {
		panic(err)
	}
	return f
}

// Packets and bytes exchanged fit version 2 by number and by shape of most
// values; the sizes tell.
func TestInferExchangedColumns(t *testing.T) {
	names := V2().Names()
	names[8], names[9] = names[9], names[8]
	f, err := newFormat(names)
	if err != nil {
		t.Fatal(err)
	}
	d, k := decode(t, Config{}, flow.Origin{Source: "s"}, written(f, traffic(1, 100)))
	for i := range k.records {
		if k.records[i].Bytes < 20*k.records[i].Packets {
			t.Fatalf("read as %s", d.Choices()[0].Format)
		}
	}
	t.Logf("%d records, %d rejects, %+v", len(k.records), len(k.rejects), d.Choices())
}

// A quiet interval has the shape of version 2 but proves nothing, so it is read
// and nothing is pinned.
func TestInferNoDataPinsNothing(t *testing.T) {
	d := mustNew(t, Config{})
	var k keep
	o := flow.Origin{Source: "s"}
	d.Payload([]byte(lineNoData), o, &k)
	if len(k.records) != 1 || len(d.pins) != 0 {
		t.Fatalf("%+v, %d pins", k, len(d.pins))
	}
	d.Payload([]byte(lineV2), o, &k)
	if len(k.records) != 2 || len(d.pins) != 1 {
		t.Fatalf("%+v, %d pins", k, len(d.pins))
	}
	// Pinned: a damaged line of that layout is refused for what is wrong in it.
	d.Payload([]byte(strings.Replace(lineV2, "20641", "NaN", 1)), o, &k)
	if len(k.rejects) != 1 || k.rejects[0].Field != "srcport" {
		t.Fatalf("%+v", k.rejects)
	}
	// A second flow log in the same source is found too.
	d.Payload([]byte(lineV5+"\n"+lineV2), o, &k)
	if len(k.records) != 4 || k.records[2].VPCID == "" || len(d.pins["s"].formats) != 2 {
		t.Fatalf("%+v", k)
	}
}

func TestInferDefaultAndMore(t *testing.T) {
	f, err := ParseFormat(V2().String() + " ${vpc-id} ${tcp-flags} ${flow-direction} ${region}")
	if err != nil {
		t.Fatal(err)
	}
	d, k := decode(t, Config{}, flow.Origin{Source: "s"}, written(f, traffic(3, 50)))
	if len(k.records) != 50 || d.Choices()[0].Format.String() != f.String() {
		t.Fatalf("%d records, %+v", len(k.records), d.Choices())
	}
}

func TestHeaderSetsTheLayout(t *testing.T) {
	f, err := newFormat([]string{"instance-id", "dstport", "srcport", "dstaddr", "srcaddr", "protocol", "end", "start", "log-status", "colour"})
	if err != nil {
		t.Fatal(err)
	}
	recs := traffic(1, 4)
	data := append(f.AppendHeader(nil), '\n')
	data = append(data, written(f, recs)...)
	data = append(append(V2().AppendHeader(data), '\n'), lineV2...) // files one behind the other
	d, k := decode(t, Config{Format: V2().String()}, flow.Origin{}, data)
	if len(k.records) != 5 || len(k.rejects) != 0 || d.Stats().Headers != 2 || k.records[0].Dst != recs[0].Dst || k.records[0].Start != recs[0].Start {
		t.Fatalf("%+v", k)
	}
	_, k = decode(t, Config{}, flow.Origin{}, []byte("version 2 is here"))
	if len(k.rejects) != 1 {
		t.Fatal("a sentence is no header")
	}
}

// A successor reads a payload that is too small to show its layout.
func TestPinsSurvive(t *testing.T) {
	f := layoutOfNames(t, withPairs(telling, "srcaddr dstaddr", "dstport srcport"))
	o := flow.Origin{Source: "s"}
	before, after := mustNew(t, Config{}), mustNew(t, Config{})
	var k keep
	before.Payload(written(f, busy(1, 120)), o, &k)
	before.Payload([]byte(lineV2), o, &k)
	if len(k.rejects) > 0 {
		t.Fatalf("%+v", k.rejects[0])
	}
	snap := before.AppendPins(nil)
	if err := after.RestorePins(snap); err != nil {
		t.Fatal(err)
	}
	if again := after.AppendPins(nil); string(again) != string(snap) || after.Pinned() != before.Pinned() || after.Pinned() == 0 {
		t.Fatalf("%q\n%q, %d and %d pinned", snap, again, before.Pinned(), after.Pinned())
	}
	k = keep{}
	after.Payload(written(f, traffic(2, 1)), o, &k)
	if len(k.records) != 2 {
		t.Fatalf("%+v", k.rejects)
	}
	for n := range snap {
		if err := after.RestorePins(snap[:n]); err == nil || len(after.pins) != 0 {
			t.Fatalf("cut off at %d: %v, %d pins", n, err, len(after.pins))
		}
	}
}

func FuzzRestorePins(f *testing.F) {
	d := mustNew(f, Config{})
	var c count
	d.Payload([]byte(lineV2+"\n"+lineV5), flow.Origin{Source: "s"}, &c)
	f.Add(d.AppendPins(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		d := mustNew(t, Config{})
		if d.RestorePins(b) == nil {
			if err := d.RestorePins(d.AppendPins(nil)); err != nil {
				t.Fatal(err)
			}
		}
	})
}
