package detect

import (
	"sync"
	"syscall"
	"testing"

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

// Benchmark traffic: half an hour of event time of the shape that `flowstitch
// bench` has by default, smaller.
const (
	trafficFlows      = 400_000
	trafficPartitions = 4
)

// trafficLog is the sessions topic of that traffic, made once.
var trafficLog = sync.OnceValue(func() (log []step) {
	shape := gen.Balanced()
	shape.Sessions, shape.Sources, shape.Rate = 3500, 1750, trafficFlows/1800
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
		if now := load.Time().Add(-360); now >= clock.Add(10) {
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

// log is a Sink that may keep what it is given.
type observationLog struct {
	keep  bool
	steps []step
	buf   []byte
	n     int
}

func (l *observationLog) Full() bool { return false }

func (l *observationLog) Observe(o *Observation) {
	l.buf = AppendObservation(l.buf[:0], o)
	l.n += len(l.buf)
	if l.keep {
		l.steps = append(l.steps, step{partition: int(hashAddr(o.Entity.Addr) % 32), value: append([]byte(nil), l.buf...)})
	}
}

// combineTraffic folds the sessions topic with one combiner a partition.
func combineTraffic(b *testing.B, out *observationLog) (events int) {
	set := DefaultSettings()
	var all [trafficPartitions]*Combiner
	for i := range all {
		all[i] = NewCombiner(&set)
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

// BenchmarkTraffic is what combine and evaluate cost for each session event of
// ordinary traffic, tables and panes filled and emptied. An operation is half
// an hour.
func BenchmarkTraffic(b *testing.B) {
	trafficLog()
	b.Run("combine", func(b *testing.B) {
		b.ReportAllocs()
		out, n := &observationLog{}, 0
		began := cpuTime()
		for b.Loop() {
			n += combineTraffic(b, out)
		}
		b.ReportMetric((cpuTime()-began)/float64(n), "cpu-ns/event")
		b.ReportMetric(float64(out.n)/float64(n), "bytes/event")
	})
	b.Run("evaluate", func(b *testing.B) {
		b.ReportAllocs()
		in := &observationLog{keep: true}
		events := combineTraffic(b, in)
		began := cpuTime()
		for b.Loop() {
			evaluateTraffic(b, in.steps)
		}
		b.ReportMetric((cpuTime()-began)/float64(b.N*events), "cpu-ns/event")
	})
}

// cpuTime is the processor time of this process in nanoseconds, garbage
// collection included: on a shared machine the wall says little.
func cpuTime() float64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return float64(u.Utime.Nano() + u.Stime.Nano())
}

func evaluateTraffic(b *testing.B, log []step) {
	set := DefaultSettings()
	m := &meter{}
	var all [32]*Evaluator
	var parsers [32]*Parser
	for i := range all {
		all[i] = NewEvaluator(&set, Detectors(&set))
		parsers[i] = all[i].Parser()
	}
	for _, s := range log {
		if s.value == nil {
			for _, v := range all {
				v.Advance(set.Watermark(s.clock), m)
			}
			continue
		}
		o, err := parsers[s.partition].Parse(s.value)
		if err != nil {
			b.Fatal(err)
		}
		all[s.partition].Fold(o, m)
	}
}
