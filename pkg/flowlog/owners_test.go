package flowlog

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

func mustOwners(t testing.TB, c OwnersConfig) *Owners {
	t.Helper()
	o, err := NewOwners(c)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// seen makes a record of an interface; pkt addresses are optional.
func seen(eni, src, dst string, pkt ...string) *flow.Record {
	r := &flow.Record{InterfaceID: eni, Protocol: 6}
	r.Src.Addr, r.Dst.Addr = flow.MustAddr(src), flow.MustAddr(dst)
	if len(pkt) == 2 {
		r.PktSrc, r.PktDst = flow.MustAddr(pkt[0]), flow.MustAddr(pkt[1])
	}
	return r
}

func TestOwnersLearnsTheCommonAddress(t *testing.T) {
	o := mustOwners(t, OwnersConfig{})
	for i := range 8 {
		r := seen("eni-1", "10.0.0.5", fmt.Sprintf("203.0.113.%d", i+1))
		if i%2 == 1 {
			r = seen("eni-1", fmt.Sprintf("203.0.113.%d", i+1), "10.0.0.5")
		}
		o.Stamp(r)
		if i < 7 && (r.Owned != 0 || r.Direction != 0) {
			t.Fatalf("record %d: learned after too little: %+v", i, r)
		}
		if i == 7 && (r.Owned != flow.OwnDst || r.Direction != flow.Ingress) {
			t.Fatalf("owned %d direction %v", r.Owned, r.Direction)
		}
	}
	if got := o.Address("eni-1"); got != flow.MustAddr("10.0.0.5") {
		t.Fatalf("address %v", got)
	}
	other := seen("eni-2", "10.0.0.5", "10.0.0.9")
	if o.Stamp(other); other.Owned != flow.OwnSrc || other.Direction != flow.DirectionUnknown {
		t.Fatalf("seen elsewhere: owned %d direction %v", other.Owned, other.Direction)
	}
}

func TestOwnersOnePeerIsNotEnough(t *testing.T) {
	o := mustOwners(t, OwnersConfig{})
	for range 100 {
		r := seen("eni-1", "10.0.0.5", "203.0.113.1")
		if o.Stamp(r); r.Owned != 0 || r.Direction != 0 {
			t.Fatalf("either address is on one side of all records: %+v", r)
		}
	}
	o = mustOwners(t, OwnersConfig{})
	var r *flow.Record
	for range 8 {
		r = seen("eni-1", "10.0.0.5", "203.0.113.1")
		r.Direction = flow.Egress
		o.Stamp(r)
	}
	if r.Owned != flow.OwnSrc {
		t.Fatalf("flow-direction tells: owned %d", r.Owned)
	}
}

// A NAT gateway's interface has its own address on one side of every record,
// but what it forwards is not its own.
func TestOwnersNAT(t *testing.T) {
	o := mustOwners(t, OwnersConfig{})
	var last *flow.Record
	for i := range 6 {
		inside, outside := fmt.Sprintf("10.0.1.%d", i+5), fmt.Sprintf("203.0.113.%d", i+5)
		for _, r := range []*flow.Record{
			seen("eni-nat", inside, "10.0.0.220", inside, outside),
			seen("eni-nat", "10.0.0.220", outside, "10.0.0.220", outside),
			seen("eni-nat", outside, "10.0.0.220", outside, "10.0.0.220"),
			seen("eni-nat", "10.0.0.220", inside, outside, inside),
		} {
			o.Stamp(r)
			last = r
		}
	}
	if got := o.Address("eni-nat"); got != flow.MustAddr("10.0.0.220") {
		t.Fatalf("address %v", got)
	}
	// Its last record goes from the Internet to the instance: neither end is
	// the gateway's own address, though the plain source is.
	if last.Owned != 0 || last.Direction != flow.Egress {
		t.Fatalf("owned %d direction %v", last.Owned, last.Direction)
	}
}

// An interface that forwards between networks without rewriting: one busy
// client is on one side of all its records, until another one comes.
func TestOwnersForwarderIsFound(t *testing.T) {
	o := mustOwners(t, OwnersConfig{})
	busy := flow.MustAddr("10.1.0.5")
	for i := range 20 {
		o.Stamp(seen("eni-fw", "10.1.0.5", fmt.Sprintf("10.2.0.%d", i+1)))
	}
	if !o.Owned(busy) {
		t.Fatal("so far it looks like an owner")
	}
	o.Stamp(seen("eni-fw", "10.1.0.6", "10.2.0.7"))
	if o.Owned(busy) || o.Address("eni-fw").IsValid() {
		t.Fatal("what a forwarder seemed to own must be taken back")
	}
	for i := range 20 {
		o.Stamp(seen("eni-fw", "10.1.0.5", fmt.Sprintf("10.2.0.%d", i+1)))
	}
	if o.Owned(busy) {
		t.Fatal("a forwarder owns nothing for good")
	}
	for i := range 20 {
		o.Stamp(seen("tgw-attach-1", "10.1.0.5", fmt.Sprintf("10.2.0.%d", i+1)))
	}
	if o.Owned(busy) || o.Len() != 1 {
		t.Fatal("an attachment owns nothing")
	}
}

func TestOwnersNetworksOverride(t *testing.T) {
	o := mustOwners(t, OwnersConfig{
		Own:     []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")},
		Foreign: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")},
	})
	for a, want := range map[string]bool{
		"10.1.2.3": true, "10.9.1.1": false, "11.0.0.1": false, "2001:db8::1": true, "2001:db9::1": false,
	} {
		if got := o.Owned(flow.MustAddr(a)); got != want {
			t.Errorf("%s: owned %v", a, got)
		}
	}
	for i := range 20 {
		o.Stamp(seen("eni-1", "10.9.0.1", fmt.Sprintf("192.0.2.%d", i)))
	}
	if o.Owned(flow.MustAddr("10.9.0.1")) {
		t.Error("a foreign network overrides what was learned")
	}
	if _, err := NewOwners(OwnersConfig{Own: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Foreign: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/8")}}); err == nil {
		t.Error("a network both ours and foreign must be an error")
	}
}

func TestOwnersBounded(t *testing.T) {
	o := mustOwners(t, OwnersConfig{MaxInterfaces: 3})
	learn := func(n int) {
		for i := range 8 {
			o.Stamp(seen(fmt.Sprintf("eni-%d", n), fmt.Sprintf("10.0.0.%d", n), fmt.Sprintf("192.0.2.%d", i)))
		}
	}
	for n := range 10 {
		learn(n)
		if n > 0 {
			o.Stamp(seen("eni-0", "10.0.0.0", "192.0.2.1")) // stays in use
		}
	}
	if o.Len() != 3 || !o.Owned(flow.MustAddr("10.0.0.0")) || !o.Owned(flow.MustAddr("10.0.0.9")) || o.Owned(flow.MustAddr("10.0.0.5")) {
		t.Fatalf("len %d", o.Len())
	}
	if len(o.addrs) != 3 {
		t.Fatalf("%d addresses for 3 interfaces", len(o.addrs))
	}
}

// A restored structure stamps like the one that was saved, and a snapshot is a
// function of the history.
func TestOwnersSnapshot(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, _ := NewOwners(OwnersConfig{MaxInterfaces: 4, MinRecords: 3, MinPeers: 2})
		b, _ := NewOwners(OwnersConfig{MaxInterfaces: 4, MinRecords: 3, MinPeers: 2})
		draw := func() *flow.Record {
			r := seen(fmt.Sprintf("eni-%d", rapid.IntRange(0, 6).Draw(t, "eni")),
				rapid.SampledFrom([]string{"10.0.0.1", "10.0.0.2", "10.0.0.3", "192.0.2.1", "192.0.2.2", "2001:db8::1"}).Draw(t, "src"),
				rapid.SampledFrom([]string{"10.0.0.1", "192.0.2.3", "192.0.2.4", "2001:db8::2"}).Draw(t, "dst"))
			r.Direction = flow.Direction(rapid.IntRange(0, 2).Draw(t, "direction"))
			return r
		}
		for range rapid.IntRange(0, 60).Draw(t, "before") {
			a.Stamp(draw())
		}
		snap := a.AppendSnapshot(nil)
		if err := b.Restore(snap); err != nil {
			t.Fatal(err)
		}
		if again := b.AppendSnapshot(nil); !bytes.Equal(again, snap) {
			t.Fatalf("snapshot of the restored differs:\n%x\n%x", snap, again)
		}
		for range 30 {
			r := draw()
			q := *r
			a.Stamp(r)
			b.Stamp(&q)
			if r.Owned != q.Owned || r.Direction != q.Direction {
				t.Fatalf("%+v against %+v", r, q)
			}
		}
		if !bytes.Equal(a.AppendSnapshot(nil), b.AppendSnapshot(nil)) {
			t.Fatal("snapshots drift apart")
		}
	})
}

func FuzzOwnersRestore(f *testing.F) {
	o := mustOwners(f, OwnersConfig{MinRecords: 1, MinPeers: 1})
	o.Stamp(seen("eni-1", "10.0.0.1", "10.0.0.2"))
	o.Stamp(seen("eni-1", "10.0.0.1", "10.0.0.3"))
	f.Add(o.AppendSnapshot(nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		o := mustOwners(t, OwnersConfig{})
		if err := o.Restore(b); err != nil && o.Len() != 0 {
			t.Fatal("an error must leave nothing")
		}
		o.Stamp(seen("eni-1", "10.0.0.1", "10.0.0.2"))
		if err := o.Restore(o.AppendSnapshot(nil)); err != nil {
			t.Fatal(err)
		}
	})
}

func BenchmarkOwnersStamp(b *testing.B) {
	o := mustOwners(b, OwnersConfig{})
	recs := make([]*flow.Record, 1000)
	for i := range recs {
		recs[i] = seen(fmt.Sprintf("eni-%d", i%100), fmt.Sprintf("10.0.0.%d", i%100), fmt.Sprintf("192.0.2.%d", i%250))
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		o.Stamp(recs[i%len(recs)])
		i++
	}
}
