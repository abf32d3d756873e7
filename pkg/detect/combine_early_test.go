package detect

import (
	"testing"

	"github.com/flowstitch/flowstitch/pkg/session"
)

// TestEarlySumsKeepUp: as many addresses as a combiner of a busy partition finds
// due at once are all told by the next tick, and a flood of them in turns.
func TestEarlySumsKeepUp(t *testing.T) {
	for _, c := range []struct{ sources, ticks int }{{900, 1}, {5000, 5}} {
		set := DefaultSettings()
		b := NewCombiner(&set)
		var out keeper
		var e session.Event
		for i := range c.sources {
			for j := range earlyWeight {
				synAt(&e, numbered(52, i), numbered(10, i%40), uint16(440+j), t0)
				b.Fold(&e, 0, int64(i*earlyWeight+j), &out)
			}
		}
		out.list = nil
		for i := range c.ticks {
			b.Tick(int64(t0)*1000+int64(250*i), &out)
		}
		told := map[Entity]bool{}
		var o Observation
		for _, v := range out.list {
			if err := ParseObservation(v, &o); err != nil {
				t.Fatal(err)
			}
			told[o.Entity] = true
		}
		for i := range c.sources {
			if !told[Host(0, numbered(52, i))] {
				t.Fatalf("source %d of %d has not been told after %d ticks", i, c.sources, c.ticks)
			}
		}
	}
}
