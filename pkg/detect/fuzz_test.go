package detect

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// FuzzParseObservation holds that no bytes make the reader panic, and that what
// it accepts is written the same way twice.
func FuzzParseObservation(f *testing.F) {
	set := DefaultSettings()
	c, k := NewCombiner(&set), &keeper{}
	for i, s := range append(weather(rand.New(rand.NewPCG(1, 1)), 60), guessing(5, "198.51.100.7", "10.0.0.3")...) {
		c.Fold(s.event(), 0, int64(i), k)
	}
	c.Tick(1, k)
	c.Advance(t0.Add(day), k)
	for _, b := range k.list[:min(len(k.list), 40)] {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var o Observation
		if ParseObservation(b, &o) != nil {
			return
		}
		once := AppendObservation(nil, &o)
		var again Observation
		if err := ParseObservation(once, &again); err != nil {
			t.Fatalf("what was written does not parse: %v", err)
		}
		if twice := AppendObservation(nil, &again); !bytes.Equal(once, twice) {
			t.Fatalf("written differently the second time:\n%x\n%x", once, twice)
		}
		v := NewEvaluator(&set, Detectors(&set))
		v.Fold(&again, &meter{})
	})
}

// FuzzRestore holds that no bytes make a state panic, and that a state that is
// accepted is written again as it was.
func FuzzRestore(f *testing.F) {
	set := DefaultSettings()
	p := newPipe(f, &set, 1, 1)
	for i, s := range append(weather(rand.New(rand.NewPCG(1, 1)), 12), guessing(3, "198.51.100.7", "10.0.0.3")...) {
		p.fold(s.event(), i)
	}
	p.advance(t0.Add(1500))
	f.Add(p.combiners[0].AppendSnapshot(nil), true)
	f.Add(p.evaluators[0].AppendSnapshot(nil), false)
	f.Fuzz(func(t *testing.T, b []byte, combiner bool) {
		if combiner {
			c := NewCombiner(&set)
			if c.Restore(b) == nil {
				c.AppendSnapshot(nil)
			}
			return
		}
		v := NewEvaluator(&set, Detectors(&set))
		if v.Restore(b) == nil {
			v.AppendSnapshot(nil)
		}
	})
}
