package rule

import (
	"fmt"
	"math"
	"slices"
	"strings"

	celast "github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types"

	"github.com/flowstitch/flowstitch/pkg/detect"
)

// aggKind is what an aggregate does with its field.
type aggKind uint8

const (
	aggCount aggKind = iota
	aggSum
	aggDistinct
	aggMin
	aggMax
)

var aggNames = []string{"count", "sum", "distinct", "min", "max"}

// aggregate is one number that a rule adds up.
type aggregate struct {
	kind  aggKind
	text  string // as written in having: "distinct(server_port)"
	unit  string
	value func(*Row) int64           // distinct, min, max; distinct of text is its hash
	delta func(*detect.Counts) int64 // sum
	field string                     // name of the field, "" for count
	bound int                        // distinct: exact up to here
}

// sums are the fields that can be summed: those that events carry as what is
// new since the event before. Refused packets and bytes are part of them.
var sums = map[string]func(*detect.Counts) int64{
	"bytes":       func(c *detect.Counts) int64 { return c.BytesOut + c.BytesIn },
	"bytes_out":   func(c *detect.Counts) int64 { return c.BytesOut },
	"bytes_in":    func(c *detect.Counts) int64 { return c.BytesIn },
	"packets":     func(c *detect.Counts) int64 { return c.PacketsOut + c.PacketsIn },
	"packets_out": func(c *detect.Counts) int64 { return c.PacketsOut },
	"packets_in":  func(c *detect.Counts) int64 { return c.PacketsIn },
}

var sumNames = []string{"bytes", "bytes_out", "bytes_in", "packets", "packets_out", "packets_in"}

// Bounds of exact distinct counting: twice the threshold that a rule compares
// with, so that what it decides is exact, within these.
const (
	minDistinct = 512
	maxDistinct = 4096
)

// values are what having is judged on.
type values struct {
	agg     []float64
	normal  []float64 // median of the group's own past, for ratio and baseline
	young   bool      // the past is too short to judge
	seconds float64   // width of the window
}

// having is the compiled condition on what was added up.
type having struct {
	text     string
	aggs     []*aggregate
	test     func(*values) bool
	grows    bool // what is true stays true while more is added: it may fire early
	baseline bool // it asks for the group's own past
}

// term is a number in having.
type term struct {
	eval  func(*values) float64
	trend int  // +1 grows as more is added, -1 falls, 0 constant
	any   bool // may do either
	konst float64
	agg   *aggregate
	index int
}

type havingCompiler struct {
	lang *Language
	text string
	info *celast.SourceInfo
	h    *having
	errs Errors
}

// compileHaving reads a condition such as `count >= 20 && distinct(server) > 3`.
func (l *Language) compileHaving(text string) (*having, error) {
	parsed, iss := l.env.Parse(text)
	if iss.Err() != nil {
		return nil, fromIssues(l.schema, text, iss)
	}
	c := &havingCompiler{lang: l, text: text, info: parsed.NativeRep().SourceInfo(), h: &having{text: text}}
	test, grows := c.boolean(parsed.NativeRep().Expr())
	if len(c.errs) > 0 {
		return nil, c.errs
	}
	c.h.test, c.h.grows = test, grows && !c.h.baseline
	return c.h, nil
}

func (c *havingCompiler) fail(e celast.Expr, near []string, format string, args ...any) {
	loc := c.info.GetStartLocation(e.ID())
	c.errs = append(c.errs, &Error{Text: c.text, Line: loc.Line(), Column: loc.Column() + 1, Message: fmt.Sprintf(format, args...), Near: near})
}

func (c *havingCompiler) boolean(e celast.Expr) (func(*values) bool, bool) {
	never := func(*values) bool { return false }
	if e.Kind() != celast.CallKind {
		c.fail(e, nil, "having must compare numbers: count >= 20")
		return never, false
	}
	args := e.AsCall().Args()
	switch fn := e.AsCall().FunctionName(); fn {
	case operators.LogicalAnd:
		a, ga := c.boolean(args[0])
		b, gb := c.boolean(args[1])
		return func(v *values) bool { return a(v) && b(v) }, ga && gb
	case operators.LogicalOr:
		a, ga := c.boolean(args[0])
		b, gb := c.boolean(args[1])
		return func(v *values) bool { return a(v) || b(v) }, ga && gb
	case operators.LogicalNot:
		a, _ := c.boolean(args[0])
		return func(v *values) bool { return !a(v) }, false
	case operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals, operators.Equals, operators.NotEquals:
		return c.comparison(fn, args[0], args[1])
	default:
		c.fail(e, nil, "having must compare numbers: count >= 20")
		return never, false
	}
}

