package simtest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/flowstitch/flowstitch/pkg/kafkatest"
	"github.com/flowstitch/flowstitch/pkg/stage"
)

// envMember makes this test binary a member process instead of a test.
const envMember = "FLOWSTITCH_SIMTEST_MEMBER"

// memberSpec is what a member process is to do.
type memberSpec struct {
	Addrs  []string
	ID     string // client id
	Prefix string
	Fold   bool // else source
	Load   Load
	Toy    Toy
}

func TestMain(m *testing.M) {
	if v := os.Getenv(envMember); v != "" {
		os.Exit(runMember(v))
	}
	// The broker that the tests share is meant to outlive them.
	goleak.VerifyTestMain(m, kafkatest.Leaks()...)
}

func runMember(v string) int {
	var s memberSpec
	if err := json.Unmarshal([]byte(v), &s); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() { // the parent is gone
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(3)
	}()
	src, fold := configs(&kafkatest.Cluster{Addrs: s.Addrs}, s.Prefix, &s.Load)
	src.Client = append(src.Client, kgo.ClientID(s.ID))
	fold.Client = src.Client
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	src.Telemetry.Log, fold.Telemetry.Log = log, log
	var err error
	if s.Fold {
		err = stage.Run(ctx, fold, s.Toy.Spec())
	} else {
		err = stage.RunSlots(ctx, src, []string{stage.FlowsTopic}, s.Load.NewSource)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// killPlan is one kill test.
type killPlan struct {
	load    Load
	procs   int // even ones fold, odd ones are sources
	harms   int
	between time.Duration
	broker  int // broker kills among the harms
	limit   time.Duration
	seed    uint64
}

func (k *killPlan) run(t *testing.T, c *kafkatest.Cluster) {
	t.Logf("seed %d", k.seed)
	rng := rand.New(rand.NewPCG(k.seed, 7))
	prefix := kafkatest.Prefix(t)
	toy := Toy{Width: 10, Cuts: 8}
	src, fold := configs(c, prefix, &k.load)
	ensure(t, &src, &fold)
	bury := func(string) {}
	if !c.Real() { // a broker sees to that itself
		u := NewUndertaker(c.Opts(), src.Group(), fold.Group())
		ctx, cancel := context.WithCancel(context.Background())
		var done sync.WaitGroup
		done.Go(func() { u.Run(ctx) })
		defer done.Wait()
		defer cancel()
		bury = u.Died
	}
	var l Lives
	ids := make([]string, k.procs)
	swarm := &Swarm{Line: l.Line, Make: func(i int) *exec.Cmd {
		if ids[i] != "" { // started again: the one before is dead
			bury(ids[i])
		}
		ids[i] = fmt.Sprintf("%d-%s", i, kafkatest.Prefix(t))
		spec, _ := json.Marshal(memberSpec{Addrs: c.Addrs, ID: ids[i], Prefix: prefix, Fold: i%2 == 0, Load: k.load, Toy: toy})
		cmd := exec.Command(os.Args[0], "-test.run=^$")
		cmd.Env = append(os.Environ(), envMember+"="+string(spec))
		return cmd
	}}
	if err := swarm.Start(k.procs); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if t.Failed() {
			t.Logf("the members' last lines:\n%s", l.Tail())
		}
	}()
	began := time.Now()
	brokers := 0
	tick := time.NewTicker(k.between)
	defer tick.Stop()
	for n := range k.harms {
		<-tick.C
		if k.broker > 0 && n%(k.harms/k.broker) == k.harms/k.broker/2 && c.Proc != nil {
			brokers++
			restartBroker(t, c, brokers%2 == 0)
		}
		if err := swarm.Harm(rng, 4*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), k.limit)
	defer cancel()
	facts, err := Collect(ctx, c.Opts(), prefix, testPartitions)
	if err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	swarm.Close()
	v := Judge(k.load.Want(toy.Width), facts)
	t.Logf("%s: %v; %d broker kills; %d flows in %v; windows %d, lost %d, duplicated %d, corrected %d; %v",
		c.Kind, swarm, brokers, k.load.Slots*k.load.Records, took.Round(time.Second), v.Windows, v.Lost, v.Duplicated, v.Corrected, &l)
	if v.Lost+v.Duplicated+v.Corrected != 0 || len(swarm.BadExits) != 0 {
		t.Errorf("%+v, bad exits %v", v, swarm.BadExits)
	}
}

func restartBroker(t *testing.T, c *kafkatest.Cluster, kill bool) {
	t.Helper()
	end := c.Proc.Stop
	if kill {
		end = c.Proc.Kill
	}
	if err := end(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := c.Proc.Restart(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestKill is the short cut of the kill test; TestKillLong is the whole.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("runs processes and kills them for half a minute")
	}
	c := kafkatest.Start(t)
	k := killPlan{
		load:  Load{Seed: 3, Slots: 2, Records: 40_000, Keys: 2000, PerSec: 200, Jitter: 5, Burst: 500, Pace: 100 * time.Millisecond},
		procs: 4, harms: 12, between: 700 * time.Millisecond, limit: 5 * time.Minute, seed: uint64(time.Now().UnixNano()),
	}
	if !c.Real() {
		k.load.Records, k.harms = 10_000, 4
	}
	k.run(t, c)
}

// TestKillLong: at least 200 kills over at least 2 million flows, and the
// broker itself killed and restarted.
func TestKillLong(t *testing.T) {
	if os.Getenv("FLOWSTITCH_LONG") != "1" {
		t.Skip("set FLOWSTITCH_LONG=1 (make test-long): it takes ten minutes")
	}
	k := killPlan{
		load:  Load{Seed: 4, Slots: 4, Records: 550_000, Keys: 50_000, PerSec: 500, Jitter: 20, Burst: 1000, Pace: 200 * time.Millisecond},
		procs: 6, harms: 230, between: time.Second, broker: 4, limit: 10 * time.Minute, seed: uint64(time.Now().UnixNano()),
	}
	c := kafkatest.Real(t)
	if c.Kind == kafkatest.JVM { // a broker of our own, to kill
		p, err := kafkatest.StartProcess(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		c = &kafkatest.Cluster{Addrs: []string{p.Addr()}, Kind: kafkatest.JVM, Proc: p}
	}
	k.run(t, c)
}
