package query

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/DataDog/sketches-go/ddsketch"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/rule"
	"github.com/flowstitch/flowstitch/pkg/window"
)

type aggKind uint8

const (
	aggCount aggKind = iota
	aggSum
	aggDistinct
	aggMin
	aggMax
	aggQuantile
)

var aggKinds = []string{"count", "sum", "distinct", "min", "max"}

// aggSpec is one aggregate of a question.
type aggSpec struct {
	name string
	unit string
	kind aggKind
	dim  rule.Dim
	q    float64
	// whole says that the value is an integer, time that it is a point in time.
	whole, time bool
}

// accumulator is the running value of one aggregate in one group.
type accumulator struct {
	n        int64
	sum      float64
	low, top float64
	any      bool
	set      window.Set
	sketch   *ddsketch.DDSketch
}

// Distinct values are exact up to distinctExact, and known to 1.6 % beyond
// (window.Set). Quantiles are known to 1 % of their value (DDSketch, Masson et
// al. 2019).
const (
	distinctExact = 4096
	quantileError = 0.01
)

var aggShape = regexp.MustCompile(`^(count|sum|distinct|min|max|p[0-9]{1,2}(?:\.[0-9]+)?)(?:\((.+)\))?$`)

func parseAgg(l *rule.Language, text string) (aggSpec, error) {
	m := aggShape.FindStringSubmatch(strings.TrimSpace(text))
	if m == nil {
		return aggSpec{}, fmt.Errorf("%q is no aggregate: count, sum(f), distinct(f), min(f), max(f) or p95(f)", text)
	}
	a := aggSpec{name: m[0], whole: true}
	if m[1] == "count" && m[2] == "" {
		return a, nil
	}
	if m[1] == "count" || m[2] == "" {
		return a, fmt.Errorf("%q: count takes no field, and every other aggregate takes one", text)
	}
	var err error
	if a.dim, err = l.Dim(m[2]); err != nil {
		return a, fmt.Errorf("%s: %w", text, err)
	}
	if f := l.Schema().Field(m[2]); f != nil {
		a.unit = f.Unit
	}
	a.kind = aggQuantile
	if i := slices.Index(aggKinds, m[1]); i >= 0 {
		a.kind = aggKind(i)
	} else if q, err := strconv.ParseFloat(m[1][1:], 64); err == nil {
		a.q = q / 100
	}
	if a.kind == aggDistinct {
		a.unit = ""
		return a, nil
	}
	switch a.dim.Type {
	case rule.Int:
		a.whole = a.kind != aggQuantile
	case rule.Double:
		a.whole = false
	case rule.Duration:
		a.whole, a.unit = a.kind != aggQuantile, "seconds"
	case rule.Time:
		if a.kind == aggSum || a.kind == aggQuantile {
			return a, fmt.Errorf("%s: times can not be summed", text)
		}
		a.whole, a.time = false, true
	default:
		return a, fmt.Errorf("%s: %s is %s, and %s needs a number", text, m[2], a.dim.Type, m[1])
	}
	return a, nil
}

// show is the value as the answer holds it.
func (a *aggSpec) show(v float64) Value {
	if !a.time {
		return number(v)
	}
	if v == 0 { // there was none
		return Value{}
	}
	return Value{Text: flow.Time(v).String(), Number: v}
}

func (x *accumulator) add(a *aggSpec, r *rule.Row, count int64) {
	switch a.kind {
	case aggCount:
		x.n += count
		return
	case aggDistinct:
		if !x.any {
			x.set, x.any = window.NewSet(distinctExact), true
		}
		x.set.Add(uint64(a.dim.Hash(r)))
		return
	default: // the others take the way below
	}
	v, _ := a.dim.Number(r)
	switch {
	case a.kind == aggSum:
		x.sum += v
	case count == 0: // a correction is no value of its own
	case a.kind == aggQuantile:
		if x.sketch == nil {
			x.sketch, _ = ddsketch.NewDefaultDDSketch(quantileError) // fails only for an error outside 0..1
		}
		_ = x.sketch.Add(v) // fails only for values beyond 1e308
	default:
		if !x.any {
			x.low, x.top, x.any = v, v, true
		}
		x.low, x.top = min(x.low, v), max(x.top, v)
	}
}

func (x *accumulator) value(a *aggSpec) float64 {
	switch a.kind {
	case aggCount:
		return float64(x.n)
	case aggSum:
		return x.sum
	case aggDistinct:
		if !x.any {
			return 0
		}
		return float64(x.set.Count())
	case aggMin:
		return x.low
	case aggMax:
		return x.top
	default: // the others take the way below
	}
	if x.sketch == nil {
		return 0
	}
	v, err := x.sketch.GetValueAtQuantile(a.q)
	if err != nil {
		return 0
	}
	return math.Round(v*1000) / 1000
}
