package shard

import (
	"maps"
	"slices"
)

// Ledger is what is known of all shards of all slots: the newest checkpoint of
// each. It may lag behind what is committed; only facts that stay true are
// taken from it (a shard was taken, a shard has ended), so an old view delays
// and never misleads.
type Ledger struct{ m map[Key]Checkpoint }

// NewLedger returns an empty ledger.
func NewLedger() *Ledger { return &Ledger{m: map[Key]Checkpoint{}} }

// Put stores the checkpoint of a shard.
func (l *Ledger) Put(c Checkpoint) { l.m[c.Key] = c }

// Delete forgets a shard.
func (l *Ledger) Delete(k Key) { delete(l.m, k) }

// Get returns the checkpoint of a shard.
func (l *Ledger) Get(k Key) (Checkpoint, bool) {
	c, ok := l.m[k]
	return c, ok
}

// Keys returns the shards in order.
func (l *Ledger) Keys() []Key {
	return slices.SortedFunc(maps.Keys(l.m), Key.Compare)
}

// start returns the earliest start among the checkpoints of a stream, and
// whether there is one. It is where a shard begins that the group has never
// seen: since when the group reads the stream is one fact for all its slots.
func (l *Ledger) start(stream string) (at int64, ok bool) {
	for k, c := range l.m {
		if k.Stream == stream && (!ok || c.Start < at) {
			at, ok = c.Start, true
		}
	}
	return at, ok
}
