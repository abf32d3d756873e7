package detect

import (
	"slices"
	"strings"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// acc is what one entity did in one pane so far.
type acc struct {
	key          accKey
	early, final *Part
	light        *fact            // what early would hold, while it weighs little; early is nil then
	facts        [factRoles]*fact // what final does not hold yet
	n            int32            // how many these are
	weight       int64            // of what early, or light, holds
	sent         int64            // wall time of the last early observation
	queued       bool
}

func (a *acc) part(final bool, m *memory) *Part {
	p := &a.early
	if final {
		p = &a.final
	}
	if *p == nil {
		*p = m.part()
	}
	return *p
}

// paneSums are the sums of all open panes, by pane and entity. A pane that has
// passed goes as a whole.
type paneSums struct {
	by    map[flow.Time]*sums
	last  *sums     // the pane that was asked for last: mostly the next one too
	first flow.Time // no pane starts before
	n     int       // entities
	spare []*acc
	empty []*sums
}

// sums are those of one pane.
type sums struct {
	start flow.Time
	plain map[plainKey]*acc // entities without a name
	named map[Entity]*acc
}

// plainKey is an Entity without a name, packed: to hash a text, be it empty,
// takes longer than all the rest.
type plainKey struct {
	addr     flow.Addr
	scope    uint16
	port     uint16
	protocol uint8
	kind     Kind
}

func plainOf(e *Entity) plainKey {
	return plainKey{e.Addr, e.Scope, e.Port, e.Protocol, e.Kind}
}

func newPaneSums() paneSums {
	return paneSums{by: map[flow.Time]*sums{}, first: flow.MaxTime}
}

// keepSums is how many empty panes keep their tables for the next.
const keepSums = 4

// pane returns the sums of a pane, which it makes if need be.
func (p *paneSums) pane(start flow.Time) *sums {
	if p.last != nil && p.last.start == start {
		return p.last
	}
	s := p.by[start]
	if s == nil {
		if len(p.empty) > 0 {
			s = pop(&p.empty)
			s.start = start
		} else {
			s = &sums{start: start, plain: map[plainKey]*acc{}, named: map[Entity]*acc{}}
		}
		p.by[start] = s
		p.first = min(p.first, start)
	}
	p.last = s
	return s
}

// acc returns the sum of an entity, which it makes if need be.
func (p *paneSums) acc(pane flow.Time, e *Entity) *acc {
	s := p.pane(pane)
	if e.Name == "" {
		k := plainOf(e)
		a := s.plain[k]
		if a == nil {
			a = p.make(accKey{pane, *e})
			s.plain[k] = a
		}
		return a
	}
	a := s.named[*e]
	if a == nil {
		k := accKey{pane, *e}
		k.entity.Name = strings.Clone(e.Name) // the event's text goes with the event
		a = p.make(k)
		s.named[k.entity] = a
	}
	return a
}

func (p *paneSums) make(k accKey) *acc {
	p.n++
	if len(p.spare) == 0 {
		return &acc{key: k}
	}
	a := pop(&p.spare)
	a.key = k
	return a
}

// find returns the sum of a key, or nil.
func (p *paneSums) find(k accKey) *acc {
	s := p.by[k.pane]
	switch {
	case s == nil:
		return nil
	case k.entity.Name == "":
		return s.plain[plainOf(&k.entity)]
	}
	return s.named[k.entity]
}

// appendTo appends the sums of one pane in the order of their entities.
func (s *sums) appendTo(to []*acc) []*acc {
	from := len(to)
	for _, a := range s.plain {
		to = append(to, a)
	}
	for _, a := range s.named {
		to = append(to, a)
	}
	slices.SortFunc(to[from:], func(a, b *acc) int {
		x, y := &a.key.entity, &b.key.entity
		if x.Kind == KindHost && y.Kind == KindHost && x.Scope == y.Scope { // without copying them
			return compareAddr(&x.Addr, &y.Addr)
		}
		return x.Compare(*y)
	})
	return to
}

// starts are those of the open panes up to end, ascending.
func (p *paneSums) starts(end flow.Time) (list []flow.Time) {
	for t := range p.by {
		if t <= end {
			list = append(list, t)
		}
	}
	slices.Sort(list)
	return list
}

// all appends every sum, in the order of the keys.
func (p *paneSums) all(to []*acc) []*acc {
	for _, t := range p.starts(flow.MaxTime) {
		to = p.by[t].appendTo(to)
	}
	return to
}

// take appends the sums of the panes that start at or before end, in the order
// of their keys, and forgets them.
func (p *paneSums) take(to []*acc, end flow.Time) []*acc {
	for _, t := range p.starts(end) {
		s := p.by[t]
		to = s.appendTo(to)
		delete(p.by, t)
		p.n -= len(s.plain) + len(s.named)
		if len(p.empty) < keepSums {
			clear(s.plain)
			clear(s.named)
			p.empty = append(p.empty, s)
		}
	}
	p.last, p.first = nil, flow.MaxTime
	for t := range p.by {
		p.first = min(p.first, t)
	}
	return to
}

// give takes back a sum that was taken and is done with.
func (p *paneSums) give(a *acc) {
	*a = acc{}
	if len(p.spare) < keepParts {
		p.spare = append(p.spare, a)
	}
}
