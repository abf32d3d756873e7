package shard

import (
	"testing"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// TestAListingFromBeforeTheShard: a pod takes a slot over from one that has
// listed the stream since a split. What its own, older listing does not show is
// neither lost, which would be told as a gap and read again from its oldest record
// once it is listed, nor forgotten; and it holds the clock.
func TestAListingFromBeforeTheShard(t *testing.T) {
	const parent, child = "shardId-000000000000", "shardId-000000000001"
	root := full()
	root.ID = parent
	born := full()
	born.ID, born.Parents = child, []string{parent}
	stale, fresh := listing(t, 0, root), listing(t, 0, root, born)
	for _, state := range []State{Reading, Ended} {
		tb := NewTable(0, 1, testPolicy)
		for _, c := range []Checkpoint{
			{Key: Key{fresh.Stream, parent}, State: Ended, Newest: flow.Time(t0), Arrival: t0 * 1000, Lo: root.Lo, Hi: root.Hi},
			{Key: Key{fresh.Stream, child}, State: state, Sequence: "7", Newest: flow.Time(t0), Arrival: t0 * 1000, Lo: born.Lo, Hi: born.Hi, Parents: born.Parents},
		} {
			if err := tb.Restore(c); err != nil {
				t.Fatal(err)
			}
		}
		for i, l := range []*Listing{stale, stale, fresh} {
			v := view(l, t0*1000)
			ch := tb.Plan(v)
			if len(ch.Lost)+len(ch.Taken)+len(ch.Gaps) > 0 {
				t.Errorf("state %d, listing %d: %+v", state, i, ch)
			}
			for _, s := range tb.Saves(v.Now, true) {
				t.Errorf("state %d, listing %d: saves %+v", state, i, s)
			}
			if c, there := tb.Get(Key{fresh.Stream, child}); !there || c.State != state || c.Sequence != "7" {
				t.Errorf("state %d, listing %d: %+v", state, i, c)
			}
			if w, idle, ok := tb.Watermark(v); !ok || idle || w != flow.Time(t0).Add(-testPolicy.Lateness) {
				t.Errorf("state %d, listing %d: watermark %v, idle %v, %v", state, i, w, idle, ok)
			}
		}
	}
}

// TestAListingOfTheStreamThatWas: the stream was deleted and made again, and the
// slot's checkpoints are of the new one already.
func TestAListingOfTheStreamThatWas(t *testing.T) {
	s := full()
	old, err := NewListing("vpc", IncarnationOf("vpc", t0*1000), 0, []Shard{s})
	if err != nil {
		t.Fatal(err)
	}
	tb := NewTable(0, 1, testPolicy)
	k := Key{IncarnationOf("vpc", t0*1000+1), s.ID}
	if err := tb.Restore(Checkpoint{Key: k, State: Reading, Sequence: "7", Newest: flow.Time(t0), Arrival: t0 * 1000, Lo: s.Lo, Hi: s.Hi}); err != nil {
		t.Fatal(err)
	}
	v := view(old, t0*1000)
	if ch := tb.Plan(v); len(ch.Lost)+len(ch.Gaps)+len(ch.Taken) > 0 {
		t.Errorf("%+v", ch)
	}
	if c, _ := tb.Get(k); c.State != Reading {
		t.Errorf("%+v", c)
	}
}
