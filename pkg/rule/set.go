package rule

import (
	"encoding/binary"
	"slices"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// Set asks many filters about one row at less than the sum of their costs.
// Each filter is filed under the most selective thing that it demands: a value
// of a number or of an enumerated text (`server_port in [22, 3389]`), or a
// network (`client in "10.0.0.0/8"`). A row looks up its own values and tries
// only what is filed there. What several filters test in the same words is
// tested once for each row.
type Set struct {
	filters []*Filter
	evals   []func(*Row) bool
	ints    []intIndex
	nets    []netIndex
	always  []int32 // filters that demand nothing selective
	shared  int     // how many tests have a place in a row's memo
}

type intIndex struct {
	field string
	get   func(*Row) int64
	at    map[int64][]int32
}

type netIndex struct {
	field string
	get   func(*Row) flow.Addr
	lens  []netLen
}

// netLen holds the networks of one prefix length.
type netLen struct {
	maskHi, maskLo uint64
	bits           uint8
	is4            bool
	at             map[[2]uint64][]int32
}

// demand is a condition without which a filter can not match: the field has
// one of the ints, or lies in one of the nets.
type demand struct {
	field *Field
	ints  []int64
	nets  []netMask
}

// alwaysFrom is the share of rows from which looking up costs more than trying.
const alwaysFrom = 0.6

// NewSet indexes filters of one schema. Match names them by their place here.
func NewSet(filters []*Filter) *Set {
	s := &Set{filters: filters}
	slots := sharedTests(filters)
	s.shared = len(slots)
	for i, f := range filters {
		s.evals = append(s.evals, sharedClosure(f.root, slots))
		best, share := demand{}, 1.0
		for _, d := range demands(f.root) {
			if sh := d.share(); sh < share {
				best, share = d, sh
			}
		}
		switch {
		case share >= alwaysFrom:
			s.always = append(s.always, int32(i))
		case best.nets != nil:
			s.fileNets(best, int32(i))
		default:
			s.fileInts(best, int32(i))
		}
	}
	return s
}

func (s *Set) fileInts(d demand, id int32) {
	at := slices.IndexFunc(s.ints, func(x intIndex) bool { return x.field == d.field.Name })
	if at < 0 {
		at = len(s.ints)
		s.ints = append(s.ints, intIndex{field: d.field.Name, get: d.field.i, at: make(map[int64][]int32)})
	}
	for _, v := range d.ints {
		if ids := s.ints[at].at[v]; len(ids) == 0 || ids[len(ids)-1] != id {
			s.ints[at].at[v] = append(ids, id)
		}
	}
}

func (s *Set) fileNets(d demand, id int32) {
	at := slices.IndexFunc(s.nets, func(x netIndex) bool { return x.field == d.field.Name })
	if at < 0 {
		at = len(s.nets)
		s.nets = append(s.nets, netIndex{field: d.field.Name, get: d.field.a})
	}
	x := &s.nets[at]
	for _, m := range d.nets {
		l := slices.IndexFunc(x.lens, func(l netLen) bool { return l.bits == m.bits && l.is4 == m.is4 })
		if l < 0 {
			l = len(x.lens)
			x.lens = append(x.lens, netLen{maskHi: m.maskHi, maskLo: m.maskLo, bits: m.bits, is4: m.is4, at: make(map[[2]uint64][]int32)})
		}
		key := [2]uint64{m.hi, m.lo}
		if ids := x.lens[l].at[key]; len(ids) == 0 || ids[len(ids)-1] != id {
			x.lens[l].at[key] = append(ids, id)
		}
	}
}

// share guesses which part of ordinary traffic meets a demand. Only the order
// of the guesses matters.
func (d *demand) share() float64 {
	if d.nets != nil {
		sum := 0.0
		for _, m := range d.nets {
			bits := int(m.bits)
			if m.is4 {
				bits -= 96
			}
			switch {
			case bits < 8:
				sum++
			case bits < 16:
				sum += 0.25
			case bits < 24:
				sum += 0.05
			default:
				sum += 0.005
			}
		}
		return sum
	}
	per := 0.3
	switch d.field.Name {
	case "server_port", "dst_port", "client_port", "src_port", "service":
		per = 0.02
	case "proto", "protocol":
		per = 0.1
		if slices.Contains(d.ints, 6) || slices.Contains(d.ints, 17) {
			per = 0.45
		}
	}
	return per * float64(len(d.ints))
}

// demands returns what must hold for a tree to be true.
func demands(n *node) []demand {
	switch n.op {
	case opPred:
		switch p := n.pred; {
		case p.field == nil:
		case p.nets != nil:
			return []demand{{field: p.field, nets: p.nets.all}}
		default:
			return []demand{{field: p.field, ints: p.ints}}
		}
	case opAnd:
		var all []demand
		for _, k := range n.kids {
			all = append(all, demands(k)...)
		}
		return all
	case opOr:
		return commonDemands(n.kids)
	default: // the others take the way below
	}
	return nil
}

// commonDemands returns for each field that every one of the alternatives
// restricts the union of what they allow.
func commonDemands(kids []*node) []demand {
	common := demands(kids[0])
	for _, k := range kids[1:] {
		var next []demand
		others := demands(k)
		for _, d := range common {
			for _, o := range others {
				if o.field == d.field && (o.nets == nil) == (d.nets == nil) {
					next = append(next, demand{d.field, slices.Concat(d.ints, o.ints), slices.Concat(d.nets, o.nets)})
					break
				}
			}
		}
		common = next
	}
	return common
}

// sharedFrom is the cost in nanoseconds from which remembering an answer is
// cheaper than asking again.
const sharedFrom = 6

// sharedTests gives a place in the memo to each test that more than one filter
// makes and that is worth remembering.
func sharedTests(filters []*Filter) map[string]int {
	uses := make(map[string]int)
	slots := make(map[string]int)
	for _, f := range filters {
		var keys []string
		walk(f.root, func(p *predicate) {
			if p.cost >= sharedFrom && !slices.Contains(keys, p.key) {
				keys = append(keys, p.key)
			}
		})
		for _, k := range keys {
			if uses[k]++; uses[k] == 2 {
				slots[k] = len(slots)
			}
		}
	}
	return slots
}

func walk(n *node, visit func(*predicate)) {
	if n.op == opPred {
		visit(n.pred)
	}
	for _, k := range n.kids {
		walk(k, visit)
	}
}

// Answers in a memo.
const (
	memoUnknown = iota
	memoNo
	memoYes
)

// sharedClosure is closure with remembered answers.
func sharedClosure(root *node, slots map[string]int) func(*Row) bool {
	var remember func(n *node) *node
	remember = func(n *node) *node {
		c := &node{op: n.op, pred: n.pred}
		for _, k := range n.kids {
			c.kids = append(c.kids, remember(k))
		}
		if n.op != opPred {
			return c
		}
		slot, ok := slots[n.pred.key]
		if !ok {
			return c
		}
		p, eval := *n.pred, n.pred.eval
		p.eval = func(r *Row) bool {
			switch r.memo[slot] {
			case memoYes:
				return true
			case memoNo:
				return false
			}
			yes := eval(r)
			r.memo[slot] = memoNo
			if yes {
				r.memo[slot] = memoYes
			}
			return yes
		}
		c.pred = &p
		return c
	}
	return closure(remember(root))
}

// Matcher asks a Set. It keeps the memory that an answer needs, so each
// goroutine has its own.
type Matcher struct {
	set  *Set
	memo []uint8
	hits []int32
}

// NewMatcher returns a matcher of the set.
func (s *Set) NewMatcher() *Matcher { return &Matcher{set: s, memo: make([]uint8, s.shared)} }

// Match returns the filters that a row matches, ascending. The slice is valid
// until the next call.
func (m *Matcher) Match(r *Row) []int32 {
	s := m.set
	clear(m.memo)
	r.memo, m.hits = m.memo, m.hits[:0]
	m.try(r, s.always)
	for i := range s.ints {
		x := &s.ints[i]
		if ids := x.at[x.get(r)]; ids != nil {
			m.try(r, ids)
		}
	}
	for i := range s.nets {
		x := &s.nets[i]
		a := x.get(r)
		hi, lo := binary.BigEndian.Uint64(a[:8]), binary.BigEndian.Uint64(a[8:])
		for j := range x.lens {
			l := &x.lens[j]
			if ids := l.at[[2]uint64{hi & l.maskHi, lo & l.maskLo}]; ids != nil {
				m.try(r, ids)
			}
		}
	}
	r.memo = nil
	slices.Sort(m.hits)
	// A filter is filed once under each of several networks, which may nest.
	m.hits = slices.Compact(m.hits)
	return m.hits
}

func (m *Matcher) try(r *Row, ids []int32) {
	for _, id := range ids {
		if m.set.evals[id](r) {
			m.hits = append(m.hits, id)
		}
	}
}
