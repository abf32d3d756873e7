package shard

import (
	"testing"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// TestAStreamThatCanNotBeListedIsGivenUp: one slot tells the gap, every policy's
// time again, and it stops when the stream is listed.
func TestAStreamThatCanNotBeListedIsGivenUp(t *testing.T) {
	const slots = 5
	told := 0
	for n := range slots {
		tb, v := NewTable(n, slots, testPolicy), view(nil, t0)
		v.Unlisted["vpc"] = v.Now
		v.Now += testPolicy.StuckAfter - 1
		if gaps := tb.Plan(v).Gaps; len(gaps) > 0 {
			t.Fatalf("given up too early: %v", gaps)
		}
		v.Now++
		gaps := tb.Plan(v).Gaps
		if told += len(gaps); len(gaps) == 0 {
			continue
		}
		if g := gaps[0]; g.Stream != "vpc" || g.From != flow.Time(t0) || g.To != flow.Time(v.Now/1000) {
			t.Errorf("gap %+v", g)
		}
		v.Now += testPolicy.StuckAfter - 1
		if len(tb.Plan(v).Gaps) > 0 {
			t.Error("it is told again too soon")
		}
		v.Now++
		if again := tb.Plan(v).Gaps; len(again) != 1 || again[0].From != gaps[0].To {
			t.Errorf("told again: %+v", again)
		}
		delete(v.Unlisted, "vpc")
		v.Now += testPolicy.StuckAfter
		if len(tb.Plan(v).Gaps) > 0 {
			t.Error("it is told though the stream can be listed")
		}
	}
	if told != 1 {
		t.Errorf("%d slots tell the gap", told)
	}
}

// TestShardsOfAStreamThatCanNotBeListedHoldTheClock for as long as they can be
// read; only what the listing alone would tell is given up.
func TestShardsOfAStreamThatCanNotBeListedHoldTheClock(t *testing.T) {
	tb, k, v := one(t)
	tb.Record(k, "1", 0, flow.Time(t0), t0*1000)
	v.Unlisted["vpc"] = v.Now
	v.Now += testPolicy.StuckAfter
	if w, idle, ok := tb.Watermark(v); !ok || idle || w != flow.Time(t0-360) {
		t.Errorf("watermark %v, idle %v, %v", w, idle, ok)
	}
	delete(v.Listings, "vpc") // as after a restart
	if w, idle, ok := tb.Watermark(v); !ok || idle || w != flow.Time(t0-360) {
		t.Errorf("after a restart: watermark %v, idle %v, %v", w, idle, ok)
	}
}

// TestTheEndOfAShardIsReleasedWhenItsChildrenCanNotBeListed: it holds the clock
// until the listing is given up.
func TestTheEndOfAShardIsReleasedWhenItsChildrenCanNotBeListed(t *testing.T) {
	tb, k, v := one(t)
	tb.Tip(k, v.Now)
	tb.End(k)
	v.Unlisted["vpc"] = v.Now
	if w, _, ok := tb.Watermark(v); !ok || w != flow.Time(t0-960) {
		t.Fatalf("watermark %v, %v: the end does not hold it", w, ok)
	}
	v.Now += testPolicy.StuckAfter
	if _, idle, ok := tb.Watermark(v); !ok || !idle {
		t.Error("the end holds the clock for ever")
	}
}

// TestAnEndPausesNobody: the other parent of its child must be read to its end,
// however long ago the first one ended.
func TestAnEndPausesNobody(t *testing.T) {
	tb, k, v := one(t)
	tb.Record(k, "1", 0, flow.Time(t0-7200), (t0-7200)*1000)
	tb.End(k)
	v.Ledger.Put(Checkpoint{Key: Key{k.Stream, "shardId-9"}, State: Reading, Arrival: t0 * 1000})
	if slow, ok := tb.Slowest(v); !ok || slow != t0*1000 {
		t.Errorf("slowest %v, %v", slow, ok)
	}
}

// TestAStreamThatIsNoLongerConfiguredPausesNobody: its checkpoints stay in the
// ledger, and no one will ever read on there.
func TestAStreamThatIsNoLongerConfiguredPausesNobody(t *testing.T) {
	tb, k, v := one(t)
	tb.Tip(k, v.Now)
	v.Ledger.Put(Checkpoint{Key: Key{IncarnationOf("gone", 1), "shardId-9"}, State: Reading, Arrival: 1000})
	v.Ledger.Put(Checkpoint{Key: Key{IncarnationOf("vpc", 0), "shardId-9"}, State: Reading, Arrival: 1000})
	if slow, ok := tb.Slowest(v); !ok || tb.Pause(k, slow) {
		t.Errorf("slowest %v: a stream that is not read counts", slow)
	}
}
