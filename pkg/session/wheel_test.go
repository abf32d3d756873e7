package session

import (
	"math/rand/v2"
	"testing"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// Timers come at their second, whatever the order in which they were set and
// however far apart they are: before the clock moves for the first time, and as it
// moves by steps of every size.
func TestWheelTellsEachSecond(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 7))
		tab := NewTable(Default())
		w := &tab.wheel
		span := []uint32{50, 3000, 100_000}[seed%3]
		due := map[uint32]uint32{} // entry: second
		number := uint32(0)
		add := func() {
			number++
			d := max(w.pos+1, uint32(testBase)+rng.Uint32N(span))
			due[number] = d
			w.place(number, d)
		}
		for range 300 {
			add()
		}
		for goal := uint32(testBase); len(due) > 0; goal += 1 + rng.Uint32N(span/5) {
			for {
				d, ok := tab.nextDue(goal)
				if !ok {
					break
				}
				w.pos = d
				w.empty(d%wheelSize, func(i uint32) {
					w.timers--
					if due[i] != d {
						t.Fatalf("seed %d: timer %d of second %d came at %d", seed, i, due[i], d)
					}
					delete(due, i)
				})
				if number < 600 {
					add()
				}
			}
			for i, d := range due {
				if d <= goal {
					t.Fatalf("seed %d: at %d timer %d of second %d has not come", seed, goal, i, d)
				}
			}
		}
		if w.timers != 0 || w.sheets.live != 0 || len(w.far) != 0 {
			t.Fatalf("seed %d: %d timers, %d sheets, %d far left", seed, w.timers, w.sheets.live, len(w.far))
		}
	}
}

// A flood that evicts itself leaves no more timers than a few for each session
// that is there, though none of their seconds has come.
func TestTimersOfTheEvicted(t *testing.T) {
	cfg := Default()
	cfg.MaxBytes = 64 << 10
	tab := NewTable(cfg)
	var r flow.Record
	most := 0
	for i := range uint32(60_000) {
		open4(&r, i, false, int(i)/30_000)
		tab.Observe(&r, 0, int64(i), nothing)
		most = max(most, tab.wheel.timers-4*tab.entries.live)
	}
	if tab.Stats().Evicted < 50_000 || most > wheelSize {
		t.Errorf("%d evicted, and up to %d timers beyond four a session", tab.Stats().Evicted, most)
	}
	closed := 0
	tab.Advance(flow.MaxTime, func(e *Event) {
		if e.Kind == KindClose {
			closed++
		}
	}, nil)
	if s := tab.Stats(); closed == 0 || s.Open != 0 || s.Bytes != 0 || tab.wheel.sheets.live != 0 {
		t.Errorf("%d closed at the end, %+v", closed, s)
	}
}
