package rule

import (
	"slices"

	"github.com/flowstitch/flowstitch/pkg/detect"
	"github.com/flowstitch/flowstitch/pkg/flow"
)

// together is what a rule of steps in any order remembers of one entity. More
// data can only complete it, so it is told provisionally as soon as it holds.
type together struct{ sightings }

// Early implements detect.State.
func (s *together) Early(p *detect.Pane, out detect.Reporter) { s.judge(p, s.with(p), out) }

// Final implements detect.State.
func (s *together) Final(p *detect.Pane, out detect.Reporter) {
	times := s.with(p)
	s.judge(p, times, out)
	s.times = s.newest(s.since(times, p.End))
}

func (s *together) judge(p *detect.Pane, times []sighting, out detect.Reporter) {
	if start, end, ok := s.gather(times, p.Start); ok {
		s.raise(p.Entity, times, start, end, out)
	}
}

// gather looks for the first second, at or after since, at which every step
// was seen as often as it asks within the rule's time, and returns the span
// from the latest sighting with which that is so.
func (s *together) gather(times []sighting, since flow.Time) (start, end flow.Time, ok bool) {
	steps := s.rule.Spec.steps()
	seen := make([]int64, len(steps))
	left := 0
	for i := range times {
		at := times[i].at
		seen[times[i].step] += times[i].n
		for ; times[left].at.Add(s.rule.window) < at; left++ {
			seen[times[left].step] -= times[left].n
		}
		if at < since || i+1 < len(times) && times[i+1].at == at || !enough(steps, seen) {
			continue
		}
		for ; seen[times[left].step]-times[left].n >= int64(steps[times[left].step].AtLeast); left++ {
			seen[times[left].step] -= times[left].n
		}
		return times[left].at, at, true
	}
	return 0, 0, false
}

func enough(steps []Step, seen []int64) bool {
	for i := range steps {
		if seen[i] < int64(steps[i].AtLeast) {
			return false
		}
	}
	return true
}

// newest keeps of each step the latest sightings that it asks for: whatever
// comes later, older ones complete nothing that these do not.
func (s *together) newest(times []sighting) (kept []sighting) {
	steps := s.rule.Spec.steps()
	seen := make([]int64, len(steps))
	for _, x := range slices.Backward(times) {
		if seen[x.step] < int64(steps[x.step].AtLeast) {
			seen[x.step] += x.n
			kept = append(kept, x)
		}
	}
	slices.Reverse(kept)
	return kept
}
