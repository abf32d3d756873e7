package detect

import (
	"encoding/binary"
	"runtime"
	"testing"

	"github.com/cespare/xxhash/v2"
	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/session"
)

// meter counts what combiners send and, if it has an evaluator, judges it.
type meter struct {
	records, bytes int
	largest        int
	buf            []byte
	eval           *Evaluator
	said           []alert.Alert
	second         int            // of wall time since the flood began
	first          map[string]int // detector -> second of its first statement
	base, held     uint64         // live heap in bytes: before, and the most during the flood
}

// look measures the live heap: what combiners and evaluator hold.
func (m *meter) look() {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	if m.base == 0 {
		m.base = s.HeapAlloc
	}
	m.held = max(m.held, s.HeapAlloc)
}

func (m *meter) Full() bool { return false }
func (m *meter) Alert(a *alert.Alert) {
	m.said = append(m.said, *a)
	if m.first == nil {
		m.first = map[string]int{}
	}
	if _, told := m.first[a.Detector.ID]; !told {
		m.first[a.Detector.ID] = m.second
	}
}

func (m *meter) Observe(o *Observation) {
	m.buf = AppendObservation(m.buf[:0], o)
	m.records++
	m.bytes += len(m.buf)
	m.largest = max(m.largest, len(m.buf))
	if m.eval != nil {
		var back Observation
		if ParseObservation(m.buf, &back) == nil {
			m.eval.Fold(&back, m)
		}
	}
}

func numbered(prefix byte, i int) flow.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(prefix)<<24|uint32(i))
	return flow.AddrFrom4(b)
}

// flood makes session i of a SYN flood from a million sources at one address.
func flood(e *session.Event, i int) {
	synAt(e, numbered(45, i*16), flow.MustAddr("10.0.0.1"), 443, t0.Add(int64(i%300)))
}

// spread makes session i of one source that asks a million addresses.
func spread(e *session.Event, i int) {
	synAt(e, flow.MustAddr("10.0.0.1"), numbered(45, i*16), 445, t0.Add(int64(i%300)))
}

func synAt(e *session.Event, client, server flow.Addr, port uint16, at flow.Time) {
	t := session.Traffic{Packets: 2, Bytes: 104, Records: 1, Flags: flow.SYN}
	*e = session.Event{
		Kind: session.KindClose, Client: flow.Endpoint{Addr: client, Port: 40000}, Server: flow.Endpoint{Addr: server, Port: port},
		Evidence: session.EvidenceFlags, Outcome: session.OutcomeUnanswered, First: at, Last: at + 1, DeltaFirst: at,
		Out: t, OutDelta: t, OutFinal: t, New: true, Opened: true,
	}
	e.Key, _ = flow.NewKey(0, protoTCP, e.Client, e.Server)
	binary.BigEndian.PutUint64(e.ID[:], keyHash(e.Key))
}

// usual lets an hour and a half of ordinary visitors pass before the flood, so
// that what is usual at 10.0.0.1 is known.
func usual(list []*Combiner, m *meter) {
	var e session.Event
	for i := range 18 * 20 {
		at := t0.Add(int64(i/20-18)*300 + int64(i%20))
		synAt(&e, numbered(52, i%20), flow.MustAddr("10.0.0.1"), 443, at)
		e.Outcome = session.OutcomeAnswered
		list[keyHash(e.Key)%uint64(len(list))].Fold(&e, 0, int64(i), m)
	}
	for _, c := range list {
		c.Advance(t0, m)
	}
	if m.eval != nil {
		m.eval.Advance(t0, m)
	}
	m.records, m.bytes, m.said, m.first = 0, 0, nil, nil
}

// pour runs n sessions of a kind through the given number of combiners, with a
// tick a second and the pane's end.
func pour(n, combiners int, kind func(*session.Event, int), m *meter) (entities int, stats CombineStats) {
	set := DefaultSettings()
	list := make([]*Combiner, combiners)
	for i := range list {
		list[i] = NewCombiner(&set)
	}
	usual(list, m)
	var e session.Event
	for i := range n {
		kind(&e, i)
		list[keyHash(e.Key)%uint64(combiners)].Fold(&e, 0, int64(i), m)
		if i%(n/300+1) == 0 {
			if m.second = i / (n/300 + 1); m.base > 0 && m.second%60 == 59 {
				m.look()
			}
			for _, c := range list {
				c.Tick(int64(i/(n/300+1))*1000+1, m)
				entities = max(entities, c.Entities())
			}
		}
	}
	for _, c := range list {
		c.Advance(t0.Add(600), m)
		s := c.Stats()
		stats.Shed += s.Shed
		stats.Relieved += s.Relieved
		stats.Early += s.Early
	}
	if m.eval != nil {
		m.eval.Advance(t0.Add(600), m)
	}
	return entities, stats
}

