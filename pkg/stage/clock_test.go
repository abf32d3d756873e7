package stage

import (
	"bytes"
	"testing"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/wire"
)

func TestClock(t *testing.T) {
	type step struct {
		mark  wire.Mark
		clock flow.Time
		idle  bool
	}
	mark := func(layout, slot, slots uint32, at flow.Time, idle bool) wire.Mark {
		return wire.Mark{Deployment: "d", Layout: layout, Slot: slot, Slots: slots, Watermark: at, Idle: idle}
	}
	for name, steps := range map[string][]step{
		"exists only when all slots have spoken": {
			{mark(0, 0, 2, 50, false), flow.MinTime, false},
			{mark(0, 1, 2, 30, false), 30, false},
			{mark(0, 1, 2, 70, false), 50, false},
		},
		"never goes back": {
			{mark(0, 0, 1, 50, false), 50, false},
			{mark(0, 0, 1, 40, false), 50, false},
		},
		"an idle slot does not hold it": {
			{mark(0, 0, 2, 50, false), flow.MinTime, false},
			{mark(0, 1, 2, 10, true), 50, false},
			{mark(0, 0, 2, 60, true), 50, true},
			{mark(0, 1, 2, 55, false), 55, false},
		},
		"a finished source lets it go": {
			{mark(0, 0, 2, flow.MaxTime, false), flow.MinTime, false},
			{mark(0, 1, 2, 20, false), 20, false},
			{mark(0, 1, 2, flow.MaxTime, false), flow.MaxTime, false},
		},
		"a new layout replaces the old when all its slots have spoken": {
			{mark(0, 0, 1, 50, false), 50, false},
			{mark(1, 0, 2, 90, false), 50, false}, // incomplete: it holds
			{mark(0, 0, 1, 95, false), 50, false},
			{mark(1, 1, 2, 80, false), 80, false}, // the old one is forgotten
			{mark(0, 0, 1, 10, false), 80, false}, // its last words change nothing
			{mark(1, 1, 2, 85, false), 85, false},
		},
		"a second deployment joins": {
			{mark(0, 0, 1, 50, false), 50, false},
			{wire.Mark{Deployment: "e", Slot: 0, Slots: 1, Watermark: 45}, 50, false},
			{mark(0, 0, 1, 70, false), 50, false},
			{wire.Mark{Deployment: "e", Slot: 0, Slots: 1, Watermark: 65}, 65, false},
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := newClock()
			for i, s := range steps {
				before := v.clock
				advanced, _, err := v.apply(&s.mark)
				if err != nil {
					t.Fatal(err)
				}
				if v.clock != s.clock || v.idle != s.idle || advanced != (v.clock != before) {
					t.Errorf("step %d: clock %v idle %v advanced %v, want %v %v", i, v.clock, v.idle, advanced, s.clock, s.idle)
				}
				b := v.append(nil)
				back := parseClock(&reader{b: b})
				if again := back.append(nil); !bytes.Equal(again, b) || back.clock != v.clock || back.idle != v.idle {
					t.Errorf("step %d: the clock reads back as another", i)
				}
			}
		})
	}
}

func TestClockRefusesMarksThatCanNotBe(t *testing.T) {
	v := newClock()
	if _, _, err := v.apply(&wire.Mark{Slot: 0, Slots: 2}); err != nil {
		t.Fatal(err)
	}
	for _, m := range []wire.Mark{{Slots: 0}, {Slot: 3, Slots: 3}, {Slots: maxSourceSlots + 1}, {Slot: 0, Slots: 3}} {
		if _, _, err := v.apply(&m); err == nil {
			t.Errorf("%+v was taken in", m)
		}
	}
}

func TestTickIsARunningMaximumInSteps(t *testing.T) {
	v := newClock()
	for _, s := range []struct {
		wall   int64
		ticked bool
		tick   int64
	}{{1000, true, 1000}, {1050, false, 1000}, {900, false, 1000}, {1100, true, 1100}} {
		_, ticked, err := v.apply(&wire.Mark{Slots: 1, WallMS: s.wall})
		if err != nil || ticked != s.ticked || v.tick != s.tick {
			t.Errorf("wall %d: ticked %v to %d, %v; want %v to %d", s.wall, ticked, v.tick, err, s.ticked, s.tick)
		}
	}
}

