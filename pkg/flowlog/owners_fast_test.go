package flowlog

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// TestOwnersShortcuts compares structures that may use what they remember of the
// last answers and interfaces with ones that have just forgotten it, under bounds
// that make interfaces leave their places.
func TestOwnersShortcuts(t *testing.T) {
	outer := t
	rapid.Check(t, func(t *rapid.T) {
		cfg := OwnersConfig{MaxInterfaces: 3, MinRecords: 2, MinPeers: 1}
		fast, slow := mustOwners(outer, cfg), mustOwners(outer, cfg)
		for range rapid.IntRange(1, 60).Draw(t, "n") {
			r := drawOuter(t)
			again := *r
			fast.Stamp(r)
			slow.recent = [256]int32{}
			slow.turn++
			slow.Stamp(&again)
			if r.Owned != again.Owned || r.Direction != again.Direction {
				t.Fatalf("%v > %v: owned %v, direction %v, without shortcuts %v, %v", r.Src, r.Dst, r.Owned, r.Direction, again.Owned, again.Direction)
			}
			for _, a := range []flow.Addr{r.Src.Addr, r.Dst.Addr} {
				if want := fast.addrs[a] > 0; fast.Owned(a) != want {
					t.Fatalf("%v is said to be ours: %v", a, !want)
				}
			}
		}
		if string(dump(fast)) != string(dump(slow)) {
			t.Fatal("what is known differs")
		}
	})
}

// drawOuter draws a record that may have been sent on from another address.
func drawOuter(t *rapid.T) *flow.Record {
	r := drawSeen(t)
	r.PktSrc = rapid.SampledFrom([]flow.Addr{{}, r.Src.Addr, flow.MustAddr("198.51.100.1")}).Draw(t, "pkt")
	return r
}

// TestOwnersKnows: a record that is said to tell nothing changes nothing.
func TestOwnersKnows(t *testing.T) {
	cfg := mustOwners(t, OwnersConfig{MinRecords: 2, MinPeers: 1}).cfg
	known := 0
	rapid.Check(t, func(t *rapid.T) {
		var c candidates
		for range rapid.IntRange(1, 30).Draw(t, "n") {
			r := drawOuter(t)
			knows, before := c.knows(r, &cfg), c
			if c.observe(r, &cfg); knows && c != before {
				t.Fatalf("%+v became %+v", before, c)
			}
			if knows {
				known++
			}
		}
	})
	if known == 0 {
		t.Fatal("nothing was ever known: the test shows nothing")
	}
}
