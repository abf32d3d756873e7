package detect

import (
	"math"
	"slices"

	"github.com/flowstitch/flowstitch/pkg/window"
)

// maxRows bounds the rows of one family in one pane. Beyond it a family is a
// bottom-k sample whose rows have exact sums and whose number is known to 5 %
// (1/sqrt(k-2)). Combiners and evaluators share the bound, because only then is
// the sample of a union the union of the samples.
const maxRows = 512

// RowSet is a bounded set of rows by key: all of them up to the bound, beyond
// it those with the smallest hashes. A row that is in the set was in it from its
// first addition on, because the threshold only falls: so its sums are exact.
type RowSet struct {
	rows      []Row
	index     map[RowKey]int32 // of the rows, if indexed
	indexed   bool             // the set is large
	threshold uint64           // rows with a hash at or above it were dropped; 0 or MaxUint64: none was
	mem       *memory          // where rows come from; nil: the heap
}

// indexFrom is the size from which a map finds rows faster than a walk.
const indexFrom = 12

// Len is how many rows are kept.
func (s *RowSet) Len() int { return len(s.rows) }

// Exact reports whether every row is kept.
func (s *RowSet) Exact() bool { return s.threshold == 0 || s.threshold == math.MaxUint64 }

// Distinct is the number of keys that were added, an estimate once not Exact.
func (s *RowSet) Distinct() int64 {
	if s.Exact() {
		return int64(len(s.rows))
	}
	return int64(math.Round(float64(len(s.rows)) / (float64(s.threshold) / math.MaxUint64)))
}

// Rows returns the rows in the order of their keys. They stay the set's own.
func (s *RowSet) Rows() []*Row {
	out := make([]*Row, len(s.rows))
	for i := range s.rows {
		out[i] = &s.rows[i]
	}
	slices.SortFunc(out, func(a, b *Row) int { return a.Key.Compare(b.Key) })
	return out
}

// order appends the indexes of the rows in the order of their keys.
func (s *RowSet) order(to []int32) []int32 {
	for i := range s.rows {
		to = append(to, int32(i))
	}
	slices.SortFunc(to, func(a, b int32) int { return s.rows[a].Key.Compare(s.rows[b].Key) })
	return to
}

// Row returns the row of a key, which it creates if it is to be kept, or nil.
func (s *RowSet) Row(k RowKey) *Row {
	if r := s.find(k); r != nil {
		return r
	}
	if !s.Exact() && k.hash() >= s.threshold {
		return nil
	}
	if len(s.rows) >= 2*maxRows {
		s.trim()
		if k.hash() >= s.threshold {
			return nil
		}
	}
	r := s.next(k)
	if s.indexed {
		s.index[k] = int32(len(s.rows) - 1)
	}
	return r
}

// next appends an empty row, without looking whether the key is there.
func (s *RowSet) next(k RowKey) *Row {
	n := len(s.rows)
	if n == cap(s.rows) {
		s.rows = s.mem.grow(s.rows)
	}
	s.rows = s.rows[:n+1]
	r := &s.rows[n]
	r.reuse(k)
	return r
}

func (s *RowSet) find(k RowKey) *Row {
	if !s.indexed && len(s.rows) > indexFrom {
		s.reindex()
	}
	if s.indexed {
		if i, ok := s.index[k]; ok {
			return &s.rows[i]
		}
		return nil
	}
	for i := range s.rows {
		if s.rows[i].Key == k {
			return &s.rows[i]
		}
	}
	return nil
}

func (s *RowSet) reindex() {
	s.indexed = len(s.rows) > indexFrom
	if !s.indexed {
		return
	}
	if s.index == nil {
		s.index = make(map[RowKey]int32, 2*len(s.rows))
	}
	clear(s.index)
	for i := range s.rows {
		s.index[s.rows[i].Key] = int32(i)
	}
}

// trim keeps the maxRows rows with the smallest hashes and lowers the threshold
// to the smallest hash that it dropped. Rows keep their order; only hashes are
// sorted, because rows are large.
func (s *RowSet) trim() {
	if len(s.rows) <= maxRows {
		return
	}
	hashes := make([]uint64, len(s.rows))
	for i := range s.rows {
		hashes[i] = s.rows[i].Key.hash()
	}
	sorted := slices.Clone(hashes)
	slices.Sort(sorted)
	s.threshold = sorted[maxRows]
	keep := 0
	for i := range s.rows {
		if hashes[i] < s.threshold {
			s.rows[keep], s.rows[i] = s.rows[i], s.rows[keep] // swapped, so that no two share a list
			keep++
		}
	}
	s.rows = s.rows[:keep]
	s.reindex()
}

// merge adds what o counted. The union knows nothing where o knows nothing.
func (s *RowSet) merge(o *RowSet) {
	if !o.Exact() && (s.Exact() || o.threshold < s.threshold) {
		s.threshold = o.threshold
		keep := 0
		for i := range s.rows {
			if s.rows[i].Key.hash() < s.threshold {
				s.rows[keep], s.rows[i] = s.rows[i], s.rows[keep]
				keep++
			}
		}
		s.rows = s.rows[:keep]
		s.reindex()
	}
	for i := range o.rows {
		if r := s.Row(o.rows[i].Key); r != nil {
			r.merge(&o.rows[i])
		}
	}
}

// Part is what one entity did in one pane, as far as it was added up.
type Part struct {
	Owned   bool   // the entity is an address of ours
	Client  Counts // the entity as client (or the whole, for kinds without roles)
	Server  Counts // the entity as server
	Callers window.Set
	Skipped int64 // seconds that AWS skipped (points)
	sets    [families]RowSet
	hasSet  bool // Callers is in use
	// place says where in the cloud the end that is ours was seen; see isAt.
	place []byte
}

// callerBound is the size up to which distinct clients of a server are exact.
const callerBound = 256

// Set returns the rows of a family.
func (p *Part) Set(f Family) *RowSet { return &p.sets[f-1] }

// CallersCount is the number of distinct clients of the entity.
func (p *Part) CallersCount() int64 {
	if !p.hasSet {
		return 0
	}
	return p.Callers.Count()
}

func (p *Part) addCaller(h uint64) {
	if !p.hasSet {
		p.hasSet = true
		p.Callers.Reset(callerBound)
	}
	p.Callers.Add(h)
}

// empty reports whether nothing was added.
func (p *Part) empty() bool {
	if p.Owned || p.hasSet || p.Skipped != 0 || p.Client != (Counts{}) || p.Server != (Counts{}) {
		return false
	}
	for i := range p.sets {
		if len(p.sets[i].rows) > 0 {
			return false
		}
	}
	return true
}

// merge adds what o counted.
func (p *Part) merge(o *Part) {
	p.Owned = p.Owned || o.Owned
	p.Client.Add(&o.Client)
	p.Server.Add(&o.Server)
	p.Skipped += o.Skipped
	p.isAt(o.place)
	if o.hasSet {
		if !p.hasSet {
			p.hasSet = true
			p.Callers.Reset(callerBound)
		}
		p.Callers.Merge(o.Callers)
	}
	for i := range p.sets {
		if len(o.sets[i].rows) > 0 {
			p.sets[i].merge(&o.sets[i])
		}
	}
}

// settle brings every set to its canonical form: at most maxRows rows.
func (p *Part) settle() {
	for i := range p.sets {
		p.sets[i].trim()
	}
}

// Bound on evidence: alert.MaxEvidence is the upper limit of the encoders.
const maxEvidence = 10
