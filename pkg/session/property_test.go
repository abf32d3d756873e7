package session

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

const (
	testBase     flow.Time = 1_700_000_000
	testLateness flow.Time = 300
)

// traffic makes records of few endpoints, so that ports are reused, sessions
// overlap and interfaces see the same packets.
func traffic(rng *rand.Rand, n int) []flow.Record {
	list := make([]flow.Record, 0, n)
	flags := []uint8{0, 0, 0, flow.SYN, flow.SYN, flow.SYN | flow.ACK, flow.FIN, flow.SYN | flow.FIN, flow.SYN | flow.ACK | flow.FIN, flow.RST}
	for len(list) < n {
		r := flow.Record{
			Protocol: 6, Action: flow.Accept, HasFlags: true, InterfaceID: []string{"eni-a", "eni-b", "eni-c"}[rng.IntN(3)],
			Src:     flow.Endpoint{Addr: flow.AddrFrom4([4]byte{10, 0, 0, byte(rng.IntN(2))}), Port: uint16(40000 + rng.IntN(3))},
			Dst:     flow.Endpoint{Addr: flow.AddrFrom4([4]byte{10, 0, 1, byte(rng.IntN(2))}), Port: 443},
			Packets: uint64(1 + rng.IntN(20)), Start: testBase + flow.Time(rng.IntN(3000)),
		}
		r.Bytes = r.Packets * uint64(40+rng.IntN(100))
		r.End = r.Start + flow.Time(rng.IntN(60))
		switch rng.IntN(8) {
		case 0:
			r.Protocol, r.HasFlags = 17, false
		case 1:
			r.Action = flow.Reject
		}
		if r.HasFlags {
			r.TCPFlags = flags[rng.IntN(len(flags))]
		}
		if rng.IntN(2) == 0 {
			r.Src, r.Dst = r.Dst, r.Src
		}
		list = append(list, r)
		if rng.IntN(10) == 0 {
			list = append(list, r) // delivered twice
		}
	}
	return list
}

// arrival puts records into an order of arrival that the lateness allows.
func arrival(rng *rand.Rand, records []flow.Record) []flow.Record {
	type at struct {
		r flow.Record
		t flow.Time
	}
	list := make([]at, len(records))
	for i, r := range records {
		list[i] = at{r, r.Start + flow.Time(rng.IntN(int(testLateness)))}
	}
	slices.SortFunc(list, func(a, b at) int { return int(a.t - b.t) })
	out := make([]flow.Record, len(list))
	for i := range list {
		out[i] = list[i].r
	}
	return out
}

// drive feeds records in an order of arrival with ticks and a clock in random
// steps; cut says after which records the table goes through a snapshot.
type drive struct {
	t      *testing.T
	cfg    Config
	rng    *rand.Rand
	tables []*Table // one a bucket
	events []Event
	clock  flow.Time
	cuts   int // one in so many records; 0 never
	small  bool
}

func (d *drive) run(records []flow.Record) {
	if d.tables == nil {
		d.tables = []*Table{NewTable(d.cfg)}
	}
	emit := func(e *Event) {
		c := *e
		c.Points = slices.Clone(e.Points)
		if c.Kind.Final() && c.Kind != KindCorrect && d.clock != 0 && c.DeltaFirst < d.clock-flow.Time(d.cfg.Active) {
			d.t.Errorf("final event with %v below the watermark of clock %v: %+v", c.DeltaFirst, d.clock, c)
		}
		d.events = append(d.events, c)
	}
	high := flow.Time(0)
	wall := int64(1_000_000)
	for i := range records {
		r := &records[i]
		src, dst := r.Ends()
		k, _ := flow.NewKey(0, r.Protocol, src, dst)
		b := BucketOf(k, len(d.tables))
		if v := d.tables[b].Observe(r, 0, int64(i), emit); v != Taken && v != Duplicate {
			d.t.Fatalf("verdict %v at %v, clock %v", v, r.Start, d.clock)
		}
		high = max(high, r.Start)
		if d.rng.IntN(4) == 0 {
			wall += int64(d.rng.IntN(40_000))
			for _, t := range d.tables {
				t.Tick(wall, emit)
			}
		}
		if d.rng.IntN(5) == 0 {
			d.advance(high-testLateness, emit)
		}
		if d.cuts > 0 && d.rng.IntN(d.cuts) == 0 {
			d.cut(d.rng.IntN(len(d.tables)))
		}
	}
	d.advance(flow.MaxTime, emit)
	for _, t := range d.tables {
		if s := t.Stats(); s.Bytes != 0 || t.idx.used != 0 || t.pool.unused != max(len(t.pool.infos)-1, 0) {
			d.t.Errorf("left over at the end of time: %+v", s)
		}
	}
}

