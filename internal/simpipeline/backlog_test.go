package simpipeline

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flowstitch/flowstitch/internal/facts"
)

// TestBacklog: sessionize and detect hang while two hours of traffic arrive; then
// they work it off as fast as they can, partitions at very different speeds,
// since of two members one has a network that takes two seconds for each request:
// slow enough for transactions to time out, and to take slots over again and again
// where a step of that had no time of its own. The facts are those of a live run:
// no session closes early.
func TestBacklog(t *testing.T) {
	log := flowLogOf(t, 2*time.Hour, 0.03)
	want, _ := run(t, log, 0, 0)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, log, 0)
		w.session = time.Minute // the group is patient: each member keeps its slot
		for _, service := range []int{sessionize, sessionize, detect, detect} {
			w.join(service)
		}
		wait(context.Background(), 10*time.Second)
		w.all(func(m *member) { m.link.Hold(20 * time.Second) })
		for i, m := range w.members {
			if i%2 == 1 {
				m.link.Slow(2*time.Second, time.Hour)
			}
		}
		w.join(ingest)
		wait(context.Background(), 15*time.Second)
		apart := map[string]float64{}
		began := time.Now()
		for ; !w.judged() && time.Since(began) < limit; wait(context.Background(), time.Second) {
			for _, stage := range []string{"sessionize.", "detect.combine"} {
				apart[stage] = max(apart[stage], spread(w.clocks(stage)))
			}
		}
		took := time.Since(began)
		have := w.finish(limit)
		t.Logf("in %v: %d flows, %d sessions, findings %v; clocks of partitions up to %.0f s (sessionize) and %.0f s (combine) of event time apart",
			took, have.Flows, have.Closed, have.Detectors, apart["sessionize."], apart["detect.combine"])
		for stage, s := range apart {
			if s < 3600 {
				t.Errorf("%s: the partitions' clocks were %.0f s apart at most: the test has lost its bite", stage, s)
			}
		}
		if err := facts.Check(want, have); err != nil {
			t.Error(err)
		}
	})
}

// spread is how far, in seconds of event time, the clocks of all partitions are
// apart: one that has not begun stands at the log's begin, one that is finished at
// its end.
func spread(clocks map[string]float64) float64 {
	low, high := float64(endOfLog), float64(endOfLog-7200)
	for _, c := range clocks {
		low, high = min(low, c), max(high, min(c, endOfLog))
	}
	if len(clocks) < partitions {
		low = endOfLog - 7200
	}
	return high - low
}

// endOfLog is when the two hours of the log are over: 2026-03-02 10:00 UTC.
const endOfLog = 1772445600
