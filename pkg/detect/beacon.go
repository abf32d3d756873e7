package detect

import (
	"fmt"
	"math"
	"slices"

	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/window"
)

// BeaconTuning are the thresholds of beacon.
type BeaconTuning struct {
	// Score from which it is a beacon: RITA's bands are 50, 70, 90, 100.
	Score float64 `yaml:"score"`
	// Regular is the share of the intervals that must lie within a quarter of
	// their median, whatever the score: sizes and coverage are no rhythm.
	Regular float64 `yaml:"regular"`
	// Beats is how many sessions at different seconds are needed to judge,
	// Span over how many seconds they must lie, Memory for how long they count.
	Beats  int64 `yaml:"beats"`
	Span   int64 `yaml:"span_seconds"`
	Memory int64 `yaml:"memory_seconds"`
	// Ignore are UDP and TCP ports whose protocol is regular by design.
	Ignore []uint16 `yaml:"ignore"`
	// Usual are ports at which a beacon is more likely software than malware.
	Usual []uint16 `yaml:"usual"`
}

// defaultBeacon: RITA's middle band and day of memory. RITA asks for 4
// connections in a day; 20 keep the quartiles honest on shorter series. Of a
// beacon with 20 % jitter 86 % of the intervals lie within a quarter of their
// median, of arrivals at random 17 %; half is well apart from both. The usual
// ports are the web's and IKE's, which keeps tunnels alive (RFC 3706, RFC 3948).
func defaultBeacon() BeaconTuning {
	return BeaconTuning{Score: 0.8, Regular: 0.5, Beats: 20, Span: 180, Memory: day, Ignore: []uint16{53, 123, 853}, Usual: []uint16{80, 443, 500, 4500}}
}

// beacon finds a host of ours and a destination that meet at regular times with
// regular sizes: see docs/alerts/beacon.md.
type beacon struct{ t BeaconTuning }

func (d beacon) Spec() Spec {
	return Spec{
		Detector: alert.Detector{
			ID: "beacon", Name: "Beacon", Version: "1", Method: alert.MethodStatistical, Doc: doc("beacon"),
		},
		Bucket: day, Attacks: []string{"T1071", "T1573"},
		FalseAlarm: "Monitoring, update checks, push notifications, message brokers and every other program that calls at intervals.",
	}
}

func (d beacon) Wants(e Entity, p *Part) bool {
	return e.Kind == KindHost && p.Owned && p.Set(Pair).Len() > 0
}

func (d beacon) New() State { return &beaconState{d: d} }

// Bounds of the state: 16 bytes a beat.
const (
	maxBeats = 128 // the latest
	maxPairs = 128 // the latest
)

type beaconState struct {
	d    beacon
	list []pairCourse // ascending by key
}

type pairCourse struct {
	key      RowKey
	beats    []Beat // ascending
	sessions int64  // of the memory, roughly: since the pair is followed
	answered int64
	bytes    int64
	ref      Row
}

// Early implements State: regularity is judged on whole panes.
func (s *beaconState) Early(*Pane, Reporter) {}

// Final implements State.
func (s *beaconState) Final(p *Pane, r Reporter) {
	for _, row := range p.Set(Pair).Rows() {
		if row.Counts.Sessions == 0 || slices.Contains(s.d.t.Ignore, row.Key.Port) || silentByNature(row.Key) {
			continue
		}
		s.learn(row)
	}
	s.forget(p.Start)
	for i := range s.list {
		x := &s.list[i]
		if x.beats[len(x.beats)-1].Start < p.Start || int64(len(x.beats)) < s.d.t.Beats {
			continue
		}
		g := p.scratch().grade(x.beats)
		if g.score >= s.d.t.Score && g.beats >= s.d.t.Beats && g.span >= s.d.t.Span && g.share >= max(s.d.t.Regular, g.chance) {
			r.Raise(s.finding(p, x, &g))
		}
	}
}

