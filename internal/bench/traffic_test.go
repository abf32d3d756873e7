package bench

import (
	"encoding/binary"
	"sync"
	"testing"

	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/detect"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/gen"
	"github.com/flowstitch/flowstitch/pkg/session"
	"github.com/flowstitch/flowstitch/pkg/wire"
)

// step is what a partition of a topic holds: data, or a clock and a tick.
type step struct {
	partition  int
	key, value []byte
	clock      flow.Time
	wall       int64
}

// Traffic of the benchmarks of folds: half an hour of event time of the shape
// that `flowstitch bench` has by default, smaller.
const (
	trafficFlows      = 400_000
	trafficPartitions = 4
	evaluators        = 32
)

// clockLag is how far clocks are behind the newest record: ingest's lateness
// for an interval of a minute.
const clockLag = 360

func trafficShape() gen.Shape {
	shape := gen.Balanced()
	shape.Sessions, shape.Sources, shape.Rate = 3500, 1750, trafficFlows/1800
	return shape
}

// trafficLog is the sessions topic of that traffic, made once.
var trafficLog = sync.OnceValue(func() (log []step) {
	shape := trafficShape()
	load, err := gen.NewLoad(shape)
	if err != nil {
		panic(err)
	}
	cfg := session.Default()
	tables := make([]*session.Table, trafficPartitions)
	for i := range tables {
		tables[i] = session.NewTable(cfg)
	}
	at := 0
	emit := func(e *session.Event) {
		log = append(log, step{partition: at, key: wire.AppendSessionKey(nil, e), value: wire.AppendSession(nil, e)})
	}
	var r flow.Record
	clock := shape.Start
	for n := range trafficFlows {
		load.Next(&r)
		src, dst := r.Ends()
		k, _ := flow.NewKey(0, r.Protocol, src, dst)
		at = session.BucketOf(k, trafficPartitions)
		tables[at].ObserveIn(0, &r, int32(at), int64(n), emit)
		if now := load.Time().Add(-clockLag); now >= clock.Add(10) {
			clock = now
			for at = range tables {
				tables[at].Tick(int64(load.Time())*1000, emit)
				tables[at].Advance(clock, emit, func() bool { return false })
				log = append(log, step{partition: at, clock: clock.Add(-cfg.Active), wall: int64(load.Time()) * 1000})
			}
		}
	}
	return log
})

// observations is a Sink that encodes what it is given, and may keep it.
type observations struct {
	keep  bool
	steps []step
	buf   []byte
	bytes int
}

func (l *observations) Full() bool { return false }

func (l *observations) Observe(o *detect.Observation) {
	l.buf = detect.AppendObservation(l.buf[:0], o)
	l.bytes += len(l.buf)
	if l.keep {
		l.steps = append(l.steps, step{partition: evaluatorOf(&o.Entity), value: append([]byte(nil), l.buf...)})
	}
}

func evaluatorOf(e *detect.Entity) int {
	return int(binary.BigEndian.Uint32(e.Addr[12:])^uint32(e.Port)) % evaluators
}

// alerts counts statements.
type alerts struct{ n int }

func (a *alerts) Full() bool         { return false }
func (a *alerts) Alert(*alert.Alert) { a.n++ }

// combineTraffic folds the sessions topic with one combiner a partition.
func combineTraffic(b *testing.B, out *observations, taps func() []detect.Tap) (events int) {
	b.Helper()
	set := detect.DefaultSettings()
	var all [trafficPartitions]*detect.Combiner
	for i := range all {
		all[i] = detect.NewCombiner(&set, taps()...)
	}
	var e session.Event
	for i, s := range trafficLog() {
		c := all[s.partition]
		if s.value == nil {
			c.Tick(s.wall, out)
			c.Advance(s.clock, out)
			if out.keep && s.partition == trafficPartitions-1 {
				out.steps = append(out.steps, step{clock: s.clock})
			}
			continue
		}
		if err := wire.ParseSession(s.key, s.value, &e); err != nil {
			b.Fatal(err)
		}
		events++
		c.Fold(&e, int32(s.partition), int64(i), out)
	}
	return events
}

func noTaps() []detect.Tap { return nil }

func evaluateTraffic(b *testing.B, log []step) {
	b.Helper()
	set := detect.DefaultSettings()
	out := &alerts{}
	var all [evaluators]*detect.Evaluator
	var parsers [evaluators]*detect.Parser
	for i := range all {
		all[i] = detect.NewEvaluator(&set, detect.Detectors(&set))
		parsers[i] = all[i].Parser()
	}
	for _, s := range log {
		if s.value == nil {
			for _, v := range all {
				v.Advance(set.Watermark(s.clock), out)
			}
			continue
		}
		o, err := parsers[s.partition].Parse(s.value)
		if err != nil {
			b.Fatal(err)
		}
		all[s.partition].Fold(o, out)
	}
}

// BenchmarkTraffic is what combine and evaluate cost for each session event of
// ordinary traffic, panes filled and emptied: processor time, since on a shared
// machine the wall says little. An operation is half an hour of it.
func BenchmarkTraffic(b *testing.B) {
	trafficLog()
	b.Run("combine", func(b *testing.B) {
		b.ReportAllocs()
		out, n := &observations{}, 0
		began := processCPU()
		for b.Loop() {
			n += combineTraffic(b, out, noTaps)
		}
		b.ReportMetric((processCPU()-began)*1e9/float64(n), "cpu-ns/event")
		b.ReportMetric(float64(out.bytes)/float64(n), "bytes/event")
	})
	b.Run("evaluate", func(b *testing.B) {
		b.ReportAllocs()
		in := &observations{keep: true}
		events := combineTraffic(b, in, noTaps)
		began := processCPU()
		for b.Loop() {
			evaluateTraffic(b, in.steps)
		}
		b.ReportMetric((processCPU()-began)*1e9/float64(b.N*events), "cpu-ns/event")
	})
}