// TestFloodIsRolledUp holds that a flood costs little downstream and is told.
func TestFloodIsRolledUp(t *testing.T) {
	const n = 60_000
	for name, kind := range map[string]func(*session.Event, int){"many sources": flood, "many targets": spread} {
		set := DefaultSettings()
		m := &meter{eval: NewEvaluator(&set, Detectors(&set))}
		entities, stats := pour(n, 4, kind, m)
		t.Logf("%s: first statements after seconds: %v", name, m.first)
		t.Logf("%s: %d observations (%d kB, largest %d kB), %d of them early, at most %d entities in a combiner, %d sources shed", name, m.records, m.bytes>>10, m.largest>>10, stats.Early, entities, stats.Shed)
		if m.records > n/100 {
			t.Errorf("%s: %d observations for %d sessions", name, m.records, n)
		}
		if m.largest > 900_000 {
			t.Errorf("%s: an observation of %d bytes", name, m.largest)
		}
		about := map[string]string{"many sources": "traffic-surge", "many targets": "host-sweep"}[name]
		if s, told := m.first[about]; !told || s > 60 {
			t.Errorf("%s: %s was told after %d s (%v)", name, about, s, told)
		}
	}
}

// benchmarkFlood reports what a million sessions cost downstream, what combiners
// and evaluator hold at most, and after how many seconds of the flood, which
// lasts 300, the alert is out.
func benchmarkFlood(b *testing.B, kind func(*session.Event, int), about string) {
	for b.Loop() {
		set := DefaultSettings()
		m := &meter{eval: NewEvaluator(&set, Detectors(&set))}
		m.look()
		entities, _ := pour(1_000_000, 4, kind, m)
		delay, told := m.first[about]
		if !told {
			b.Fatalf("%s was not told", about)
		}
		b.ReportMetric(float64(m.records), "observations/Msession")
		b.ReportMetric(float64(m.bytes)/1e6, "MB/Msession")
		b.ReportMetric(float64(entities), "entities")
		b.ReportMetric(float64(m.held-m.base)/1e6, "MB-held")
		b.ReportMetric(float64(delay), "s-to-alert")
	}
}

func BenchmarkMillionSources(b *testing.B) { benchmarkFlood(b, flood, "traffic-surge") }
func BenchmarkMillionTargets(b *testing.B) { benchmarkFlood(b, spread, "host-sweep") }

// BenchmarkCombine is the cost of one session event of ordinary traffic.
func BenchmarkCombine(b *testing.B) {
	set := DefaultSettings()
	c, m := NewCombiner(&set), &meter{}
	events := make([]session.Event, 4096)
	for i := range events {
		synAt(&events[i], numbered(10, i%200), numbered(52, i%700), uint16(440+i%5), t0.Add(int64(i%300)))
		events[i].Outcome = session.OutcomeAnswered
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		c.Fold(&events[i%len(events)], 0, int64(i), m)
		i++
	}
}

// BenchmarkEvaluate is the cost of one observation of an ordinary host.
func BenchmarkEvaluate(b *testing.B) {
	set := DefaultSettings()
	c, keep := NewCombiner(&set), &keeper{}
	var e session.Event
	for i := range 5000 {
		synAt(&e, numbered(10, i%200), numbered(52, i%700), 443, t0.Add(int64(i%300)))
		e.Outcome = session.OutcomeAnswered
		c.Fold(&e, 0, int64(i), keep)
	}
	c.Advance(t0.Add(600), keep)
	m := &meter{}
	v := NewEvaluator(&set, Detectors(&set))
	var bytes int64
	for _, o := range keep.list {
		bytes += int64(len(o))
	}
	b.SetBytes(bytes / int64(len(keep.list)))
	b.ReportAllocs()
	i, clock := 0, t0
	for b.Loop() {
		var o Observation
		if err := ParseObservation(keep.list[i%len(keep.list)], &o); err != nil {
			b.Fatal(err)
		}
		o.Pane = clock
		v.Fold(&o, m)
		if i++; i%len(keep.list) == 0 {
			clock = clock.Add(set.Pane)
			v.Advance(clock, m)
		}
	}
}

type keeper struct{ list [][]byte }

func (k *keeper) Full() bool             { return false }
func (k *keeper) Observe(o *Observation) { k.list = append(k.list, AppendObservation(nil, o)) }

func keyHash(k flow.Key) uint64 { return xxhash.Sum64(k.AppendTo(nil)) }
