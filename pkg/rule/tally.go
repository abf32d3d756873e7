package rule

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"

	"github.com/flowstitch/flowstitch/pkg/detect"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/window"
)

// tally is what one group added up within one step of its window.
type tally struct {
	at     flow.Time // start
	counts detect.Counts
	sets   []window.Set // by aggregate; sessions of a rule that grows at the end
	lo, hi []int64      // by aggregate, of min and max
	seen   []bool       // by aggregate: lo and hi mean something
	refs   []proof      // earliest sessions, at most keepRefs
	// scale is what a row of a sample stands for, rows how large the sample
	// was: see distinct. 0 while every row was there.
	scale float64
	rows  int64
}

// proof is a session as evidence, with the address that its row named.
type proof struct {
	detect.Ref
	other flow.Addr
}

const keepRefs = 5

func (r *Rule) newTally(at flow.Time) *tally {
	n := len(r.having.aggs)
	t := &tally{at: at, sets: make([]window.Set, n+1), lo: make([]int64, n), hi: make([]int64, n), seen: make([]bool, n)}
	for i, a := range r.having.aggs {
		t.sets[i] = window.NewSet(a.bound)
	}
	t.sets[n] = window.NewSet(maxDistinct)
	return t
}

func (t *tally) merge(o *tally) {
	t.counts.Add(&o.counts)
	for i := range t.sets {
		t.sets[i].Merge(o.sets[i])
	}
	for i := range t.lo {
		if o.seen[i] {
			t.observe(i, o.lo[i])
			t.observe(i, o.hi[i])
		}
	}
	for _, x := range o.refs {
		t.evidence(x)
	}
	t.scale, t.rows = max(t.scale, o.scale), max(t.rows, o.rows)
}

// distinct counts a set that was filled from rows. Where they were a sample
// and nearly each had a value of its own, the set is a sample too and counts
// for what it stands for; where few values recur, the sample has seen them all.
func (t *tally) distinct(set *window.Set) float64 {
	n := float64(set.Count())
	if t.scale > 1 && n >= distinctShare*float64(t.rows) {
		n = math.Round(n * t.scale)
	}
	return n
}

// distinctShare is from which share of rows values count as one for each row.
const distinctShare = 0.9

func (t *tally) observe(i int, v int64) {
	if !t.seen[i] {
		t.lo[i], t.hi[i], t.seen[i] = v, v, true
	}
	t.lo[i], t.hi[i] = min(t.lo[i], v), max(t.hi[i], v)
}

// evidence keeps the earliest sessions, a function of the set of them.
func (t *tally) evidence(x proof) {
	less := func(a, b proof) int {
		return cmp.Or(cmp.Compare(a.First, b.First), slices.Compare(a.Session[:], b.Session[:]),
			cmp.Compare(a.Client, b.Client), cmp.Compare(a.Server, b.Server), a.other.Compare(b.other))
	}
	i, found := slices.BinarySearchFunc(t.refs, x, less)
	if found || i >= keepRefs {
		return
	}
	t.refs = slices.Insert(t.refs, i, x)
	t.refs = t.refs[:min(len(t.refs), keepRefs)]
}

// absorb adds a pane's part to the tallies of the steps that it falls into,
// which get returns.
func (r *Rule) absorb(p *detect.Pane, get func(flow.Time) *tally) {
	rows := p.Set(detect.Custom)
	pane := int64(p.End - p.Start)
	slice := sliceOf(r.pane, pane)
	whole := slice == pane
	if whole {
		get(p.Start.Floor(r.pane)).counts.Add(&p.Client)
	}
	// Beyond the bound of rows they are a sample: counters are scaled by what
	// the sample stands for.
	scale := 1.0
	if rows.Len() > 0 && !rows.Exact() {
		scale = float64(rows.Distinct()) / float64(rows.Len())
	}
	sampled := make(map[*tally]int64) // rows of this pane, by the step that they fall into
	for _, row := range rows.Rows() {
		t := get(p.Start.Add(int64(row.Key.Port) * slice).Floor(r.pane))
		if !whole {
			c := row.Counts
			scaleCounts(&c, scale)
			t.counts.Add(&c)
		}
		r.absorbKey(t, row)
		if scale > 1 {
			sampled[t]++
			t.scale, t.rows = max(t.scale, scale), max(t.rows, sampled[t])
		}
	}
}

