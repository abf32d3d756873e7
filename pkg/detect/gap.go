package detect

import (
	"fmt"

	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/window"
)

// GapTuning are the thresholds of coverage-gap.
type GapTuning struct {
	// Busy is how many panes with traffic in a row make an interface one that
	// is never silent; Silent is after how many seconds without any it is a
	// gap.
	Busy   int64 `yaml:"busy"`
	Silent int64 `yaml:"silent_seconds"`
}

// defaultGap: half a day without one quiet pane, then an hour of silence.
func defaultGap() GapTuning { return GapTuning{Busy: 144, Silent: hour} }

// gap tells where silence means nothing: records were skipped, or an interface
// that always spoke has stopped. See docs/alerts/coverage-gap.md.
type gap struct{ t GapTuning }

func (d gap) Spec() Spec {
	return Spec{
		Detector: alert.Detector{
			ID: "coverage-gap", Name: "Coverage gap", Version: "1", Method: alert.MethodRule, Doc: doc("coverage-gap"),
		},
		Bucket: day, Attacks: []string{"T1562.008"},
		FalseAlarm: "An instance that was stopped, or a network interface that was detached.",
	}
}

func (d gap) Wants(e Entity, _ *Part) bool { return e.Kind == KindPoint }

func (d gap) New() State { return &gapState{d: d, last: flow.MinTime} }

type gapState struct {
	d       gap
	day     flow.Time
	skipped int64 // seconds of the day
	gaps    int64 // panes of the day
	last    flow.Time
	row     int64 // panes with traffic in a row
	silent  bool  // was said of this silence
}

// Early implements State.
func (s *gapState) Early(*Pane, Reporter) {}

// Final implements State.
func (s *gapState) Final(p *Pane, r Reporter) {
	if d := p.Start.Floor(day); d != s.day {
		s.day, s.skipped, s.gaps = d, 0, 0
	}
	if p.Client.Sessions > 0 || p.Client.PacketsOut != 0 {
		if p.Start != s.last {
			s.row = 0
		}
		s.row++
		s.last, s.silent = p.End, false
	}
	if p.Skipped == 0 {
		return
	}
	s.skipped += p.Skipped
	s.gaps++
	f := s.finding(p.Entity)
	f.Title = "Records skipped at " + p.Entity.Name
	f.Sentence = fmt.Sprintf("AWS skipped flow records of %s for %s in all on this day: what happened there in that time is not known.",
		p.Entity.Name, span(s.skipped))
	f.Weight = uint64(s.gaps)
	f.Counts = []alert.Count{count("skipped", "seconds", float64(s.skipped), 0)}
	f.First, f.Last = p.Server.First, p.Server.Last
	f.Window = alert.Window{Start: p.Start, End: p.End}
	r.Raise(f)
}

func (s *gapState) finding(e Entity) *Finding {
	f := &Finding{}
	f.Entity = alert.TextEntity(alert.EntityInterface, e.Scope, e.Name, alert.RoleAffected)
	f.Context.InterfaceID = e.Name
	f.Severity = alert.Rate(alert.Impact{Base: alert.Low})
	f.Confidence = 90
	return f
}

// Due implements Waker.
func (s *gapState) Due() flow.Time {
	if s.silent || s.row < s.d.t.Busy {
		return flow.MaxTime
	}
	return s.last.Add(s.d.t.Silent)
}

// Wake implements Waker: the interface has been silent for too long.
func (s *gapState) Wake(now flow.Time, e Entity, r Reporter) {
	f := s.finding(e)
	f.Title = e.Name + " fell silent"
	f.Sentence = fmt.Sprintf("%s has recorded nothing for %s after traffic in %s in a row: it is gone, or its flow log is.",
		e.Name, span(s.d.t.Silent), plural(s.row, "pane"))
	f.Confidence = 50
	f.Weight = 1
	f.Counts = []alert.Count{against("silent", "seconds", float64(now-s.last), 0, "this interface before", float64(s.d.t.Silent))}
	f.First, f.Last = s.last, now
	f.Window = alert.Window{Start: s.last, End: now}
	s.silent, s.row = true, 0
	r.Raise(f)
}

// AppendTo implements State.
func (s *gapState) AppendTo(b []byte) []byte {
	for _, v := range [...]int64{int64(s.day), s.skipped, s.gaps, int64(s.last), s.row} {
		b = window.AppendInt(b, v)
	}
	return window.AppendBool(b, s.silent)
}

// Restore implements State.
func (s *gapState) Restore(r *window.Reader) {
	s.day, s.skipped, s.gaps = flow.Time(r.Varint()), r.Varint(), r.Varint()
	s.last, s.row, s.silent = flow.Time(r.Varint()), r.Varint(), r.Bool()
}