func TestSnapshotChunks(t *testing.T) {
	for _, size := range []int{0, 1, maxChunk, maxChunk + 1, 3*maxChunk + 7} {
		s := snapshot{offset: 77, config: 9, buckets: 4, clock: newClock(), body: bytes.Repeat([]byte{1, 2, 3}, size/3+1)[:size]}
		ledger := map[string][]byte{}
		n, _ := s.chunks(3, 2, nil, func(name string, value []byte) {
			if len(value) > MaxRecord {
				t.Errorf("a chunk of %d bytes", len(value))
			}
			ledger[name] = bytes.Clone(value)
		})
		got, ok, err := joinSnapshot(ledger, 3, 2)
		if err != nil || !ok || got.offset != 77 || got.config != 9 || got.buckets != 4 || !bytes.Equal(got.body, s.body) || n != len(ledger) {
			t.Fatalf("%d bytes came back as %d in %d chunks, %v", size, len(got.body), n, err)
		}
		if size > maxChunk { // a chunk of another round
			ledger[nameBucket(3, 2, 1)] = []byte("x")
			if _, _, err := joinSnapshot(ledger, 3, 2); err == nil {
				t.Error("chunks of two rounds were put together")
			}
		}
	}
}

func FuzzLedger(f *testing.F) {
	v := newClock()
	_, _, _ = v.apply(&wire.Mark{Deployment: "d", Slots: 3, Watermark: 5, WallMS: 700})
	s := snapshot{offset: 5, buckets: 2, clock: v, body: []byte("state")}
	s.chunks(0, 0, nil, func(_ string, value []byte) { f.Add(bytes.Clone(value)) })
	o := owner{generation: 3, layout: 1, member: "m", nonce: "n"}
	f.Add(o.append(nil))
	p := position{offset: 9, emitted: 4}
	f.Add(p.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if o, err := parseOwner(b); err == nil {
			if back, err := parseOwner(o.append(nil)); err != nil || back != o {
				t.Errorf("owner %+v reads back as %+v, %v", o, back, err)
			}
		}
		if p, err := parsePosition(b); err == nil {
			if back, err := parsePosition(p.append(nil)); err != nil || back != p {
				t.Errorf("position %+v reads back as %+v, %v", p, back, err)
			}
		}
		if s, ok, err := joinSnapshot(map[string][]byte{nameBucket(0, 0, 0): b}, 0, 0); ok && err == nil {
			s.clock.append(nil)
		}
	})
}

func TestArenaKeepsCopies(t *testing.T) {
	var a arena
	var kept [][]byte
	for i := range 2000 {
		b := bytes.Repeat([]byte{byte(i)}, i%700)
		kept = append(kept, a.copy(b))
		clear(b)
	}
	big := a.copy(make([]byte, 3*arenaChunk))
	for i, b := range kept {
		if !bytes.Equal(b, bytes.Repeat([]byte{byte(i)}, i%700)) {
			t.Fatalf("copy %d has changed", i)
		}
	}
	if len(big) != 3*arenaChunk || a.copy(nil) != nil {
		t.Error("outsize or nil bytes come back changed")
	}
	a.reset()
	for _, c := range a.chunks {
		if cap(c) != arenaChunk || len(c) != 0 {
			t.Errorf("a chunk of %d bytes in use of %d after reset", len(c), cap(c))
		}
	}
}

// BenchmarkFold is the loop's own cost for a record: routing, counting and
// queueing one output.
func BenchmarkFold(b *testing.B) {
	p := &partition{id: 2, inName: FlowsTopic, fold: echo{}, clock: newClock(), buckets: []bucketState{{Bucket: echo{}}}}
	tx := newTx("bench", &Topics{}, map[string]int32{SessionsTopic: 4, RejectsTopic: 1}, 4<<20)
	m := Message{Key: []byte("0123456789abcdef"), Value: append([]byte{'d'}, make([]byte, 99)...)}
	b.SetBytes(int64(len(m.Key) + len(m.Value)))
	b.ReportAllocs()
	for b.Loop() {
		if tx.Full() {
			tx.reset(tx.deadline)
		}
		m.Offset = p.offset
		if _, err := p.step(&m, tx); err != nil {
			b.Fatal(err)
		}
	}
}

// echo passes records on.
type echo struct{}

func (echo) Buckets() int                        { return 1 }
func (echo) Route(*Message) (int, error)         { return 0, nil }
func (echo) NewBucket(int32, int) Bucket         { return echo{} }
func (echo) Watermark(clock flow.Time) flow.Time { return clock }
func (echo) Tick(int64, Emitter)                 {}
func (echo) Advance(flow.Time, Emitter) bool     { return true }
func (echo) AppendSnapshot(b []byte) []byte      { return b }
func (echo) Restore([]byte) error                { return nil }
func (echo) Fold(m *Message, out Emitter) error {
	out.Emit(Output{Topic: SessionsTopic, Partition: SameAsIn, Key: m.Key, Value: m.Value})
	return nil
}
