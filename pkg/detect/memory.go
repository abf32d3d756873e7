package detect

import (
	"bytes"
	"math/bits"
	"slices"

	"github.com/flowstitch/flowstitch/pkg/window"
)

// memory hands out parts, sets, rows and their lists, and takes them back when
// a pane is over: in steady state a combiner or evaluator allocates nothing. A
// nil memory allocates, and the garbage collector takes back.
type memory struct {
	parts      []*Part
	sets       []*RowSet
	rows       []*Row
	fresh      []Row // never used yet
	lists      []*details
	refs       []*evidence
	blank      []evidence // never used yet
	facts      []*fact
	blankFacts []fact                // never used yet
	reader     window.Reader         // of what is nested in an observation
	where      map[string][]byte     // places that parts share
	index      []rowIndex            // large ones
	slots      [slotClasses][][]*Row // by the binary logarithm of their capacity
}

// rowChunk is how many rows are allocated at a time, about 10 kB, and how many
// pieces of evidence.
const rowChunk = 64

// slotClasses covers capacities from 1 to 2*maxRows.
const slotClasses = 11

// What waits for reuse is bounded: what a flood needed once is given back to
// the garbage collector.
const (
	keepParts = 1 << 15
	keepRows  = 1 << 17
)

// part returns an empty part whose rows come from m.
func (m *memory) part() *Part {
	if m == nil || len(m.parts) == 0 {
		return &Part{mem: m}
	}
	return pop(&m.parts)
}

func (m *memory) set() *RowSet {
	if m == nil || len(m.sets) == 0 {
		return &RowSet{mem: m}
	}
	return pop(&m.sets)
}

// row returns an empty row of key k.
func (m *memory) row(k RowKey) *Row {
	if m == nil {
		return &Row{Key: k}
	}
	if len(m.rows) > 0 {
		r := pop(&m.rows)
		*r = Row{Key: k}
		return r
	}
	if len(m.fresh) == 0 {
		m.fresh = make([]Row, rowChunk)
	}
	r := &m.fresh[0]
	m.fresh = m.fresh[1:]
	r.Key = k
	return r
}

// place returns the bytes of a place, of which there are as many as there are
// interfaces, as parts share them.
func (m *memory) place(s []byte) []byte {
	if m == nil {
		return bytes.Clone(s)
	}
	p, known := m.where[string(s)]
	if known {
		return p
	}
	if m.where == nil || len(m.where) >= maxPlaces {
		m.where = map[string][]byte{}
	}
	p = bytes.Clone(s)
	m.where[string(s)] = p
	return p
}

// fact returns a copy of f that is in no list.
func (m *memory) fact(f *fact) *fact {
	var x *fact
	switch {
	case len(m.facts) > 0:
		x = pop(&m.facts)
	default:
		if len(m.blankFacts) == 0 {
			m.blankFacts = make([]fact, rowChunk)
		}
		x = &m.blankFacts[0]
		m.blankFacts = m.blankFacts[1:]
	}
	*x = *f
	if x.ref != nil {
		x.ref.rows++
	}
	return x
}

// freeFacts takes a list of facts back, of which no other list has some, and
// returns how many those are.
func (m *memory) freeFacts(f *fact, role int) (n int) {
	for f != nil {
		next := f.next[role]
		if f.lists--; f.lists == 0 {
			n++
			if f.ref != nil {
				m.release(f.ref)
			}
			f.ref, f.next = nil, [factRoles]*fact{}
			if len(m.facts) < keepRows {
				m.facts = append(m.facts, f)
			}
		}
		f = next
	}
	return n
}

// read returns a reader of b, the same each time: it is to be closed before the
// next is asked for.
func (m *memory) read(b []byte) *window.Reader {
	if m == nil {
		return window.NewReader(b)
	}
	m.reader.Reset(b)
	return &m.reader
}

