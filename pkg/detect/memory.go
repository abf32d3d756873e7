package detect

import (
	"math/bits"
	"slices"
)

// memory hands out parts, sets, rows and their lists, and takes them back when
// a pane is over: in steady state a combiner or evaluator allocates nothing. A
// nil memory allocates, and the garbage collector takes back.
type memory struct {
	parts []*Part
	sets  []*RowSet
	rows  *Row  // linked by next
	fresh []Row // never used yet
	waits int   // how many rows are linked
	lists []*details
	index []rowIndex            // large ones
	slots [slotClasses][][]*Row // by the binary logarithm of their capacity
}

// rowChunk is how many rows are allocated at a time, about 15 kB.
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
	if r := m.rows; r != nil {
		m.rows, r.next, r.Key = r.next, nil, k
		m.waits--
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

// drop takes back a row and its lists; nil is none.
func (m *memory) drop(r *Row) {
	if m == nil || r == nil || m.waits >= keepRows {
		return
	}
	if d := r.more; d != nil {
		d.set.Reset(rowPorts)
		d.sizes.Reset()
		d.hasSet, d.beats = false, d.beats[:0]
		m.lists = append(m.lists, d)
	}
	*r = Row{next: m.rows}
	m.rows = r
	m.waits++
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
	callers, place := p.Callers, p.place[:0]
	callers.Reset(callerBound)
	*p = Part{mem: m, Callers: callers, place: place}
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