func (r *Rule) absorbKey(t *tally, row *detect.Row) {
	other := row.Key.Peer
	if r.rows.address != nil {
		if r.rows.addrAgg >= 0 {
			t.sets[r.rows.addrAgg].Add(uint64(hashAddr(row.Key.Peer)))
		}
	} else {
		other = flow.Addr{}
		for i, c := range r.rows.columns {
			v := binary.BigEndian.Uint64(row.Key.Peer[8*i:])
			switch {
			case c.agg >= 0 && r.having.aggs[c.agg].kind == aggDistinct:
				t.sets[c.agg].Add(v)
			case c.agg >= 0:
				t.observe(c.agg, int64(v))
			case i == 0 && r.grows:
				t.sets[len(t.sets)-1].Add(v)
			case v <= math.MaxUint32:
				other = flow.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, uint32(v))))
			}
		}
	}
	if ref := row.Ref(); ref != nil {
		t.evidence(proof{*ref, other})
	}
}

func scaleCounts(c *detect.Counts, by float64) {
	if by == 1 {
		return
	}
	for _, n := range []*int64{&c.Sessions, &c.Answered, &c.Failed, &c.Rejected, &c.PacketsOut, &c.BytesOut, &c.PacketsIn, &c.BytesIn} {
		*n = int64(math.Round(float64(*n) * by))
	}
}

// values reads the numbers of having off a tally.
func (r *Rule) values(t *tally) *values {
	v := &values{seconds: float64(r.window), agg: make([]float64, len(r.having.aggs)), young: true}
	for i, a := range r.having.aggs {
		switch a.kind {
		case aggCount:
			v.agg[i] = float64(t.counts.Sessions)
			if r.grows {
				v.agg[i] = t.distinct(&t.sets[len(t.sets)-1])
			}
		case aggSum:
			v.agg[i] = float64(a.delta(&t.counts))
		case aggDistinct:
			v.agg[i] = t.distinct(&t.sets[i])
		case aggMin:
			v.agg[i] = float64(t.lo[i])
		case aggMax:
			v.agg[i] = float64(t.hi[i])
		}
	}
	return v
}

func (t *tally) appendTo(b []byte) []byte {
	b = window.AppendInt(b, int64(t.at))
	b = appendCounts(b, &t.counts)
	b = window.AppendInt(window.AppendFloat(b, t.scale), t.rows)
	for i := range t.sets {
		b = t.sets[i].AppendTo(b)
	}
	for i := range t.lo {
		b = window.AppendBool(b, t.seen[i])
		b = window.AppendInt(window.AppendInt(b, t.lo[i]), t.hi[i])
	}
	b = window.AppendUint(b, uint64(len(t.refs)))
	for i := range t.refs {
		b = appendRef(b, &t.refs[i])
	}
	return b
}

func (r *Rule) readTally(in *window.Reader) *tally {
	t := r.newTally(flow.Time(in.Varint()))
	readCounts(in, &t.counts)
	t.scale, t.rows = in.Float(), in.Varint()
	for i := range t.sets {
		t.sets[i] = window.ReadSet(in)
	}
	for i := range t.lo {
		t.seen[i] = in.Bool()
		t.lo[i], t.hi[i] = in.Varint(), in.Varint()
	}
	for range in.Int(keepRefs) {
		t.refs = append(t.refs, readRef(in))
	}
	return t
}

func countFields(c *detect.Counts) []*int64 {
	return []*int64{
		&c.Sessions, &c.Answered, &c.Failed, &c.Rejected, &c.Bare, &c.Errors, &c.Halfopen,
		&c.PacketsOut, &c.BytesOut, &c.PacketsIn, &c.BytesIn, (*int64)(&c.First), (*int64)(&c.Last),
	}
}

func appendCounts(b []byte, c *detect.Counts) []byte {
	for _, n := range countFields(c) {
		b = window.AppendInt(b, *n)
	}
	return b
}

func readCounts(in *window.Reader, c *detect.Counts) {
	for _, n := range countFields(c) {
		*n = in.Varint()
	}
}
