package kinesis

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/kinesis/kinesistest"
	"github.com/flowstitch/flowstitch/pkg/kinesis/shard"
)

// deployment is several pods that share slots, with the ledger in memory: a
// commit applies a slot's output and its checkpoints together, or a crash drops
// both. It stands for pkg/stage, so that the whole reader is tested with as
// many crashes as we like.
type deployment struct {
	t     testing.TB
	cfg   Config
	slots int

	mu     sync.Mutex
	ledger []map[string][]byte
	owner  []int  // by slot: the epoch that may commit
	given  []*pod // by slot: the pod that may take it
	pods   []*pod
	got    map[int][]int // numbers by lane, in the order of commits
	other  int           // deliveries that are no line of a lane
	gaps   []Gap
	marks  []flow.Time
	spoken []bool
	clock  flow.Time
	late   int
	commit int
	cut    int // crashes after which a record of Kinesis is read on in its middle
	crash  func() bool
	fresh  chan struct{}
	limit  time.Duration // of waiting for something

	options []func(*awsconfig.LoadOptions) error
}

func awsOptions() []func(*awsconfig.LoadOptions) error {
	return []func(*awsconfig.LoadOptions) error{
		awsconfig.WithCredentialsProvider(credentials.NewStaticCredentialsProvider("test", "test", "")),
		awsconfig.WithRegion("us-east-1"),
	}
}

func testConfig(url string) Config {
	cfg := Default()
	cfg.Start = "oldest"
	cfg.ListEvery = 500 * time.Millisecond
	cfg.IdlePoll = 20 * time.Millisecond
	cfg.Streams = []Stream{{Name: "vpc", Stream: "vpc", Region: "us-east-1", Endpoint: url, ReadsPerSecond: 200, BytesPerSecond: 1 << 30}}
	return cfg
}

func newDeployment(t testing.TB, cfg Config, slots int) *deployment {
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	d := &deployment{t: t, cfg: cfg, slots: slots, got: map[int][]int{}, clock: flow.MinTime,
		crash: func() bool { return false }, fresh: make(chan struct{}, 1), limit: 60 * time.Second, options: awsOptions()}
	for range slots {
		d.ledger, d.owner, d.given = append(d.ledger, map[string][]byte{}), append(d.owner, 0), append(d.given, nil)
		d.marks, d.spoken = append(d.marks, flow.MaxTime), append(d.spoken, false)
	}
	t.Cleanup(d.stopAll)
	return d
}

func (d *deployment) learn(c *Consumer, records map[string][]byte) {
	for name, value := range records {
		if err := c.Learn(name, value); err != nil {
			d.t.Error(err)
		}
	}
}

func all(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// progress reports whether a commit carries records, or a shard that was begun or
// ended. Only such a commit may crash: with a service that takes seconds for a
// call hundreds of commits carry nothing, and if those counted, every owner of a
// slot would be dead before its first read came back.
func (d *deployment) progress(n int, lines []string, saves []Save) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(lines) > 0 || slices.ContainsFunc(saves, func(s Save) bool {
		before, err1 := shard.ParseCheckpoint(d.ledger[n][s.Name])
		after, err2 := shard.ParseCheckpoint(s.Value)
		return err1 != nil || err2 != nil || before.State != after.State
	})
}

// cutting counts a crash of a slot that will go on in the middle of an aggregate.
func (d *deployment) cutting(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, value := range d.ledger[n] {
		if cp, err := shard.ParseCheckpoint(value); err == nil && cp.Sub > 0 {
			d.cut++
			return
		}
	}
}

func parse(line []byte) (end flow.Time, fields []string) {
	fields = strings.Fields(string(line))
	if len(fields) != 3 {
		return 0, nil
	}
	n, _ := strconv.ParseInt(fields[2], 10, 64)
	return flow.Time(n), fields
}

