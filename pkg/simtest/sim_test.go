package simtest

import (
	"context"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flowstitch/flowstitch/internal/race"
	"github.com/flowstitch/flowstitch/pkg/kafkatest"
)

// simulation is one run: members on fake time, a cluster of three brokers, and
// harm by a seeded generator.
type simulation struct {
	seed  uint64
	harms int

	crashes, hangs, faults, moves int
	verdict                       Verdict
	took                          time.Duration
}

func (s *simulation) run(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		rng := rand.New(rand.NewPCG(s.seed, 3))
		b := newBubble(t, &Load{Seed: s.seed, Slots: 2, Records: 4000, Keys: 200, PerSec: 50, Jitter: 5, Burst: 40, Pace: 100 * time.Millisecond})
		members := []*simMember{b.join(), b.join(), b.join()}
		for range s.harms {
			wait(context.Background(), time.Duration(rng.IntN(600))*time.Millisecond)
			s.harm(rng, b, members)
		}
		var err error
		if s.verdict, err = b.judge(); err != nil {
			t.Fatalf("seed %d: %v", s.seed, err)
		}
		s.took = time.Since(began)
		b.end(members...)
	})
}

// harm does one random thing.
func (s *simulation) harm(rng *rand.Rand, b *bubble, members []*simMember) {
	i := rng.IntN(len(members))
	switch c := rng.IntN(10); {
	case c < 5:
		s.crashes++
		m := members[i]
		m.link.Cut()
		b.bury.Died(m.id)
		m.stop()
		b.gone.Go(m.done.Wait)
		members[i] = b.join()
	case c < 7:
		s.hangs++
		members[i].link.Hold(time.Duration(rng.IntN(5000)) * time.Millisecond)
	case c < 9:
		s.faults++
		all := Faults()
		b.k.Fault(all[rng.IntN(len(all))])
	default:
		s.moves++
		b.k.RehashCoordinators()
		b.k.ShufflePartitionLeaders()
	}
}

// TestSimulation runs whole pipelines on fake time, with members that crash and
// hang, brokers that answer with errors, and leaders that move.
func TestSimulation(t *testing.T) {
	runs := 4
	switch {
	case os.Getenv("FLOWSTITCH_LONG") == "1":
		runs = 200
	case race.Enabled: // each takes ten times as long, and every interleaving helps
		runs = 2
	case os.Getenv(kafkatest.EnvReal) == "1":
		runs = 12
	}
	var crashes, hangs, injected, moves, windows int
	var simulated time.Duration
	first := 0
	if v := os.Getenv("FLOWSTITCH_SIM_SEED"); v != "" { // one seed again
		n, err := strconv.Atoi(v)
		if err != nil {
			t.Fatal(err)
		}
		first, runs = n, 1
	}
	for i := range runs {
		s := &simulation{seed: uint64(first + i), harms: 25}
		s.run(t)
		v := s.verdict
		if v.Lost+v.Duplicated+v.Corrected != 0 {
			t.Errorf("seed %d: %+v after %d crashes, %d hangs, %d faults", s.seed, v, s.crashes, s.hangs, s.faults)
		}
		crashes, hangs, injected, moves = crashes+s.crashes, hangs+s.hangs, injected+s.faults, moves+s.moves
		windows, simulated = windows+v.Windows, simulated+s.took
	}
	t.Logf("%d crashes, %d hangs, %d faults, %d moves of leaders and coordinators, %d windows exact, %v simulated",
		crashes, hangs, injected, moves, windows, simulated)
}