// evidence returns a piece of evidence that no row holds yet.
func (m *memory) evidence() *evidence {
	switch {
	case m == nil:
		return &evidence{}
	case len(m.refs) > 0:
		x := pop(&m.refs)
		*x = evidence{}
		return x
	case len(m.blank) == 0:
		m.blank = make([]evidence, rowChunk)
	}
	x := &m.blank[0]
	m.blank = m.blank[1:]
	return x
}

// release takes evidence back that a row does not hold any more.
func (m *memory) release(x *evidence) {
	if x.rows--; x.rows > 0 || m == nil || len(m.refs) >= keepRows {
		return
	}
	m.refs = append(m.refs, x) // emptied when it is used again, see drop
}

func (m *memory) details() *details {
	if m == nil || len(m.lists) == 0 {
		return &details{}
	}
	return pop(&m.lists)
}

func pop[T any](list *[]*T) *T {
	l := *list
	n := len(l) - 1
	x := l[n]
	l[n] = nil
	*list = l[:n]
	return x
}

// drop takes back a row and its lists; nil is none. The row is emptied when it is
// used again, because by now the most of it has left the processor's cache.
func (m *memory) drop(r *Row) {
	if m == nil || r == nil || len(m.rows) >= keepRows {
		return
	}
	if d := r.more; d != nil {
		d.set.Reset(rowPorts)
		d.sizes.Reset()
		d.hasSet, d.beats = false, d.beats[:0]
		m.lists = append(m.lists, d)
	}
	if r.ref != nil {
		m.release(r.ref)
	}
	r.more, r.ref = nil, nil
	m.rows = append(m.rows, r)
}

// free takes back a part that nothing refers to any more; nil is none.
func (m *memory) free(p *Part) {
	if p == nil || m == nil {
		return
	}
	for i, s := range p.sets {
		if s != nil {
			m.freeSet(s)
			p.sets[i] = nil
		}
	}
	if len(m.parts) >= keepParts {
		return
	}
	callers := p.Callers
	callers.Reset(callerBound)
	*p = Part{mem: m, Callers: callers}
	m.parts = append(m.parts, p)
}

func (m *memory) freeSet(s *RowSet) {
	for _, r := range s.rows {
		m.drop(r)
	}
	rows, index := s.rows[:0], s.index
	if cap(rows) > smallSet { // a set of a busy server is not to be kept for a client's
		m.give(rows)
		rows = nil
	}
	if cap(index) > 4*smallSet {
		m.index = append(m.index, index)
		index = nil
	}
	clear(s.rows)
	if len(m.sets) < keepParts {
		*s = RowSet{mem: m, rows: rows, index: index}
		m.sets = append(m.sets, s)
	}
}

// smallSet is up to how many rows a set that waits for reuse keeps its room.
const smallSet = 16

// table returns an index of a size or more, for the given one.
func (m *memory) table(old rowIndex, size int) rowIndex {
	if m == nil {
		return make(rowIndex, size)
	}
	if cap(old) > 4*smallSet {
		m.index = append(m.index, old)
	}
	for i := len(m.index) - 1; i >= max(0, len(m.index)-8); i-- {
		if x := m.index[i]; cap(x) >= size {
			m.index = slices.Delete(m.index, i, i+1)
			return x
		}
	}
	return make(rowIndex, size)
}

// grow returns room for twice the rows, with the given ones moved there.
func (m *memory) grow(rows []*Row) []*Row {
	class := bits.Len(uint(cap(rows)))
	var out []*Row
	if m != nil && class < slotClasses && len(m.slots[class]) > 0 {
		list := m.slots[class]
		out = list[len(list)-1]
		list[len(list)-1] = nil
		m.slots[class] = list[:len(list)-1]
	} else {
		out = make([]*Row, 0, 1<<class)
	}
	out = append(out, rows...)
	m.give(rows)
	return out
}

// give takes the room of a list of rows back.
func (m *memory) give(rows []*Row) {
	c := cap(rows)
	if m == nil || c == 0 || c&(c-1) != 0 || c > 1<<(slotClasses-1) {
		return
	}
	class := bits.Len(uint(c)) - 1
	clear(rows[:c])
	m.slots[class] = append(m.slots[class], rows[:0])
}
