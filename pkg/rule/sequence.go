package rule

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/detect"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/session"
	"github.com/flowstitch/flowstitch/pkg/window"
)

// keepTimes bounds how many seconds of a group a sequence remembers, and with
// it how often a step may ask to be seen.
const keepTimes = 512

// sightings are when which step of a rule was seen for one entity: by time,
// then step.
type sightings struct {
	rule  *Rule
	times []sighting
}

type sighting struct {
	at   flow.Time
	step uint8 // from 0
	n    int64 // sessions
	ref  detect.Ref
}

// with returns what is remembered and what a pane adds, in order.
func (s *sightings) with(p *detect.Pane) []sighting {
	times := slices.Clone(s.times)
	for _, row := range p.Set(detect.Custom).Rows() {
		step := row.Key.Peer[15] - 1
		if int(step) >= len(s.rule.Spec.steps()) {
			continue
		}
		x := sighting{at: flow.Time(binary.BigEndian.Uint64(row.Key.Peer[:8])), step: step, n: max(row.Counts.Sessions, 1)}
		if ref := row.Ref(); ref != nil {
			x.ref = *ref
		}
		times = append(times, x)
	}
	slices.SortStableFunc(times, func(a, b sighting) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.step, b.step))
	})
	return times
}

// since drops what no chain that ends at or after now can begin with.
func (s *sightings) since(times []sighting, now flow.Time) []sighting {
	keep := slices.IndexFunc(times, func(x sighting) bool { return x.at.Add(s.rule.window) >= now })
	if keep < 0 {
		return nil
	}
	return times[keep:]
}

// sequence is what a sequence rule remembers of one entity. Order matters, so
// it is judged on final panes only.
type sequence struct{ sightings }

// Early implements detect.State: what comes first is known only in the end.
func (s *sequence) Early(*detect.Pane, detect.Reporter) {}

// Final implements detect.State.
func (s *sequence) Final(p *detect.Pane, out detect.Reporter) {
	s.times = s.with(p)
	if start, end, ok := s.chain(p.Start); ok {
		s.raise(p.Entity, s.times, start, end, out)
	}
	s.times = s.since(s.times, p.End)
	s.times = slices.Clone(s.times[max(0, len(s.times)-keepTimes):])
}

// chain looks for the steps in order, each strictly later than the one before,
// from the first to the last within the rule's time, and the last at or after
// since. It goes through the seconds once and holds for each number of
// completed sightings the latest time at which such a chain may have begun:
// the latest start is the best for whatever follows.
func (s *sequence) chain(since flow.Time) (start, end flow.Time, ok bool) {
	var need []uint8 // the step of each sighting that the whole needs
	for i := range s.rule.Spec.Sequence {
		for range s.rule.Spec.Sequence[i].AtLeast {
			need = append(need, uint8(i))
		}
	}
	best := make([]flow.Time, len(need)+1) // best[k]: k sightings done
	for i := range best {
		best[i] = flow.MinTime
	}
	for i := 0; i < len(s.times); {
		at, next := s.times[i].at, slices.Clone(best)
		for ; i < len(s.times) && s.times[i].at == at; i++ {
			advance(need, best, next, &s.times[i])
		}
		best = next
		if done := best[len(need)]; at >= since && done != flow.MinTime && at <= done.Add(s.rule.window) {
			return done, at, true
		}
	}
	return 0, 0, false
}

// advance lets the sessions of one second carry every chain on, within one step.
func advance(need []uint8, best, next []flow.Time, x *sighting) {
	for k := range need {
		from := best[k]
		if k == 0 {
			from = x.at
		}
		if from == flow.MinTime {
			continue
		}
		for j := k; j < len(need) && need[j] == x.step && int64(j-k) < x.n; j++ {
			next[j+1] = max(next[j+1], from)
		}
	}
}

