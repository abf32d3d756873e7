package simtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/flowstitch/flowstitch/internal/race"
	"github.com/flowstitch/flowstitch/pkg/kafkatest"
)

// simMember is a member in the simulation.
type simMember struct {
	*member
	link *Link
	id   string // client id
}

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
		var vn kfake.VirtualNetwork
		k, err := kfake.NewCluster(kfake.NumBrokers(3), kfake.ListenFn(vn.Listen), kfake.Ports(9092, 9093, 9094),
			kfake.GroupMinSessionTimeout(100*time.Millisecond),
			kfake.BrokerConfigs(map[string]string{"group.initial.rebalance.delay.ms": "0"}))
		if err != nil {
			t.Fatal(err)
		}
		defer k.Close()
		c := &kafkatest.Cluster{Addrs: []string{"127.0.0.1:9092", "127.0.0.1:9093", "127.0.0.1:9094"}, Kind: kafkatest.KFake, Fake: k}
		l := &Load{Seed: s.seed, Slots: 2, Records: 4000, Keys: 200, PerSec: 50, Jitter: 5, Burst: 40, Pace: 100 * time.Millisecond}
		toy := &Toy{Width: 10, Cuts: 4}
		src, fold := configs(c, "sim.", l)
		plain := src.Client
		src.Client = append(append([]kgo.Opt{}, plain...), kgo.Dialer(vn.DialContext))
		observer := src.Client
		fold.Client = src.Client
		ensure(t, &src, &fold)
		var gone sync.WaitGroup
		expire, expired := context.WithCancel(context.Background())
		bury := NewUndertaker(observer, src.Group(), fold.Group())
		gone.Go(func() { bury.Run(expire) })
		joined := 0
		join := func() *simMember {
			joined++
			m := &simMember{link: NewLink(vn.DialContext), id: fmt.Sprintf("member-%d", joined)}
			a, b := src, fold
			a.Client = append(append([]kgo.Opt{}, plain...), kgo.Dialer(m.link.Dial), kgo.ClientID(m.id))
			b.Client = a.Client
			m.member = start(a, b, l, toy)
			return m
		}
		members := []*simMember{join(), join(), join()}
		for range s.harms {
			wait(context.Background(), time.Duration(rng.IntN(600))*time.Millisecond)
			s.harm(rng, k, members, join, &gone, bury)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
		defer cancel()
		facts, err := Collect(ctx, observer, "sim.", testPartitions)
		if err != nil {
			t.Fatalf("seed %d: %v", s.seed, err)
		}
		s.verdict, s.took = Judge(l.Want(toy.Width), facts), time.Since(began)
		for _, m := range members {
			m.end(t)
		}
		expired()
		gone.Wait()
	})
}

// harm does one random thing.
func (s *simulation) harm(rng *rand.Rand, k *kfake.Cluster, members []*simMember, join func() *simMember, gone *sync.WaitGroup, u *Undertaker) {
	i := rng.IntN(len(members))
	switch c := rng.IntN(10); {
	case c < 5:
		s.crashes++
		m := members[i]
		m.link.Cut()
		u.Died(m.id)
		m.stop()
		gone.Go(m.done.Wait)
		members[i] = join()
	case c < 7:
		s.hangs++
		members[i].link.Hold(time.Duration(rng.IntN(5000)) * time.Millisecond)
	case c < 9:
		s.faults++
		all := Faults()
		k.Fault(all[rng.IntN(len(all))])
	default:
		s.moves++
		k.RehashCoordinators()
		k.ShufflePartitionLeaders()
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