func (c *havingCompiler) comparison(fn string, l, r celast.Expr) (func(*values) bool, bool) {
	a, b := c.number(l), c.number(r)
	if a.trend == 0 && !a.any {
		a, b, fn = b, a, flipped[fn]
	}
	if a.agg != nil && a.agg.kind == aggDistinct && b.trend == 0 && !b.any {
		a.agg.bound = min(max(a.agg.bound, 2*int(b.konst)), maxDistinct)
	}
	x, y := a.eval, b.eval
	steady := b.trend == 0 && !b.any && !a.any
	switch fn {
	case operators.Less:
		return func(v *values) bool { return x(v) < y(v) }, steady && a.trend < 0
	case operators.LessEquals:
		return func(v *values) bool { return x(v) <= y(v) }, steady && a.trend < 0
	case operators.Greater:
		return func(v *values) bool { return x(v) > y(v) }, steady && a.trend > 0
	case operators.GreaterEquals:
		return func(v *values) bool { return x(v) >= y(v) }, steady && a.trend > 0
	case operators.Equals:
		return func(v *values) bool { return x(v) == y(v) }, false
	}
	return func(v *values) bool { return x(v) != y(v) }, false
}

func constant(k float64) term { return term{eval: func(*values) float64 { return k }, konst: k} }

func (c *havingCompiler) number(e celast.Expr) term {
	switch e.Kind() {
	case celast.LiteralKind:
		switch v := e.AsLiteral().(type) {
		case types.Int:
			return constant(float64(v))
		case types.Double:
			return constant(float64(v))
		case types.String:
			n, err := ParseSize(string(v))
			if err != nil {
				c.fail(e, nil, "%v", err)
			}
			return constant(float64(n))
		}
	case celast.IdentKind:
		if e.AsIdent() == "count" {
			return c.aggregateTerm(e, aggCount, nil)
		}
		if name := e.AsIdent(); c.lang.schema.byName[name] == nil {
			near := append(nearest(name, havingNames), c.lang.schema.Nearest(name)...)
			c.fail(e, near[:min(len(near), 3)], "there is no number %q", name)
			return constant(0)
		}
		c.fail(e, nil, "%q is not a number here: write sum(%s), min(%s), max(%s) or distinct(%s)", e.AsIdent(), e.AsIdent(), e.AsIdent(), e.AsIdent(), e.AsIdent())
		return constant(0)
	case celast.CallKind:
		return c.callNumber(e)
	default: // the others take the way below
	}
	c.fail(e, nil, "not a number")
	return constant(0)
}

// havingNames are the names that a misspelt one is compared with.
var havingNames = []string{"count", "sum", "distinct", "min", "max", "rate", "ratio", "baseline"}

func (c *havingCompiler) callNumber(e celast.Expr) term {
	call := e.AsCall()
	args := call.Args()
	fn := call.FunctionName()
	if k := slices.Index(aggNames, fn); k >= 0 && len(args) <= 1 {
		if len(args) == 0 {
			return c.aggregateTerm(e, aggKind(k), nil)
		}
		return c.aggregateTerm(e, aggKind(k), args[0])
	}
	switch {
	case len(args) == 1 && fn == "rate":
		t := c.number(args[0])
		x := t.eval
		return term{eval: func(v *values) float64 { return x(v) / v.seconds }, trend: t.trend, any: t.any}
	case len(args) == 1 && (fn == "ratio" || fn == "baseline"):
		return c.normal(e, fn, args[0])
	case len(args) == 1 && fn == operators.Negate:
		t := c.number(args[0])
		return constant(-t.konst)
	case len(args) == 2:
		if t, ok := c.arithmetic(fn, args); ok {
			return t
		}
	}
	c.fail(e, nearest(fn, havingNames),
		"having knows count, sum, distinct, min, max, rate, ratio and baseline, not %q", fn)
	c.errs[len(c.errs)-1].atName(fn)
	return constant(0)
}

