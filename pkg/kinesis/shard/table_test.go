package shard

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

const t0 = int64(1_700_000_000) // seconds

var testPolicy = PolicyFor(time.Minute)

func full() Shard {
	s := Shard{ID: "shardId-000000000000"}
	for i := range s.Hi {
		s.Hi[i] = 0xff
	}
	return s
}

func listing(t *testing.T, retention int64, shards ...Shard) *Listing {
	t.Helper()
	l, err := NewListing("vpc", IncarnationOf("vpc", 1), retention, shards)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func view(l *Listing, now int64) View {
	v := View{Names: []string{"vpc"}, Listings: map[string]*Listing{}, Unlisted: map[string]int64{}, Ledger: NewLedger(), Now: now * 1000}
	if l != nil {
		v.Listings["vpc"] = l
	}
	return v
}

// one returns a table of a single slot that has taken a single shard.
func one(t *testing.T) (*Table, Key, View) {
	tb, v := NewTable(0, 1, testPolicy), view(listing(t, 0, full()), t0)
	k := Key{IncarnationOf("vpc", 1), full().ID}
	if got := tb.Plan(v).Taken; len(got) != 1 || got[0] != k {
		t.Fatalf("taken %v", got)
	}
	return tb, k, v
}

func TestClockTraps(t *testing.T) {
	at := func(s int64) int64 { return (t0 + s) * 1000 }
	cases := []struct {
		name string
		do   func(tb *Table, k Key)
		want flow.Time
	}{
		{"nothing read: no clock", func(*Table, Key) {}, flow.MinTime},
		{"newest end less the lateness", func(tb *Table, k Key) { tb.Record(k, "1", 0, flow.Time(t0), at(0)) }, flow.Time(t0 - 360)},
		{"an end before it does not turn it back", func(tb *Table, k Key) {
			tb.Record(k, "1", 0, flow.Time(t0), at(0))
			tb.Record(k, "2", 0, flow.Time(t0-300), at(-5))
		}, flow.Time(t0 - 360)},
		{"a shard stuck in 1970 follows its arrivals", func(tb *Table, k Key) { tb.Record(k, "1", 0, 86400, at(0)) }, flow.Time(t0 - 960)},
		{"an end ahead of its arrival stops there", func(tb *Table, k Key) { tb.Record(k, "1", 0, flow.Time(t0+500), at(0)) }, flow.Time(t0)},
		{"idle at the tip follows the wall", func(tb *Table, k Key) {
			tb.Record(k, "1", 0, flow.Time(t0), at(0))
			tb.Tip(k, at(3600))
		}, flow.Time(t0 + 3600 - 960)},
		{"a wall that goes back changes nothing", func(tb *Table, k Key) { tb.Tip(k, at(100)); tb.Tip(k, at(0)) }, flow.Time(t0 + 100 - 960)},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			tb, k, _ := one(t)
			c.do(tb, k)
			if got, _ := tb.Get(k); got.Clock(testPolicy) != c.want {
				t.Errorf("clock %v, want %v", got.Clock(testPolicy), c.want)
			}
		})
	}
}