func (s *beaconState) learn(row *Row) {
	i, found := slices.BinarySearchFunc(s.list, row.Key, func(x pairCourse, k RowKey) int { return x.key.Compare(k) })
	if !found {
		s.list = slices.Insert(s.list, i, pairCourse{key: row.Key, ref: row.kept()})
	}
	x := &s.list[i]
	x.beats = append(x.beats, row.Beats()...)
	x.sessions += row.Counts.Sessions
	x.answered += row.Counts.Answered
	x.bytes += row.Counts.Bytes()
	x.ref.Counts.Sessions = x.sessions
	if n := len(x.beats) - maxBeats; n > 0 {
		x.beats = slices.Delete(x.beats, 0, n)
	}
}

func (s *beaconState) forget(now flow.Time) {
	old := now.Add(-s.d.t.Memory)
	for i := range s.list {
		x := &s.list[i]
		x.beats = slices.DeleteFunc(x.beats, func(b Beat) bool { return b.Start < old })
	}
	s.list = slices.DeleteFunc(s.list, func(x pairCourse) bool { return len(x.beats) == 0 })
	for len(s.list) > maxPairs {
		oldest := 0
		for i := range s.list {
			if s.list[i].beats[len(s.list[i].beats)-1].Start < s.list[oldest].beats[len(s.list[oldest].beats)-1].Start {
				oldest = i
			}
		}
		s.list = slices.Delete(s.list, oldest, oldest+1)
	}
}

// graded is how regular a course is. Scores lie between 0 and 1.
type graded struct {
	score, times, sizes, cover float64
	interval                   float64 // median, seconds
	size                       float64 // median, bytes
	beats, span                int64
	// share of the intervals lies close to the median; chance is what random
	// arrivals would not reach.
	share, chance float64
}

// grade scores a course as RITA does: the Bowley skewness and the relative
// median absolute deviation of intervals and of sizes, and how evenly the
// course fills its span (24 parts). Sessions of the same second are one beat.
func (w *scratch) grade(beats []Beat) (g graded) {
	intervals, sizes := w.numbers[:0], w.others[:0]
	var parts [24]bool
	first, last := beats[0].Start, beats[len(beats)-1].Start
	g.span = int64(last - first)
	for i, b := range beats {
		if i == 0 || b.Start > beats[i-1].Start {
			g.beats++
			parts[min(int64(b.Start-first)*24/max(g.span, 1), 23)] = true
			if i > 0 {
				intervals = append(intervals, float64(b.Start-beats[i-1].Start))
			}
		}
		sizes = append(sizes, float64(b.Bytes))
	}
	for _, filled := range parts {
		g.cover += float64(one(filled)) / 24
	}
	w.numbers, w.others = intervals, sizes
	w.deviations = slices.Grow(w.deviations, len(beats))
	g.times, g.interval = regular(intervals, w.deviations)
	g.sizes, g.size = regular(sizes, w.deviations)
	g.score = (g.times + g.sizes + g.cover) / 3
	g.share, g.chance = rhythm(intervals, g.interval)
	return g
}

// closeTo is how near to the median an interval of a beacon lies, as a share
// of the median.
const closeTo = 0.25

// chanceSigmas is by how many standard deviations a share must exceed what
// random arrivals reach. Each pair is judged in each pane of a day, so one in
// a million is what it takes.
const chanceSigmas = 5

// rhythm returns the share of intervals that lie close to their median, and the
// share that arrivals at random do not exceed. Their intervals are exponential
// (a Poisson process), so one lies between a and b with the chance 2^-(a/m) -
// 2^-(b/m) where m is the median; seconds are rounded, hence the half.
func rhythm(intervals []float64, median float64) (share, chance float64) {
	n := float64(len(intervals))
	if n == 0 || median <= 0 {
		return 0, 1
	}
	for _, v := range intervals {
		share += float64(one(math.Abs(v-median) <= closeTo*median)) / n
	}
	w := math.Floor(closeTo*median) + 0.5
	p := math.Exp2(-max(median-w, 0)/median) - math.Exp2(-(median+w)/median)
	return share, p + chanceSigmas*math.Sqrt(p*(1-p)/n)
}

