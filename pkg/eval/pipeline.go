package eval

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/detect"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/flowlog"
	"github.com/flowstitch/flowstitch/pkg/session"
)

// Lateness is how far the clock stays behind the newest end: an aggregation
// interval of 60 s and 5 min, the default of ingest.
const Lateness = 360

// Statement is an alert and the time at which it was said: the end time of the
// newest record that had been read by then.
type Statement struct {
	alert.Alert
	Said flow.Time
}

// Pipeline is one partition of the whole, in memory.
type Pipeline struct {
	Set *detect.Settings
	// Lateness is how many seconds the clock stays behind the newest end.
	Lateness   int64
	table      *session.Table
	active     int64
	combiner   *detect.Combiner
	evaluator  *detect.Evaluator
	now        flow.Time
	offset     int64
	partition  int32
	Statements []Statement
	Records    int
	Events     int
	Obs, Bytes int // observations and their size on the wire
	buf        []byte
	err        error
	logins     map[[2]flow.Addr][]flow.Time // starts of sessions by client and server, for the delay of guessing
}

// NewPipeline returns a pipeline with the given settings.
func NewPipeline(set *detect.Settings) *Pipeline {
	cfg := session.Default()
	return &Pipeline{
		Set: set, Lateness: Lateness, table: session.NewTable(cfg), active: cfg.Active, now: flow.MinTime,
		logins:   map[[2]flow.Addr][]flow.Time{},
		combiner: detect.NewCombiner(set), evaluator: detect.NewEvaluator(set, detect.Detectors(set)),
	}
}

// Full implements detect.Sink: the pipeline takes everything.
func (p *Pipeline) Full() bool { return false }

// Observe implements detect.Sink by way of the wire format.
func (p *Pipeline) Observe(o *detect.Observation) {
	p.buf = detect.AppendObservation(p.buf[:0], o)
	p.Obs++
	p.Bytes += len(p.buf)
	var back detect.Observation
	if err := detect.ParseObservation(p.buf, &back); err != nil {
		p.err = errors.Join(p.err, fmt.Errorf("an observation of %s does not survive the wire: %w", o.Entity, err))
		return
	}
	p.evaluator.Fold(&back, p)
}

// Alert implements detect.AlertSink.
func (p *Pipeline) Alert(a *alert.Alert) { p.Statements = append(p.Statements, Statement{*a, p.now}) }

func (p *Pipeline) event(e *session.Event) {
	p.Events++
	if e.New {
		k := [2]flow.Addr{e.Client.Addr, e.Server.Addr}
		p.logins[k] = append(p.logins[k], e.First)
	}
	p.combiner.Fold(e, p.partition, p.offset, p)
	p.offset++
}

// Record feeds one record; they come in the order of their ends.
func (p *Pipeline) Record(r *flow.Record) {
	if p.now != flow.MinTime {
		p.wait(r.End)
	}
	if r.End > p.now {
		p.Advance(r.End)
	}
	p.Records++
	p.table.Observe(r, p.partition, int64(p.Records), p.event)
}

// Advance tells that the newest end is now.
func (p *Pipeline) Advance(now flow.Time) {
	p.tick(now)
	p.clock(now.Add(-p.Lateness))
}

func (p *Pipeline) clock(c flow.Time) {
	p.table.Advance(c, p.event, nil)
	c = c.Add(-p.active)
	p.combiner.Advance(c, p)
	p.evaluator.Advance(p.Set.Watermark(c), p)
}

// wait lets the time until the next record pass in the steps in which commits
// come on a live stream: some seconds while something may be held back, then
// minutes.
func (p *Pipeline) wait(until flow.Time) {
	for i := 0; p.now.Add(5) < until; i++ {
		step := int64(5)
		if i > 24 {
			step = 60
		}
		p.tick(min(p.now.Add(step), until-1))
	}
}

// tick lets wall time pass without news of event time.
func (p *Pipeline) tick(now flow.Time) {
	p.now = now
	p.table.Tick(int64(now)*1000, p.event)
	p.combiner.Tick(int64(now)*1000, p)
}

// Finish lets the silence after the last record pass, a minute at a time, as a
// live stream would, and then ends. It tells what went wrong on the way.
func (p *Pipeline) Finish() error {
	last := p.now
	p.wait(last.Add(60))
	for end := last.Add(p.Lateness + p.active + 2*p.Set.Pane); p.now < end; {
		p.Advance(p.now.Add(60))
	}
	p.table.Advance(flow.MaxTime, p.event, nil)
	p.combiner.Advance(flow.MaxTime, p)
	p.evaluator.Advance(flow.MaxTime, p)
	return p.err
}

// tenth is when the tenth session of a truth began.
func (p *Pipeline) tenth(t *Truth) flow.Time {
	var starts []flow.Time
	for _, v := range t.Victims {
		for _, at := range p.logins[[2]flow.Addr{t.Attacker, v}] {
			if at >= t.Start-60 && at <= t.End {
				starts = append(starts, at)
			}
		}
	}
	if slices.Sort(starts); len(starts) < 10 {
		return t.End
	}
	return starts[9]
}

type records struct {
	list   []flow.Record
	reject error
}

// Record implements flowlog.Sink.
func (r *records) Record(rec *flow.Record) { r.list = append(r.list, rec.Clone()) }

// Reject implements flowlog.Sink.
func (r *records) Reject(j *flowlog.Reject) {
	if r.reject == nil {
		r.reject = fmt.Errorf("line %d was rejected: %s", j.Origin.Line, j.Reason)
	}
}

// ReadLog decodes a flow log and brings it into the order in which its records
// would have arrived: by end, then start.
func ReadLog(in io.Reader, name string) ([]flow.Record, error) {
	return decode(in, name, func(a, b flow.Record) int {
		return cmp.Or(cmp.Compare(a.End, b.End), cmp.Compare(a.Start, b.Start))
	})
}

// decode reads a flow log, orders it unless order is nil, and stamps which
// addresses are ours, as they are learned in that order.
func decode(in io.Reader, name string, order func(a, b flow.Record) int) ([]flow.Record, error) {
	d, err := flowlog.New(flowlog.Config{})
	if err != nil {
		return nil, err
	}
	owners, err := flowlog.NewOwners(flowlog.OwnersConfig{})
	if err != nil {
		return nil, err
	}
	var out records
	if err := d.Stream(in, flow.Origin{Source: name}, &out); err != nil {
		return nil, err
	}
	if out.reject != nil {
		return nil, out.reject
	}
	if order != nil {
		slices.SortStableFunc(out.list, order)
	}
	for i := range out.list {
		owners.Stamp(&out.list[i])
	}
	return out.list, nil
}
