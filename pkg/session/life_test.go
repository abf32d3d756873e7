package session

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

const lifeSessions = 300_000

// life passes one record of a third of a million endpoints, in random order, over
// 200 seconds: sessions begin, go on and end, a third of them by FIN.
func life(tab *Table, rng *rand.Rand, round, n int, warm bool) {
	var batch [warmSize]flow.Record
	for j := 0; j < n; j += len(batch) {
		for b := range batch {
			r, i := &batch[b], rng.Uint32N(lifeSessions)
			open4(r, i, b&1 == 1, 0)
			r.Start += flow.Time(round*200 + j*200/n)
			r.End = r.Start + 50
			if i%3 == 0 {
				r.TCPFlags = flow.SYN | flow.FIN
			}
		}
		if warm {
			tab.Warm(batch[:])
		}
		for b := range batch {
			tab.Observe(&batch[b], 0, int64(j+b), nothing)
		}
		if j/len(batch)%1000 == 999 {
			tab.Advance(batch[0].Start-360, nothing, nil)
		}
	}
}

// BenchmarkLife is a table at work that no cache holds, per record, with the
// records warmed before they are observed and without.
func BenchmarkLife(b *testing.B) {
	for _, warm := range []bool{false, true} {
		name := "plain"
		if warm {
			name = "warm"
		}
		b.Run(name, func(b *testing.B) {
			tab, rng, round := NewTable(Default()), rand.New(rand.NewPCG(1, 2)), 0
			for ; round < 3; round++ {
				life(tab, rng, round, lifeSessions, warm)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; n += lifeSessions {
				life(tab, rng, round, min(lifeSessions, b.N-n), warm)
				round++
			}
		})
	}
}

func TestWarmChangesNothing(t *testing.T) {
	var state [2][]byte
	for k, warm := range []bool{false, true} {
		tab := NewTable(Default())
		tab.Warm(make([]flow.Record, 3*warmSize)) // of an empty table, more than it takes
		for round := range 3 {
			life(tab, rand.New(rand.NewPCG(3, uint64(round))), round, 20_000, warm)
		}
		tab.Warm(make([]flow.Record, 3*warmSize))
		state[k] = tab.AppendSnapshot(nil)
	}
	if !bytes.Equal(state[0], state[1]) {
		t.Error("the state differs")
	}
}
