package query

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/rule"
)

// Spec is a question.
type Spec struct {
	Filter  string
	Lists   map[string][]string
	From    flow.Time // of the first packet, inclusive
	To      flow.Time // exclusive
	Select  []string  // fields of a list; empty: the schema's usual ones
	GroupBy []string
	Every   time.Duration // time buckets; 0: none
	// Aggregates are "count", "sum(bytes)", "distinct(client)", "min(first)",
	// "max(bytes)" and "p95(duration)". With none, and nothing to group by,
	// the answer is a list.
	Aggregates []string
	Compare    time.Duration // also the range that lies this much earlier
	OrderBy    string        // a column; empty: time, then the first aggregate
	Ascending  bool
	Top        int // rows, 0: all
	MaxGroups  int // bound of memory; 0: DefaultMaxGroups
}

// DefaultMaxGroups is how many groups are told apart: about 1 GB with a
// distinct count each.
const DefaultMaxGroups = 1_000_000

// Engine sums up. It is used by one goroutine.
type Engine struct {
	spec    Spec
	schema  *rule.Schema
	filter  *rule.Filter
	columns []rule.Dim // of a list
	dims    []rule.Dim
	aggs    []aggSpec
	every   int64
	groups  map[string]*group
	rows    []listed // of a list, that were not handed on
	sink    func([][]Value) error
	handed  int // rows of a list
	buf     []byte

	// Scanned and Matched count rows; Merged those of groups beyond the bound.
	Scanned, Matched, Merged int64
	// Inside counts the scanned rows that began in the range, or in the one that
	// it is compared with. Earliest and Latest are when any row began.
	Inside           int64
	Earliest, Latest flow.Time
}

// listed is a row of a list, with when it began.
type listed struct {
	at   flow.Time
	vals []Value
}

type group struct {
	at     flow.Time
	dims   []string
	period [2][]accumulator // now, before
}

// ErrEnough tells a source that the list is complete.
var ErrEnough = errors.New("query: enough rows")

// New compiles a question. Every mistake in it is an error here.
func New(l *rule.Language, s Spec) (*Engine, error) {
	e := &Engine{spec: s, schema: l.Schema(), groups: make(map[string]*group), every: int64(s.Every / time.Second)}
	var errs []error
	var err error
	if e.filter, err = l.CompileWith(s.Filter, s.Lists); err != nil {
		errs = append(errs, fmt.Errorf("filter: %w", err))
	}
	e.dims = dims(l, "group-by", s.GroupBy, &errs)
	for _, a := range s.Aggregates {
		agg, err := parseAgg(l, a)
		if err != nil {
			errs = append(errs, err)
		}
		e.aggs = append(e.aggs, agg)
	}
	if s.Every != 0 && (s.Every < time.Second || s.Every%time.Second != 0) {
		errs = append(errs, fmt.Errorf("time buckets of %s are not whole seconds", s.Every))
	}
	if e.Grouped() && len(e.aggs) == 0 {
		e.aggs = []aggSpec{{name: "count", kind: aggCount}}
	}
	if !e.Grouped() {
		if len(s.Select) == 0 {
			s.Select = usual[e.schema.Name]
		}
		e.columns = dims(l, "select", s.Select, &errs)
		if s.Compare != 0 {
			errs = append(errs, errors.New("compare: only sums can be compared; group by something or count"))
		}
	}
	if e.spec.MaxGroups == 0 {
		e.spec.MaxGroups = DefaultMaxGroups
	}
	if e.spec.To == 0 {
		e.spec.To = flow.MaxTime
	}
	if s.OrderBy != "" && len(errs) == 0 && e.column(s.OrderBy) < 0 {
		errs = append(errs, fmt.Errorf("order-by: there is no column %q; there are %s", s.OrderBy, strings.Join(e.names(), ", ")))
	}
	return e, errors.Join(errs...)
}

// usual are the columns of a list that nobody chose.
var usual = map[string][]string{
	"sessions": {"first", "client", "client_port", "server", "server_port", "proto", "direction", "outcome", "bytes_out", "bytes_in", "packets", "duration"},
	"flows":    {"first", "last", "src", "src_port", "dst", "dst_port", "proto", "action", "bytes", "packets", "interface"},
}

func dims(l *rule.Language, what string, names []string, errs *[]error) (out []rule.Dim) {
	for _, n := range names {
		d, err := l.Dim(n)
		if err != nil {
			*errs = append(*errs, fmt.Errorf("%s: %w", what, err))
		}
		out = append(out, d)
	}
	return out
}

// Grouped reports whether the answer is sums rather than a list.
func (e *Engine) Grouped() bool {
	return len(e.spec.GroupBy) > 0 || len(e.spec.Aggregates) > 0 || e.spec.Every != 0
}

// Range is the span of time that has to be read, comparison included.
func (e *Engine) Range() (from, to flow.Time) {
	from = e.spec.From
	if e.spec.Compare != 0 && from != 0 {
		from = from.Add(-int64(e.spec.Compare / time.Second))
	}
	return from, e.spec.To
}

