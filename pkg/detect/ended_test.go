package detect

import (
	"testing"

	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/flow"
)

// bounded is an AlertSink that ends a test which goes on for ever.
type bounded struct {
	t     *testing.T
	calls int
}

func (b *bounded) Alert(*alert.Alert) {}
func (b *bounded) Full() bool {
	if b.calls++; b.calls > 100_000 {
		b.t.Fatal("Advance goes round in circles")
	}
	return false
}

// TestEndOfTime: at the end of the input nobody is woken any more, and what was
// due to be woken does not come up again and again, in whatever pieces the end
// is reached and though the state was restored on the way.
func TestEndOfTime(t *testing.T) {
	for _, restored := range []bool{false, true} {
		set := DefaultSettings()
		v := NewEvaluator(&set, Detectors(&set))
		out := &bounded{t: t}
		at := t0
		for range 40 { // an interface that is busy, and a host of ours
			for _, e := range []Entity{{Kind: KindPoint, Name: "eni-1"}, Host(0, flow.MustAddr("10.0.0.1"))} {
				p := &Part{Owned: true}
				p.Client = Counts{Sessions: 5, PacketsOut: 9, First: at, Last: at + 9}
				v.Fold(&Observation{Entity: e, Pane: at, Final: p}, out)
			}
			at = at.Add(set.Pane)
			v.Advance(at, out)
		}
		if restored {
			b := v.AppendSnapshot(nil)
			v = NewEvaluator(&set, Detectors(&set))
			if err := v.Restore(b); err != nil {
				t.Fatal(err)
			}
		}
		v.Advance(flow.MaxTime, out)
		v.Advance(flow.MaxTime, out)
		if n := v.Entities(); n != 0 {
			t.Errorf("restored %v: %d entities are left at the end of time", restored, n)
		}
		if v.Stats().Created != 0 {
			t.Errorf("restored %v: something fell silent because the input is over", restored)
		}
	}
}
