package bench

import (
	"os"
	"runtime"
	"testing"

	"github.com/flowstitch/flowstitch/pkg/detect"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/gen"
	"github.com/flowstitch/flowstitch/pkg/session"
	"github.com/flowstitch/flowstitch/pkg/wire"
)

// TestSoak runs days of event time through the folds of all three services, as
// the stages do, with strangers that come once and never again: what is
// remembered, and with it the heap, levels off. FLOWSTITCH_LONG=1 takes four
// weeks, of which what is learned by the hour of the week takes two.
func TestSoak(t *testing.T) {
	days, rate, limit := 4, int64(1), 1.15
	if os.Getenv("FLOWSTITCH_LONG") == "1" {
		days, rate, limit = 28, 2, 1.05
	} else if testing.Short() {
		t.Skip("a run of some seconds")
	}
	s := newSoak(t, rate)
	var heaps []float64
	for day := range days {
		s.day()
		runtime.GC()
		runtime.GC() // what finalizers held
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		heaps = append(heaps, float64(m.HeapAlloc))
		t.Logf("day %2d: heap %6.2f MB, %d sessions, %d sums, %d entities; %d flows, %d observations, %d alerts so far",
			day+1, float64(m.HeapAlloc)/1e6, s.table.Stats().Open, s.combiner.Entities(), s.evaluator.Entities(), s.flows, s.observations, s.alerts.n)
	}
	// The last fifth against the one before.
	fifth := max(1, days/5)
	last, before := mean(heaps[days-fifth:]), mean(heaps[days-2*fifth:days-fifth])
	if last > limit*before {
		t.Errorf("the heap still grows: %.2f MB in the last %d days, %.2f MB in those before", last/1e6, fifth, before/1e6)
	}
	runtime.KeepAlive(s)
}

func mean(v []float64) (m float64) {
	for _, x := range v {
		m += x / float64(len(v))
	}
	return m
}

// soak is one partition of all three services without a broker.
type soak struct {
	t         *testing.T
	load      *gen.Load
	table     *session.Table
	combiner  *detect.Combiner
	evaluator *detect.Evaluator
	parser    *detect.Parser
	set       detect.Settings
	active    int64
	clock     flow.Time
	stranger  uint32
	alerts    alerts

	event               session.Event
	key, val, buf       []byte
	flows, observations int64
}

func newSoak(t *testing.T, rate int64) *soak {
	t.Helper()
	shape := gen.Balanced()
	shape.Rate, shape.Sessions, shape.Sources, shape.Servers = rate, 15*rate, 500, 50
	load, err := gen.NewLoad(shape)
	if err != nil {
		t.Fatal(err)
	}
	cfg := session.Default()
	s := &soak{t: t, load: load, table: session.NewTable(cfg), active: cfg.Active, set: detect.DefaultSettings(), clock: shape.Start}
	s.combiner = detect.NewCombiner(&s.set)
	s.evaluator = detect.NewEvaluator(&s.set, detect.Detectors(&s.set))
	s.parser = s.evaluator.Parser()
	return s
}

// day folds a day of event time.
func (s *soak) day() {
	var r flow.Record
	for end := s.load.Time().Add(86400); s.load.Time() < end; {
		s.load.Next(&r)
		s.observe(&r)
		if now := s.load.Time().Add(-clockLag); now >= s.clock.Add(60) {
			s.clock = now
			s.visit(&r)
			s.advance()
		}
	}
}

// visit is a probe from an address that has not been seen before.
func (s *soak) visit(r *flow.Record) {
	s.stranger++
	r.Src = flow.Endpoint{Addr: flow.AddrFrom4([4]byte{203, byte(s.stranger >> 16), byte(s.stranger >> 8), byte(s.stranger)}), Port: 40000}
	r.Dst = flow.Endpoint{Addr: flow.AddrFrom4([4]byte{10, 200, 0, byte(s.stranger % 50)}), Port: uint16(1 + s.stranger%1000)}
	r.Packets, r.Bytes, r.TCPFlags, r.Action = 1, 44, flow.SYN, flow.Reject
	s.observe(r)
}

func (s *soak) observe(r *flow.Record) {
	s.flows++
	s.table.ObserveIn(0, r, 0, s.flows, s.emit)
}

// emit carries an event over the sessions topic to combine.
func (s *soak) emit(e *session.Event) {
	s.key, s.val = wire.AppendSessionKey(s.key[:0], e), wire.AppendSession(s.val[:0], e)
	if err := wire.ParseSession(s.key, s.val, &s.event); err != nil {
		s.t.Fatal(err)
	}
	s.combiner.Fold(&s.event, 0, s.flows, s)
}

// Observe carries an observation to evaluate.
func (s *soak) Observe(o *detect.Observation) {
	s.observations++
	s.buf = detect.AppendObservation(s.buf[:0], o)
	back, err := s.parser.Parse(s.buf)
	if err != nil {
		s.t.Fatal(err)
	}
	s.evaluator.Fold(back, &s.alerts)
}

// Full implements detect.Sink.
func (s *soak) Full() bool { return false }

func (s *soak) advance() {
	wall := int64(s.load.Time()) * 1000
	s.table.Tick(wall, s.emit)
	s.table.Advance(s.clock, s.emit, s.Full)
	s.combiner.Tick(wall, s)
	passed := s.clock.Add(-s.active)
	s.combiner.Advance(passed, s)
	s.evaluator.Advance(s.set.Watermark(passed), &s.alerts)
}
