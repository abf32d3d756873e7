package detect

import (
	"testing"

	"github.com/flowstitch/flowstitch/pkg/session"
)

// TestFinalOnly folds the same events with early sums and without: the final
// observations are the same bytes, and nothing early is kept.
func TestFinalOnly(t *testing.T) {
	set := DefaultSettings()
	both, only := NewCombiner(&set), NewCombiner(&set)
	only.FinalOnly()
	var want, got keeper
	var e session.Event
	for i := range 600 {
		synAt(&e, numbered(10, i*7%90), numbered(52, i%11), uint16(440+i%3), t0.Add(int64(i)%set.Pane))
		e.Kind, e.New, e.Opened = session.KindClose, true, true
		both.Fold(&e, 0, int64(i), &want)
		only.Fold(&e, 0, int64(i), &got)
	}
	for _, a := range only.panes.all(nil) {
		if a.early != nil || a.light != nil {
			t.Fatal("an early sum is kept")
		}
	}
	if len(only.ready) > 0 || len(both.ready) == 0 {
		t.Fatalf("%d sums wait for a tick that does not come, with early sums %d", len(only.ready), len(both.ready))
	}
	both.Advance(t0.Add(2*set.Pane), &want)
	only.Advance(t0.Add(2*set.Pane), &got)
	if len(got.list) == 0 || len(got.list) != len(want.list) {
		t.Fatalf("%d observations, with early sums %d", len(got.list), len(want.list))
	}
	for i := range got.list {
		if string(got.list[i]) != string(want.list[i]) {
			t.Fatalf("observation %d differs", i)
		}
	}
}
