package main

import (
	"bufio"
	"encoding/binary"
	"io"

	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/detect"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/flowlog"
	"github.com/flowstitch/flowstitch/pkg/session"
)

// worker stitches the sessions of its share of the keys, and prints them or
// adds them up for the detectors.
type worker struct {
	cfg      *session.Config
	table    *session.Table
	print    *sessionPrinter
	combiner *detect.Combiner // nil without detectors
	chunks   chan []byte      // the judge's
	events   bool             // print every final event
	sessions uint64
	part     *part
	marks    int // of the part, that have been passed
}

// work takes a part of a round.
func (w *worker) work(p *part) {
	w.part, w.marks = p, 0
	for i := range p.recs {
		for w.marks < len(p.marks) && p.marks[w.marks].before <= i {
			w.advance()
		}
		w.table.Observe(&p.recs[i], 0, p.offsets[i], w.emit)
	}
	for w.marks < len(p.marks) {
		w.advance()
	}
}

func (w *worker) advance() {
	clock := w.part.marks[w.marks].clock
	w.marks++
	w.table.Advance(clock, w.emit, nil)
	if w.combiner != nil {
		w.combiner.Advance(detectClock(clock, w.cfg), w)
	}
}

// detectClock is the clock of what follows sessions: every delta of before has
// been told by then.
func detectClock(clock flow.Time, cfg *session.Config) flow.Time {
	if clock == flow.MaxTime {
		return clock
	}
	return clock.Add(-cfg.Active)
}

func (w *worker) emit(e *session.Event) {
	if e.Kind == session.KindClose {
		w.sessions++
	}
	if w.combiner != nil {
		w.combiner.Fold(e, 0, 0, w)
		return
	}
	if !w.events && e.Kind != session.KindClose && e.Kind != session.KindCorrect && e.Kind != session.KindGap {
		return
	}
	p := w.part
	l := line{mark: w.marks, first: e.First, id: e.ID, from: p.out.Len(), out: &p.out}
	w.print.event(&p.out, e)
	l.to = p.out.Len()
	p.lines = append(p.lines, l)
}

// chunkSize is how many bytes of observations go into a chunk, or few more. A
// worker sends some megabytes at a time, now and then: chunks that are used again
// stay small and in the cache, where a buffer for each part would grow to that.
const chunkSize = 64 << 10

// keepChunks is how many chunks wait to be used again: 8 MiB of them.
const keepChunks = 128

// Observe implements detect.Sink: observations travel as on their topic.
func (w *worker) Observe(o *detect.Observation) {
	last := len(w.part.seen) - 1
	if last < 0 || len(w.part.seen[last]) > chunkSize {
		w.part.seen = append(w.part.seen, w.chunk())
		last++
	}
	b := w.part.seen[last]
	from := len(b)
	b = detect.AppendObservation(append(b, 0, 0, 0, 0), o)
	binary.LittleEndian.PutUint32(b[from:], uint32(len(b)-from-4))
	w.part.seen[last] = b
}

// chunk returns an empty chunk, one that the judge is done with if there is any.
func (w *worker) chunk() []byte {
	select {
	case b := <-w.chunks:
		return b[:0]
	default:
		return make([]byte, 0, chunkSize+chunkSize/4)
	}
}

// Full implements detect.Sink.
func (w *worker) Full() bool { return false }

// judge evaluates what the workers' combiners have added up, and keeps the last
// state of each finding.
type judge struct {
	cfg       *session.Config
	set       *detect.Settings
	evaluator *detect.Evaluator
	parser    *detect.Parser
	chunks    chan []byte // of observations, to be used again
	findings  map[alert.UID]alert.Alert
	err       error
}

func newJudge(cfg *session.Config) *judge {
	set := detect.DefaultSettings()
	v := detect.NewEvaluator(&set, detect.Detectors(&set))
	return &judge{cfg: cfg, set: &set, evaluator: v, parser: v.Parser(), chunks: make(chan []byte, keepChunks), findings: map[alert.UID]alert.Alert{}}
}

// Alert implements detect.AlertSink.
func (j *judge) Alert(a *alert.Alert) { j.findings[a.UID] = *a }

// Full implements detect.AlertSink.
func (j *judge) Full() bool { return false }

// take folds the observations of a round and, if the clock has moved with it,
// judges what that ended.
func (j *judge) take(r *round) {
	for i := range r.parts {
		for _, b := range r.parts[i].seen {
			if j.fold(b); j.err != nil {
				return
			}
			select {
			case j.chunks <- b:
			default:
			}
		}
	}
	if r.clock > 0 {
		j.evaluator.Advance(j.set.Watermark(detectClock(r.clock, j.cfg)), j)
	}
}