// apply is the transaction: it is refused where another owner has the slot.
func (d *deployment) apply(n, epoch int, lines []string, saves []Save, gaps []Gap, w flow.Time, idle bool) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.owner[n] != epoch {
		return false
	}
	for _, line := range lines {
		end, f := parse([]byte(line))
		if f == nil {
			d.other++
			continue
		}
		lane, _ := strconv.Atoi(f[0])
		number, _ := strconv.Atoi(f[1])
		d.got[lane] = append(d.got[lane], number)
		if end < d.clock {
			d.late++
		}
	}
	changed := map[string][]byte{}
	for _, s := range saves {
		changed[s.Name] = s.Value
		if s.Value == nil {
			delete(d.ledger[n], s.Name)
		} else {
			d.ledger[n][s.Name] = s.Value
		}
	}
	for _, p := range d.pods {
		d.learn(p.c, changed)
	}
	d.gaps = append(d.gaps, gaps...)
	if idle {
		w = flow.MaxTime
	}
	d.marks[n], d.spoken[n] = w, d.spoken[n] || w != flow.MinTime
	if low := slices.Min(d.marks); !slices.Contains(d.spoken, false) && low != flow.MaxTime {
		d.clock = max(d.clock, low)
	}
	d.commit++
	select {
	case d.fresh <- struct{}{}:
	default:
	}
	return true
}

// crashEvery makes a crash of about one in n commits that carry something, before
// the commit, and returns how many there were.
func (d *deployment) crashEvery(n int) func() int {
	var mu sync.Mutex
	rng, crashes := rand.New(rand.NewPCG(7, 7)), 0
	d.crash = func() bool {
		mu.Lock()
		defer mu.Unlock()
		if rng.IntN(n) != 0 {
			return false
		}
		crashes++
		return true
	}
	return func() int {
		mu.Lock()
		defer mu.Unlock()
		return crashes
	}
}

func (d *deployment) stopAll() {
	d.mu.Lock()
	pods := slices.Clone(d.pods)
	d.mu.Unlock()
	for _, p := range pods {
		p.kill()
	}
}

// wait waits until a condition on the deployment holds.
func (d *deployment) wait(what string, ok func() bool) {
	d.t.Helper()
	limit := time.After(d.limit)
	holds := func() bool {
		d.mu.Lock()
		defer d.mu.Unlock() // also when ok ends the test, whose clean-up locks
		return ok()
	}
	for !holds() {
		select {
		case <-d.fresh:
		case <-time.After(50 * time.Millisecond):
		case <-limit:
			d.mu.Lock()
			n, state := d.total(), d.state()
			d.mu.Unlock()
			d.t.Fatalf("waited for %s in vain; %d records are there\n%s", what, n, state)
		}
	}
}

// state tells how far each shard is, and what failed, for a test that waited in vain.
func (d *deployment) state() string {
	var b strings.Builder
	for n := range d.ledger {
		for _, name := range slices.Sorted(maps.Keys(d.ledger[n])) {
			cp, err := shard.ParseCheckpoint(d.ledger[n][name])
			fmt.Fprintf(&b, "slot %d: %s of %v, state %d, %d read, at %s/%d, arrival %s, error %v\n", n, cp.Shard, cp.Parents, cp.State, cp.Count,
				cp.Sequence, cp.Sub, time.UnixMilli(cp.Arrival).Format(time.TimeOnly), err)
		}
	}
	for _, p := range d.pods {
		families, err := p.tel.Registry.Gather()
		fmt.Fprintf(&b, "a pod, error %v:\n", err)
		for _, f := range families {
			fmt.Fprintf(&b, "  %s %v\n", f.GetName(), f.GetMetric())
		}
	}
	return b.String()
}

// count is total for a test that does not hold the lock.
func (d *deployment) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.total()
}

func (d *deployment) total() (n int) {
	for _, c := range d.got {
		n += len(c)
	}
	return n
}

// newDriver drives the stream of testConfig with lines of lane, number, end.
func newDriver(t testing.TB, url string) *kinesistest.Driver {
	return kinesistest.NewDriver(t, url, "vpc", 40, func(lane, number int) []byte {
		return fmt.Appendf(nil, "%d %d %d", lane, number, time.Now().Unix())
	})
}

// check asserts that every record that was put came out once and in order.
func (d *deployment) check(p *kinesistest.Driver) {
	d.t.Helper()
	d.wait(fmt.Sprintf("%d records", p.Total()), func() bool { return d.total() >= p.Total() })
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, w := range p.Check(d.got) {
		d.t.Error(w)
	}
	if d.late > 0 {
		d.t.Errorf("%d records came out behind the clock", d.late)
	}
}
