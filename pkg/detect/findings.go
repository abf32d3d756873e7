package detect

import (
	"slices"

	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/flow"
)

// finding is what has been said of one UID.
type finding struct {
	detector  int
	uid       alert.UID
	life      alert.Life
	bucketEnd flow.Time
	// final is the last view that final data gave; nil: none yet.
	final  *alert.Alert
	weight uint64
	borne  flow.Time // end of the last pane that bore it out
	// early is the pane that raised it provisionally and has not judged yet.
	early     flow.Time
	pending   bool // early counts
	provision *alert.Alert
	spare     *alert.Alert // room for the next provision
}

// due is when the finding has to be looked at without new data.
func (f *finding) due(s *Spec) flow.Time {
	switch {
	case f.pending:
		return flow.MaxTime // its pane is due before
	case f.life.Closed:
		return f.bucketEnd
	case s.Quiet > 0:
		return min(f.borne.Add(s.Quiet), f.bucketEnd)
	}
	return f.bucketEnd
}

// reporter receives what one detector raises of one pane.
type reporter struct {
	v        *Evaluator
	e        *entity
	detector int
	at       flow.Time // start of the pane
	early    bool
	out      AlertSink
}

// Raise implements Reporter.
func (r *reporter) Raise(in *Finding) {
	v, spec := r.v, &r.v.specs[r.detector]
	if v.set.allowed(spec.ID, in, r.at) {
		v.stats.Allowed++
		return
	}
	a := v.statement(&in.Alert)
	tidy(a)
	a.Detector, a.FalseAlarm = spec.Detector, spec.FalseAlarm
	if a.Context.InterfaceID == "" && len(v.place) > 0 {
		a.Context = v.pool.work.context(v.place)
	}
	if len(a.Attacks) == 0 {
		a.Attacks = v.attacks[r.detector]
	}
	a.UID = alert.NewUID(spec.ID, a.Entity, r.at, spec.Bucket)
	end := r.at.Floor(spec.Bucket).Add(spec.Bucket)
	f := r.e.find(a.UID)
	if f == nil {
		f = &finding{detector: r.detector, uid: a.UID, bucketEnd: max(end, r.at.Add(v.set.Pane))}
		r.e.findings = append(r.e.findings, f)
	}
	if r.early {
		r.raiseEarly(f, a, in)
		return
	}
	r.raiseFinal(f, a, in, spec)
}

// statement returns a copy to be said, in the memory of the one before.
func (v *Evaluator) statement(a *alert.Alert) *alert.Alert {
	said := &v.pool.work.said
	*said = *a
	return said
}

// tidy makes empty lists nil, whatever room they have.
func tidy(a *alert.Alert) {
	a.Peers, a.Ports = orNil(a.Peers), orNil(a.Ports)
	a.Counts, a.Evidence = orNil(a.Counts), orNil(a.Evidence)
}

func orNil[T any](list []T) []T {
	if len(list) == 0 {
		return nil
	}
	return list
}

// keep copies a, whose lists are the detector's, into the memory of what was
// kept before, if anything was.
func keep(into, a *alert.Alert) *alert.Alert {
	if into == nil {
		into = &alert.Alert{}
	}
	was := *into
	*into = *a
	into.Peers = append(was.Peers[:0], a.Peers...)
	into.Ports = append(was.Ports[:0], a.Ports...)
	into.Counts = append(was.Counts[:0], a.Counts...)
	into.Evidence = append(was.Evidence[:0], a.Evidence...)
	tidy(into)
	return into
}

// told reports whether r was told early of a cause that is no worse than what
// was said of it, so that nothing new is to be said and no text is to be made.
func told(r Reporter, e alert.Entity, s alert.Severity) bool {
	x, ok := r.(*reporter)
	if !ok || !x.early || len(x.v.set.Allow) > 0 { // exceptions look at the whole finding
		return false
	}
	spec := &x.v.specs[x.detector]
	f := x.e.find(alert.NewUID(spec.ID, e, x.at, spec.Bucket))
	return f != nil && f.borneOut(x.at, s)
}

