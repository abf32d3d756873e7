package rule

import (
	celast "github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// operand is one side of a comparison on the fast path: a field, a tag of a
// field, or a constant.
type operand struct {
	field *Field
	tag   string // with a field of type Tags
	konst bool

	typ  Type
	i    int64
	d    float64
	s    string
	b    bool
	a    flow.Addr
	nets *Nets
	list []operand // constants
	name string    // canonical text, for sharing
}

// operand compiles an expression that is a field or a constant.
func (c *compiler) operand(e celast.Expr) (operand, bool) {
	switch e.Kind() {
	case celast.IdentKind:
		f := c.schema.byName[e.AsIdent()]
		if f == nil || c.shadowed(e) {
			return operand{}, false
		}
		return operand{field: f, typ: f.Type, name: f.Name}, true
	case celast.LiteralKind:
		return constOperand(e.AsLiteral())
	case celast.ListKind:
		return c.listOperand(e)
	case celast.CallKind:
		return c.callOperand(e.AsCall())
	default: // the others take the way below
	}
	return operand{}, false
}

// shadowed reports whether a name is not the schema's variable, but one that a
// macro bound.
func (c *compiler) shadowed(e celast.Expr) bool {
	ref, ok := c.ast.ReferenceMap()[e.ID()]
	return !ok || ref.Name != e.AsIdent()
}

func constOperand(v ref.Val) (operand, bool) {
	o := operand{konst: true}
	switch v := v.(type) {
	case types.Int:
		o.typ, o.i = Int, int64(v)
	case types.Double:
		o.typ, o.d = Double, float64(v)
	case types.String:
		o.typ, o.s = String, string(v)
	case types.Bool:
		o.typ, o.b = Bool, bool(v)
	case addrVal:
		o.typ, o.a = Addr, v.Addr
	case netsVal:
		o.typ, o.nets = Addrs, v.Nets
	case types.Timestamp:
		o.typ, o.i = Time, v.Unix()
		if v.Nanosecond() != 0 {
			return operand{}, false
		}
	case types.Duration:
		o.typ, o.i = Duration, int64(v.Seconds())
		if v.Nanoseconds()%1e9 != 0 {
			return operand{}, false
		}
	default:
		return operand{}, false
	}
	return o, true
}

func (c *compiler) listOperand(e celast.Expr) (operand, bool) {
	o := operand{konst: true, typ: Strings}
	for _, el := range e.AsList().Elements() {
		item, ok := c.operand(el)
		if !ok || !item.konst || item.list != nil || (len(o.list) > 0 && item.typ != o.list[0].typ) {
			return operand{}, false
		}
		o.list = append(o.list, item)
	}
	return o, true
}

// callOperand folds the calls that make constants, arithmetic on constants, and
// the index of a map of tags.
func (c *compiler) callOperand(call celast.CallExpr) (operand, bool) {
	args := call.Args()
	if call.IsMemberFunction() {
		return operand{}, false
	}
	if call.FunctionName() == operators.Index {
		f, okF := c.operand(args[0])
		k, okK := c.operand(args[1])
		if !okF || !okK || f.typ != Tags || f.field == nil || k.typ != String || !k.konst {
			return operand{}, false
		}
		return operand{field: f.field, tag: k.s, typ: String, name: f.name + "[" + k.s + "]"}, true
	}
	var vals []operand
	for _, a := range args {
		o, ok := c.operand(a)
		if !ok || !o.konst {
			return operand{}, false
		}
		vals = append(vals, o)
	}
	switch {
	case len(vals) == 1:
		return foldOne(call.FunctionName(), vals[0])
	case len(vals) == 2 && vals[0].typ == Int && vals[1].typ == Int:
		return foldInts(call.FunctionName(), vals[0].i, vals[1].i)
	}
	return operand{}, false
}

func foldOne(function string, o operand) (operand, bool) {
	var v ref.Val
	switch {
	case function == "addr" && o.typ == String:
		v = celAddr(types.String(o.s))
	case function == "cidr" && o.typ == String:
		v = celCIDR(types.String(o.s))
	case function == "timestamp" && o.typ == String:
		v = types.String(o.s).ConvertToType(types.TimestampType)
	case function == "duration" && o.typ == String:
		v = types.String(o.s).ConvertToType(types.DurationType)
	case function == operators.Negate && o.typ == Int:
		v = types.Int(o.i).Negate()
	case function == "nets" && o.typ == Strings:
		texts := make([]string, len(o.list))
		for i := range o.list {
			if o.list[i].typ != String {
				return operand{}, false
			}
			texts[i] = o.list[i].s
		}
		n, err := ParseNets(texts...)
		if err != nil {
			return operand{}, false
		}
		v = netsVal{n}
	default:
		return operand{}, false
	}
	return constOperand(v)
}

// foldInts does CEL's own arithmetic, so that an overflow stays CEL's error.
func foldInts(function string, a, b int64) (operand, bool) {
	x, y := types.Int(a), types.Int(b)
	switch function {
	case operators.Add:
		return constOperand(x.Add(y))
	case operators.Subtract:
		return constOperand(x.Subtract(y))
	case operators.Multiply:
		return constOperand(x.Multiply(y))
	case operators.Divide:
		return constOperand(x.Divide(y))
	}
	return operand{}, false
}
