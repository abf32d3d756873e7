package detect

import (
	"cmp"
	"slices"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/window"
)

// relations are the services of programs, databases above all, that a host of
// ours logs in to, and since when. A program without a pool of connections logs
// in as often and as uniformly as a guesser, but it does so from the day on
// which its host was set up; a guesser begins on a host that was there before.
type relations struct {
	first flow.Time  // start of the host's first pane; 0: none is final yet
	list  []relation // ascending by hash
}

type relation struct {
	hash        uint64
	first, last flow.Time // panes
}

// maxRelations bounds what is remembered of a host, 24 bytes each; the one that
// was used longest ago is forgotten first.
const maxRelations = 256

// ordinary reports whether a host logs in at k as it always did: since it is
// known, give or take settle seconds, or for longer than a day.
func (r *relations) ordinary(k RowKey, now flow.Time, settle int64) bool {
	first := now
	if i, found := r.find(k.hash()); found {
		first = r.list[i].first
	}
	return r.first == 0 || first < r.first.Add(settle) || now >= first.Add(day)
}

func (r *relations) find(hash uint64) (int, bool) {
	return slices.BinarySearchFunc(r.list, hash, func(x relation, h uint64) int { return cmp.Compare(x.hash, h) })
}

// see notes that a host logged in at k in the pane of now.
func (r *relations) see(k RowKey, now flow.Time) {
	h := k.hash()
	i, found := r.find(h)
	if !found {
		r.list = slices.Insert(r.list, i, relation{hash: h, first: now})
	}
	r.list[i].last = now
}

// forget drops what was not used since t, and the oldest beyond the bound.
func (r *relations) forget(t flow.Time) {
	r.list = slices.DeleteFunc(r.list, func(x relation) bool { return x.last < t })
	for len(r.list) > maxRelations {
		oldest := 0
		for i := range r.list {
			if r.list[i].last < r.list[oldest].last {
				oldest = i
			}
		}
		r.list = slices.Delete(r.list, oldest, oldest+1)
	}
}

func (r *relations) appendTo(b []byte) []byte {
	b = window.AppendUint(window.AppendInt(b, int64(r.first)), uint64(len(r.list)))
	for _, x := range r.list {
		b = window.AppendInt(window.AppendInt(window.AppendUint(b, x.hash), int64(x.first)), int64(x.last))
	}
	return b
}

func (r *relations) restore(in *window.Reader) {
	r.first = flow.Time(in.Varint())
	for range in.Len() {
		r.list = append(r.list, relation{in.Uint(), flow.Time(in.Varint()), flow.Time(in.Varint())})
	}
}
