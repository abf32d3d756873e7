package detect

import (
	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/window"
)

// Detector judges one kind of behaviour. It is immutable; what it remembers of
// an entity is a State.
type Detector interface {
	Spec() Spec
	// Wants reports whether a pane of e, early or final, is worth a State.
	// A State that exists sees every final pane of its entity.
	Wants(e Entity, p *Part) bool
	New() State
}

// Spec is what all findings of a detector share.
type Spec struct {
	alert.Detector
	// Bucket is the width in seconds of the absolute UTC bucket that makes a
	// finding's UID together with detector and entity. A finding closes when
	// its bucket has passed, or Quiet seconds (0: never) after it was last
	// borne out, whichever comes first.
	Bucket, Quiet int64
	// Every is how many seconds of event time lie at least between two
	// updates that are no escalation; 0 is alert.DefaultUpdateEvery.
	Every      int64
	Attacks    []string // ATT&CK technique ids
	FalseAlarm string
}

// State is what a detector remembers of one entity.
type State interface {
	// Early looks at what has arrived of a pane that is not over. It may raise
	// findings for conditions that can only grow, and changes nothing.
	Early(p *Pane, r Reporter)
	// Final folds a complete pane in; panes come in order, empty ones not at
	// all. What it raises is confirmed. It forgets what is too old to matter.
	Final(p *Pane, r Reporter)
	// AppendTo appends the state; equal states give equal bytes.
	AppendTo(b []byte) []byte
	// Restore reads what AppendTo wrote into an empty state. Errors stick in r.
	Restore(r *window.Reader)
}

// Waker is a State that also acts when nothing happens.
type Waker interface {
	State
	// Due is when Wake is to be called, or flow.MaxTime.
	Due() flow.Time
	// Wake is called when the clock reaches Due; Due must then be later.
	Wake(now flow.Time, e Entity, r Reporter)
}

// Pane is one entity's pane on its way through the detectors.
type Pane struct {
	Entity     Entity
	Start, End flow.Time // End exclusive
	*Part                // never nil
	// Open are, in Early, the early sums of the panes before this one that
	// are not judged yet, oldest first: what began a pane ago is still going on.
	Open []Pane
	work *scratch // see Pane.scratch
}

// Reporter takes findings.
type Reporter interface{ Raise(f *Finding) }

// Finding is what a detector states of a cause. Of the Alert the detector sets
// Title, Sentence, Severity, Confidence, Entity, lists, First, Last and Window.Start decides the bucket of the UID.
type Finding struct {
	alert.Alert
	// Weight is what the finding counts; an update is due when it doubles.
	Weight uint64
	// News says that a reader of the last statement misses something that no
	// number shows, such as a new name: an update is due once Every has passed.
	News bool
	// Crossed is the event time at which it became true, if that is known: the
	// time of the first statement, where that of others is their last packet.
	Crossed flow.Time
}
