package detect

import (
	"testing"

	"github.com/flowstitch/flowstitch/pkg/session"
)

// TestNotesAreEarlySums folds the same events with notes and without: snapshots
// and observations are equal to the byte, also after a restore in between.
func TestNotesAreEarlySums(t *testing.T) {
	set := DefaultSettings()
	noted, plain, restored := NewCombiner(&set), NewCombiner(&set), NewCombiner(&set)
	var got, want, again keeper
	var e session.Event
	light := 0
	for i := range 600 {
		synAt(&e, numbered(10, i*7%90), numbered(52, i%11), uint16(440+i%3), t0.Add(int64(i)%set.Pane))
		e.New = i%5 > 0 // an event that opens no session weighs nothing
		if e.Kind = session.KindUpdate; i%7 == 0 {
			e.Kind, e.Opened, e.Outcome = session.KindClose, true, session.OutcomeAnswered
		}
		noted.Fold(&e, 0, int64(i), &got)
		restored.Fold(&e, 0, int64(i), &again)
		for _, a := range plain.panes.all(nil) { // one that is there takes no notes
			a.part(false, &plain.mem)
		}
		plain.acc(t0.Floor(set.Pane), Host(e.Key.Scope, e.Client.Addr)).part(false, &plain.mem)
		plain.Fold(&e, 0, int64(i), &want)
		if i%50 != 49 {
			continue
		}
		for _, a := range noted.panes.all(nil) {
			light += int(one(a.light != nil))
		}
		snapshot := restored.AppendSnapshot(nil)
		if string(snapshot) != string(noted.AppendSnapshot(nil)) {
			t.Fatalf("after %d events a combiner that was restored has another snapshot", i+1)
		}
		restored = NewCombiner(&set)
		if err := restored.Restore(snapshot); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			*Combiner
			out *keeper
		}{{noted, &got}, {plain, &want}, {restored, &again}} {
			c.Tick(int64(i)*1000, c.out)
		}
	}
	if light == 0 || len(got.list) == 0 {
		t.Fatalf("%d sums were notes, %d sums were sent: the test shows nothing", light, len(got.list))
	}
	noted.Advance(t0.Add(2*set.Pane), &got)
	plain.Advance(t0.Add(2*set.Pane), &want)
	restored.Advance(t0.Add(2*set.Pane), &again)
	for name, other := range map[string]*keeper{"without notes": &want, "restored": &again} {
		if len(other.list) != len(got.list) {
			t.Fatalf("%s: %d observations, with notes %d", name, len(other.list), len(got.list))
		}
		for i := range other.list {
			if string(other.list[i]) != string(got.list[i]) {
				t.Fatalf("%s: observation %d differs", name, i)
			}
		}
	}
}
