package session

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// TestUnrelatedFlowChangesNothing: traffic of other endpoints changes no event
// of a session, whatever it is.
func TestUnrelatedFlowChangesNothing(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 2))
		records := arrival(rng, traffic(rng, 60))
		d := drive{t: t, cfg: Default(), rng: rand.New(rand.NewPCG(seed, 3))}
		d.run(records)
		more := slices.Clone(records)
		for range 20 {
			r := records[rng.IntN(len(records))]
			r.Src.Addr, r.Dst.Addr = flow.AddrFrom4([4]byte{172, 16, 0, 1}), flow.AddrFrom4([4]byte{172, 16, 0, 2})
			more = append(more, r)
		}
		e := drive{t: t, cfg: Default(), rng: rand.New(rand.NewPCG(seed, 4))}
		e.run(arrival(rng, more))
		rest := slices.DeleteFunc(finalsOf(e.events), func(v told) bool { return v.Client.Addr.IP().Is4() && v.Client.Addr.IP().As4()[0] == 172 })
		if diff := cmp.Diff(finalsOf(d.events), rest); diff != "" {
			t.Fatalf("seed %d: an unrelated flow changes sessions:\n%s", seed, head(diff))
		}
	}
}

// TestSwappedRecordsSwapSides: with source and destination of every record
// exchanged, client and server are exchanged and nothing else.
func TestSwappedRecordsSwapSides(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 5))
		records := traffic(rng, 60)
		swapped := slices.Clone(records)
		for i := range swapped {
			swapped[i].Src, swapped[i].Dst = swapped[i].Dst, swapped[i].Src
		}
		d := drive{t: t, cfg: Default(), rng: rng}
		d.run(arrival(rng, records))
		e := drive{t: t, cfg: Default(), rng: rng}
		e.run(arrival(rng, swapped))
		a, b := finalsOf(d.events), finalsOf(e.events)
		if len(a) != len(b) {
			t.Fatalf("seed %d: %d and %d final events", seed, len(a), len(b))
		}
		for i := range a {
			// Ports and addresses stay where they are, so what rests on them
			// stays too; flags and starts turn with the records.
			if a[i].Evidence != EvidenceFlags || b[i].Evidence != EvidenceFlags {
				continue
			}
			if a[i].ID != b[i].ID || a[i].Client != b[i].Server || a[i].Out != b[i].Out || a[i].In != b[i].In || a[i].Last != b[i].Last {
				t.Fatalf("seed %d: swapped records do not swap sides:\n%+v\n%+v", seed, a[i], b[i])
			}
		}
	}
}

// TestAnyOrderAtAll: arrival that breaks the lateness. Nothing is lost: what
// is not a late reject or a repeat is in the totals, and every delta adds up.
func TestAnyOrderAtAll(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 6))
		records := traffic(rng, 80)
		rng.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
		cfg := Default()
		cfg.Retain = int64(rng.IntN(2000))
		if seed%3 == 0 {
			cfg.MaxBytes = 3000
		}
		tab := NewTable(cfg)
		var events []Event
		emit := collectEvents(&events)
		high, wall := testBase, int64(1e9)
		for i := range records {
			tab.Observe(&records[i], 0, int64(i), emit)
			high = max(high, records[i].Start)
			if rng.IntN(4) == 0 {
				wall += int64(rng.IntN(100_000))
				tab.Tick(wall, emit)
			}
			if rng.IntN(4) == 0 {
				tab.Advance(high-flow.Time(rng.IntN(1000)), emit, nil)
			}
			if rng.IntN(10) == 0 {
				fresh := NewTable(cfg)
				if err := fresh.Restore(tab.AppendSnapshot(nil)); err != nil {
					t.Fatal(err)
				}
				fresh.stats, tab = keepCounters(tab.stats, fresh.stats), fresh
			}
		}
		tab.Advance(flow.MaxTime, emit, nil)
		s := tab.Stats()
		if s.Records() != uint64(len(records)) || s.Bytes != 0 {
			t.Fatalf("seed %d: %d of %d records accounted for, %d bytes left", seed, s.Records(), len(records), s.Bytes)
		}
		checkAdditive(t, seed, events)
	}
}

// keepCounters carries the counters of a table over to the restored one.
func keepCounters(old, now Stats) Stats {
	old.Retained = now.Retained
	return old
}

// checkAdditive holds that early deltas and final ones add up to the same.
func checkAdditive(t *testing.T, seed uint64, events []Event) {
	t.Helper()
	early, totals := map[flow.Key]Traffic{}, map[flow.Key]Traffic{}
	for i := range events {
		e := &events[i]
		early[e.Key] = plus(early[e.Key], plus(e.OutDelta, e.InDelta))
		if e.Kind.Final() {
			totals[e.Key] = plus(totals[e.Key], plus(e.OutFinal, e.InFinal))
		}
	}
	for k, want := range totals {
		got := early[k]
		got.Flags, want.Flags = 0, 0
		if got != want {
			t.Fatalf("seed %d: early deltas of %v add up to %+v, final ones to %+v", seed, k, got, want)
		}
	}
}

