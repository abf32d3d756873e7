package shard

import (
	"errors"
	"slices"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// Table is what one slot knows of its shards: their checkpoints as they stand
// in the transaction that is being filled. It is not safe for concurrent use.
// When a transaction fails the table is dropped with the slot and restored
// from the ledger, so nothing is ever rolled back.
type Table struct {
	slot, slots int
	policy      Policy
	own         map[Key]*entry
	keys        []Key // of own, in order
	forgotten   []Key // to be deleted from the ledger
	// untold is up to when, in wall milliseconds, a stream that can not be
	// listed has been told of.
	untold map[string]int64
}

type entry struct {
	Checkpoint
	dirty   bool  // must be in the next transaction
	moved   bool  // only the clock moved: may wait
	saved   int64 // wall ms of the last save
	failing int64 // wall ms since when reads fail; 0 when they do not
	paused  bool
	// restored is the arrival of the checkpoint that the slot began with, until
	// it has been held against the stream's retention: the shard is read before
	// the first listing tells that.
	restored int64
}

// NewTable returns the empty table of one of a number of slots.
func NewTable(slot, slots int, p Policy) *Table {
	return &Table{slot: slot, slots: slots, policy: p, own: map[Key]*entry{}, untold: map[string]int64{}}
}

// ErrForeign reports a checkpoint that belongs to another slot.
var ErrForeign = errors.New("shard: the ledger of this slot holds a checkpoint of a shard that lives in another slot; was the number of slots changed without a new layout?")

// Restore puts in a checkpoint from the slot's ledger. It refuses a shard that
// lives in another slot: two slots that read one shard would read it twice.
func (t *Table) Restore(c Checkpoint) error {
	if SlotOf(c.Key, t.slots) != t.slot {
		return ErrForeign
	}
	t.put(c).restored = c.Arrival
	return nil
}

func (t *Table) put(c Checkpoint) *entry {
	e, ok := t.own[c.Key]
	if !ok {
		i, _ := slices.BinarySearchFunc(t.keys, c.Key, Key.Compare)
		t.keys = slices.Insert(t.keys, i, c.Key)
		e = &entry{}
		t.own[c.Key] = e
	}
	e.Checkpoint = c
	return e
}

// Get returns the checkpoint of a shard of this slot as it stands now.
func (t *Table) Get(k Key) (Checkpoint, bool) {
	e, ok := t.own[k]
	if !ok {
		return Checkpoint{}, false
	}
	return e.Checkpoint, true
}

// Reading returns the shards that have more to deliver, in order.
func (t *Table) Reading() []Key {
	var out []Key
	for _, k := range t.keys {
		if t.own[k].State == Reading {
			out = append(out, k)
		}
	}
	return out
}

// Record tells that a user record of a shard was dealt with: sub of its
// sequence number are done now, or all when sub is 0. Newest is the newest end
// of the flow records accepted from it, 0 when there were none.
func (t *Table) Record(k Key, sequence string, sub uint64, newest flow.Time, arrival int64) {
	e := t.own[k]
	e.Sequence, e.Sub = sequence, sub
	e.Newest, e.Arrival = max(e.Newest, newest), max(e.Arrival, arrival)
	e.Count++
	e.dirty = true
}

// Tip tells that a shard had been read to its tip at a wall time: whatever
// arrives from now on arrives later.
func (t *Table) Tip(k Key, wall int64) {
	e := t.own[k]
	if wall > e.Arrival {
		e.Arrival, e.moved = wall, true
	}
}

// End tells that a closed shard has been read to its end.
func (t *Table) End(k Key) {
	e := t.own[k]
	e.State, e.dirty = Ended, true
}

// Alive tells that a shard can be read. A shard that had been given up holds
// the clock again.
func (t *Table) Alive(k Key) {
	e := t.own[k]
	e.failing = 0
	if e.Stuck {
		e.Stuck, e.dirty = false, true
	}
}

// Failing tells that a shard could not be read at a wall time.
func (t *Table) Failing(k Key, wall int64) {
	if e := t.own[k]; e.failing == 0 {
		e.failing = wall
	}
}

// saveIdle is how often the checkpoint of a shard is saved that only its tip
// moved, in milliseconds. It costs a restart nothing but a clock that starts
// that much earlier.
const saveIdle = 10_000

// Save is a change to the ledger: a checkpoint, or one to delete.
type Save struct {
	Checkpoint
	Delete bool
}

// Saves returns what must go into the transaction's ledger, in order, and
// takes it as saved. All asks for every shard that moved at all, as a graceful
// hand-over does.
func (t *Table) Saves(now int64, all bool) []Save {
	var out []Save
	for _, k := range t.forgotten {
		out = append(out, Save{Checkpoint: Checkpoint{Key: k}, Delete: true})
	}
	t.forgotten = nil
	for _, k := range t.keys {
		e := t.own[k]
		if !e.dirty && (!e.moved || (!all && now-e.saved < saveIdle)) {
			continue
		}
		e.Slot, e.saved, e.dirty, e.moved = t.slot, now, false, false
		out = append(out, Save{Checkpoint: e.Checkpoint})
	}
	return out
}

// Restarted tells that the service refused a shard's position and that it is
// read from its oldest record, and returns the gap up to the wall time now.
func (t *Table) Restarted(k Key, now int64) Gap {
	e := t.own[k]
	e.GapTo, e.dirty = now, true
	return Gap{Key: k, From: e.Clock(t.policy), To: flow.Time(now / 1000),
		Reason: "the service no longer knows the checkpoint's sequence number; what was between it and the oldest record is gone"}
}
