package rule

import (
	"fmt"
	"math"
	"slices"
	"strings"

	celast "github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/operators"
)

var flipped = map[string]string{
	operators.Equals: operators.Equals, operators.NotEquals: operators.NotEquals,
	operators.Less: operators.Greater, operators.Greater: operators.Less,
	operators.LessEquals: operators.GreaterEquals, operators.GreaterEquals: operators.LessEquals,
}

// compare compiles a comparison of a field with a constant or with a field of
// the same type.
func (c *compiler) compare(fn string, l, r celast.Expr) (*node, bool) {
	a, okA := c.operand(l)
	b, okB := c.operand(r)
	if !okA || !okB || (a.konst && b.konst) {
		return nil, false
	}
	if a.konst {
		a, b, fn = b, a, flipped[fn]
	}
	if fn == operators.NotEquals {
		n, ok := c.compareOperands(operators.Equals, a, b)
		if !ok {
			return nil, false
		}
		return not(n), true
	}
	return c.compareOperands(fn, a, b)
}

func (c *compiler) compareOperands(fn string, a, b operand) (*node, bool) {
	if a.typ != b.typ || a.list != nil || b.list != nil {
		return nil, false
	}
	switch a.typ {
	case Int, Time, Duration:
		return compareInts(fn, a, b)
	case Double:
		return compareDoubles(fn, a, b)
	default: // the others take the way below
	}
	if fn != operators.Equals {
		return nil, false
	}
	switch a.typ {
	case String:
		return equalText(a, b)
	case Addr:
		return equalAddr(a, b)
	case Bool:
		if b.konst {
			get, want := a.field.b, b.b
			return leaf(&predicate{key: fmt.Sprintf("%s==%v", a.name, want), cost: 2, eval: func(r *Row) bool { return get(r) == want }}), true
		}
	default: // the others take the way below
	}
	return nil, false
}

func compareInts(fn string, a, b operand) (*node, bool) {
	x := a.field.i
	if !b.konst {
		y := b.field.i
		p := &predicate{key: a.name + fn + b.name, cost: 4}
		switch fn {
		case operators.Equals:
			p.eval = func(r *Row) bool { return x(r) == y(r) }
		case operators.Less:
			p.eval = func(r *Row) bool { return x(r) < y(r) }
		case operators.LessEquals:
			p.eval = func(r *Row) bool { return x(r) <= y(r) }
		case operators.Greater:
			p.eval = func(r *Row) bool { return x(r) > y(r) }
		default:
			p.eval = func(r *Row) bool { return x(r) >= y(r) }
		}
		return leaf(p), true
	}
	k := b.i
	p := &predicate{key: fmt.Sprintf("%s%s%d", a.name, fn, k), cost: 2}
	switch fn {
	case operators.Equals:
		p.eval, p.field, p.ints = func(r *Row) bool { return x(r) == k }, a.field, []int64{k}
	case operators.Less:
		p.eval = func(r *Row) bool { return x(r) < k }
	case operators.LessEquals:
		p.eval = func(r *Row) bool { return x(r) <= k }
	case operators.Greater:
		p.eval = func(r *Row) bool { return x(r) > k }
	default:
		p.eval = func(r *Row) bool { return x(r) >= k }
	}
	return leaf(p), true
}

func compareDoubles(fn string, a, b operand) (*node, bool) {
	if !b.konst {
		return nil, false
	}
	x, k := a.field.d, b.d
	p := &predicate{key: fmt.Sprintf("%s%s%x", a.name, fn, math.Float64bits(k)), cost: 3}
	switch fn {
	case operators.Equals:
		p.eval = func(r *Row) bool { return x(r) == k }
	case operators.Less:
		p.eval = func(r *Row) bool { return x(r) < k }
	case operators.LessEquals:
		p.eval = func(r *Row) bool { return x(r) <= k }
	case operators.Greater:
		p.eval = func(r *Row) bool { return x(r) > k }
	default:
		p.eval = func(r *Row) bool { return x(r) >= k }
	}
	return leaf(p), true
}

// text returns the reader of an operand that is text.
func (o *operand) text() func(*Row) string {
	if o.field.Type == Tags {
		tag, k := o.field.tag, o.tag
		return func(r *Row) string { s, _ := tag(r, k); return s }
	}
	return o.field.text
}

func equalText(a, b operand) (*node, bool) {
	if !b.konst {
		x, y := a.text(), b.text()
		return leaf(&predicate{key: a.name + "==" + b.name, cost: 10, eval: func(r *Row) bool { return x(r) == y(r) }}), true
	}
	return textIn(a, []string{b.s}), true
}

func equalAddr(a, b operand) (*node, bool) {
	x := a.field.a
	if !b.konst {
		y := b.field.a
		return leaf(&predicate{key: a.name + "==" + b.name, cost: 4, eval: func(r *Row) bool { return x(r) == y(r) }}), true
	}
	k := b.a
	n, err := ParseNets(k.String())
	if err != nil {
		return nil, false
	}
	return leaf(&predicate{
		key: a.name + "==" + k.String(), cost: 3, field: a.field, nets: n,
		eval: func(r *Row) bool { return x(r) == k },
	}), true
}