func TestEvictionIsBoundedAndFair(t *testing.T) {
	cfg := Default()
	cfg.MaxBytes = 200_000
	tab := NewTable(cfg)
	var long, evicted, longEvicted int
	emit := func(e *Event) {
		if e.Kind == KindClose && e.Reason == ReasonEvicted {
			evicted++
			if e.Server.Port == 22 || e.Client.Port == 22 {
				longEvicted++
			}
		}
	}
	r := rec(testBase, testBase+50, false, flow.SYN)
	r.Dst.Port, r.Packets = 22, 500
	for i := range 100 {
		r.Src.Port = uint16(40000 + i)
		tab.Observe(r, 0, int64(i), emit)
		long++
	}
	flood := rec(testBase+60, testBase+60, false, flow.SYN)
	flood.Packets, flood.Bytes = 1, 40
	for i := range 20_000 {
		flood.Src.Addr = flow.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)})
		tab.Observe(flood, 0, int64(1000+i), emit)
		if s := tab.Stats(); s.Bytes > int(cfg.MaxBytes) {
			t.Fatalf("%d bytes after %d records, the bound is %d", s.Bytes, i, cfg.MaxBytes)
		}
	}
	if evicted < 18_000 || longEvicted != 0 {
		t.Errorf("%d evicted, %d of the %d long ones among them", evicted, longEvicted, long)
	}
	if s := tab.Stats(); s.Evicted != uint64(evicted) || s.Closes != uint64(evicted) {
		t.Errorf("counted %d evicted, %d closed; told %d", s.Evicted, s.Closes, evicted)
	}
}

// TestFloodPushesOutItself: quiet probes of many others, older than a flood of
// one source, are still there after it.
func TestFloodPushesOutItself(t *testing.T) {
	cfg := Default()
	cfg.MaxBytes = 200_000
	tab := NewTable(cfg)
	lost, flooded := 0, 0
	emit := func(e *Event) {
		if e.Kind != KindClose || e.Reason != ReasonEvicted {
			return
		}
		if e.Client.Addr == flow.MustAddr("203.0.113.9") {
			flooded++
		} else {
			lost++
		}
	}
	r := rec(testBase, testBase, false, flow.SYN)
	r.Packets, r.Bytes = 1, 40
	for i := range 300 {
		r.Src.Addr = flow.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)})
		r.Dst.Addr = flow.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})
		tab.Observe(r, 0, int64(i), emit)
	}
	r.Src.Addr = flow.MustAddr("203.0.113.9")
	for i := range 20_000 {
		r.Dst.Addr = flow.AddrFrom4([4]byte{10, 2, byte(i >> 8), byte(i)})
		tab.Observe(r, 0, int64(i), emit)
	}
	if lost > 15 || flooded < 18_000 {
		t.Errorf("%d of the 300 quiet probes and %d of the flood were evicted", lost, flooded)
	}
}

// FuzzRestore: no bytes make Restore panic, or make a table that does.
func FuzzRestore(f *testing.F) {
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, 7))
		tab := NewTable(Default())
		records := traffic(rng, 20)
		for i := range records {
			tab.Observe(&records[i], 0, int64(i), nothing)
		}
		tab.Tick(1e9, nothing)
		tab.Tick(2e9, nothing)
		tab.Advance(testBase+flow.Time(800*seed), nothing, nil)
		f.Add(tab.AppendSnapshot(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		tab := NewTable(Default())
		if tab.Restore(b) != nil {
			return
		}
		r := rec(testBase, testBase+1, false, flow.SYN)
		tab.Observe(r, 0, 1, nothing)
		tab.Tick(1e12, nothing)
		tab.AppendSnapshot(nil)
		calls := 0
		tab.Advance(testBase+5000, nothing, func() bool { calls++; return calls > 100_000 })
	})
}

// TestCutsLeaveNoTrace: the same calls on a table that goes through a snapshot
// now and then and on one that does not leave the same state, to the byte, and
// give the same events, evictions and provisional ones among them.
func TestCutsLeaveNoTrace(t *testing.T) {
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 8))
		records := traffic(rng, 100)
		records = append(records, flow.Record{Kind: flow.KindSkipData, InterfaceID: "eni-a", Start: testBase, End: testBase + 60})
		if seed%2 == 0 {
			records = arrival(rng, records)
		}
		cfg := Default()
		if seed%3 == 0 {
			cfg.MaxBytes = 3000
		}
		var events [2][]Event
		tabs := [2]*Table{NewTable(cfg), NewTable(cfg)}
		emits := [2]Emit{collectEvents(&events[0]), collectEvents(&events[1])}
		high, wall := testBase, int64(1e9)
		for i := range records {
			high = max(high, records[i].Start)
			wall += int64(rng.IntN(20_000))
			tick, back := rng.IntN(4) == 0, flow.Time(rng.IntN(800))
			advance := rng.IntN(4) == 0
			for j, tab := range tabs {
				tab.Observe(&records[i], 0, int64(i), emits[j])
				if tick {
					tab.Tick(wall, emits[j])
				}
				if advance {
					tab.Advance(high-back, emits[j], nil)
				}
			}
			if rng.IntN(5) == 0 {
				fresh := NewTable(cfg)
				if err := fresh.Restore(tabs[1].AppendSnapshot(nil)); err != nil {
					t.Fatal(err)
				}
				tabs[1] = fresh
			}
			if a, b := tabs[0].AppendSnapshot(nil), tabs[1].AppendSnapshot(nil); !bytes.Equal(a, b) {
				t.Fatalf("seed %d: after record %d the states differ", seed, i)
			}
		}
		if diff := cmp.Diff(events[0], events[1]); diff != "" {
			t.Fatalf("seed %d: the events differ:\n%s", seed, head(diff))
		}
	}
}