// raise says that the steps were seen from start to end.
func (s *sightings) raise(e detect.Entity, times []sighting, start, end flow.Time, out detect.Reporter) {
	r := s.rule
	group := groupOf(e)
	sum := r.newTally(start)
	said := make([]string, len(r.Spec.steps()))
	for _, x := range times {
		if x.at < start || x.at > end {
			continue
		}
		sum.counts.Add(&detect.Counts{Sessions: x.n, First: x.at, Last: x.at})
		if said[x.step] == "" {
			said[x.step] = fmt.Sprintf("%s at %s", r.stepName(int(x.step)), x.at)
			if x.ref.Session != (session.ID{}) {
				sum.refs = append(sum.refs, proof{Ref: x.ref})
			}
		}
	}
	v := &verdict{window: alert.Window{Start: start, End: end + 1}, sum: sum, values: r.values(sum)}
	f := r.finding(e, group, v)
	f.Title = r.render(group, v.values)
	f.Sentence = fmt.Sprintf("%s: %s, %d s from first to last; the rule allows %d s.",
		strings.Join(group, ", "), strings.Join(said, r.joint()), end-start, r.window)
	f.Counts = []alert.Count{
		{Name: "sessions", Unit: "sessions", Observed: v.values.agg[0]},
		{Name: "span", Unit: "seconds", Observed: float64(end - start), Threshold: float64(r.window)},
	}
	f.Weight = uint64(max(v.values.agg[0], 1))
	out.Raise(f)
}

// joint is what stands between two steps in a sentence.
func (r *Rule) joint() string {
	if len(r.Spec.Together) > 0 {
		return ", and "
	}
	return ", then "
}

func (r *Rule) stepName(i int) string {
	if n := r.Spec.steps()[i].Name; n != "" {
		return n
	}
	return fmt.Sprintf("step %d", i+1)
}

// AppendTo implements detect.State.
func (s *sightings) AppendTo(b []byte) []byte {
	b = window.AppendUint(b, uint64(len(s.times)))
	for i := range s.times {
		x := &s.times[i]
		b = window.AppendInt(window.AppendInt(append(b, x.step), int64(x.at)), x.n)
		b = appendRef(b, &proof{Ref: x.ref})
	}
	return b
}

// Restore implements detect.State.
func (s *sightings) Restore(in *window.Reader) {
	for range in.Int(MaxSteps * keepTimes) {
		x := sighting{step: uint8(in.Int(MaxSteps))}
		x.at, x.n = flow.Time(in.Varint()), in.Varint()
		x.ref = readRef(in).Ref
		s.times = append(s.times, x)
	}
}

func refFields(x *detect.Ref) []*int64 {
	return []*int64{
		&x.Offset, (*int64)(&x.First), (*int64)(&x.Last), &x.PacketsOut, &x.BytesOut, &x.PacketsIn, &x.BytesIn, &x.RejectedOut, &x.FlagsBoth,
	}
}

func appendRef(b []byte, x *proof) []byte {
	for _, n := range refFields(&x.Ref) {
		b = window.AppendInt(b, *n)
	}
	b = window.AppendInt(b, int64(x.Partition))
	for _, n := range []uint64{uint64(x.Client), uint64(x.Server), uint64(x.Protocol), uint64(x.Initiator), uint64(x.Confidence), uint64(x.Direction), uint64(x.Outcome)} {
		b = window.AppendUint(b, n)
	}
	b = window.AppendBool(b, x.Provisional)
	return window.AppendString(window.AppendString(b, x.Session[:]), x.other[:])
}

func readRef(in *window.Reader) (x proof) {
	for _, n := range refFields(&x.Ref) {
		*n = in.Varint()
	}
	x.Partition = int32(in.Varint())
	x.Client, x.Server, x.Protocol = uint16(in.Uint()), uint16(in.Uint()), uint8(in.Uint())
	x.Initiator, x.Confidence = session.Evidence(in.Uint()), uint8(in.Uint())
	x.Direction, x.Outcome = session.Direction(in.Uint()), session.Outcome(in.Uint())
	x.Provisional = in.Bool()
	copy(x.Session[:], in.Bytes())
	copy(x.other[:], in.Bytes())
	return x
}
