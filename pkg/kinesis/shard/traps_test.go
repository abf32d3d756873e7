package shard

import (
	"strings"
	"testing"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// script is a world in which every slot knows what there is to know, for the
// traps that each need one thing to go wrong and all else to go well.
func script(t *testing.T, shards, slots int) *world {
	w := newWorld(t, 1, shards, slots)
	for _, s := range w.slots {
		w.start(s)
	}
	return w
}

// round is a second in which every slot that is up commits once.
func (w *world) round() {
	w.now += 1000
	for _, s := range w.slots {
		if s.up {
			w.hear(s)
			w.transact(s, false)
		}
	}
}

func (w *world) rounds(n int) {
	for range n {
		w.round()
	}
}

// putInto puts one record into a shard that ended so many seconds ago.
func (w *world) putInto(s *simShard, ago int64) {
	w.counter++
	s.recs = append(s.recs, simRec{w.counter, flow.Time(w.now/1000 - ago), w.now})
}

// slotOf is the slot that a shard lives in.
func (w *world) slotOf(id string) *simSlot {
	return w.slots[SlotOf(Key{IncarnationOf(simName, 1), id}, len(w.slots))]
}

// all checks that each record that was put has come out once.
func (w *world) all() {
	w.t.Helper()
	if len(w.seen)+w.refused != w.counter {
		w.t.Errorf("%d of %d records came out, %d were refused", len(w.seen), w.counter, w.refused)
	}
	for n, times := range w.seen {
		if times != 1 {
			w.t.Errorf("record %d came out %d times", n, times)
		}
	}
}

// follows checks that the clock follows the wall as it should where all is read.
func (w *world) follows() {
	w.t.Helper()
	if w.behind() > w.policy.MaxDelay+60 {
		w.t.Errorf("the clock is %d s behind", w.behind())
	}
}

// TestTrapParentEndsInOneSlotWhileItsChildLivesInAnother: the child's slot is
// away for an hour, and the parent's slot holds the clock for it.
func TestTrapParentEndsInOneSlotWhileItsChildLivesInAnother(t *testing.T) {
	w := script(t, 1, 4)
	parent := w.shards[0]
	w.putInto(parent, 30)
	w.rounds(1000)
	w.follows()
	parent.Closed = true
	w.add([]string{parent.ID}, 0, 127)
	w.add([]string{parent.ID}, 128, 255)
	child := w.shards[1]
	if w.slotOf(child.ID) == w.slotOf(parent.ID) {
		t.Fatal("parent and child live in one slot")
	}
	w.slotOf(child.ID).up = false
	w.putInto(child, 300)
	held := w.now / 1000
	w.rounds(3600)
	if at := int64(w.clock); at > held-300 {
		t.Fatalf("the clock went to %d while the child's record of %d waited", at, held-300)
	}
	w.start(w.slotOf(child.ID))
	w.rounds(1000)
	w.all()
	w.follows()
}

// TestTrapTheFirstListing: a slot that has not seen a complete listing yet has
// no watermark, and so nobody has a clock.
func TestTrapTheFirstListing(t *testing.T) {
	w := script(t, 2, 2)
	blind := w.slotOf(w.shards[1].ID)
	blind.up = false
	for _, s := range w.shards {
		w.putInto(s, 300)
	}
	for range 1000 {
		w.round()
		blind.listing = nil
		blind.up = true
		w.transact(blind, false)
		blind.up = false
	}
	if w.clock != flow.MinTime {
		t.Fatalf("there is a clock, %v, before the second slot has listed the shards", w.clock)
	}
	w.start(blind)
	w.rounds(1000)
	w.all()
	w.follows()
}

// TestTrapAnIdleShard: a shard to which nothing is written does not stop time
// nor the reading of the other, which is at its tip with records that end as they
// arrive, and what is written to it at last is not late.
func TestTrapAnIdleShard(t *testing.T) {
	w := script(t, 2, 2)
	for range 2000 {
		w.putInto(w.shards[0], 0)
		w.round()
	}
	w.follows()
	if w.paused > 0 {
		t.Errorf("the busy shard was paused in %d of 2000 s: nothing is behind", w.paused)
	}
	w.putInto(w.shards[1], w.policy.MaxDelay-60)
	w.rounds(10)
	w.all()
	w.follows()
}

// TestTrapAShardStuckIn1970: what all its records say of the time is wrong; the
// clock follows their arrivals, and nothing of the other shard is late.
func TestTrapAShardStuckIn1970(t *testing.T) {
	w := script(t, 2, 2)
	w.allow = func(r simRec) bool { return r.end < 1_000_000 }
	for range 2000 {
		w.putInto(w.shards[0], w.now/1000-86400)
		w.putInto(w.shards[1], 300)
		w.most[w.shards[0].ID], w.most[w.shards[1].ID] = 2, 2
		w.round()
	}
	w.rounds(5)
	w.all()
	w.follows()
	if w.late == 0 {
		t.Error("the records of 1970 should have come out late")
	}
}

// TestTrapARecordFrom2100 is refused before it can touch a clock.
func TestTrapARecordFrom2100(t *testing.T) {
	w := script(t, 2, 2)
	for range 500 {
		w.putInto(w.shards[0], w.now/1000-4_102_444_800)
		w.putInto(w.shards[0], 300)
		w.putInto(w.shards[1], 300)
		w.most[w.shards[0].ID], w.most[w.shards[1].ID] = 2, 2
		w.round()
	}
	w.rounds(5)
	w.all()
	if w.refused != 500 {
		t.Errorf("%d records of 2100 were refused", w.refused)
	}
	if at := int64(w.clock); at > w.now/1000-300 {
		t.Errorf("the clock is at %v, the wall at %d", w.clock, w.now/1000)
	}
}

// TestTrapOneShardTwoHoursBehindTheOthers: the rest are paused, come no further
// ahead of it than the policy says and a turn's records, and go on with it.
func TestTrapOneShardTwoHoursBehindTheOthers(t *testing.T) {
	w := script(t, 4, 4)
	for _, s := range w.slots {
		s.up = false
	}
	for range 7200 / 10 { // two hours of records that nobody reads
		w.now += 10_000
		for _, s := range w.shards {
			w.putInto(s, 60)
		}
	}
	for _, s := range w.shards {
		w.most[s.ID] = 20
	}
	w.most[w.shards[2].ID] = 1
	for _, s := range w.slots {
		w.start(s)
	}
	w.rounds(200)
	if w.paused == 0 {
		t.Error("no shard was paused")
	}
	if most := w.policy.MaxSkew + 20*10 + 20*10; w.ahead > most {
		t.Errorf("the shards came %d s apart, %d are allowed", w.ahead, most)
	}
	w.most[w.shards[2].ID] = 20
	w.rounds(200)
	w.all()
	w.follows()
	before := w.paused
	w.rounds(100)
	if w.paused > before {
		t.Error("a shard is paused though all are at their tips")
	}
}

// TestTrapAShardThatNobodyCanRead is released by policy with a gap that says for
// what time its silence means nothing; when it can be read again none of its
// records is lost.
func TestTrapAShardThatNobodyCanRead(t *testing.T) {
	w := script(t, 2, 2)
	w.policy.StuckAfter = 30 * 60 * 1000
	for _, s := range w.slots {
		w.start(s) // the tables take the policy as it is now
	}
	mute, other := w.shards[0], w.shards[1]
	w.rounds(100)
	w.failing[mute.ID] = true
	began := w.now / 1000
	w.allow = func(r simRec) bool { return w.failing["over"] }
	for i := range 3600 {
		w.putInto(mute, 300)
		w.putInto(other, 300)
		w.round()
		if i < 1700 && int64(w.clock) > began {
			t.Fatalf("after %d s the clock does not wait for the shard any more", i)
		}
	}
	w.most[other.ID] = 100
	w.rounds(200)
	w.follows()
	if len(w.gaps) == 0 || w.gaps[0].Shard != mute.ID || int64(w.gaps[0].From) > began || int64(w.gaps[0].To) < began+1700 ||
		!strings.Contains(w.gaps[0].Reason, "could not be read") {
		t.Fatalf("gaps %+v; reading began to fail at %d", w.gaps, began)
	}
	delete(w.failing, mute.ID)
	w.failing["over"], w.most[mute.ID] = true, 100
	w.rounds(1000)
	w.all()
	w.follows()
}
