package eval

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cespare/xxhash/v2"

	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/detect"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/session"
)

// spread is the pipeline of many partitions, in memory: sessions are cut by the
// hash of their key, entities by that of theirs, and if kill is set every part
// is thrown away and restored from its snapshot at random.
type spread struct {
	t          *testing.T
	set        *detect.Settings
	tables     []*session.Table
	combiners  []*detect.Combiner
	evaluators []*detect.Evaluator
	kill       *rand.Rand
	kills      int
	part       int // the partition whose event is being told
	offset     int64
	said       Pipeline // keeps statements
	buf        []byte
}

func newSpread(t *testing.T, set *detect.Settings, partitions, evaluators int) *spread {
	s := &spread{t: t, set: set}
	for range partitions {
		s.tables = append(s.tables, session.NewTable(session.Default()))
		s.combiners = append(s.combiners, detect.NewCombiner(set))
	}
	for range evaluators {
		s.evaluators = append(s.evaluators, detect.NewEvaluator(set, detect.Detectors(set)))
	}
	return s
}

func (s *spread) Full() bool           { return false }
func (s *spread) Alert(a *alert.Alert) { s.said.Alert(a) }

func (s *spread) Observe(o *detect.Observation) {
	s.buf = detect.AppendObservation(s.buf[:0], o)
	var back detect.Observation
	if err := detect.ParseObservation(s.buf, &back); err != nil {
		s.t.Fatal(err)
	}
	s.evaluators[xxhash.Sum64(o.Entity.AppendKey(nil))%uint64(len(s.evaluators))].Fold(&back, s)
}

func (s *spread) event(e *session.Event) {
	s.combiners[s.part].Fold(e, int32(s.part), s.offset, s)
	s.offset++
}

// play runs records in the given order of arrival with the clock a lateness
// behind the newest end.
func (s *spread) play(list []flow.Record, lateness int64) []string {
	now, clock := flow.MinTime, flow.MinTime
	for i := range list {
		r := &list[i]
		key, _ := flow.NewKey(0, r.Protocol, r.Src, r.Dst)
		s.part = int(xxhash.Sum64(key.AppendTo(nil)) % uint64(len(s.tables)))
		s.tables[s.part].Observe(r, int32(s.part), int64(i), s.event)
		if now = max(now, r.End); now.Add(-lateness).Floor(30) > clock {
			clock = now.Add(-lateness).Floor(30)
			s.advance(clock)
		}
	}
	s.advance(flow.MaxTime)
	return s.facts()
}

func (s *spread) advance(clock flow.Time) {
	active := clock
	if clock != flow.MaxTime {
		active = clock.Add(-session.Default().Active)
	}
	for s.part = range s.tables {
		s.tables[s.part].Tick(int64(clock)*1000, s.event)
		s.tables[s.part].Advance(clock, s.event, nil)
		s.combiners[s.part].Tick(int64(clock)*1000, s)
		s.combiners[s.part].Advance(active, s)
	}
	for i := range s.evaluators {
		s.evaluators[i].Advance(s.set.Watermark(active), s)
	}
	if s.kill != nil && s.kill.IntN(30) == 0 {
		s.restore()
	}
}

// restore throws everything away but snapshots.
func (s *spread) restore() {
	s.kills++
	type state interface {
		AppendSnapshot(b []byte) []byte
		Restore(b []byte) error
	}
	again := func(old, fresh state) {
		b := old.AppendSnapshot(nil)
		if err := fresh.Restore(b); err != nil {
			s.t.Fatal(err)
		}
		if !bytes.Equal(fresh.AppendSnapshot(nil), b) {
			s.t.Fatalf("a snapshot of %T changes when it is restored", old)
		}
	}
	for i := range s.tables {
		table, combiner := session.NewTable(session.Default()), detect.NewCombiner(s.set)
		again(s.tables[i], table)
		again(s.combiners[i], combiner)
		s.tables[i], s.combiners[i] = table, combiner
	}
	for i := range s.evaluators {
		v := detect.NewEvaluator(s.set, detect.Detectors(s.set))
		again(s.evaluators[i], v)
		s.evaluators[i] = v
	}
}

// facts is the final state of all findings as text, without what may differ
// between runs: positions, and how often it was said.
func (s *spread) facts() (out []string) {
	for _, a := range s.said.Confirmed() {
		a.Sequence, a.Activity, a.Said = 0, 0, 0
		a.Evidence = slices.Clone(a.Evidence)
		for i := range a.Evidence {
			a.Evidence[i].Partition, a.Evidence[i].Offset = 0, 0
		}
		out = append(out, fmt.Sprintf("%+v", a))
	}
	slices.Sort(out)
	return out
}

// TestFindingsAreAFunctionOfTheRecords: from records to findings, whatever the
// number of partitions of every stage, in whatever order records arrive within
// the lateness, and however often every stage is killed and restored, the final
// state of every finding is the same. The stages' own loops are crashed in
// services/detect, the processes in internal/killtest and internal/simpipeline.
func TestFindingsAreAFunctionOfTheRecords(t *testing.T) {
	v := Vary(5, true)
	list, err := delivered(&v)
	if err != nil {
		t.Fatal(err)
	}
	set := detect.DefaultSettings()
	want := newSpread(t, &set, 1, 1).play(list, v.Lateness)
	if len(want) < 10 {
		t.Fatalf("only %d findings: the test would prove nothing", len(want))
	}
	for seed, cut := range [][2]int{{4, 3}, {24, 8}} {
		r := rand.New(rand.NewPCG(uint64(seed), 3))
		mixed := shuffled(r, list, v.Lateness)
		s := newSpread(t, &set, cut[0], cut[1])
		s.kill = r
		got := s.play(mixed, v.Lateness)
		if s.kills < 3 {
			t.Errorf("only %d kills", s.kills)
		}
		for _, x := range got {
			if !slices.Contains(want, x) {
				t.Errorf("%d and %d partitions: only then\n%.600s", cut[0], cut[1], x)
			}
		}
		for _, x := range want {
			if !slices.Contains(got, x) {
				t.Errorf("%d and %d partitions: missing\n%.600s", cut[0], cut[1], x)
			}
		}
	}
}

// interval is the longest aggregation interval of the generator, in seconds: the
// clock passes a record at its start, so that much of the lateness is not for
// delivery.
const interval = 60

// shuffled lets each record arrive as late after its end as the lateness allows.
func shuffled(r *rand.Rand, list []flow.Record, lateness int64) []flow.Record {
	type arrival struct {
		at int64
		i  int
	}
	order := make([]arrival, len(list))
	for i := range list {
		order[i] = arrival{int64(list[i].End) + r.Int64N(lateness-interval), i}
	}
	slices.SortFunc(order, func(a, b arrival) int { return int(a.at - b.at) })
	out := make([]flow.Record, len(list))
	for n, a := range order {
		out[n] = list[a.i]
	}
	return out
}
