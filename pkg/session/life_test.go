package session

import (
	"math/rand/v2"
	"testing"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// BenchmarkLife is a table at work that no cache holds, per record: one record
// after another of 300,000 endpoints, in random order, so many over 200 seconds;
// sessions begin, go on and end, a third of them by FIN.
func BenchmarkLife(b *testing.B) {
	const sessions = 300_000
	tab, rng := NewTable(Default()), rand.New(rand.NewPCG(1, 2))
	var r flow.Record
	life := func(n int) {
		i := rng.Uint32N(sessions)
		open4(&r, i, n&1 == 1, 0)
		r.Start += flow.Time(n / (sessions / 200))
		r.End = r.Start + 50
		if i%3 == 0 {
			r.TCPFlags = flow.SYN | flow.FIN
		}
		tab.Observe(&r, 0, int64(n), nothing)
		if n%15_000 == 0 {
			tab.Advance(r.Start-360, nothing, nil)
		}
	}
	for n := range 3 * sessions {
		life(n)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for n := range b.N {
		life(3*sessions + n)
	}
}