func (c *havingCompiler) arithmetic(fn string, args []celast.Expr) (term, bool) {
	var apply func(x, y float64) float64
	switch fn {
	case operators.Add:
		apply = func(x, y float64) float64 { return x + y }
	case operators.Subtract:
		apply = func(x, y float64) float64 { return x - y }
	case operators.Multiply:
		apply = func(x, y float64) float64 { return x * y }
	case operators.Divide:
		apply = func(x, y float64) float64 {
			if y == 0 {
				return 0
			}
			return x / y
		}
	default:
		return term{}, false
	}
	a, b := c.number(args[0]), c.number(args[1])
	if a.trend == 0 && b.trend == 0 && !a.any && !b.any {
		return constant(apply(a.konst, b.konst)), true
	}
	t := term{eval: func(v *values) float64 { return apply(a.eval(v), b.eval(v)) }, any: true}
	if fn == operators.Add && !a.any && !b.any && a.trend >= 0 && b.trend >= 0 {
		t.any, t.trend = false, 1
	}
	return t, true
}

// normal compiles ratio(x) and baseline(x).
func (c *havingCompiler) normal(e celast.Expr, fn string, arg celast.Expr) term {
	t := c.number(arg)
	if t.agg == nil {
		c.fail(e, nil, "%s needs one aggregate, such as %s(sum(bytes_out))", fn, fn)
		return constant(0)
	}
	c.h.baseline = true
	i := t.index
	if fn == "baseline" {
		return term{any: true, eval: func(v *values) float64 {
			if v.young {
				return math.Inf(1)
			}
			return v.normal[i]
		}}
	}
	return term{any: true, eval: func(v *values) float64 {
		if v.young || v.normal[i] <= 0 {
			return 0
		}
		return v.agg[i] / v.normal[i]
	}}
}

func (c *havingCompiler) aggregateTerm(e celast.Expr, kind aggKind, arg celast.Expr) term {
	a := &aggregate{kind: kind, text: "count", unit: "sessions", bound: minDistinct}
	if kind != aggCount {
		if arg == nil {
			c.fail(e, nil, "%s needs a field: %s(bytes_out)", aggNames[kind], aggNames[kind])
			return constant(0)
		}
		if !c.bind(a, arg) {
			return constant(0)
		}
	}
	trend := 1
	if kind == aggMin {
		trend = -1
	}
	i := slices.IndexFunc(c.h.aggs, func(x *aggregate) bool { return x.text == a.text })
	if i < 0 {
		i = len(c.h.aggs)
		c.h.aggs = append(c.h.aggs, a)
	}
	return term{eval: func(v *values) float64 { return v.agg[i] }, trend: trend, agg: c.h.aggs[i], index: i}
}

// bind gives an aggregate its field.
func (c *havingCompiler) bind(a *aggregate, arg celast.Expr) bool {
	o, ok := c.lang.plainOperand(arg)
	if !ok || o.konst {
		name := c.text
		if arg.Kind() == celast.IdentKind {
			name = arg.AsIdent()
		}
		c.fail(arg, c.lang.schema.Nearest(name), "%s have no field %q", c.lang.schema.Name, name)
		return false
	}
	a.text, a.field = aggNames[a.kind]+"("+o.name+")", o.name
	if o.field.Unit != "" {
		a.unit = o.field.Unit
	}
	switch {
	case a.kind == aggSum:
		a.delta = sums[o.name]
		if a.delta == nil {
			c.fail(arg, nil, "only counters can be summed: %s", strings.Join(sumNames, ", "))
			return false
		}
	case a.kind == aggDistinct:
		a.unit = o.name
		a.value = o.hash()
		if a.value == nil {
			c.fail(arg, nil, "%s is a list: distinct needs a single value", o.name)
			return false
		}
	case o.typ == Int || o.typ == Duration:
		a.value = o.field.i
	default:
		c.fail(arg, nil, "%s needs a number, and %s is %s", aggNames[a.kind], o.name, o.typ)
		return false
	}
	return true
}
