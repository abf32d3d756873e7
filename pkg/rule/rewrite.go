package rule

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/cel-go/cel"
	celast "github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// rewriter lets people write values as they know them: `client == "10.0.0.1"`,
// `client in "10.0.0.0/8"`, `duration > "5m"`, `bytes > "10MB"`. It turns such
// text into the typed constant that stands beside its field, before types are
// checked, and reports what is no such value at its own column. Named lists
// become the list that they stand for.
type rewriter struct {
	schema *Schema
	text   string
	lists  map[string][]string
	info   *celast.SourceInfo
	fac    celast.ExprFactory
	nextID int64
	errs   Errors
}

func (s *Schema) rewrite(ast *cel.Ast, text string, lists map[string][]string) error {
	native := ast.NativeRep()
	w := &rewriter{
		schema: s, text: text, lists: lists, info: native.SourceInfo(),
		fac: celast.NewExprFactory(), nextID: celast.MaxID(native) + 1,
	}
	w.expand(native.Expr())
	celast.PostOrderVisit(native.Expr(), celast.NewExprVisitor(w.visit))
	if len(w.errs) > 0 {
		return w.errs
	}
	return nil
}

// expand replaces the name of a list by its items.
func (w *rewriter) expand(root celast.Expr) {
	celast.PreOrderVisit(root, celast.NewExprVisitor(func(e celast.Expr) {
		if e.Kind() != celast.IdentKind {
			return
		}
		items, ok := w.lists[e.AsIdent()]
		if !ok {
			return
		}
		var elems []celast.Expr
		for _, it := range items {
			elems = append(elems, w.listItem(e.ID(), it))
		}
		e.SetKindCase(w.fac.NewList(e.ID(), elems, nil))
	}))
}

// listItem is an integer where the whole text is one, else text.
func (w *rewriter) listItem(at int64, item string) celast.Expr {
	if n, err := strconv.ParseInt(item, 10, 64); err == nil {
		return w.fac.NewLiteral(w.id(at), types.Int(n))
	}
	return w.fac.NewLiteral(w.id(at), types.String(item))
}

// id returns a fresh expression id that stands where another does in the text.
func (w *rewriter) id(at int64) int64 {
	id := w.nextID
	w.nextID++
	if r, ok := w.info.GetOffsetRange(at); ok {
		w.info.SetOffsetRange(id, r)
	}
	return id
}

func (w *rewriter) fail(e celast.Expr, near []string, format string, args ...any) {
	loc := w.info.GetStartLocation(e.ID())
	w.errs = append(w.errs, &Error{
		Text: w.text, Line: loc.Line(), Column: loc.Column() + 1, Message: fmt.Sprintf(format, args...), Near: near,
	})
}

func (w *rewriter) visit(e celast.Expr) {
	if e.Kind() != celast.CallKind {
		return
	}
	call := e.AsCall()
	switch call.FunctionName() {
	case operators.Equals, operators.NotEquals, operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals:
		a, b := call.Args()[0], call.Args()[1]
		if f := w.field(a); f != nil {
			w.constant(f, b)
		} else if f := w.field(b); f != nil {
			w.constant(f, a)
		}
	case operators.In:
		w.membership(call.Args()[0], call.Args()[1])
	}
}

func (w *rewriter) field(e celast.Expr) *Field {
	if e.Kind() == celast.IdentKind {
		return w.schema.byName[e.AsIdent()]
	}
	return nil
}

func literal(e celast.Expr) (string, bool) {
	if e.Kind() == celast.LiteralKind {
		s, ok := e.AsLiteral().(types.String)
		return string(s), ok
	}
	return "", false
}

func (w *rewriter) call(e celast.Expr, function string) {
	e.SetKindCase(w.fac.NewCall(e.ID(), function, w.fac.NewLiteral(w.id(e.ID()), e.AsLiteral())))
}

// constant gives a literal beside a field the field's type.
func (w *rewriter) constant(f *Field, e celast.Expr) {
	if n, ok := e.AsLiteral().(types.Int); ok && f.Type == Double && e.Kind() == celast.LiteralKind {
		e.SetKindCase(w.fac.NewLiteral(e.ID(), types.Double(n)))
		return
	}
	s, ok := literal(e)
	if !ok {
		return
	}
	switch f.Type {
	case Addr:
		if strings.Contains(s, "/") {
			w.fail(e, nil, "%q is a prefix: write `%s in %q`", s, f.Name, s)
		} else if _, err := flow.ParseAddr(s); err != nil {
			w.fail(e, nil, "%v", err)
		} else {
			w.call(e, "addr")
		}
	case Time:
		if _, err := time.Parse(time.RFC3339, s); err != nil {
			w.fail(e, nil, "%q is not a time such as 2026-03-01T00:00:00Z", s)
		} else {
			w.call(e, "timestamp")
		}
	case Duration:
		if _, err := time.ParseDuration(s); err != nil {
			w.fail(e, nil, "%q is not a duration such as 90s, 5m or 1h", s)
		} else {
			w.call(e, "duration")
		}
	case Int:
		n, err := ParseSize(s)
		if f.Unit != "bytes" || err != nil {
			w.fail(e, nil, "%s is a number, %q is not", f.Name, s)
		} else {
			e.SetKindCase(w.fac.NewLiteral(e.ID(), types.Int(n)))
		}
	case String:
		w.checkValue(f, e, s)
	default: // the others take the way below
	}
}

