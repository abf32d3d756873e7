package rule

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"
	celast "github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// plainOperand reads a field or a tag of an expression that was only parsed.
func (l *Language) plainOperand(e celast.Expr) (operand, bool) {
	switch e.Kind() {
	case celast.IdentKind:
		if f := l.schema.byName[e.AsIdent()]; f != nil {
			return operand{field: f, typ: f.Type, name: f.Name}, true
		}
	case celast.CallKind:
		call := e.AsCall()
		if call.FunctionName() != operators.Index {
			return operand{}, false
		}
		o, ok := l.plainOperand(call.Args()[0])
		if !ok || o.typ != Tags || call.Args()[1].Kind() != celast.LiteralKind {
			return operand{}, false
		}
		if k, isText := call.Args()[1].AsLiteral().(types.String); isText {
			return operand{field: o.field, tag: string(k), typ: String, name: fmt.Sprintf("%s[%q]", o.name, string(k))}, true
		}
	default: // the others take the way below
	}
	return operand{}, false
}

// hash returns a reader of the operand as a number that is equal for equal
// values, or nil for a list.
func (o *operand) hash() func(*Row) int64 {
	switch o.typ {
	case Bool:
		get := o.field.b
		return func(r *Row) int64 { return boolInt(get(r)) }
	case Int, Time, Duration, Flags:
		return o.field.i
	case Addr:
		get := o.field.a
		return func(r *Row) int64 { return hashAddr(get(r)) }
	case String:
		if o.tag == "" && o.field.Values != nil {
			return o.field.i
		}
		get := o.text()
		return func(r *Row) int64 { return int64(xxhash.Sum64String(get(r))) }
	default: // the others take the way below
	}
	return nil
}

// hashAddr keeps IPv4 readable: the value is the address.
func hashAddr(a flow.Addr) int64 {
	if a.Is4() {
		return int64(binary.BigEndian.Uint32(a[12:]))
	}
	return int64(xxhash.Sum64(a[:]))
}

// Dim is one thing to group by: a field, a tag, or the network of an address
// ("client/24").
type Dim struct {
	Name string
	Type Type
	op   operand
	bits int // of an address, 0 for the whole
}

// Dim reads a field, a tag such as tags["role"], or an address with a prefix
// length, which stands for IPv4; IPv6 addresses are then cut at 64 bits, the
// size of a subnet (RFC 4291).
func (l *Language) Dim(text string) (Dim, error) {
	name, bits := text, 0
	if at := strings.LastIndexByte(text, '/'); at >= 0 {
		n, err := strconv.Atoi(text[at+1:])
		if err != nil || n < 1 || n > 32 {
			return Dim{}, fmt.Errorf("%q: what follows the slash is a prefix length of 1 to 32", text)
		}
		name, bits = text[:at], n
	}
	o := operand{}
	parsed, iss := l.env.Parse(name)
	ok := iss.Err() == nil
	if ok {
		o, ok = l.plainOperand(parsed.NativeRep().Expr())
	}
	if !ok {
		msg := fmt.Sprintf("%s have no field %q", l.schema.Name, name)
		if near := l.schema.Nearest(name); len(near) > 0 {
			msg += "; did you mean " + strings.Join(near, " or ") + "?"
		}
		return Dim{}, fmt.Errorf("%s", msg)
	}
	if bits > 0 && o.typ != Addr {
		return Dim{}, fmt.Errorf("%q: only an address has a network", text)
	}
	switch o.typ {
	case Strings, Addrs, Ints, Tags:
		return Dim{}, fmt.Errorf("%q is %s: group by a single value", name, o.typ)
	default: // the others take the way below
	}
	return Dim{Name: text, Type: o.typ, op: o, bits: bits}, nil
}

// AppendText appends the value of the dimension as people read it.
func (d *Dim) AppendText(b []byte, r *Row) []byte {
	o := &d.op
	switch d.Type {
	case Bool:
		return strconv.AppendBool(b, o.field.b(r))
	case Int:
		return strconv.AppendInt(b, o.field.i(r), 10)
	case Duration:
		return append(strconv.AppendInt(b, o.field.i(r), 10), 's')
	case Double:
		return strconv.AppendFloat(b, o.field.d(r), 'g', 6, 64)
	case Addr:
		return d.appendAddr(b, o.field.a(r))
	case Time:
		return append(b, flow.Time(o.field.i(r)).String()...)
	case Flags:
		return appendFlags(b, uint8(o.field.i(r)))
	default: // the others take the way below
	}
	return append(b, o.text()(r)...)
}

func (d *Dim) appendAddr(b []byte, a flow.Addr) []byte {
	ip := a.IP()
	if !ip.IsValid() {
		return append(b, '-')
	}
	if d.bits == 0 {
		return ip.AppendTo(b)
	}
	bits := d.bits
	if !ip.Is4() {
		bits = 64
	}
	return netip.PrefixFrom(ip, bits).Masked().AppendTo(b)
}

func appendFlags(b []byte, flags uint8) []byte {
	sep := ""
	for _, f := range flagNames {
		if flags&f.bit != 0 {
			b = append(append(b, sep...), f.name...)
			sep = ","
		}
	}
	return b
}

// Number returns the value as a number where it is one.
func (d *Dim) Number(r *Row) (float64, bool) {
	switch d.Type {
	case Int, Duration, Time:
		return float64(d.op.field.i(r)), true
	case Double:
		return d.op.field.d(r), true
	default: // the others take the way below
	}
	return 0, false
}

// Hash returns a number that is equal for equal values.
func (d *Dim) Hash(r *Row) int64 {
	if d.bits > 0 {
		return int64(xxhash.Sum64(d.AppendText(nil, r)))
	}
	if d.Type == Double {
		return int64(d.op.field.d(r) * 1e6)
	}
	return d.op.hash()(r)
}