// Add takes one session or record. What it adds to sums is read off part,
// which is r itself unless only a part of r is new, and count is 0 where r was
// counted before. It returns ErrEnough when no more can change the answer.
func (e *Engine) Add(at flow.Time, r, part *rule.Row, count int64) error {
	if e.Scanned == 0 {
		e.Earliest, e.Latest = at, at
	}
	e.Earliest, e.Latest = min(e.Earliest, at), max(e.Latest, at)
	e.Scanned++
	if !e.inside(at) && !e.inside(e.later(at)) {
		return nil
	}
	e.Inside++
	if !e.filter.Match(r) {
		return nil
	}
	e.Matched++
	if !e.Grouped() {
		if count == 0 {
			return nil
		}
		return e.list(at, r)
	}
	if e.inside(at) {
		e.sum(0, at, r, part, count)
	}
	if e.spec.Compare != 0 && e.inside(e.later(at)) {
		e.sum(1, e.later(at), r, part, count)
	}
	return nil
}

// sum adds a row to its group, in one of the two ranges: now or before.
func (e *Engine) sum(period int, at flow.Time, r, part *rule.Row, count int64) {
	g := e.group(at, r)
	for i := range e.aggs {
		g.period[period][i].add(&e.aggs[i], part, count)
	}
}

// inside reports whether a time lies in the range that is asked for.
func (e *Engine) inside(at flow.Time) bool { return at >= e.spec.From && at < e.spec.To }

// later is the time in that range with which one before it is compared.
func (e *Engine) later(at flow.Time) flow.Time { return at.Add(int64(e.spec.Compare / time.Second)) }

func (e *Engine) group(at flow.Time, r *rule.Row) *group {
	b := e.buf[:0]
	if e.every > 0 {
		at = at.Floor(e.every)
		b = strconv.AppendInt(b, int64(at), 10)
	}
	for i := range e.dims {
		b = append(b, 0)
		b = e.dims[i].AppendText(b, r)
	}
	e.buf = b
	if g := e.groups[string(b)]; g != nil {
		return g
	}
	if len(e.groups) >= e.spec.MaxGroups {
		e.Merged++
		return e.other()
	}
	g := e.newGroup(at)
	if len(e.dims) > 0 {
		g.dims = strings.Split(string(b), "\x00")[1:]
	}
	e.groups[string(b)] = g
	return g
}

// otherName stands for all groups beyond the bound.
const otherName = "(other)"

func (e *Engine) other() *group {
	g := e.groups[otherName]
	if g == nil {
		g = e.newGroup(0)
		for range e.dims {
			g.dims = append(g.dims, otherName)
		}
		e.groups[otherName] = g
	}
	return g
}

func (e *Engine) newGroup(at flow.Time) *group {
	g := &group{at: at}
	for p := range g.period {
		g.period[p] = make([]accumulator, len(e.aggs))
	}
	return g
}

func (e *Engine) list(at flow.Time, r *rule.Row) error {
	if e.full() {
		return ErrEnough
	}
	row := make([]Value, len(e.columns))
	for i := range e.columns {
		row[i] = valueOf(&e.columns[i], r)
	}
	e.rows = append(e.rows, listed{at, row})
	if e.sink != nil && len(e.rows) >= handOn {
		return e.hand()
	}
	if e.spec.Top > 0 && e.spec.OrderBy != "" && len(e.rows) >= 4*e.spec.Top+1000 {
		e.sortList()
		clear(e.rows[e.spec.Top:])
		e.rows = e.rows[:e.spec.Top]
	}
	return nil
}

// handOn is how many rows of a list are handed on at once: some megabytes.
const handOn = 8192

// Stream hands the rows of a list on while they are read, some thousand at a
// time and each time by time, so that a list of any length is not held in
// memory; the rest is in Result. It reports false for what has to be known as a
// whole: sums, and a list with an order of its own.
func (e *Engine) Stream(sink func([][]Value) error) bool {
	if e.Grouped() || e.spec.OrderBy != "" {
		return false
	}
	e.sink = sink
	return true
}

// Columns are those of the answer.
func (e *Engine) Columns() []Column { return e.header() }

func (e *Engine) hand() error {
	e.sortList()
	err := e.sink(e.values())
	e.handed += len(e.rows)
	clear(e.rows)
	e.rows = e.rows[:0]
	return err
}

func (e *Engine) values() [][]Value {
	rows := make([][]Value, len(e.rows))
	for i := range e.rows {
		rows[i] = e.rows[i].vals
	}
	return rows
}

// reads reports whether the filter asks for a field.
func (e *Engine) reads(field string) bool { return slices.Contains(e.filter.Fields(), field) }

// full reports that a list has all the rows that were asked for.
func (e *Engine) full() bool {
	return !e.Grouped() && e.spec.Top > 0 && e.spec.OrderBy == "" && e.handed+len(e.rows) >= e.spec.Top
}

func (e *Engine) names() []string {
	var out []string
	for _, c := range e.header() {
		out = append(out, c.Name)
	}
	return out
}

func (e *Engine) column(name string) int {
	return slices.IndexFunc(e.header(), func(c Column) bool { return c.Name == name || strings.Trim(c.Name, "()") == name })
}