// textIn tests text, by its index where the field is enumerated.
func textIn(a operand, want []string) *node {
	p := &predicate{key: a.name + " in " + strings.Join(want, "\x00"), cost: 6 + len(want)}
	if a.field.Values != nil {
		for _, w := range want {
			if i := a.field.index(w); i >= 0 {
				p.ints = append(p.ints, int64(i))
			}
		}
		p.field, p.eval = a.field, intIn(a.field.i, p.ints)
		return leaf(p)
	}
	get := a.text()
	if len(want) == 1 {
		k := want[0]
		p.eval = func(r *Row) bool { return get(r) == k }
		return leaf(p)
	}
	set := make(map[string]struct{}, len(want))
	for _, w := range want {
		set[w] = struct{}{}
	}
	p.eval = func(r *Row) bool { _, ok := set[get(r)]; return ok }
	return leaf(p)
}

// intIn tests membership: one by one for a few, by bit where all are small, by
// binary search otherwise.
func intIn(get func(*Row) int64, want []int64) func(*Row) bool {
	want = slices.Clone(want)
	slices.Sort(want)
	switch {
	case len(want) == 0:
		return func(*Row) bool { return false }
	case len(want) == 1:
		k := want[0]
		return func(r *Row) bool { return get(r) == k }
	case want[0] >= 0 && want[len(want)-1] < 64:
		var bits uint64
		for _, w := range want {
			bits |= 1 << w
		}
		return func(r *Row) bool { v := get(r); return uint64(v) < 64 && bits>>uint64(v)&1 != 0 }
	case len(want) <= 4:
		return func(r *Row) bool { return slices.Contains(want, get(r)) }
	}
	return func(r *Row) bool { _, ok := slices.BinarySearch(want, get(r)); return ok }
}

// in compiles the memberships.
func (c *compiler) in(l, r celast.Expr) (*node, bool) {
	a, okA := c.operand(l)
	b, okB := c.operand(r)
	switch {
	case !okA || !okB:
		return nil, false
	case a.konst && !b.konst && b.field != nil && b.tag == "":
		return constIn(a, b.field)
	case a.konst || !b.konst:
		return nil, false
	case b.nets != nil && a.typ == Addr:
		get, nets := a.field.a, b.nets
		return leaf(&predicate{
			key: a.name + " in " + nets.String(), cost: 3 + len(nets.all), field: a.field, nets: nets,
			eval: func(r *Row) bool { return nets.Contains(get(r)) },
		}), true
	case len(b.list) > 0 && a.typ == b.list[0].typ && a.typ == Int:
		p := &predicate{cost: 5, field: a.field}
		for _, it := range b.list {
			p.ints = append(p.ints, it.i)
		}
		p.key, p.eval = fmt.Sprint(a.name, " in ", p.ints), intIn(a.field.i, p.ints)
		return leaf(p), true
	case len(b.list) > 0 && a.typ == b.list[0].typ && a.typ == String:
		var want []string
		for _, it := range b.list {
			want = append(want, it.s)
		}
		return textIn(a, want), true
	}
	return nil, false
}

// constIn compiles `constant in field`.
func constIn(k operand, f *Field) (*node, bool) {
	p := &predicate{cost: 6}
	switch {
	case f.Type == Flags && k.typ == String:
		bit, _ := flagBit(k.s)
		get, want := f.i, int64(bit)
		p.key, p.eval = k.s+" in "+f.Name, func(r *Row) bool { return get(r)&want != 0 }
	case f.Type == Strings && k.typ == String:
		nth, want := f.nth, k.s
		p.key, p.eval = k.s+" in "+f.Name, func(r *Row) bool { return anyText(nth, r, want) }
	case f.Type == Tags && k.typ == String:
		tag, want := f.tag, k.s
		p.key, p.eval = k.s+" in "+f.Name, func(r *Row) bool { _, ok := tag(r, want); return ok }
	case f.Type == Addrs && k.typ == Addr:
		get, want := f.as, k.a
		p.key, p.eval = k.a.String()+" in "+f.Name, func(r *Row) bool { as := get(r); return as[0] == want || as[1] == want }
	case f.Type == Ints && k.typ == Int:
		get, want := f.is, k.i
		p.key, p.eval = fmt.Sprint(k.i, " in ", f.Name), func(r *Row) bool { is := get(r); return is[0] == want || is[1] == want }
	default:
		return nil, false
	}
	return leaf(p), true
}

func anyText(nth func(*Row, int) (string, bool), r *Row, want string) bool {
	for i := 0; ; i++ {
		s, ok := nth(r, i)
		if !ok {
			return false
		}
		if s == want {
			return true
		}
	}
}
