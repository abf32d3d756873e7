package detect

import "math/bits"

// memory hands out parts and rows of rows, and takes them back when a pane is
// over: in steady state a combiner or evaluator allocates nothing. A nil memory
// allocates, and the garbage collector takes back.
type memory struct {
	parts []*Part
	rows  [rowClasses][][]Row // by the binary logarithm of their capacity
}

// rowClasses covers capacities from 1 to 2*maxRows.
const rowClasses = 11

// keepParts bounds how many parts wait for reuse: what a flood needed once is
// given back to the garbage collector.
const keepParts = 1 << 15

// part returns an empty part whose rows come from m.
func (m *memory) part() *Part {
	n := 0
	if m != nil {
		n = len(m.parts)
	}
	if n == 0 {
		p := &Part{}
		for i := range p.sets {
			p.sets[i].mem = m
		}
		return p
	}
	p := m.parts[n-1]
	m.parts[n-1] = nil
	m.parts = m.parts[:n-1]
	return p
}

// free takes back a part that nothing refers to any more; nil is none.
func (m *memory) free(p *Part) {
	if p == nil || len(m.parts) >= keepParts {
		return
	}
	for i := range p.sets {
		s := &p.sets[i]
		m.give(s.rows)
		clear(s.index)
		s.rows, s.threshold, s.indexed, s.mem = nil, 0, false, m
	}
	callers := p.Callers
	p.place = p.place[:0]
	p.Owned, p.hasSet, p.Skipped, p.Client, p.Server = false, false, 0, Counts{}, Counts{}
	callers.Reset(callerBound)
	p.Callers = callers
	m.parts = append(m.parts, p)
}

// grow returns room for twice the rows, with the given ones moved there.
func (m *memory) grow(rows []Row) []Row {
	class := bits.Len(uint(cap(rows)))
	var out []Row
	if m != nil && class < rowClasses && len(m.rows[class]) > 0 {
		list := m.rows[class]
		out = list[len(list)-1]
		list[len(list)-1] = nil
		m.rows[class] = list[:len(list)-1]
	} else {
		out = make([]Row, 0, 1<<class)
	}
	out = out[:len(rows)]
	for i := range rows { // swapped: each keeps lists, and no two the same
		out[i], rows[i] = rows[i], out[i]
	}
	m.give(rows)
	return out
}

// give takes rows back, with what their sets and beats hold.
func (m *memory) give(rows []Row) {
	c := cap(rows)
	if m == nil || c == 0 || c&(c-1) != 0 || c > 1<<(rowClasses-1) {
		return
	}
	class := bits.Len(uint(c)) - 1
	m.rows[class] = append(m.rows[class], rows[:0])
}

// reuse makes r an empty row of key k that keeps the room of its lists.
func (r *Row) reuse(k RowKey) {
	set, sizes, beats := r.Set, r.Sizes, r.Beats[:0]
	set.Reset(rowPorts)
	sizes.Reset()
	*r = Row{Key: k, Set: set, Sizes: sizes, Beats: beats}
}
