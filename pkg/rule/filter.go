package rule

import (
	"fmt"
	"math"
	"slices"

	"github.com/google/cel-go/cel"
	celast "github.com/google/cel-go/common/ast"
)

// Filter is a compiled expression. It is safe for use by several goroutines.
type Filter struct {
	text   string
	schema *Schema
	root   *node
	eval   func(*Row) bool
	fields []string
	cost   uint64
	slow   int
}

// Language compiles filters over one schema.
type Language struct {
	schema *Schema
	env    *cel.Env
}

// NewLanguage sets up the language over a schema. It takes about a
// millisecond: keep it.
func NewLanguage(s *Schema) (*Language, error) {
	env, err := newEnv(s)
	if err != nil {
		return nil, err
	}
	return &Language{s, env}, nil
}

// Schema returns the names of the language.
func (l *Language) Schema() *Schema { return l.schema }

// Compile reads a filter. An empty text matches everything. The error is of
// type Errors where the text is at fault.
func (l *Language) Compile(text string) (*Filter, error) { return l.CompileWith(text, nil) }

// CompileWith is Compile with named lists: `client in admins`. Items that are
// integers are integers.
func (l *Language) CompileWith(text string, lists map[string][]string) (*Filter, error) {
	if text == "" {
		text = "true"
	}
	checked, err := l.check(text, lists)
	if err != nil {
		return nil, err
	}
	f := &Filter{text: text, schema: l.schema}
	if f.cost, err = l.cost(text, checked); err != nil {
		return nil, err
	}
	c := &compiler{schema: l.schema, env: l.env, ast: checked.NativeRep()}
	f.root = c.build(checked.NativeRep().Expr())
	if c.err != nil {
		return nil, Errors{{Text: text, Line: 1, Column: 1, Message: c.err.Error()}}
	}
	f.fields = fieldsOf(l.schema, checked.NativeRep())
	f.slow = countSlow(f.root)
	f.eval = closure(f.root)
	return f, nil
}

func (l *Language) check(text string, lists map[string][]string) (*cel.Ast, error) {
	parsed, iss := l.env.Parse(text)
	if iss.Err() != nil {
		return nil, fromIssues(l.schema, text, iss)
	}
	if err := l.schema.rewrite(parsed, text, lists); err != nil {
		return nil, err
	}
	checked, iss := l.env.Check(parsed)
	if iss.Err() != nil {
		return nil, fromIssues(l.schema, text, iss)
	}
	if t := checked.OutputType(); !t.IsExactType(cel.BoolType) {
		return nil, Errors{{Text: text, Line: 1, Column: 1, Message: fmt.Sprintf("a filter must be true or false, and this is %s", t)}}
	}
	return checked, nil
}

func (l *Language) cost(text string, checked *cel.Ast) (uint64, error) {
	cost, err := costOf(l.env, checked)
	if err != nil {
		return 0, fmt.Errorf("the cost of the filter cannot be bounded: %w", err)
	}
	if cost > MaxCost {
		msg := fmt.Sprintf("one evaluation may cost %d steps, and at most %d are allowed: use fewer nested lists or shorter patterns", cost, MaxCost)
		if cost == math.MaxUint64 {
			msg = "the cost of one evaluation has no bound"
		}
		return 0, Errors{{Text: text, Line: 1, Column: 1, Message: msg}}
	}
	return cost, nil
}

// Match reports whether the filter is true of a row. A filter that fails on a
// row (a division by zero, say) does not match it.
func (f *Filter) Match(r *Row) bool { return f.eval(r) }

// String returns the text that was compiled.
func (f *Filter) String() string { return f.text }

// Cost is the upper bound of one evaluation in cel-go's units.
func (f *Filter) Cost() uint64 { return f.cost }

// Slow is how many parts of the filter are left to cel-go; 0 means that it
// runs without allocation.
func (f *Filter) Slow() int { return f.slow }

// Fields are the names that the filter reads, sorted.
func (f *Filter) Fields() []string { return f.fields }

// Grows reports whether the filter reads a field that may change while its
// session goes on.
func (f *Filter) Grows() bool {
	return slices.ContainsFunc(f.fields, func(n string) bool { return f.schema.byName[n].Grows })
}

func fieldsOf(s *Schema, ast *celast.AST) (names []string) {
	for _, ref := range ast.ReferenceMap() {
		if s.byName[ref.Name] != nil && len(ref.OverloadIDs) == 0 {
			names = append(names, ref.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func countSlow(n *node) (count int) {
	if n.op == opPred && n.pred.slow {
		return 1
	}
	for _, k := range n.kids {
		count += countSlow(k)
	}
	return count
}

func (n *node) cost() int {
	if n.op == opPred {
		return n.pred.cost
	}
	sum := 1
	for _, k := range n.kids {
		sum += k.cost()
	}
	return sum
}

// closure makes one function of a tree, cheap tests first: nothing that is
// left in the tree has an effect or an error, so order does not show.
func closure(n *node) func(*Row) bool {
	if n.op == opPred {
		return n.pred.eval
	}
	kids := slices.Clone(n.kids)
	slices.SortStableFunc(kids, func(a, b *node) int { return a.cost() - b.cost() })
	evals := make([]func(*Row) bool, len(kids))
	for i, k := range kids {
		evals[i] = closure(k)
	}
	switch n.op {
	case opNot:
		k := evals[0]
		return func(r *Row) bool { return !k(r) }
	case opOr:
		return func(r *Row) bool {
			for _, e := range evals {
				if e(r) {
					return true
				}
			}
			return false
		}
	default: // the others take the way below
	}
	return func(r *Row) bool {
		for _, e := range evals {
			if !e(r) {
				return false
			}
		}
		return true
	}
}

// Values returns every field of the filter's schema that has a value in a row,
// by name: text, numbers, booleans and lists, for output as JSON.
func (f *Filter) Values(r *Row) map[string]any {
	out := make(map[string]any, len(f.schema.fields))
	for i := range f.schema.fields {
		fd := &f.schema.fields[i]
		if v := fd.plain(r); v != nil {
			out[fd.Name] = v
		}
	}
	return out
}
