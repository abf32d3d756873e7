package rule

import (
	"strings"

	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/detect"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/window"
)

// Version of the logic of rules, as alerts name it.
const Version = "1"

// Detector makes the rule one of detect's detectors, over panes of the given
// width in seconds.
func (r *Rule) Detector(pane int64) detect.Detector { return &detector{r, pane} }

type detector struct {
	rule *Rule
	pane int64
}

// Spec implements detect.Detector.
func (d *detector) Spec() detect.Spec {
	s := &d.rule.Spec
	method := alert.MethodRule
	if d.rule.having.baseline {
		method = alert.MethodStatistical
	}
	return detect.Spec{
		Detector: alert.Detector{ID: d.rule.ID(), Name: s.ID, Version: Version, Method: method, Doc: "docs/rules.md"},
		Bucket:   max(d.rule.bucket, d.pane), Attacks: s.Attack, FalseAlarm: s.FalseAlarm,
	}
}

// ID is the detector's id: "rule:<id>".
func (r *Rule) ID() string { return "rule:" + r.Spec.ID }

// Wants implements detect.Detector: every group of the rule, and nothing else.
func (d *detector) Wants(e detect.Entity, _ *detect.Part) bool {
	id := d.rule.Spec.ID
	return e.Kind == detect.KindRule && len(e.Name) > len(id) && e.Name[len(id)] == groupSeparator && e.Name[:len(id)] == id
}

// New implements detect.Detector.
func (d *detector) New() detect.State {
	switch {
	case len(d.rule.Spec.Sequence) > 0:
		return &sequence{sightings{rule: d.rule}}
	case len(d.rule.Spec.Together) > 0:
		return &together{sightings{rule: d.rule}}
	}
	return &threshold{rule: d.rule, judged: flow.MinTime, past: make([][]float64, len(d.rule.having.aggs))}
}

// threshold is what a threshold rule remembers of one group.
type threshold struct {
	rule    *Rule
	tallies []*tally    // by start, ascending
	judged  flow.Time   // windows that end by then have been judged by Wake
	past    [][]float64 // by aggregate: the last windows that were no alarm
}

// A group's own past: the median of up to keepPast windows, and no judgement
// before there are minPast of them. A median of six is not moved by two
// outliers.
const (
	keepPast = 48
	minPast  = 6
)

// Early implements detect.State: conditions that can only grow fire at once.
func (s *threshold) Early(p *detect.Pane, out detect.Reporter) {
	if !s.rule.having.grows {
		return
	}
	var fresh []*tally
	s.rule.absorb(p, func(at flow.Time) *tally { return tallyAt(&fresh, at, s.rule) })
	s.judgeTouched(p, fresh, fresh, out)
}

// Final implements detect.State.
func (s *threshold) Final(p *detect.Pane, out detect.Reporter) {
	var touched []*tally
	s.rule.absorb(p, func(at flow.Time) *tally {
		t := tallyAt(&s.tallies, at, s.rule)
		if len(touched) == 0 || touched[len(touched)-1] != t {
			touched = append(touched, t)
		}
		return t
	})
	if !s.rule.having.grows {
		return
	}
	s.judgeTouched(p, touched, nil, out)
	s.forget(p.End)
}

// judgeTouched judges the windows that end with the touched steps, with the
// fresh tallies beside what is remembered, and raises the strongest. Windows
// that end later hold less, unless a later step is touched.
func (s *threshold) judgeTouched(p *detect.Pane, touched, fresh []*tally, out detect.Reporter) {
	var best *verdict
	for _, t := range touched {
		v := s.judge(t.at.Add(s.rule.pane), fresh)
		if v.fired && (best == nil || v.values.agg[0] > best.values.agg[0]) {
			best = v
		}
	}
	if best != nil {
		s.rule.raise(p.Entity, best, out)
	}
}

