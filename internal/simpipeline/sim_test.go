package simpipeline

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flowstitch/flowstitch/internal/facts"
	"github.com/flowstitch/flowstitch/internal/race"
	"github.com/flowstitch/flowstitch/pkg/kafkatest"
	"github.com/flowstitch/flowstitch/pkg/simtest"
)

// Times of a simulated run, all of them fake.
const (
	over  = 30 * time.Second // the log is written
	limit = 30 * time.Minute // for everything to be judged
)

// run simulates one deployment under a seed: harms is how often something
// happens to it. It returns the facts and what happened.
func run(t *testing.T, log []byte, seed uint64, harms int) (f *facts.Facts, what happened) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		w := newWorld(t, log, over)
		for s := range services {
			w.join(s)
			w.join(s)
		}
		h := harm{w: w, rng: rand.New(rand.NewPCG(seed, 5)), happened: map[string]int{}}
		for range harms {
			wait(context.Background(), time.Duration(h.rng.IntN(3000))*time.Millisecond)
			h.once()
			w.mend()
		}
		f = w.finish(limit)
		what = h.happened
		what["restart"], what["second"] = w.restarts, int(time.Since(began).Seconds())
	})
	return f, what
}

// happened is how often each kind of harm was done.
type happened map[string]int

// harm does things to a world that happen to deployments.
type harm struct {
	w   *world
	rng *rand.Rand
	happened
}

func (h *harm) ms(n int) time.Duration { return time.Duration(h.rng.IntN(n)) * time.Millisecond }

func (h *harm) once() {
	w := h.w
	i := h.rng.IntN(len(w.members))
	m := w.members[i]
	switch n := h.rng.IntN(20); {
	case n < 5:
		h.happened["crash"]++
		w.crash(i)
		w.join(m.service)
	case n < 8: // beyond the session timeout: a zombie when it wakes up
		h.happened["hang"]++
		m.link.Hold(h.ms(15_000))
	case n < 12:
		h.happened["fault"]++
		all := simtest.Faults()
		w.k.Fault(all[h.rng.IntN(len(all))])
	case n < 14:
		h.happened["move"]++
		w.k.RehashCoordinators()
		w.k.ShufflePartitionLeaders()
	case n < 15:
		h.happened["connections cut"]++
		m.link.Break()
	case n < 16:
		h.happened["slow"]++
		m.link.Slow(h.ms(1000), h.ms(10_000))
	case n < 17:
		h.happened["away"]++
		m.link.Away(true)
		time.AfterFunc(h.ms(8000), func() { m.link.Away(false) })
	case n < 19:
		h.happened["join"]++
		w.join(h.rng.IntN(services))
	default:
		h.happened["leave"]++
		w.leave(i)
		if !w.runs(m.service) {
			w.join(m.service)
		}
	}
}

// runs reports whether a service has a member.
func (w *world) runs(service int) bool {
	for _, m := range w.members {
		if m.service == service {
			return true
		}
	}
	return false
}

// TestPipeline runs whole pipelines on fake time and proves the same result in
// every run: two without faults, then one for each seed, the first seed twice.
func TestPipeline(t *testing.T) {
	log := flowLog(t)
	want, _ := run(t, log, 0, 0)
	t.Logf("%d bytes of log: %d flows, %d rejects, %d sessions closed, findings %v, digest %x",
		len(log), want.Flows, want.Rejects, want.Closed, want.Detectors, want.Digest())
	for _, d := range []string{"crafted-probe", "port-scan", "brute-force"} {
		if want.Detectors[d] == 0 {
			t.Errorf("the run without faults has no finding of %s", d)
		}
	}
	if want.Closed < 500 {
		t.Errorf("the run without faults closed %d sessions", want.Closed)
	}
	first, n := seeds(t)
	total := happened{}
	for i := range n {
		seed := first + uint64(i)
		times := 1
		if i == 0 {
			times = 2
		}
		for range times {
			have, what := run(t, log, seed, 25)
			if err := facts.Check(want, have); err != nil {
				t.Errorf("seed %d (FLOWSTITCH_SIM_SEED=%d runs it alone), after %v: %v", seed, seed, what, err)
			}
			for k, v := range what {
				total[k] += v
			}
		}
	}
	t.Logf("seeds %d to %d, every run with the digest %x; %s", first, first+uint64(n)-1, want.Digest(), fmt.Sprint(total))
}

// seeds says which to run.
func seeds(t *testing.T) (first uint64, n int) {
	t.Helper()
	if v := os.Getenv("FLOWSTITCH_SIM_SEED"); v != "" { // one seed again
		n, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n, 1
	}
	switch {
	case os.Getenv("FLOWSTITCH_LONG") == "1":
		return 1, 40
	case race.Enabled: // each takes ten times as long
		return 1, 1
	case os.Getenv(kafkatest.EnvReal) == "1":
		return 1, 3
	}
	return 1, 1
}