// fold folds a chunk of observations.
func (j *judge) fold(b []byte) {
	for len(b) > 0 && j.err == nil {
		n := int(binary.LittleEndian.Uint32(b))
		var o *detect.Observation
		if o, j.err = j.parser.Parse(b[4 : 4+n]); j.err == nil {
			j.evaluator.Fold(o, j)
		}
		b = b[4+n:]
	}
}

// confirmed are the findings that stand, by time.
func (j *judge) confirmed() []*alert.Alert {
	s := side{last: j.findings}
	return s.findings()
}

// printAlerts prints findings, as sentences or as the records of the alerts topic.
func printAlerts(out io.Writer, list []*alert.Alert, asJSON, colour bool) error {
	enc := alert.NewEncoder(alert.Options{})
	var b []byte
	for _, a := range list {
		if asJSON {
			r, err := enc.Record(a)
			if err != nil {
				return err
			}
			b = append(b[:0], r.Value...)
		} else {
			b = alert.AppendText(b[:0], a, colour)
		}
		if _, err := out.Write(append(b, '\n')); err != nil {
			return err
		}
	}
	return nil
}

// stitcher is the sink between the decoder and the workers. Its clock follows
// the newest end less the lateness, as ingest's does for a file.
type stitcher struct {
	owners        *flowlog.Owners
	texts         texts // of the records on their way
	workers       []*worker
	in            []chan *round
	ordered, free chan *round
	finished      chan struct{}
	cur           *round
	out           *bufio.Writer
	judge         *judge // nil without detectors
	cfg           *session.Config
	clock, newest flow.Time
	offset        int64
	rejects       uint64
	reason        string // of the first reject
}

// start starts the workers and the goroutine that puts their output in order.
func (s *stitcher) start() {
	s.clock = flow.MinTime
	s.ordered, s.free, s.finished = make(chan *round, rounds), make(chan *round, rounds), make(chan struct{})
	for range rounds {
		s.free <- newRound(len(s.workers))
	}
	for i, w := range s.workers {
		in := make(chan *round, rounds)
		s.in = append(s.in, in)
		go func() {
			for r := range in {
				w.work(&r.parts[i])
				r.done.Done()
			}
		}()
	}
	go s.finish()
	s.cur = <-s.free
}

// finish takes the rounds in their order as the workers are done with them.
func (s *stitcher) finish() {
	defer close(s.finished)
	var list []line
	for r := range s.ordered {
		r.done.Wait()
		if s.judge != nil {
			s.judge.take(r)
		}
		list = r.sorted(list[:0])
		for _, l := range list {
			// An error stays with the writer and shows when it is flushed.
			_, _ = s.out.Write(l.out.Bytes()[l.from:l.to])
		}
		r.reset()
		s.free <- r
	}
}

// send hands the round over and takes an empty one.
func (s *stitcher) send() {
	s.cur.done.Add(len(s.workers))
	s.ordered <- s.cur
	for _, in := range s.in {
		in <- s.cur
	}
	s.cur = <-s.free
}

// end lets everything end, and waits for it. The clock goes on in its steps, for in
// a short log most sessions are open at its end, and what comes of them would not
// fit the memory of a round. What is folded is judged at the very end only: nobody
// is silent because the log is over.
func (s *stitcher) end() {
	last := s.newest.Add(max(s.cfg.IdleTCP, s.cfg.IdleOther) + s.cfg.Active)
	step := max(clockStep, int64(last-s.clock)/1000) // of a lateness of days
	for clock := s.clock; clock < last && clock > 0; {
		clock = clock.Add(step)
		s.cur.mark(clock)
		s.send()
	}
	s.cur.advance(flow.MaxTime)
	s.send()
	for _, in := range s.in {
		close(in)
	}
	close(s.ordered)
	<-s.finished
}

// clockStep is how many seconds the clock is let fall behind, so that it is
// not moved for every record.
const clockStep = 10

// Record implements flowlog.Sink.
func (s *stitcher) Record(r *flow.Record) {
	s.owners.Stamp(r)
	s.cur.parts[workerOf(r, len(s.workers))].hold(r, s.offset, &s.texts)
	s.offset++
	s.cur.n++
	if r.End > s.newest {
		s.newest = r.End
		if clock := s.newest.Add(-s.cfg.Retain); clock >= s.clock.Add(clockStep) {
			s.clock = clock
			s.cur.advance(clock)
		}
	}
	if s.cur.n >= roundRecords {
		s.send()
	}
}

// stats adds up what the workers counted.
func (s *stitcher) stats() (sum session.Stats, sessions uint64) {
	for _, w := range s.workers {
		st := w.table.Stats()
		for i, n := range st.Verdicts {
			sum.Verdicts[i] += n
		}
		sum.Gaps += st.Gaps
		sessions += w.sessions
	}
	return sum, sessions
}
