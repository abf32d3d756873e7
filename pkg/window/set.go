package window

import (
	"iter"
	"math"
	"slices"
)

// Set counts distinct 64-bit values: exactly up to K of them, and beyond that
// by the K smallest hashes (a KMV or bottom-k sketch: Bar-Yossef et al. 2002,
// Beyer et al. 2007), with a relative standard error of 1/sqrt(K-2). It keeps
// the values themselves, so that up to K of them can be named. Merging is
// union, so neither order nor cut shows. The zero Set is unusable: see NewSet.
type Set struct {
	k      int
	values []uint64 // ascending by Mix
	full   bool     // values were dropped: Count is an estimate
}

// NewSet returns an empty set that is exact up to k values; k is at least 3.
func NewSet(k int) Set { return Set{k: max(k, 3)} }

// Reset empties the set, keeps its room, and makes it exact up to k values.
func (s *Set) Reset(k int) { s.k, s.values, s.full = max(k, 3), s.values[:0], false }

// Mix is a bijection of 64-bit values that spreads them evenly (the finalizer
// of SplitMix64, Steele et al. 2014).
func Mix(v uint64) uint64 {
	v += 0x9e3779b97f4a7c15
	v = (v ^ v>>30) * 0xbf58476d1ce4e5b9
	v = (v ^ v>>27) * 0x94d049bb133111eb
	return v ^ v>>31
}

// Add adds one value.
func (s *Set) Add(v uint64) {
	h := Mix(v)
	i, found := slices.BinarySearchFunc(s.values, h, compareMixed)
	switch {
	case found:
		return
	case len(s.values) < s.k:
		s.values = slices.Insert(s.values, i, v)
	case i == s.k:
		s.full = true
	default:
		s.full = true
		copy(s.values[i+1:], s.values[i:s.k-1])
		s.values[i] = v
	}
}

func compareMixed(v, h uint64) int {
	m := Mix(v)
	switch {
	case m < h:
		return -1
	case m > h:
		return 1
	}
	return 0
}

// Merge adds everything that o has counted.
func (s *Set) Merge(o Set) {
	for _, v := range o.values {
		s.Add(v)
	}
	if !o.full {
		return
	}
	// o's sample ends at its largest hash: beyond that it knows nothing, so
	// beyond that the union must know nothing either.
	s.full = true
	if len(o.values) == 0 {
		s.values = s.values[:0]
		return
	}
	bound := Mix(o.values[len(o.values)-1])
	for n := len(s.values); n > 0 && Mix(s.values[n-1]) > bound; n = len(s.values) {
		s.values = s.values[:n-1]
	}
}

// Count returns how many distinct values were added, exact while Exact.
func (s *Set) Count() int64 {
	n := len(s.values)
	if !s.full || n < 2 {
		return int64(n)
	}
	share := float64(Mix(s.values[n-1])) / math.MaxUint64
	return int64(math.Round(float64(n-1) / share))
}

// Exact reports whether Count is exact and Values is complete.
func (s *Set) Exact() bool { return !s.full }

// Values returns the kept values, ascending; the caller owns the slice.
func (s *Set) Values() []uint64 {
	out := slices.Clone(s.values)
	slices.Sort(out)
	return out
}

// All are the kept values, in an order of their own.
func (s *Set) All() iter.Seq[uint64] { return slices.Values(s.values) }

// Len is how many values are kept.
func (s *Set) Len() int { return len(s.values) }

// AppendTo appends the set.
func (s *Set) AppendTo(b []byte) []byte {
	b = AppendUint(b, uint64(s.k))
	b = AppendBool(b, s.full)
	b = AppendUint(b, uint64(len(s.values)))
	for _, v := range s.values {
		b = AppendUint(b, v)
	}
	return b
}

// maxSet bounds the k that a reader accepts: a damaged snapshot must not make
// the process allocate what it does not have.
const maxSet = 1 << 20

// ReadSet reads what AppendTo wrote.
func ReadSet(r *Reader) (s Set) {
	s.Read(r)
	return s
}

// Read is ReadSet into a set whose room is used again.
func (s *Set) Read(r *Reader) {
	s.k, s.full, s.values = max(3, r.Int(maxSet)), r.Bool(), s.values[:0]
	n := r.Len()
	if n > s.k {
		r.Fail("a set holds more values than its bound")
		return
	}
	last := uint64(0)
	s.values = slices.Grow(s.values, n)
	for i := range n {
		v := r.Uint()
		if m := Mix(v); r.Err() == nil && i > 0 && m <= last {
			r.Fail("a set is not in order")
		} else {
			last = m
		}
		s.values = append(s.values, v)
	}
}
