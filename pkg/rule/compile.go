package rule

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/google/cel-go/cel"
	celast "github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/debug"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// Compiling a checked filter gives a tree of and, or, not over predicates. A
// predicate is a Go closure where its expression is one of the common shapes
// (comparisons and memberships of fields with constants, tests on text and
// addresses), and a cel-go program of just that expression otherwise.
//
// CEL's && and || take a definite answer over an error, and a filter matches
// only where it is true. So where no negation stands above it, an expression
// that fails may count as false without changing what the whole matches. Under
// a negation it may not; there everything is fast or the negation as a whole
// is left to cel-go.

type op uint8

const (
	opPred op = iota
	opAnd
	opOr
	opNot
)

type node struct {
	op   op
	kids []*node
	pred *predicate
}

// predicate is one test of a row.
type predicate struct {
	key  string // equal keys mean the same test
	eval func(*Row) bool
	cost int // about nanoseconds
	slow bool

	// What the test demands, for the index: field is one of ints (its
	// integer value), or lies in nets.
	field *Field
	ints  []int64
	nets  *Nets
}

type compiler struct {
	schema *Schema
	env    *cel.Env
	ast    *celast.AST
	err    error
}

// build compiles an expression in a place without a negation above it.
func (c *compiler) build(e celast.Expr) *node {
	if e.Kind() == celast.CallKind {
		call := e.AsCall()
		switch call.FunctionName() {
		case operators.LogicalAnd, operators.LogicalOr:
			o := opAnd
			if call.FunctionName() == operators.LogicalOr {
				o = opOr
			}
			return join(o, c.build(call.Args()[0]), c.build(call.Args()[1]))
		}
	}
	if n, ok := c.fast(e); ok {
		return n
	}
	return c.slowPredicate(e)
}

// join makes a node of two and flattens what has the same operator.
func join(o op, a, b *node) *node {
	n := &node{op: o}
	for _, k := range []*node{a, b} {
		if k.op == o {
			n.kids = append(n.kids, k.kids...)
		} else {
			n.kids = append(n.kids, k)
		}
	}
	return n
}

// fast compiles an expression wholly to closures, or reports that it can not.
func (c *compiler) fast(e celast.Expr) (*node, bool) {
	switch e.Kind() {
	case celast.IdentKind, celast.LiteralKind:
		return c.truth(e)
	case celast.CallKind:
	default:
		return nil, false
	}
	call := e.AsCall()
	args := call.Args()
	switch fn := call.FunctionName(); fn {
	case operators.LogicalAnd, operators.LogicalOr:
		a, okA := c.fast(args[0])
		b, okB := c.fast(args[1])
		if !okA || !okB {
			return nil, false
		}
		if fn == operators.LogicalAnd {
			return join(opAnd, a, b), true
		}
		return join(opOr, a, b), true
	case operators.LogicalNot:
		k, ok := c.fast(args[0])
		if !ok {
			return nil, false
		}
		return &node{op: opNot, kids: []*node{k}}, true
	case operators.In:
		return c.in(args[0], args[1])
	case operators.Equals, operators.NotEquals, operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals:
		return c.compare(fn, args[0], args[1])
	default:
		return c.method(call)
	}
}

func (c *compiler) truth(e celast.Expr) (*node, bool) {
	o, ok := c.operand(e)
	if !ok || o.typ != Bool {
		return nil, false
	}
	if o.konst {
		yes := o.b
		return leaf(&predicate{key: fmt.Sprint(yes), cost: 1, eval: func(*Row) bool { return yes }}), true
	}
	get := o.field.b
	return leaf(&predicate{key: o.name, cost: 2, eval: get}), true
}

func leaf(p *predicate) *node { return &node{op: opPred, pred: p} }

func not(n *node) *node { return &node{op: opNot, kids: []*node{n}} }

// method compiles the tests on text and addresses.
func (c *compiler) method(call celast.CallExpr) (*node, bool) {
	if !call.IsMemberFunction() {
		return nil, false
	}
	o, ok := c.operand(call.Target())
	if !ok || o.konst {
		return nil, false
	}
	if o.typ == Addr && len(call.Args()) == 0 {
		return addrMethod(call.FunctionName(), o)
	}
	if o.typ != String || len(call.Args()) != 1 {
		return nil, false
	}
	arg, ok := c.operand(call.Args()[0])
	if !ok || !arg.konst || arg.typ != String {
		return nil, false
	}
	test := textTest(call.FunctionName(), arg.s)
	if test == nil {
		return nil, false
	}
	get := o.text()
	return leaf(&predicate{
		key: o.name + "." + call.FunctionName() + "(" + arg.s + ")", cost: 20,
		eval: func(r *Row) bool { return test(get(r)) },
	}), true
}

func addrMethod(function string, o operand) (*node, bool) {
	var test func(flow.Addr) bool
	switch function {
	case "isPrivate":
		test = isPrivate
	case "isIPv4":
		test = flow.Addr.Is4
	case "isIPv6":
		test = isIPv6
	default:
		return nil, false
	}
	get := o.field.a
	return leaf(&predicate{key: o.name + "." + function, cost: 8, eval: func(r *Row) bool { return test(get(r)) }}), true
}

func textTest(function, arg string) func(string) bool {
	switch function {
	case "startsWith":
		return func(s string) bool { return strings.HasPrefix(s, arg) }
	case "endsWith":
		return func(s string) bool { return strings.HasSuffix(s, arg) }
	case "contains":
		return func(s string) bool { return strings.Contains(s, arg) }
	case "matches":
		re, err := regexp.Compile(arg)
		if err != nil {
			return nil
		}
		return re.MatchString
	}
	return nil
}

// slowPredicate leaves an expression to cel-go.
func (c *compiler) slowPredicate(e celast.Expr) *node {
	sub := celast.NewCheckedAST(celast.NewAST(e, c.ast.SourceInfo()), c.ast.TypeMap(), c.ast.ReferenceMap())
	prg, err := c.env.PlanProgram(sub, cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		c.err = err
		return leaf(&predicate{eval: func(*Row) bool { return false }})
	}
	schema := c.schema
	return leaf(&predicate{
		// The tree as written after lists and macros are expanded. The
		// source text would not do: a list's name means something else in
		// another rule.
		key: "cel " + debug.ToDebugString(e), cost: 2000, slow: true,
		eval: func(r *Row) bool {
			v, _, err := prg.Eval(&activation{schema, r})
			return err == nil && v == types.True
		},
	})
}
