package window

import (
	"math"
	"slices"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// madToSigma scales a median absolute deviation to the standard deviation of
// a normal distribution (1/0.6745, Iglewicz and Hoaglin 1993).
const madToSigma = 1.4826

// Median returns the median of v, which it sorts; 0 when empty.
func Median(v []float64) float64 {
	n := len(v)
	if n == 0 {
		return 0
	}
	slices.Sort(v)
	if n%2 == 1 {
		return v[n/2]
	}
	return (v[n/2-1] + v[n/2]) / 2
}

// Spread returns the robust standard deviation of v around median: the scaled
// median absolute deviation. It sorts v's deviations, not v.
func Spread(v []float64, median float64) float64 { return SpreadIn(nil, v, median) }

// SpreadIn is Spread with the deviations in the room of d.
func SpreadIn(d, v []float64, median float64) float64 {
	d = slices.Grow(d[:0], len(v))
	for _, x := range v {
		d = append(d, math.Abs(x-median))
	}
	return madToSigma * Median(d)
}

// Baseline is the recent course of one number, a value for each pane in which
// it was more than zero: the last Keep of them, and beside that a value for each
// hour of the week, which makes it seasonal once a week has passed.
type Baseline struct {
	recent []point
	weekly []hourOfWeek // ascending by hour
}

type point struct {
	at flow.Time
	v  float64
}

type hourOfWeek struct {
	hour int32   // 0..167, from Thursday 00:00 UTC as the epoch is
	mean float64 // exponentially weighted, alpha 1/2: the last weeks decide
	n    int32   // values learned
}

// keepRecent bounds the recent values: a day of 5-minute panes.
const keepRecent = 288

// weeklyAlpha weighs the newest week half, as Slips does for normal traffic.
const weeklyAlpha = 0.5

// Learn adds the value of the pane that starts at t. Call it in the order of
// panes and never for a pane that was judged an attack.
func (b *Baseline) Learn(t flow.Time, v float64) {
	if v <= 0 {
		return
	}
	if len(b.recent) == keepRecent {
		b.recent = append(b.recent[:0], b.recent[1:]...)
	}
	b.recent = append(b.recent, point{t, v})
	h := int32(t.Floor(3600) / 3600 % 168)
	i, found := slices.BinarySearchFunc(b.weekly, h, func(x hourOfWeek, h int32) int { return int(x.hour - h) })
	if !found {
		b.weekly = slices.Insert(b.weekly, i, hourOfWeek{hour: h, mean: v, n: 1})
		return
	}
	w := &b.weekly[i]
	w.mean += weeklyAlpha * (v - w.mean)
	w.n++
}

// Normal is what a baseline expects.
type Normal struct {
	Median, Spread, High float64 // High: the 95th percentile
	Max                  float64 // the largest
	N                    int     // values it rests on
	Seasonal             bool    // this hour of the week was known and is the larger
}

// At returns what is normal at t, from values not older than maxAge seconds.
func (b *Baseline) At(t flow.Time, maxAge int64) Normal {
	v := make([]float64, 0, len(b.recent))
	for _, p := range b.recent {
		if p.at >= t.Add(-maxAge) && p.at < t {
			v = append(v, p.v)
		}
	}
	n := Normal{Median: Median(v), N: len(v)}
	n.Spread = Spread(v, n.Median)
	if len(v) > 0 {
		n.High, n.Max = v[(len(v)*95)/100], v[len(v)-1]
	}
	h := int32(t.Floor(3600) / 3600 % 168)
	i, found := slices.BinarySearchFunc(b.weekly, h, func(x hourOfWeek, h int32) int { return int(x.hour - h) })
	if found && b.weekly[i].n >= seasonalMin && b.weekly[i].mean > n.Median {
		n.Median, n.Seasonal = b.weekly[i].mean, true
		n.High = max(n.High, n.Median)
	}
	return n
}

// seasonalMin is how many panes of an hour of the week must be known: two
// weeks of at least an hour's 12 panes.
const seasonalMin = 24

// Empty reports whether nothing was learned.
func (b *Baseline) Empty() bool { return len(b.recent) == 0 }

// Newest is the time of the last value, or flow.MinTime.
func (b *Baseline) Newest() flow.Time {
	if len(b.recent) == 0 {
		return flow.MinTime
	}
	return b.recent[len(b.recent)-1].at
}

// AppendTo appends the baseline.
func (b *Baseline) AppendTo(out []byte) []byte {
	out = AppendUint(out, uint64(len(b.recent)))
	for _, p := range b.recent {
		out = AppendFloat(AppendInt(out, int64(p.at)), p.v)
	}
	out = AppendUint(out, uint64(len(b.weekly)))
	for _, w := range b.weekly {
		out = AppendFloat(AppendInt(AppendInt(out, int64(w.hour)), int64(w.n)), w.mean)
	}
	return out
}

// ReadBaseline reads what AppendTo wrote.
func ReadBaseline(r *Reader) (b Baseline) {
	n := r.Len()
	if n > keepRecent {
		r.Fail("a baseline is too long")
		return b
	}
	for range n {
		b.recent = append(b.recent, point{flow.Time(r.Varint()), r.Float()})
	}
	for range r.Len() {
		b.weekly = append(b.weekly, hourOfWeek{hour: int32(r.Varint()), n: int32(r.Varint()), mean: r.Float()})
	}
	return b
}
