package session

import "github.com/flowstitch/flowstitch/pkg/flow"

// warmSize is how many records Warm takes at most: as many as a core has misses
// under way at a time, and some.
const warmSize = 16

// Warm reads what observing the records will read: their places in the index,
// their entries, the last of what is pending there. It changes nothing. In
// [Table.Observe] each of these is a cache miss that waits for the one before; here
// those of all records come together. Of more than 16 records it takes the first.
func (t *Table) Warm(list []flow.Record) {
	x := &t.idx
	if len(x.slots) == 0 {
		return
	}
	var hash [warmSize]uint64
	var at [warmSize]uint32
	sink := uint64(0)
	list = list[:min(len(list), warmSize)]
	for i := range list {
		r := &list[i]
		src, dst := r.Ends()
		k, _ := flow.NewKey(t.cfg.Scopes.Of(r), r.Protocol, src, dst)
		hash[i] = hashKey(&k)
		sink += x.slots[x.home(hash[i]>>32)]
	}
	for i := range list {
		for j := x.home(hash[i] >> 32); x.slots[j] != 0; j = x.after(j) {
			if s := x.slots[j]; s>>32 == hash[i]>>32 {
				at[i] = uint32(s)
				sink += uint64(t.entries.at(at[i]).pend)
				break
			}
		}
	}
	for i := range list {
		if at[i] == 0 {
			continue
		}
		if p := t.entries.at(at[i]).pend; p != 0 {
			sink += uint64(t.pendings.at(p).next)
		}
	}
	t.warmth = sink
}