// borneOut notes that the pane at t bears the finding out before it is over, and
// reports whether it was said already that it is as bad.
func (f *finding) borneOut(t flow.Time, s alert.Severity) bool {
	f.early, f.pending = max(f.early, t), true
	return f.life.Sequence > 0 && s <= f.life.Severity
}

// raiseEarly says something new at once: a cause that was unknown, or that is
// worse than was said.
func (r *reporter) raiseEarly(f *finding, a *alert.Alert, in *Finding) {
	a.Verdict, a.Time = alert.Provisional, a.Last
	if f.borneOut(r.at, a.Severity) {
		return
	}
	if f.provision == nil {
		f.provision, f.spare = f.spare, nil
	}
	f.provision = keep(f.provision, a)
	in.first(f, a)
	if f.life.Next(a, in.Weight, 0, false) {
		r.v.say(a, r.out)
	}
}

func (r *reporter) raiseFinal(f *finding, a *alert.Alert, in *Finding, spec *Spec) {
	a.Verdict, a.Time = alert.Confirmed, a.Last
	f.final, f.weight, f.borne = keep(f.final, a), in.Weight, r.at.Add(r.v.set.Pane)
	if f.pending && f.early <= r.at {
		f.pending = false
		f.judged()
	}
	if in.News {
		f.life.Weight = 0
	}
	every := spec.Every
	if every == 0 {
		every = alert.DefaultUpdateEvery
	}
	f.life.Closed = false
	in.first(f, a)
	if f.life.Next(a, max(in.Weight, 1), every, false) {
		r.v.say(a, r.out)
	}
}

// judged lets go of what was said early.
func (f *finding) judged() {
	if f.provision != nil {
		f.provision, f.spare = nil, f.provision
	}
}

// first sets the time of the statement with which a finding begins: when it
// became true, not the last packet that was known when it was judged.
func (in *Finding) first(f *finding, a *alert.Alert) {
	if f.life.Sequence == 0 && in.Crossed != 0 {
		a.Time = max(in.Crossed, a.First)
	}
}

// settleEarly judges what was said early of panes up to start and not borne
// out: withdrawn if final data never said it, else taken back to what they said.
func (v *Evaluator) settleEarly(e *entity, start flow.Time, out AlertSink) {
	for _, f := range e.findings {
		if !f.pending || f.early > start {
			continue
		}
		f.pending = false
		a := f.provision
		verdict, closing := alert.Withdrawn, true
		if f.final != nil {
			a, verdict, closing = f.final, alert.Confirmed, false
		}
		if a == nil {
			f.judged()
			continue
		}
		said := v.statement(a)
		said.Verdict = verdict
		if f.life.Next(said, max(f.weight, 1), 0, closing) {
			v.say(said, out)
		}
		f.judged()
	}
	e.findings = slices.DeleteFunc(e.findings, func(f *finding) bool { return !f.pending && f.final == nil })
}

// closeFindings closes what is over and forgets what can not come back.
func (v *Evaluator) closeFindings(e *entity, now flow.Time, out AlertSink) {
	e.findings = slices.DeleteFunc(e.findings, func(f *finding) bool {
		if f.pending || f.due(&v.specs[f.detector]) > now {
			return false
		}
		if !f.life.Closed {
			said := v.statement(f.final)
			if f.life.Next(said, max(f.weight, 1), 0, true) {
				v.say(said, out)
			}
		}
		return f.bucketEnd <= now
	})
}

// say hands out a copy, which is the sink's own: the lists of a are used again.
func (v *Evaluator) say(a *alert.Alert, out AlertSink) {
	switch {
	case a.Verdict == alert.Withdrawn:
		v.stats.Withdrawn++
	case a.Activity == alert.Create:
		v.stats.Created++
	case a.Activity == alert.Close:
		v.stats.Closed++
	default:
		v.stats.Updated++
	}
	switch a.Verdict {
	case alert.Provisional:
		v.stats.Early++
	case alert.Confirmed:
		v.stats.Confirmed++
	case alert.Withdrawn:
	}
	out.Alert(a.Clone())
}

func (e *entity) find(uid alert.UID) *finding {
	for _, f := range e.findings {
		if f.uid == uid {
			return f
		}
	}
	return nil
}