// checkValue refuses a text that an enumerated field never has.
func (w *rewriter) checkValue(f *Field, e celast.Expr, s string) {
	if f.Values == nil || f.index(s) >= 0 {
		return
	}
	near := nearest(s, f.Values)
	msg := fmt.Sprintf("%s is never %q", f.Name, s)
	if len(near) == 0 && len(f.Values) <= 8 {
		msg += ": it is one of " + strings.Join(f.Values, ", ")
	}
	w.fail(e, near, "%s", msg)
}

func (f *Field) index(s string) int {
	for i, v := range f.Values {
		if v == s {
			return i
		}
	}
	return -1
}

// membership rewrites both sides of `in`.
func (w *rewriter) membership(l, r celast.Expr) {
	if s, ok := literal(l); ok {
		w.memberOf(l, s, w.field(r))
		return
	}
	f := w.field(l)
	if s, ok := literal(r); ok {
		w.network(l, r, s)
		return
	}
	if r.Kind() != celast.ListKind {
		return
	}
	elems := r.AsList().Elements()
	if f != nil && f.Type != Addr {
		for _, el := range elems {
			w.constant(f, el)
		}
		return
	}
	if f == nil && !allNets(elems) {
		return
	}
	for _, el := range elems {
		if s, ok := literal(el); ok {
			if _, err := parseNet(s); err != nil {
				w.fail(el, nil, "%v", err)
			}
		}
	}
	r.SetKindCase(w.fac.NewCall(r.ID(), "nets", w.fac.NewList(w.id(r.ID()), elems, nil)))
}

func allNets(elems []celast.Expr) bool {
	for _, el := range elems {
		s, ok := literal(el)
		if !ok {
			return false
		}
		if _, err := parseNet(s); err != nil {
			return false
		}
	}
	return len(elems) > 0
}

// network turns `x in "10.0.0.0/8"` into a set of one network.
func (w *rewriter) network(l, r celast.Expr, s string) {
	if f := w.field(l); f != nil && f.Type != Addr {
		w.fail(r, nil, "`%s in` needs a list: [%q]", f.Name, s)
		return
	}
	if _, err := parseNet(s); err != nil {
		w.fail(r, nil, "%v", err)
		return
	}
	w.call(r, "cidr")
}

// memberOf checks and types the literal of `"x" in field`.
func (w *rewriter) memberOf(l celast.Expr, s string, f *Field) {
	if f == nil {
		return
	}
	switch f.Type {
	case Addrs:
		if strings.Contains(s, "/") {
			w.fail(l, nil, "%q is a prefix: write `%s.exists(a, a in %q)`", s, f.Name, s)
		} else if _, err := flow.ParseAddr(s); err != nil {
			w.fail(l, nil, "%v", err)
		} else {
			w.call(l, "addr")
		}
	case Flags:
		if _, ok := flagBit(s); !ok {
			w.fail(l, nil, "flow logs have no flag %q: FIN, SYN, RST and ACK (as part of a SYN-ACK)", s)
		}
	default: // the others take the way below
	}
}

// ParseSize reads a number of bytes: "10MB" and "1.5GB" are powers of 1000,
// "10MiB" of 1024; "B" and no unit are bytes.
func ParseSize(s string) (int64, error) {
	num := strings.TrimRight(s, "kKMGTiB ")
	unit := strings.TrimSpace(s[len(num):])
	v, err := strconv.ParseFloat(num, 64)
	if err != nil || v < 0 {
		return 0, fmt.Errorf("%q is not a size such as 10MB or 512KiB", s)
	}
	base := 1000.0
	if strings.HasSuffix(unit, "iB") {
		base = 1024
	}
	scale := 1.0
	switch strings.ToUpper(strings.TrimSuffix(strings.TrimSuffix(unit, "B"), "i")) {
	case "":
	case "K":
		scale = base
	case "M":
		scale = base * base
	case "G":
		scale = base * base * base
	case "T":
		scale = base * base * base * base
	default:
		return 0, fmt.Errorf("%q is not a size such as 10MB or 512KiB", s)
	}
	if v *= scale; v >= 1<<62 {
		return 0, fmt.Errorf("%q is too large a size", s)
	}
	return int64(v), nil
}