func tallyAt(list *[]*tally, at flow.Time, r *Rule) *tally {
	i := len(*list)
	for i > 0 && (*list)[i-1].at > at {
		i--
	}
	if i > 0 && (*list)[i-1].at == at {
		return (*list)[i-1]
	}
	*list = append(*list, nil)
	copy((*list)[i+1:], (*list)[i:])
	(*list)[i] = r.newTally(at)
	return (*list)[i]
}

// verdict is a judged window.
type verdict struct {
	fired  bool
	window alert.Window
	values *values
	sum    *tally
}

// judge judges the window that ends at end.
func (s *threshold) judge(end flow.Time, fresh []*tally) *verdict {
	v := &verdict{window: alert.Window{Start: end.Add(-s.rule.window), End: end}}
	v.sum = s.rule.newTally(v.window.Start)
	for _, list := range [][]*tally{s.tallies, fresh} {
		for _, t := range list {
			if t.at >= v.window.Start && t.at < end {
				v.sum.merge(t)
			}
		}
	}
	v.values = s.rule.values(v.sum)
	v.values.young = len(s.past[0]) < minPast
	v.values.normal = make([]float64, len(s.past))
	for i := range s.past {
		v.values.normal[i] = window.Median(append([]float64(nil), s.past[i]...))
	}
	v.fired = s.rule.having.test(v.values)
	return v
}

// forget drops what no window after now reaches.
func (s *threshold) forget(now flow.Time) {
	keep := s.tallies[:0]
	for _, t := range s.tallies {
		if t.at.Add(s.rule.window) > now {
			keep = append(keep, t)
		}
	}
	clear(s.tallies[len(keep):])
	s.tallies = keep
}

// Due implements detect.Waker: a condition that may cease to hold is judged
// when its window is over.
func (s *threshold) Due() flow.Time {
	if s.rule.having.grows || len(s.tallies) == 0 {
		return flow.MaxTime
	}
	next := s.tallies[0].at.Add(s.rule.pane)
	if s.judged != flow.MinTime {
		next = max(next, s.judged.Add(s.rule.pane))
	}
	return next
}

// Wake implements detect.Waker.
func (s *threshold) Wake(now flow.Time, e detect.Entity, out detect.Reporter) {
	for end := s.Due(); end <= now && end != flow.MaxTime; end = s.Due() {
		v := s.judge(end, nil)
		s.judged = end
		if v.fired {
			s.rule.raise(e, v, out)
		} else if s.rule.having.baseline && end.Floor(s.rule.window) == end {
			for i, x := range v.values.agg {
				s.past[i] = append(s.past[i], x)
				s.past[i] = s.past[i][max(0, len(s.past[i])-keepPast):]
			}
		}
		s.forget(end)
	}
}

// AppendTo implements detect.State.
func (s *threshold) AppendTo(b []byte) []byte {
	b = window.AppendInt(b, int64(s.judged))
	b = window.AppendUint(b, uint64(len(s.tallies)))
	for _, t := range s.tallies {
		b = t.appendTo(b)
	}
	for _, p := range s.past {
		b = window.AppendUint(b, uint64(len(p)))
		for _, v := range p {
			b = window.AppendFloat(b, v)
		}
	}
	return b
}

// Restore implements detect.State.
func (s *threshold) Restore(in *window.Reader) {
	s.judged = flow.Time(in.Varint())
	for range in.Int(MaxPanes + 1) {
		s.tallies = append(s.tallies, s.rule.readTally(in))
	}
	for i := range s.past {
		for range in.Int(keepPast) {
			s.past[i] = append(s.past[i], in.Float())
		}
	}
}

// groupOf returns the values that the entity of a group stands for.
func groupOf(e detect.Entity) []string {
	parts := strings.Split(e.Name, string(groupSeparator))
	if len(parts) == 2 && parts[1] == "*" {
		return nil
	}
	for i := range parts {
		parts[i] = strings.ReplaceAll(parts[i], "%7C", "|")
	}
	return parts[1:]
}