func TestCheckRefusesBeforeTheClock(t *testing.T) {
	arrival := t0 * 1000
	for _, c := range []struct {
		name       string
		start, end flow.Time
		want       error
	}{
		{"2100", 4102444800, 4102444860, ErrFuture},
		{"10 min after arrival is allowed", flow.Time(t0), flow.Time(t0 + 600), nil},
		{"a second more is not", flow.Time(t0), flow.Time(t0 + 601), ErrFuture},
		{"start after end", flow.Time(t0), flow.Time(t0 - 1), ErrOrder},
		{"1970 is old, not wrong", 0, 60, nil},
	} {
		if err := testPolicy.Check(c.start, c.end, arrival); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func TestNoWatermarkBeforeACompleteListing(t *testing.T) {
	tb := NewTable(0, 1, testPolicy)
	v := view(nil, t0)
	v.Unlisted["vpc"] = v.Now
	if _, _, ok := tb.Watermark(v); ok {
		t.Error("a watermark before the first listing")
	}
	v.Now += testPolicy.StuckAfter
	if w, idle, ok := tb.Watermark(v); !ok || !idle || w != flow.MaxTime {
		t.Errorf("a stream that cannot be listed must be given up: %v %v %v", w, idle, ok)
	}
	v.Listings["vpc"] = listing(t, 0)
	if _, idle, ok := tb.Watermark(v); !ok || !idle {
		t.Error("a slot without shards must be idle")
	}
}

func TestStuckShardIsGivenUpAndComesBack(t *testing.T) {
	tb, k, v := one(t)
	tb.Record(k, "1", 0, flow.Time(t0), t0*1000)
	tb.Failing(k, v.Now)
	v.Now += testPolicy.StuckAfter - 1
	if ch := tb.Plan(v); len(ch.Gaps) != 0 {
		t.Fatalf("given up too early: %v", ch.Gaps)
	}
	v.Now++
	ch := tb.Plan(v)
	if len(ch.Gaps) != 1 || ch.Gaps[0].From != flow.Time(t0-360) || ch.Gaps[0].To != flow.Time(v.Now/1000) {
		t.Fatalf("gaps %+v", ch.Gaps)
	}
	if _, idle, ok := tb.Watermark(v); !idle || !ok {
		t.Error("a shard that was given up still holds the clock")
	}
	if again := tb.Plan(v); len(again.Gaps) != 0 {
		t.Error("the gap is told again at once")
	}
	tb.Alive(k)
	if w, _, ok := tb.Watermark(v); !ok || w != flow.Time(t0-360) {
		t.Errorf("back again: watermark %v %v", w, ok)
	}
}

func TestPausedAheadOfTheSlowest(t *testing.T) {
	a, b := full(), full()
	a.Hi, b.Lo, b.ID = hashAt(128), hashAt(129), "shardId-000000000001"
	tb, v := NewTable(0, 1, testPolicy), view(listing(t, 0, a, b), t0)
	tb.Plan(v)
	ka, kb := Key{IncarnationOf("vpc", 1), a.ID}, Key{IncarnationOf("vpc", 1), b.ID}
	tb.Tip(ka, t0*1000)
	if slow, ok := tb.Slowest(v); !ok || tb.Pause(ka, slow) {
		t.Error("a shard without a clock must not pause the others")
	}
	tb.Record(kb, "1", 0, flow.Time(t0-7200), (t0-7200)*1000)
	slow, _ := tb.Slowest(v)
	if !tb.Pause(ka, slow) || tb.Pause(kb, slow) {
		t.Error("two hours behind: the other must be paused, the slow one read")
	}
	foreign := Checkpoint{Key: Key{kb.Stream, "shardId-9"}, State: Reading, Arrival: (t0 - 9000) * 1000}
	v.Ledger.Put(foreign)
	if now, _ := tb.Slowest(v); now >= slow {
		t.Error("another slot's slow shard does not count")
	}
}

func TestGapWhenTheRetentionTookRecords(t *testing.T) {
	const day = 86400
	tb, k, v := one(t)
	v.Listings["vpc"] = listing(t, day*1000, full())
	tb.Record(k, "1", 0, flow.Time(t0), t0*1000)
	v.Now = (t0 + day + 3600) * 1000
	ch := tb.Plan(v)
	if len(ch.Gaps) != 1 || ch.Gaps[0].To-ch.Gaps[0].From != 3600 || !strings.Contains(ch.Gaps[0].Reason, "3600 s") {
		t.Fatalf("gaps %+v", ch.Gaps)
	}
	v.Now += 60_000
	if len(tb.Plan(v).Gaps) != 0 {
		t.Error("told again for every minute")
	}
}

func TestShardThatExpiredUnread(t *testing.T) {
	tb, k, v := one(t)
	tb.Record(k, "1", 0, flow.Time(t0), t0*1000)
	child := full()
	child.ID, child.Parents = "shardId-000000000005", []string{"shardId-000000000003"}
	v.Listings["vpc"] = listing(t, 3600_000, child)
	v.Now += 7200_000
	ch := tb.Plan(v)
	if len(ch.Lost) != 1 || ch.Lost[0] != k || len(ch.Gaps) != 1 || len(ch.Taken) != 1 {
		t.Fatalf("change %+v", ch)
	}
	c, _ := tb.Get(ch.Taken[0])
	if c.Start != 0 {
		t.Error("what is left must be read from its oldest record")
	}
}

func TestStreamMadeAgainUnderItsName(t *testing.T) {
	tb, k, v := one(t)
	tb.Record(k, "49", 0, flow.Time(t0), t0*1000)
	l, err := NewListing("vpc", IncarnationOf("vpc", 2), 0, []Shard{full()})
	if err != nil {
		t.Fatal(err)
	}
	v.Listings["vpc"] = l
	v.Now += 1000_000
	ch := tb.Plan(v)
	if len(ch.Lost) != 1 || len(ch.Taken) != 1 || ch.Taken[0].Stream != l.Stream {
		t.Fatalf("change %+v", ch)
	}
	if c, _ := tb.Get(ch.Taken[0]); c.Sequence != "" {
		t.Error("the new stream got the old one's position")
	}
}

func TestStartOfAGroupIsOneFact(t *testing.T) {
	tb, v := NewTable(0, 1, testPolicy), view(listing(t, 0, full()), t0)
	v.Start = t0 * 1000
	v.Ledger.Put(Checkpoint{Key: Key{IncarnationOf("vpc", 1), "shardId-9"}, State: Reading, Start: (t0 - 50) * 1000})
	k := tb.Plan(v).Taken[0]
	if c, _ := tb.Get(k); c.Start != (t0-50)*1000 {
		t.Errorf("start %d: another slot began earlier", c.Start)
	}
}

func TestHoldIsLiftedWhenTheOtherParentIsGivenUp(t *testing.T) {
	a, b, c := full(), full(), full()
	a.Hi, b.Lo, b.ID = hashAt(128), hashAt(129), "shardId-000000000001"
	a.Closed, b.Closed, c.ID, c.Parents = true, true, "shardId-000000000002", []string{a.ID, b.ID}
	tb, v := NewTable(0, 1, testPolicy), view(listing(t, 0, a, b, c), t0)
	tb.Plan(v)
	ka, kb := Key{IncarnationOf("vpc", 1), a.ID}, Key{IncarnationOf("vpc", 1), b.ID}
	tb.Tip(ka, v.Now)
	tb.End(ka)
	tb.Tip(kb, v.Now)
	if w, _, _ := tb.Watermark(v); w != flow.Time(t0-960) {
		t.Fatalf("watermark %v", w)
	}
	tb.Failing(kb, v.Now)
	v.Now += testPolicy.StuckAfter
	tb.Plan(v)
	if _, idle, ok := tb.Watermark(v); !idle || !ok {
		t.Error("the ended parent holds the clock for a child that waits for a shard that was given up")
	}
}

func TestListingRefusesTwice(t *testing.T) {
	if _, err := NewListing("a", "a@1", 0, []Shard{{ID: "x"}, {ID: "x"}}); !errors.Is(err, ErrListing) {
		t.Errorf("got %v", err)
	}
}

func TestCoveredNeedsEveryChild(t *testing.T) {
	p, a, b := full(), full(), full()
	a.Hi = hashAt(127)
	for i := 1; i < len(a.Hi); i++ {
		a.Hi[i] = 0xff
	}
	b.Lo = hashAt(128)
	if covered(&p, []*Shard{&a}) || covered(&p, []*Shard{&b}) || covered(&p, nil) {
		t.Error("one half covers the whole")
	}
	if !covered(&p, []*Shard{&b, &a}) {
		t.Error("both halves do not cover")
	}
}

func TestSpreadIsEven(t *testing.T) {
	for _, n := range []int{1, 16, 24, 48, 100} {
		load := make([]int, 24)
		for i := range n {
			load[SlotOf(Key{"s@1", fmt.Sprintf("shardId-%012d", i+7)}, 24)]++
		}
		for _, got := range load {
			if got > (n+23)/24 || got < n/24 {
				t.Errorf("%d shards over 24 slots: %v", n, load)
				break
			}
		}
	}
	if err := NewTable(1, 2, testPolicy).Restore(Checkpoint{Key: Key{"s@1", "shardId-1"}}); err == nil {
		if err := NewTable(0, 2, testPolicy).Restore(Checkpoint{Key: Key{"s@1", "shardId-1"}}); !errors.Is(err, ErrForeign) {
			t.Error("two slots accept one shard")
		}
	}
}

func sample() Checkpoint {
	return Checkpoint{Key: Key{"vpc@1", "shardId-000000000042"}, State: Ended, Sequence: "4960", Sub: 7, Start: 5, Newest: -3, Arrival: t0 * 1000,
		Floor: flow.MinTime, Parents: []string{"a", "b"}, Lo: hashAt(1), Hi: hashAt(2), Stuck: true, GapTo: 9, Slot: 3, Count: 11}
}

func TestCheckpointRoundTrip(t *testing.T) {
	want := sample()
	got, err := ParseCheckpoint(want.Append(nil))
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
}

func FuzzParseCheckpoint(f *testing.F) {
	c := sample()
	f.Add(c.Append(nil))
	f.Add([]byte{0x0a, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseCheckpoint(b)
		if err != nil {
			return
		}
		again, err := ParseCheckpoint(c.Append(nil))
		if diff := cmp.Diff(c, again); err != nil || diff != "" {
			t.Errorf("%v %s", err, diff)
		}
	})
}
