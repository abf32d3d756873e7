package rule

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/detect"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/session"
	"github.com/flowstitch/flowstitch/pkg/window"
)

// Judge is the evaluate half of a set of rules: for each rule an evaluator of
// detect with that rule as its only detector, so that hundreds of rules cost an
// entity nothing but the one that it belongs to, and each rule has a bound of
// groups of its own. Like an evaluator it is the state of one bucket and a
// deterministic function of the calls made on it.
type Judge struct {
	rules []*Rule // by id
	evals []*detect.Evaluator
	pane  int64
	// upto is by rule the end of the newest pane that was folded in.
	upto []flow.Time
}

// baselineRetain is how many seconds a group with a past is remembered: two
// weeks, so that a weekly job is no news.
const baselineRetain = 14 * 86400

// minGroups is how many groups a rule may have in each bucket at least.
const minGroups = 64

// NewJudge is NewJudgeIn with a pool of its own.
func NewJudge(set detect.Settings, rules []*Rule, buckets int) *Judge {
	return NewJudgeIn(detect.NewPool(), set, rules, buckets)
}

// NewJudgeIn returns an empty judge under detect's settings, with the memory of
// a pool. It is one of so many buckets, among which the max_groups of each rule
// are shared out.
func NewJudgeIn(pool *detect.Pool, set detect.Settings, rules []*Rule, buckets int) *Judge {
	j := &Judge{pane: set.Pane, rules: slices.SortedFunc(slices.Values(rules), func(a, b *Rule) int { return strings.Compare(a.Spec.ID, b.Spec.ID) })}
	for _, r := range j.rules {
		own := set
		own.EvaluateEntities = max(r.Spec.MaxGroups/buckets, min(minGroups, r.Spec.MaxGroups))
		own.Retain = 2*r.window + r.bucket + set.Pane
		own.RetainOwn = own.Retain
		if r.having.baseline {
			own.RetainOwn = max(own.Retain, baselineRetain)
		}
		j.upto = append(j.upto, flow.MinTime)
		j.evals = append(j.evals, pool.Evaluator(&own, []detect.Detector{r.Detector(set.Pane)}))
	}
	return j
}

// Owns reports whether an observation is for a judge: it is of a rule's group.
func Owns(e detect.Entity) bool { return e.Kind == detect.KindRule }

// Fold folds in the observation of a group; one of a rule that is not here any
// more is left out.
func (j *Judge) Fold(o *detect.Observation, out detect.AlertSink) {
	id, _, _ := strings.Cut(o.Entity.Name, string(groupSeparator))
	i, found := slices.BinarySearchFunc(j.rules, id, func(r *Rule, id string) int { return strings.Compare(r.Spec.ID, id) })
	if found {
		j.upto[i] = max(j.upto[i], o.Pane.Add(j.pane))
		j.evals[i].Fold(o, out)
	}
}

// Advance moves the clock of every rule. It returns false when out was full;
// call it again then with the same clock.
//
// At the end of time nothing falls silent, so an evaluator wakes nobody then.
// The last windows of a finite source are over all the same: the clock first
// passes them.
func (j *Judge) Advance(clock flow.Time, out detect.AlertSink) (done bool) {
	for i, v := range j.evals {
		if clock == flow.MaxTime && !v.Advance(j.upto[i].Add(2*j.rules[i].window), out) {
			return false
		}
		if !v.Advance(clock, out) {
			return false
		}
	}
	return true
}

// Stats is what one rule did since the judge was made.
type Stats struct {
	ID     string
	Groups int // remembered now
	detect.EvaluateStats
}

// Stats returns the counters of each rule, by id. Evicted counts the groups
// that were forgotten because there were more than the rule's max_groups.
func (j *Judge) Stats() []Stats {
	out := make([]Stats, len(j.rules))
	for i, r := range j.rules {
		out[i] = Stats{r.Spec.ID, j.evals[i].Entities(), j.evals[i].Stats()}
	}
	return out
}

// version changes whenever the meaning of a rule's state does.
func (r *Rule) version() uint64 {
	steps := fmt.Sprintf("%+v", r.Spec.Sequence)
	if len(r.Spec.Together) > 0 {
		steps = fmt.Sprintf("together %+v", r.Spec.Together)
	}
	return xxhash.Sum64String(fmt.Sprintf("%q %q %d %d %d %q %s", r.Spec.Match, r.Spec.GroupBy, r.pane, r.window, r.bucket, r.having.text, steps))
}

// AppendSnapshot appends the state of every rule.
func (j *Judge) AppendSnapshot(b []byte) []byte {
	b = window.AppendUint(b, uint64(len(j.rules)))
	for i, r := range j.rules {
		b = window.AppendString(b, r.Spec.ID)
		b = window.AppendUint(b, r.version())
		b = window.AppendInt(b, int64(j.upto[i]))
		b = window.AppendString(b, j.evals[i].AppendSnapshot(nil))
	}
	return b
}

// Restore replaces the state of an empty judge. The state of a rule that is
// gone or that means something else now is dropped: a changed rule starts anew.
func (j *Judge) Restore(b []byte) error {
	in := window.NewReader(b)
	for range in.Len() {
		id, version, upto, state := in.String(), in.Uint(), flow.Time(in.Varint()), in.Bytes()
		if in.Err() != nil {
			break
		}
		i := slices.IndexFunc(j.rules, func(r *Rule) bool { return r.Spec.ID == id })
		if i < 0 || j.rules[i].version() != version {
			continue
		}
		j.upto[i] = upto
		if err := j.evals[i].Restore(state); err != nil {
			return fmt.Errorf("rule %s: %w", id, err)
		}
	}
	return in.Close()
}

// Runner runs rules over session events in memory, with the combiner and the
// evaluator that the detect service has: for tests of rules and back-tests.
type Runner struct {
	set      detect.Settings
	combiner *detect.Combiner
	judge    *Judge
	alert    func(*alert.Alert)
	buf      []byte
}

// NewRunner returns a runner that hands each statement to say, which copies
// what it keeps.
func NewRunner(rules []*Rule, set detect.Settings, say func(*alert.Alert)) *Runner {
	return &Runner{set: set, combiner: detect.NewCombiner(&set, NewTap(rules, set.Pane)), judge: NewJudge(set, rules, 1), alert: say}
}

// Event folds in a session event at a position of `sessions`.
func (r *Runner) Event(e *session.Event, partition int32, offset int64) {
	r.combiner.Fold(e, partition, offset, r)
}

// Advance moves the clock: no final event that starts below it follows.
func (r *Runner) Advance(clock flow.Time) {
	r.combiner.Advance(clock, r)
	r.judge.Advance(r.set.Watermark(clock), r)
}

// Tick lets early observations out; wall is in Unix milliseconds.
func (r *Runner) Tick(wall int64) { r.combiner.Tick(wall, r) }

// Stats returns what each rule did.
func (r *Runner) Stats() []Stats { return r.judge.Stats() }

// Observe implements detect.Sink.
func (r *Runner) Observe(o *detect.Observation) {
	if !Owns(o.Entity) {
		return
	}
	// By way of the wire, whose bounds are part of what the service does.
	r.buf = detect.AppendObservation(r.buf[:0], o)
	var back detect.Observation
	if detect.ParseObservation(r.buf, &back) == nil {
		r.judge.Fold(&back, r)
	}
}

// Alert implements detect.AlertSink.
func (r *Runner) Alert(a *alert.Alert) { r.alert(a) }

// Full implements detect.Sink and detect.AlertSink: memory is never full.
func (r *Runner) Full() bool { return false }
