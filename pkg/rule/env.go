package rule

import (
	"fmt"
	"math"
	"time"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/checker"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/ext"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/session"
)

func (t Type) cel() *cel.Type {
	switch t {
	case Bool:
		return cel.BoolType
	case Int:
		return cel.IntType
	case Double:
		return cel.DoubleType
	case Addr:
		return addrType
	case Time:
		return cel.TimestampType
	case Duration:
		return cel.DurationType
	case Flags, Strings:
		return cel.ListType(cel.StringType)
	case Addrs:
		return cel.ListType(addrType)
	case Ints:
		return cel.ListType(cel.IntType)
	case Tags:
		return cel.MapType(cel.StringType, cel.StringType)
	default: // the others take the way below
	}
	return cel.StringType
}

// newEnv builds the CEL environment of a schema: its fields as variables, the
// standard library, the strings extension and our functions on addresses.
func newEnv(s *Schema) (*cel.Env, error) {
	opts := []cel.EnvOption{
		ext.Strings(),
		cel.ASTValidators(cel.ValidateRegexLiterals(), cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals()),
		cel.Function("addr", cel.Overload("addr_string", []*cel.Type{cel.StringType}, addrType, cel.UnaryBinding(celAddr))),
		cel.Function("cidr", cel.Overload("cidr_string", []*cel.Type{cel.StringType}, netsType, cel.UnaryBinding(celCIDR))),
		cel.Function("nets", cel.Overload("nets_list", []*cel.Type{cel.ListType(cel.StringType)}, netsType, cel.UnaryBinding(celNets))),
		cel.Function(operators.In, cel.Overload("in_address_networks", []*cel.Type{addrType, netsType}, cel.BoolType)),
		cel.Function("isPrivate", cel.MemberOverload("address_is_private", []*cel.Type{addrType}, cel.BoolType,
			cel.UnaryBinding(func(v ref.Val) ref.Val { return addrTest(v, isPrivate) }))),
		cel.Function("isIPv4", cel.MemberOverload("address_is_ipv4", []*cel.Type{addrType}, cel.BoolType,
			cel.UnaryBinding(func(v ref.Val) ref.Val { return addrTest(v, flow.Addr.Is4) }))),
		cel.Function("isIPv6", cel.MemberOverload("address_is_ipv6", []*cel.Type{addrType}, cel.BoolType,
			cel.UnaryBinding(func(v ref.Val) ref.Val { return addrTest(v, isIPv6) }))),
		cel.Function("text", cel.MemberOverload("address_text", []*cel.Type{addrType}, cel.StringType,
			cel.UnaryBinding(func(v ref.Val) ref.Val { return v.ConvertToType(types.StringType) }))),
	}
	for i := range s.fields {
		opts = append(opts, cel.Variable(s.fields[i].Name, s.fields[i].Type.cel()))
	}
	env, err := cel.NewEnv(opts...)
	if err != nil {
		return nil, fmt.Errorf("the expression language over %s cannot be set up: %w", s.Name, err)
	}
	return env, nil
}

// isPrivate is netip's notion (RFC 1918, RFC 4193) with loopback, link-local
// and the shared address space of RFC 6598 added: never a stranger's address.
func isPrivate(a flow.Addr) bool {
	ip := a.IP()
	return ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast() ||
		(a.Is4() && a[12] == 100 && a[13]&0xc0 == 64)
}

func isIPv6(a flow.Addr) bool { return a.IsValid() && !a.Is4() }

func addrTest(v ref.Val, test func(flow.Addr) bool) ref.Val {
	if a, ok := v.(addrVal); ok {
		return types.Bool(test(a.Addr))
	}
	return types.MaybeNoSuchOverloadErr(v)
}

func celAddr(v ref.Val) ref.Val {
	a, err := flow.ParseAddr(string(v.(types.String)))
	if err != nil {
		return types.WrapErr(err)
	}
	return addrVal{a}
}

func celCIDR(v ref.Val) ref.Val {
	n, err := ParseNets(string(v.(types.String)))
	if err != nil {
		return types.WrapErr(err)
	}
	return netsVal{n}
}