// header is the columns of the answer.
func (e *Engine) header() (cols []Column) {
	if !e.Grouped() {
		return columnsOf(e.schema, e.columns)
	}
	if e.every > 0 {
		cols = append(cols, Column{Name: "time", Kind: Time})
	}
	cols = append(cols, columnsOf(e.schema, e.dims)...)
	for i := range cols {
		cols[i].Group = true
		if (i > 0 || e.every == 0) && !cols[i].Whole {
			cols[i].Kind = Text // the value of a group is its text
		}
	}
	for _, a := range e.aggs {
		c := Column{Name: a.name, Kind: Number, Unit: a.unit, Whole: a.whole}
		if a.time {
			c.Kind = Time
		}
		cols = append(cols, c)
		if e.spec.Compare != 0 {
			before, change := c, c
			before.Name, change.Name, change.Signed = a.name+" before", a.name+" change", true
			if a.time {
				change.Kind, change.Unit = Number, "seconds"
			}
			cols = append(cols, before, change)
		}
	}
	return cols
}

// Result is the answer so far: the engine may go on.
func (e *Engine) Result() *Result {
	res := &Result{Columns: e.header()}
	if !e.Grouped() {
		e.sortList()
		res.Rows, res.Stopped = e.values(), e.full()
		return e.cut(res)
	}
	for _, g := range e.groups {
		res.Rows = append(res.Rows, e.row(g))
	}
	if len(e.groups) == 0 && len(e.dims) == 0 && e.every == 0 {
		res.Rows = append(res.Rows, e.row(e.newGroup(0))) // nothing was counted: 0 is the answer
	}
	slices.SortFunc(res.Rows, e.order())
	return e.cut(res)
}

func (e *Engine) cut(res *Result) *Result {
	if e.spec.Top > 0 && len(res.Rows) > e.spec.Top {
		res.More = len(res.Rows) - e.spec.Top
		res.Rows = res.Rows[:e.spec.Top]
	}
	return res
}

func (e *Engine) row(g *group) (row []Value) {
	if e.every > 0 {
		row = append(row, Value{Text: g.at.String(), Number: float64(g.at)})
	}
	for i, d := range g.dims {
		v := Value{Text: d}
		if t := e.dims[i].Type; t == rule.Int || t == rule.Duration {
			if n, err := strconv.ParseInt(strings.TrimSuffix(d, "s"), 10, 64); err == nil {
				v = number(float64(n))
			}
		}
		row = append(row, v)
	}
	for i := range e.aggs {
		now := g.period[0][i].value(&e.aggs[i])
		row = append(row, e.aggs[i].show(now))
		if e.spec.Compare != 0 {
			before := g.period[1][i].value(&e.aggs[i])
			row = append(row, e.aggs[i].show(before), number(now-before))
		}
	}
	return row
}

// sortList orders a list by the chosen column, else by time.
func (e *Engine) sortList() {
	if e.spec.OrderBy != "" {
		order := e.order()
		slices.SortFunc(e.rows, func(a, b listed) int { return order(a.vals, b.vals) })
		return
	}
	slices.SortStableFunc(e.rows, func(a, b listed) int { return cmp.Compare(a.at, b.at) })
}

// order is by the chosen column, largest first unless ascending, and by the
// others, smallest first, so that equal answers print equal. Without a choice
// groups are ordered by time, the first aggregate, or the size of its change.
func (e *Engine) order() func(a, b []Value) int {
	cols := e.header()
	by, dir, size := e.column(e.spec.OrderBy), -1, false
	if e.spec.OrderBy == "" {
		by = -1
		if e.every == 0 && len(e.aggs) > 0 {
			by = len(e.dims)
			if e.spec.Compare != 0 {
				by, size = by+2, true
			}
		}
	}
	if e.spec.Ascending {
		dir = 1
	}
	return func(a, b []Value) int {
		if by >= 0 && size {
			if c := cmp.Compare(math.Abs(a[by].Number), math.Abs(b[by].Number)); c != 0 {
				return dir * c
			}
		}
		if by >= 0 {
			if c := compare(cols[by], a[by], b[by]); c != 0 {
				return dir * c
			}
		}
		for i := range a {
			if c := compare(cols[i], a[i], b[i]); c != 0 {
				return c
			}
		}
		return 0
	}
}

func compare(c Column, a, b Value) int {
	if c.Kind == Text {
		x, errX := strconv.ParseFloat(a.Text, 64)
		y, errY := strconv.ParseFloat(b.Text, 64)
		if errX == nil && errY == nil {
			return cmp.Compare(x, y)
		}
		return compareText(a.Text, b.Text)
	}
	return cmp.Or(cmp.Compare(a.Number, b.Number), cmp.Compare(a.Text, b.Text))
}

// compareText orders addresses as numbers and the rest as text.
func compareText(a, b string) int {
	x, errX := flow.ParseAddr(a)
	y, errY := flow.ParseAddr(b)
	if errX == nil && errY == nil {
		return x.Compare(y)
	}
	return strings.Compare(a, b)
}