// regular scores how close values lie together, and returns their median. It
// sorts them, and calculates in the given room.
func regular(v, room []float64) (score, median float64) {
	if len(v) < 4 {
		return 0, window.Median(v)
	}
	median = window.Median(v)
	low, high := v[len(v)/4], v[len(v)*3/4]
	skew := 0.0
	if high > low && median > low && median < high {
		skew = (low + high - 2*median) / (high - low)
	}
	mad := 1.0
	if median > 0 {
		mad = min(window.SpreadIn(room, v, median)/madScale/median, 1)
	}
	return (1 - math.Abs(skew) + 1 - mad) / 2, median
}

// madScale takes window.Spread back to the plain median absolute deviation.
const madScale = 1.4826

func (s *beaconState) finding(p *Pane, x *pairCourse, g *graded) *Finding {
	what := service(x.key.Protocol, x.key.Port)
	f := p.finding()
	f.Weight = uint64(x.sessions)
	f.Entity = alert.Entity{
		Kind: alert.EntityPair, Scope: p.Entity.Scope, Value: p.Entity.Addr.String() + ">" + x.key.Peer.String() + " " + what,
		Addr: p.Entity.Addr, Ours: true, Role: alert.RoleActor,
	}
	f.Title = fmt.Sprintf("Beacon from %s to %s", p.Entity.Addr, x.key.Peer)
	f.Sentence = fmt.Sprintf(
		"Our host %s called %s at %s %s in %s, every %.0f s with about %s each time: %.0f of 100 points for regularity, where %.0f are a beacon.",
		p.Entity.Addr, x.key.Peer, what, plural(g.beats, "time"), span(g.span), g.interval, size(g.size), g.score*100, s.d.t.Score*100)
	impact := alert.Impact{Base: alert.Informational, ActorOurs: true}
	if !slices.Contains(s.d.t.Usual, x.key.Port) && x.answered > 0 {
		impact.Base = alert.Low
		f.Attacks = alert.AttacksOf("T1571", "T1573")
	}
	f.Severity = alert.Rate(impact)
	f.Confidence = uint8(g.score * 60)
	f.Peers = append(f.Peers, alert.Peer{Addr: x.key.Peer, Sessions: x.sessions, Bytes: x.bytes})
	f.Ports = append(f.Ports, alert.Port{Protocol: x.key.Protocol, Port: x.key.Port, Sessions: x.sessions})
	f.Counts = append(f.Counts,
		count("score", "percent", math.Round(g.score*100), s.d.t.Score*100),
		count("interval_score", "percent", math.Round(g.times*100), 0), count("size_score", "percent", math.Round(g.sizes*100), 0),
		count("coverage_score", "percent", math.Round(g.cover*100), 0),
		count("regular_intervals", "percent", math.Round(g.share*100), math.Round(max(s.d.t.Regular, g.chance)*100)), count("interval", "seconds", g.interval, 0),
		count("beats", "sessions", float64(g.beats), float64(s.d.t.Beats)),
	)
	f.First, f.Last = x.beats[0].Start, x.beats[len(x.beats)-1].Start
	f.Window = alert.Window{Start: f.First, End: p.End}
	p.evidence(f, Pair, []*Row{&x.ref})
	return f
}

// AppendTo implements State.
func (s *beaconState) AppendTo(b []byte) []byte {
	b = window.AppendUint(b, uint64(len(s.list)))
	for i := range s.list {
		x := &s.list[i]
		b = appendKey(b, x.key)
		b = appendBeats(b, x.beats)
		b = window.AppendInt(window.AppendInt(window.AppendInt(b, x.sessions), x.answered), x.bytes)
		b = window.AppendString(b, appendRow(nil, &x.ref))
	}
	return b
}

// Restore implements State.
func (s *beaconState) Restore(r *window.Reader) {
	for range r.Len() {
		x := pairCourse{key: readKey(r), beats: readBeats(r)}
		if len(x.beats) == 0 {
			r.Fail("a course without a beat")
		}
		x.sessions, x.answered, x.bytes = r.Varint(), r.Varint(), r.Varint()
		x.ref = readRow(r)
		s.list = append(s.list, x)
	}
}
