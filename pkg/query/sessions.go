package query

import (
	"bytes"
	"slices"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/rule"
	"github.com/flowstitch/flowstitch/pkg/session"
)

// Sink takes what a source reads. Both return ErrEnough when no more is wanted.
type Sink interface {
	Event(e *session.Event, at Position) error
	Flow(r *flow.Record) error
}

// Position is where an event lies in `sessions`; zero for files.
type Position struct {
	Partition int32
	Offset    int64
}

// Folder makes of session events one row for each session: its last final
// event with its totals. Sessions that have not ended are told at the end, as
// they stand. It remembers those that run for longer than the active timeout,
// which are few.
type Folder struct {
	engine *Engine
	open   map[session.ID]*session.Event
	early  map[flow.Key]*session.Event
	// Provisional also takes sessions of which only updates are known.
	Provisional bool
	// Since leaves out events of sessions that began before; see Engine.Range.
	row, part rule.Row
}

// NewFolder returns a folder that feeds an engine.
func NewFolder(e *Engine) *Folder {
	return &Folder{engine: e, open: make(map[session.ID]*session.Event), early: make(map[flow.Key]*session.Event)}
}

// Event implements Sink.
func (f *Folder) Event(e *session.Event, _ Position) error {
	switch e.Kind {
	case session.KindUpdate:
		if f.Provisional {
			f.early[e.Key] = cloneEvent(e)
		}
		return nil
	case session.KindProgress:
		delete(f.early, e.Key)
		f.open[e.ID] = cloneEvent(e)
		return nil
	case session.KindClose:
		delete(f.early, e.Key)
		delete(f.open, e.ID)
		return f.add(e, e, 1)
	case session.KindCorrect:
		return f.correct(e)
	default: // the others take the way below
	}
	return nil
}

// correct adds what a correction brings to a session that was counted.
func (f *Folder) correct(e *session.Event) error {
	if f.open[e.ID] != nil {
		f.open[e.ID] = cloneEvent(e)
		return nil
	}
	part := *e
	part.Out, part.In = e.OutFinal, e.InFinal
	count := int64(0)
	if e.Opened {
		count = 1
	}
	return f.add(e, &part, count)
}

func (f *Folder) add(e, part *session.Event, count int64) error {
	f.row.Session, f.part.Session = e, part
	return f.engine.Add(e.First, &f.row, &f.part, count)
}

// Flow implements Sink: it counts for nothing here.
func (f *Folder) Flow(*flow.Record) error { return nil }

// Finish tells the sessions that have not ended.
func (f *Folder) Finish() error {
	var rest []*session.Event
	for _, e := range f.open {
		rest = append(rest, e)
	}
	for _, e := range f.early {
		rest = append(rest, e)
	}
	slices.SortFunc(rest, func(a, b *session.Event) int {
		if a.First != b.First {
			return int(a.First - b.First)
		}
		return bytes.Compare(a.Key.AppendTo(nil), b.Key.AppendTo(nil))
	})
	clear(f.open)
	clear(f.early)
	for _, e := range rest {
		if err := f.add(e, e, 1); err != nil {
			return err
		}
	}
	return nil
}

// Open is how many sessions are remembered because they have not ended.
func (f *Folder) Open() int { return len(f.open) + len(f.early) }

func cloneEvent(e *session.Event) *session.Event {
	c := *e
	c.Points = slices.Clone(e.Points)
	for i := range c.Points {
		c.Points[i].Tags = slices.Clone(c.Points[i].Tags)
	}
	return &c
}

// Flows feeds an engine with records, each as it is.
type Flows struct {
	engine *Engine
	row    rule.Row
}

// NewFlows returns a sink of records that feeds an engine.
func NewFlows(e *Engine) *Flows { return &Flows{engine: e} }

// Event implements Sink: it counts for nothing here.
func (f *Flows) Event(*session.Event, Position) error { return nil }

// Flow implements Sink. Only records of traffic count, unless the filter asks
// for the status itself.
func (f *Flows) Flow(r *flow.Record) error {
	if r.Kind != flow.KindFlow && !f.engine.reads("status") {
		return nil
	}
	f.row.Flow = r
	return f.engine.Add(r.Start, &f.row, &f.row, 1)
}