func celNets(v ref.Val) ref.Val {
	texts, err := v.ConvertToNative(stringsType)
	if err != nil {
		return types.WrapErr(err)
	}
	n, err := ParseNets(texts.([]string)...)
	if err != nil {
		return types.WrapErr(err)
	}
	return netsVal{n}
}

// activation reads a row's fields for cel-go.
type activation struct {
	schema *Schema
	row    *Row
}

// Parent is part of cel-go's interface; there is none.
func (a *activation) Parent() cel.Activation { return nil }

// ResolveName gives cel-go the value of a field.
func (a *activation) ResolveName(name string) (any, bool) {
	f := a.schema.byName[name]
	if f == nil {
		return nil, false
	}
	return f.value(a.row), true
}

func (f *Field) value(r *Row) ref.Val {
	switch f.Type {
	case Bool:
		return types.Bool(f.b(r))
	case Int:
		return types.Int(f.i(r))
	case Double:
		return types.Double(f.d(r))
	case Addr:
		return addrVal{f.a(r)}
	case Time:
		return types.Timestamp{Time: time.Unix(f.i(r), 0).UTC()}
	case Duration:
		return types.Duration{Duration: time.Duration(f.i(r)) * time.Second}
	case Tags:
		return newTags(f, r)
	case String:
		return types.String(f.text(r))
	default: // the others take the way below
	}
	return types.NewRefValList(types.DefaultTypeAdapter, f.list(r))
}

// list returns the values of a field that holds several.
func (f *Field) list(r *Row) (vals []ref.Val) {
	switch f.Type {
	case Flags:
		for _, fl := range flagNames {
			if f.i(r)&int64(fl.bit) != 0 {
				vals = append(vals, types.String(fl.name))
			}
		}
	case Addrs:
		for _, a := range f.as(r) {
			vals = append(vals, addrVal{a})
		}
	case Ints:
		for _, n := range f.is(r) {
			vals = append(vals, types.Int(n))
		}
	default:
		for i := 0; ; i++ {
			s, ok := f.nth(r, i)
			if !ok {
				break
			}
			vals = append(vals, types.String(s))
		}
	}
	return vals
}

func (f *Field) text(r *Row) string {
	if f.Values == nil {
		return f.s(r)
	}
	if i := f.i(r); i >= 0 && i < int64(len(f.Values)) {
		return f.Values[i]
	}
	return "invalid"
}

// MaxCost bounds what one evaluation may cost, in cel-go's units (about one a
// step): some hundred times a large ordinary filter. The worst case is worked
// out when the text is read, from the bounds below, so nothing has to be
// counted while records pass.
const MaxCost = 20_000

// Bounds of the values, for the estimate: no text in a record is longer than
// this (an instance tag's value has at most 256 characters), and no list.
const (
	maxText = 256
	maxTags = 64
)

type estimator struct{}

// EstimateSize bounds the sizes of fields.
func (estimator) EstimateSize(n checker.AstNode) *checker.SizeEstimate {
	switch n.Type().Kind() {
	case types.ListKind:
		return &checker.SizeEstimate{Max: session.MaxPoints}
	case types.MapKind:
		return &checker.SizeEstimate{Max: maxTags}
	case types.StringKind:
		return &checker.SizeEstimate{Max: maxText}
	case types.OpaqueKind:
		return &checker.SizeEstimate{Min: 1, Max: 1}
	default: // the others take the way below
	}
	return nil
}

// EstimateCallCost bounds our own functions; parsing networks is done once.
func (estimator) EstimateCallCost(function, overload string, _ *checker.AstNode, args []checker.AstNode) *checker.CallEstimate {
	switch overload {
	case "in_address_networks", "address_is_private", "address_is_ipv4", "address_is_ipv6", "address_text", "addr_string", "cidr_string", "nets_list":
		return &checker.CallEstimate{CostEstimate: checker.CostEstimate{Min: 1, Max: 8}, ResultSize: &checker.SizeEstimate{Max: 64}}
	}
	return nil
}

func costOf(env *cel.Env, ast *cel.Ast) (uint64, error) {
	c, err := env.EstimateCost(ast, estimator{})
	if err != nil {
		return math.MaxUint64, err
	}
	return c.Max, nil
}