func (d *drive) advance(clock flow.Time, emit Emit) {
	for _, t := range d.tables {
		full := func() bool { return d.small && d.rng.IntN(3) == 0 }
		for !t.Advance(clock, emit, full) {
		}
	}
	if clock != flow.MaxTime {
		d.clock = max(d.clock, clock)
	}
}

func (d *drive) cut(b int) {
	snap := d.tables[b].AppendSnapshot(nil)
	fresh := NewTable(d.cfg)
	if err := fresh.Restore(snap); err != nil {
		d.t.Fatal(err)
	}
	if again := fresh.AppendSnapshot(nil); !bytes.Equal(snap, again) {
		d.t.Fatalf("a restored table gives another snapshot: %d and %d bytes", len(snap), len(again))
	}
	d.tables[b] = fresh
}

func finalsOf(events []Event) (list []told) {
	for i := range events {
		if events[i].Kind.Final() {
			list = append(list, toldOf(&events[i]))
		}
	}
	sortTold(list)
	return list
}

func sortTold(list []told) {
	slices.SortFunc(list, func(a, b told) int {
		if c := bytes.Compare(a.ID[:], b.ID[:]); c != 0 {
			return c
		}
		if a.Kind != b.Kind {
			return int(a.Kind) - int(b.Kind)
		}
		return int(a.DeltaFirst - b.DeltaFirst)
	})
}

func TestAgainstOracle(t *testing.T) {
	rounds := 300
	if testing.Short() {
		rounds = 30
	}
	for seed := range uint64(rounds) {
		rng := rand.New(rand.NewPCG(seed, 1))
		records := traffic(rng, 5+rng.IntN(150))
		cfg := Default()
		want := oracle(cfg, records)
		sortTold(want)
		d := drive{t: t, cfg: cfg, rng: rng, cuts: []int{0, 3, 20}[rng.IntN(3)], small: true}
		for range 1 + rng.IntN(5) {
			d.tables = append(d.tables, NewTable(cfg))
		}
		d.run(arrival(rng, records))
		if diff := cmp.Diff(want, finalsOf(d.events)); diff != "" {
			t.Fatalf("seed %d: final events differ (-oracle +table):\n%s", seed, head(diff))
		}
		checkSums(t, seed, d.events)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func head(s string) string {
	return strings.Join(strings.SplitN(s, "\n", 60)[:min(59, strings.Count(s, "\n"))], "\n")
}

// checkSums holds that final deltas add up to a session's final totals, and
// early deltas, over all sessions of a key, to the totals of all of them.
func checkSums(t *testing.T, seed uint64, events []Event) {
	t.Helper()
	final := map[ID][2]Traffic{}
	early, totals, news, opened, closes := map[flow.Key]Traffic{}, map[flow.Key]Traffic{}, map[flow.Key]int{}, 0, map[flow.Key]int{}
	for i := range events {
		e := &events[i]
		early[e.Key] = plus(early[e.Key], plus(e.OutDelta, e.InDelta))
		if e.New {
			news[e.Key]++
		}
		if min(e.OutFinal.Packets, e.OutFinal.Bytes, e.OutFinal.Records, e.InFinal.Packets, e.InFinal.RejectBytes, e.InFinal.Records) < 0 {
			t.Errorf("seed %d: a negative final delta: %+v", seed, e)
		}
		if !e.Kind.Final() {
			if e.OutFinal != (Traffic{}) || e.InFinal != (Traffic{}) || e.Opened {
				t.Errorf("seed %d: an update with final facts: %+v", seed, e)
			}
			continue
		}
		if e.Opened {
			opened++
		}
		f := final[e.ID]
		final[e.ID] = [2]Traffic{plus(f[0], e.OutFinal), plus(f[1], e.InFinal)}
		if e.Kind == KindClose {
			closes[e.Key]++
			totals[e.Key] = plus(totals[e.Key], plus(e.Out, e.In))
			if got := final[e.ID]; got != [2]Traffic{e.Out, e.In} {
				t.Errorf("seed %d: final deltas add up to %+v, the session has %+v %+v", seed, got, e.Out, e.In)
			}
		}
	}
	for k, want := range totals {
		got := early[k]
		got.Flags, want.Flags = 0, 0
		if got != want || news[k] != closes[k] {
			t.Errorf("seed %d: early deltas of %v add up to %+v, its sessions have %+v; %d new, %d closed", seed, k, got, want, news[k], closes[k])
		}
	}
	if opened != len(final) {
		t.Errorf("seed %d: %d sessions, %d opened", seed, len(final), opened)
	}
}

func plus(a, b Traffic) Traffic {
	return Traffic{
		Packets: a.Packets + b.Packets, Bytes: a.Bytes + b.Bytes,
		RejectPackets: a.RejectPackets + b.RejectPackets, RejectBytes: a.RejectBytes + b.RejectBytes,
		Records: a.Records + b.Records, Flags: a.Flags | b.Flags,
	}
}
