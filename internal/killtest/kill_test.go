package killtest

import (
	"bufio"
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/encoding/json"

	"github.com/flowstitch/flowstitch/internal/facts"
	"github.com/flowstitch/flowstitch/pkg/flowlog"
	"github.com/flowstitch/flowstitch/pkg/gen"
	"github.com/flowstitch/flowstitch/pkg/kafkatest"
	"github.com/flowstitch/flowstitch/pkg/simtest"
)

// Bounds of waiting: generous, since the machine may be busy with other tests.
const (
	readLimit = 5 * time.Minute
	endLimit  = 15 * time.Minute
)

// plan is one kill test.
type plan struct {
	rate    float64         // ordinary sessions a second of two hours of event time
	format  *flowlog.Format // nil is AWS's default, version 2
	kills   int
	between time.Duration
	limit   time.Duration
}

// flowLog writes the flow log of two hours with six attacks, and returns its
// path, its size in bytes and its number of lines.
func (k *plan) flowLog(t *testing.T) (path string, size, lines int64) {
	t.Helper()
	sc := gen.Incident()
	sc.Rate = k.rate
	s, err := gen.NewStream(sc)
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "flows.log")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	if lines, err = gen.Write(w, s, gen.Lines{Format: k.format, Header: true}); err == nil {
		err = w.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return path, info.Size(), lines
}

// judged gathers which partitions the detect processes say are done.
type judged struct {
	lives simtest.Lives

	mu   sync.Mutex
	done map[string]bool
}

func (j *judged) line(i int, line string) {
	if p, ok := strings.CutPrefix(line, judgedWord+" "); ok {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.done[p] = true
		return
	}
	j.lives.Line(i, line)
}

// wait forgets what was said so far, by processes that may be dead, and waits
// until every partition is said to be done.
func (j *judged) wait(t *testing.T, limit time.Duration) {
	t.Helper()
	j.mu.Lock()
	clear(j.done)
	j.mu.Unlock()
	end := time.NewTimer(limit)
	defer end.Stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		j.mu.Lock()
		n := len(j.done)
		j.mu.Unlock()
		if n == partitions {
			return
		}
		select {
		case <-tick.C:
		case <-end.C:
			t.Fatalf("%d of %d partitions judged after %v", n, partitions, limit)
		}
	}
}

// run runs two processes of each service over the log, kills them, and returns
// the facts. Without kills the log is read as fast as it goes.
func (k *plan) run(t *testing.T, c *kafkatest.Cluster, spec memberSpec, seed uint64) *facts.Facts {
	t.Helper()
	spec.Addrs, spec.Prefix, spec.Begin = c.Addrs, kafkatest.Prefix(t), time.Now()
	j := &judged{done: map[string]bool{}}
	swarm := &simtest.Swarm{Line: j.line, Make: func(i int) *exec.Cmd {
		s := spec
		s.Service = i % services
		v, _ := json.Marshal(s)
		cmd := exec.Command(os.Args[0], "-test.run=^$")
		cmd.Env = append(os.Environ(), envMember+"="+string(v))
		return cmd
	}}
	defer func() {
		swarm.Close()
		if t.Failed() {
			t.Logf("the processes' last lines:\n%s", j.lives.Tail())
		}
	}()
	if err := swarm.Start(2 * services); err != nil {
		t.Fatal(err)
	}
	by := k.harm(t, swarm, spec.Rate, seed)
	j.wait(t, k.limit)
	took := time.Since(spec.Begin)
	swarm.Close()
	if len(swarm.BadExits) != 0 {
		t.Errorf("bad exits: %v", swarm.BadExits)
	}
	ctx, cancel := context.WithTimeout(context.Background(), readLimit)
	defer cancel()
	f, err := facts.Read(ctx, c.Opts(), spec.Prefix)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s, %d kills %v (ingest, sessionize, detect): %d flows, %d rejects, %d sessions closed, %d findings in %v; %v",
		c.Kind, swarm.Kills, by, f.Flows, f.Rejects, f.Closed, len(f.Findings), took.Round(time.Second), &j.lives)
	return f
}

// harm kills random processes at random instants.
func (k *plan) harm(t *testing.T, swarm *simtest.Swarm, rate float64, seed uint64) (by [services]int) {
	t.Helper()
	if rate == 0 {
		return by
	}
	rng := rand.New(rand.NewPCG(seed, 11))
	for range k.kills {
		pause := time.NewTimer(k.between/2 + time.Duration(rng.Int64N(int64(k.between))))
		<-pause.C
		i := rng.IntN(2 * services)
		by[i%services]++
		if err := swarm.Kill(i); err != nil {
			t.Fatal(err)
		}
	}
	return by
}

func (k *plan) test(t *testing.T, c *kafkatest.Cluster) {
	t.Helper()
	log, size, lines := k.flowLog(t)
	want := k.run(t, c, memberSpec{Log: log}, 0)
	if want.Closed == 0 || len(want.Findings) == 0 || want.Flows+want.Rejects > int(lines) {
		t.Fatalf("the run without kills gave %d flows of %d lines, %d sessions and %d findings", want.Flows, lines, want.Closed, len(want.Findings))
	}
	seed := uint64(time.Now().UnixNano())
	whole := time.Duration(k.kills) * k.between
	have := k.run(t, c, memberSpec{Log: log, Rate: float64(size) / whole.Seconds()}, seed)
	s, f := facts.Against(want.Sessions, have.Sessions), facts.Against(want.Findings, have.Findings)
	t.Logf("| kills | flows | sessions | lost | duplicated | changed | findings | lost | duplicated | changed |\n| %d | %d | %d | %d | %d | %d | %d | %d | %d | %d |",
		k.kills, have.Flows, have.Closed, s.Lost, s.Duplicated, s.Changed, len(have.Findings), f.Lost, f.Duplicated, f.Changed)
	if err := facts.Check(want, have); err != nil {
		t.Errorf("seed %d: %v", seed, err)
	}
}

// TestKill is the short cut; TestKillLong is the whole.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("runs processes and kills them for half a minute")
	}
	k := plan{rate: 1.6, kills: 10, between: 1500 * time.Millisecond, limit: endLimit}
	k.test(t, kafkatest.Real(t))
}

// TestKillLong: at least 200 kills over at least 2 million flows.
func TestKillLong(t *testing.T) {
	if os.Getenv("FLOWSTITCH_LONG") != "1" {
		t.Skip("set FLOWSTITCH_LONG=1 (make test-long): it takes seven minutes")
	}
	k := plan{rate: 72, kills: 210, between: 1500 * time.Millisecond, limit: 2 * endLimit}
	k.test(t, kafkatest.Real(t))
}
