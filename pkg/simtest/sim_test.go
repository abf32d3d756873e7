package simtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/flowstitch/flowstitch/internal/race"
	"github.com/flowstitch/flowstitch/pkg/kafkatest"
)

// link is a member's network. Cut, it is to the cluster as if the member had
// been killed: whatever the member still does reaches nobody. Held, the member
// hangs: what it sends arrives when it is let go, as a zombie's words.
type link struct {
	dial func(ctx context.Context, network, addr string) (net.Conn, error)

	mu    sync.Mutex
	conns []net.Conn
	dead  bool
	gate  chan struct{} // closed: open
}

var errCut = errors.New("the link is cut")

func newLink(vn *kfake.VirtualNetwork) *link {
	open := make(chan struct{})
	close(open)
	return &link{dial: vn.DialContext, gate: open}
}

// Dial is a kgo dialer.
func (l *link) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	l.mu.Lock()
	dead, gate := l.dead, l.gate
	l.mu.Unlock()
	if dead {
		return nil, errCut
	}
	select {
	case <-gate:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	c, err := l.dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		return nil, errors.Join(errCut, c.Close())
	}
	l.conns = append(l.conns, c)
	return &linkConn{Conn: c, l: l}, nil
}

type linkConn struct {
	net.Conn
	l *link
}

func (c *linkConn) Write(b []byte) (int, error) {
	c.l.mu.Lock()
	gate := c.l.gate
	c.l.mu.Unlock()
	<-gate
	return c.Conn.Write(b)
}

func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead = true
	for _, c := range l.conns {
		_ = c.Close()
	}
}

func (l *link) hold(d time.Duration) {
	gate := make(chan struct{})
	l.mu.Lock()
	l.gate = gate
	l.mu.Unlock()
	time.AfterFunc(d, func() { close(gate) })
}

// simMember is a member in the simulation.
type simMember struct {
	*member
	link *link
	id   string // client id
}

// undertaker takes dead members out of their groups, which is the brokers' task:
// Kafka does it when the session times out, and kfake does not where an answer to
// the member was due at the moment that its connection went away (groups.go,
// reply: the session timer is then not started again).
type undertaker struct {
	opts   []kgo.Opt
	groups []string

	mu   sync.Mutex
	dead map[string]bool // by client id; true: for a whole period
}

func (u *undertaker) died(id string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.dead[id] = false
}

// overdue lists those that have been dead for a period.
func (u *undertaker) overdue() map[string]bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	out := maps.Clone(u.dead)
	for id := range u.dead {
		u.dead[id] = true
	}
	return out
}

func (u *undertaker) run(ctx context.Context) {
	cl, err := kgo.NewClient(u.opts...)
	if err != nil {
		return
	}
	defer cl.Close()
	for ; ctx.Err() == nil; wait(ctx, 5*time.Second) {
		dead := u.overdue()
		groups, err := kadm.NewClient(cl).DescribeGroups(ctx, u.groups...)
		if err != nil {
			continue // the next turn asks again
		}
		for _, g := range groups {
			for _, m := range g.Members {
				if !dead[m.ClientID] {
					continue
				}
				req := kmsg.NewPtrLeaveGroupRequest()
				lm := kmsg.NewLeaveGroupRequestMember()
				lm.MemberID = m.MemberID
				req.Group, req.Members = g.Group, append(req.Members, lm)
				_, _ = req.RequestWith(ctx, cl) // again at the next turn if it failed
			}
		}
	}
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
		undertaker := &undertaker{opts: observer, groups: []string{src.Group(), fold.Group()}, dead: map[string]bool{}}
		gone.Go(func() { undertaker.run(expire) })
		joined := 0
		join := func() *simMember {
			joined++
			m := &simMember{link: newLink(&vn), id: fmt.Sprintf("member-%d", joined)}
			a, b := src, fold
			a.Client = append(append([]kgo.Opt{}, plain...), kgo.Dialer(m.link.Dial), kgo.ClientID(m.id))
			b.Client = a.Client
			m.member = start(a, b, l, toy)
			return m
		}
		members := []*simMember{join(), join(), join()}
		for range s.harms {
			wait(context.Background(), time.Duration(rng.IntN(600))*time.Millisecond)
			s.harm(rng, k, members, join, &gone, undertaker)
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
func (s *simulation) harm(rng *rand.Rand, k *kfake.Cluster, members []*simMember, join func() *simMember, gone *sync.WaitGroup, u *undertaker) {
	i := rng.IntN(len(members))
	switch c := rng.IntN(10); {
	case c < 5:
		s.crashes++
		m := members[i]
		m.link.cut()
		u.died(m.id)
		m.stop()
		gone.Go(m.done.Wait)
		members[i] = join()
	case c < 7:
		s.hangs++
		members[i].link.hold(time.Duration(rng.IntN(5000)) * time.Millisecond)
	case c < 9:
		s.faults++
		k.Fault(faults[rng.IntN(len(faults))])
	default:
		s.moves++
		k.RehashCoordinators()
		k.ShufflePartitionLeaders()
	}
}

// faults are answers that a broker may give. RequestTimedOut on EndTxn is given
// after the transaction was ended: its outcome is unknown to who asked.
var faults = []kfake.Fault{
	{Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.RequestTimedOut, Count: 3},
	{Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.ConcurrentTransactions, Count: 2},
	{Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.UnknownServerError, Count: 1},
	{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotLeaderForPartition, Count: 4},
	{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicasAfterAppend, Count: 3},
	{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.KafkaStorageError, Count: 3},
	{Keys: []kmsg.Key{kmsg.Fetch}, Err: kerr.NotLeaderForPartition, Count: 5},
	{Keys: []kmsg.Key{kmsg.InitProducerID}, Err: kerr.ConcurrentTransactions, Count: 3},
	{Keys: []kmsg.Key{kmsg.AddPartitionsToTxn}, Err: kerr.CoordinatorLoadInProgress, Count: 3},
	{Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.RebalanceInProgress, Count: 2},
	{Keys: []kmsg.Key{kmsg.JoinGroup}, Err: kerr.NotCoordinator, Count: 2},
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
