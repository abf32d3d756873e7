package flowlog

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
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
			r := seen(fmt.Sprintf("eni-%d", n), fmt.Sprintf("10.0.0.%d", n), fmt.Sprintf("192.0.2.%d", i))
			r.End = flow.Time(n * 3600)
			o.Stamp(r)
		}
	}
	for n := range 10 {
		learn(n)
		if n > 0 {
			r := seen("eni-0", "10.0.0.0", "192.0.2.1") // stays in use
			r.End = flow.Time(n * 3600)
			o.Stamp(r)
		}
	}
	if o.Len() != 3 || !o.Owned(flow.MustAddr("10.0.0.0")) || !o.Owned(flow.MustAddr("10.0.0.9")) || o.Owned(flow.MustAddr("10.0.0.5")) {
		t.Fatalf("len %d", o.Len())
	}
	if len(o.addrs) != 3 {
		t.Fatalf("%d addresses for 3 interfaces", len(o.addrs))
	}
}

// saved is a ledger of what Changes has told.
type saved map[string][]byte

func (s saved) take(o *Owners) (n int) {
	o.Changes(func(c OwnerState) {
		n++
		if c.State == nil {
			delete(s, c.Interface)
		} else {
			s[c.Interface] = bytes.Clone(c.State)
		}
	})
	return n
}

func (s saved) states() (out []OwnerState) {
	for id, state := range s {
		out = append(out, OwnerState{id, state})
	}
	return out
}

// dump writes all that is known, interfaces by last use.
func dump(o *Owners) (b []byte) {
	for i := o.tail; i >= 0; i = o.list[i].prev {
		b = o.list[i].append(append(b, o.list[i].id...))
	}
	return fmt.Appendf(b, "%v", o.addrs)
}

// At any commit, what the changes so far amount to is all that is known, to the
// byte, and a structure restored from it stamps like the one that was lost.
func TestOwnersRecovery(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := OwnersConfig{MaxInterfaces: 4, MinRecords: 3, MinPeers: 2}
		a, _ := NewOwners(cfg)
		ledger := saved{}
		for range rapid.IntRange(1, 12).Draw(t, "commits") {
			b, _ := NewOwners(cfg)
			if err := b.Restore(ledger.states()); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(dump(a), dump(b)) {
				t.Fatalf("restored:\n%q\nlost:\n%q", dump(b), dump(a))
			}
			for range rapid.IntRange(0, 20).Draw(t, "records") {
				r := drawSeen(t)
				q := *r
				a.Stamp(r)
				b.Stamp(&q)
				if r.Owned != q.Owned || r.Direction != q.Direction {
					t.Fatalf("%+v against %+v", r, q)
				}
			}
			if !bytes.Equal(dump(a), dump(b)) {
				t.Fatal("they drift apart")
			}
			if rapid.Bool().Draw(t, "crash") {
				a = b
			}
			ledger.take(a)
		}
	})
}

func drawSeen(t *rapid.T) *flow.Record {
	r := seen(fmt.Sprintf("eni-%d", rapid.IntRange(0, 6).Draw(t, "eni")),
		rapid.SampledFrom([]string{"10.0.0.1", "10.0.0.2", "10.0.0.3", "192.0.2.1", "192.0.2.2", "2001:db8::1"}).Draw(t, "src"),
		rapid.SampledFrom([]string{"10.0.0.1", "192.0.2.3", "192.0.2.4", "2001:db8::2"}).Draw(t, "dst"))
	r.Direction = flow.Direction(rapid.IntRange(0, 2).Draw(t, "direction"))
	r.End = flow.Time(rapid.IntRange(-1, 4).Draw(t, "hour") * 3600)
	return r
}

// An interface of which all is known is told of once an hour, whatever it sends.
func TestOwnersChangesAreFew(t *testing.T) {
	o := mustOwners(t, OwnersConfig{})
	ledger, told := saved{}, 0
	for i := range 7200 {
		r := seen("eni-1", "10.0.0.5", fmt.Sprintf("203.0.113.%d", i%200+1))
		r.End = flow.Time(1_700_000_000 + i - i%3*60) // out of order by two minutes
		o.Stamp(r)
		told += ledger.take(o)
	}
	if told > 8+3 {
		t.Errorf("%d changes", told)
	}
	o.Stamp(seen(strings.Repeat("x", maxInterfaceID+1), "10.0.0.5", "10.0.0.6"))
	if o.Len() != 1 {
		t.Error("a name without an end is learned from")
	}
}

// Under a smaller bound the interfaces used last are kept, and the others are
// taken out of the ledger.
func TestOwnersRestoreUnderASmallerBound(t *testing.T) {
	o, ledger := mustOwners(t, OwnersConfig{}), saved{}
	for i := range 6 {
		o.Stamp(seen(fmt.Sprintf("eni-%d", i), "10.0.0.5", "10.0.0.6"))
	}
	ledger.take(o)
	small := mustOwners(t, OwnersConfig{MaxInterfaces: 2})
	if err := small.Restore(ledger.states()); err != nil {
		t.Fatal(err)
	}
	ledger.take(small)
	if len(ledger) != 2 || ledger["eni-4"] == nil || ledger["eni-5"] == nil {
		t.Errorf("%d interfaces are left", len(ledger))
	}
	if err := small.Restore([]OwnerState{{"eni-4", ledger["eni-4"]}, {"eni-4", ledger["eni-5"]}}); err == nil || small.Len() != 0 {
		t.Errorf("an interface told of twice: %v, %d known", err, small.Len())
	}
}

func FuzzOwnersRestore(f *testing.F) {
	o := mustOwners(f, OwnersConfig{MinRecords: 1, MinPeers: 1})
	o.Stamp(seen("eni-1", "10.0.0.1", "10.0.0.2"))
	o.Stamp(seen("eni-1", "10.0.0.1", "10.0.0.3"))
	o.Changes(func(c OwnerState) { f.Add(bytes.Clone(c.State)) })
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		o := mustOwners(t, OwnersConfig{})
		if err := o.Restore([]OwnerState{{"eni-1", b}}); err != nil && o.Len() != 0 {
			t.Fatal("an error must leave nothing")
		}
		o.Stamp(seen("eni-1", "10.0.0.1", "10.0.0.2"))
		ledger := saved{}
		ledger.take(o)
		if err := o.Restore(ledger.states()); err != nil {
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
