package detect

import (
	"math"
	"slices"
)

// maxRows bounds the rows of one family in one pane. Beyond it a family is a
// bottom-k sample whose rows have exact sums and whose number is known to 5 %
// (1/sqrt(k-2)). Combiners and evaluators share the bound, because only then is
// the sample of a union the union of the samples.
const maxRows = 512

// RowSet is a bounded set of rows by key: all of them up to the bound, beyond
// it those with the smallest hashes. A row that is in the set was in it from its
// first addition on, because the threshold only falls: so its sums are exact.
// A nil RowSet is empty and can be asked, not added to.
type RowSet struct {
	rows      []*Row
	index     rowIndex // of the rows, if indexed
	indexed   bool
	sorted    bool    // rows are in the order of their keys
	threshold uint64  // rows with a hash at or above it were dropped; 0 or MaxUint64: none was
	mem       *memory // where rows come from; nil: the heap
}

// indexFrom is the size from which an index finds rows faster than a walk, which
// waits for the memory of each row.
const indexFrom = 3

// Len is how many rows are kept.
func (s *RowSet) Len() int {
	if s == nil {
		return 0
	}
	return len(s.rows)
}

// Exact reports whether every row is kept.
func (s *RowSet) Exact() bool {
	return s == nil || s.threshold == 0 || s.threshold == math.MaxUint64
}

// Distinct is the number of keys that were added, an estimate once not Exact.
func (s *RowSet) Distinct() int64 {
	if s.Exact() {
		return int64(s.Len())
	}
	return int64(math.Round(float64(len(s.rows)) / (float64(s.threshold) / math.MaxUint64)))
}

// Rows returns the rows in the order of their keys. They stay the set's own,
// and so does the slice, which is good until a row is added.
func (s *RowSet) Rows() []*Row {
	if s == nil {
		return nil
	}
	if !s.sorted {
		slices.SortFunc(s.rows, func(a, b *Row) int { return a.Key.Compare(b.Key) })
		s.sorted, s.indexed = true, false
	}
	return s.rows
}

// Row returns the row of a key, which it creates if it is to be kept, or nil.
func (s *RowSet) Row(k RowKey) *Row {
	if r := s.find(k); r != nil {
		return r
	}
	if !s.room(k) {
		return nil
	}
	r := s.mem.row(k)
	s.add(r)
	return r
}

// room reports whether a row of a key that is not there is to be kept.
func (s *RowSet) room(k RowKey) bool {
	if !s.Exact() && k.hash() >= s.threshold {
		return false
	}
	if len(s.rows) < 2*maxRows {
		return true
	}
	s.trim()
	return k.hash() < s.threshold
}

// add appends a row whose key is not there.
func (s *RowSet) add(r *Row) {
	n := len(s.rows)
	s.sorted = n == 0 || s.sorted && s.rows[n-1].Key.Compare(r.Key) < 0
	if n == cap(s.rows) {
		s.rows = s.mem.grow(s.rows)
	}
	s.rows = append(s.rows, r)
	switch {
	case !s.indexed:
	case 2*(n+1) > len(s.index):
		s.refill(2 * n)
	default:
		s.index.enter(r.Key.hash(), n)
	}
}

// find returns the row of a key, or nil.
func (s *RowSet) find(k RowKey) *Row {
	if s == nil {
		return nil
	}
	if !s.indexed && len(s.rows) > indexFrom {
		s.reindex()
	}
	if s.indexed {
		return s.index.find(s.rows, k)
	}
	for _, r := range s.rows {
		if r.Key == k {
			return r
		}
	}
	return nil
}

func (s *RowSet) reindex() {
	if s.indexed = len(s.rows) > indexFrom; !s.indexed {
		return
	}
	s.refill(len(s.rows))
}

// trim keeps the maxRows rows with the smallest hashes and lowers the threshold
// to the smallest hash that it dropped.
func (s *RowSet) trim() {
	if s == nil || len(s.rows) <= maxRows {
		return
	}
	var room [2 * maxRows]uint64
	hashes := room[:0]
	for _, r := range s.rows {
		hashes = append(hashes, r.Key.hash())
	}
	slices.Sort(hashes)
	s.cut(hashes[maxRows])
}

// cut drops the rows with a hash at or above threshold.
func (s *RowSet) cut(threshold uint64) {
	s.threshold = threshold
	keep := s.rows[:0]
	for _, r := range s.rows {
		if r.Key.hash() < threshold {
			keep = append(keep, r)
		} else {
			s.mem.drop(r)
		}
	}
	clear(s.rows[len(keep):])
	s.rows = keep
	s.reindex()
}

// merge adds what o counted. The union knows nothing where o knows nothing.
// Rows that are new to s move there, if both have the same memory.
func (s *RowSet) merge(o *RowSet) {
	if !o.Exact() && (s.Exact() || o.threshold < s.threshold) {
		s.cut(o.threshold)
	}
	move := s.mem == o.mem
	for i, x := range o.rows {
		r := s.find(x.Key)
		switch {
		case r != nil:
			r.merge(x, s.mem)
		case !s.room(x.Key):
		case move:
			s.add(x)
			o.rows[i] = nil
		default:
			r = s.mem.row(x.Key)
			r.merge(x, s.mem)
			s.add(r)
		}
	}
}

// take takes the rows out that do says are its own now, in the order of keys.
func (s *RowSet) take(do func(*Row) bool) {
	if s == nil {
		return
	}
	left := s.rows[:0]
	for _, r := range s.Rows() {
		if !do(r) {
			left = append(left, r)
		}
	}
	clear(s.rows[len(left):])
	s.rows, s.indexed = left, false
}

// refill makes the index of all rows, with room for n.
func (s *RowSet) refill(n int) {
	size := minIndex
	for size < 2*(n+1) {
		size *= 2
	}
	if cap(s.index) < size {
		s.index = s.mem.table(s.index, size)
	}
	s.index = s.index[:size]
	clear(s.index)
	for i, r := range s.rows {
		s.index.enter(r.Key.hash(), i)
	}
}

// minIndex is the smallest index: one line of a processor's cache.
const minIndex = 32

// rowIndex is a hash table of positions in a slice of rows: open addressing,
// linear probing, at most half full, its size a power of two. A slot holds a
// position + 1 in its lower bits, 0 if it is free, and some bits of the hash
// above, so that hardly any row is touched in vain. A Go map of the keys takes
// ten times the room.
type rowIndex []uint16

// positionBits of a slot hold up to 2*maxRows.
const positionBits = 11

func tagOf(hash uint64) uint16 { return uint16(hash>>(64-16)) &^ (1<<positionBits - 1) }

func (x rowIndex) find(rows []*Row, k RowKey) *Row {
	h := k.hash()
	tag, mask := tagOf(h), len(x)-1
	for i := int(h) & mask; x[i] != 0; i = (i + 1) & mask {
		if x[i]&^(1<<positionBits-1) != tag {
			continue
		}
		if r := rows[x[i]&(1<<positionBits-1)-1]; r.Key == k {
			return r
		}
	}
	return nil
}

func (x rowIndex) enter(h uint64, n int) {
	mask := len(x) - 1
	i := int(h) & mask
	for x[i] != 0 {
		i = (i + 1) & mask
	}
	x[i] = tagOf(h) | uint16(n+1)
}
