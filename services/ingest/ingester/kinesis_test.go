package ingester

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/kafkatest"
	"github.com/flowstitch/flowstitch/pkg/kinesis"
	"github.com/flowstitch/flowstitch/pkg/kinesis/kinesistest"
	"github.com/flowstitch/flowstitch/pkg/kinesis/kpl"
	"github.com/flowstitch/flowstitch/pkg/stage"
	"github.com/flowstitch/flowstitch/pkg/telemetry"
	"github.com/flowstitch/flowstitch/pkg/wire"
)

// Names of the environment through which a test tells a child process, the same
// binary, to be an ingest pod.
const (
	envPod    = "FLOWSTITCH_TEST_POD"
	envPrefix = "FLOWSTITCH_TEST_PREFIX"
	envStream = "FLOWSTITCH_TEST_ENDPOINT"
)

// pod is what the child does instead of tests: ingest until it is killed or its
// standard input is closed.
func pod() int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		}
		cancel()
	}()
	cfg := podConfig(strings.Split(os.Getenv(envPod), ","), os.Getenv(envPrefix), os.Getenv(envStream))
	if err := Run(ctx, cfg, telemetry.Quiet()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func podConfig(brokers []string, prefix, endpoint string) Config {
	cfg := Default()
	cfg.Kafka.Brokers = brokers
	cfg.Pipeline.Prefix, cfg.Pipeline.Partitions, cfg.Pipeline.Slots = prefix, 6, 6
	cfg.Pipeline.CommitInterval = 20 * time.Millisecond
	cfg.Pipeline.Replication = 1
	cfg.Kinesis.Start = "oldest"
	cfg.Kinesis.ListEvery, cfg.Kinesis.IdlePoll = 500*time.Millisecond, 50*time.Millisecond
	cfg.Kinesis.Streams = []kinesis.Stream{{Name: "vpc", Stream: "vpc", Region: "us-east-1", Endpoint: endpoint, ReadsPerSecond: 100, BytesPerSecond: 1 << 30}}
	return cfg
}

// line is a flow log line of a lane, which has a 5-tuple of its own; its number
// is the count of bytes.
func line(lane, number int) []byte { return lineAt(time.Now(), lane, number) }

// lineAt is the line of a flow that ended at a time.
func lineAt(end time.Time, lane, number int) []byte {
	at := end.Unix()
	return fmt.Appendf(nil, "2 123456789012 eni-0a1b2c3d4e5f%05d 10.0.0.%d 203.0.113.9 %d 443 6 1 %d %d %d ACCEPT OK", lane, lane, 40000+lane, number, at-10, at)
}

// child is a running pod.
type child struct {
	cmd   *exec.Cmd
	stdin interface{ Close() error }
}

func startPod(t *testing.T, c *kafkatest.Cluster, prefix, endpoint string) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envPod+"="+strings.Join(c.Addrs, ","), envPrefix+"="+prefix, envStream+"="+endpoint,
		"AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &child{cmd, in}
	t.Cleanup(p.kill)
	return p
}

// kill is kill -9.
func (p *child) kill() {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait() // it says that the process was killed
	}
}

// leave ends the pod in order.
func (p *child) leave(t *testing.T) {
	t.Helper()
	p.stdin.Close()
	if err := p.cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// flows reads the flows topic of a prefix, read_committed.
type flows struct {
	cl  *kgo.Client
	got map[int][]int
	n   int
	raw []string // of the rejects
	// gaps are the records of coverage gaps.
	gaps []flow.Record
	// watermark is the highest of a slot that has shards.
	watermark flow.Time
	marks     map[int]flow.Time // the last of each slot that is not idle
}

func readFlows(t *testing.T, c *kafkatest.Cluster, prefix string) *flows {
	t.Helper()
	names := stage.Topics{Prefix: prefix}
	cl, err := kgo.NewClient(append(c.Opts(), kgo.ConsumeTopics(names.Name("flows"), names.Name("rejects")), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.UnknownTopicRetries(-1), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return &flows{cl: cl, got: map[int][]int{}, watermark: flow.MinTime, marks: map[int]flow.Time{}}
}

// until reads on until n flows are there.
func (f *flows) until(t *testing.T, n int, limit time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	for f.n < n {
		fs := f.cl.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("%d of %d flows after %v", f.n, n, limit)
		}
		fs.EachRecord(func(r *kgo.Record) { f.take(t, r) })
	}
}

func (f *flows) take(t *testing.T, r *kgo.Record) {
	if strings.HasSuffix(r.Topic, "rejects.v1") {
		f.raw = append(f.raw, string(r.Value))
		return
	}
	if wire.IsMark(r.Value) {
		var m wire.Mark
		if err := wire.ParseMark(r.Value, &m); err != nil {
			t.Error(err)
		}
		if delete(f.marks, int(m.Slot)); !m.Idle {
			f.watermark = max(f.watermark, m.Watermark)
			f.marks[int(m.Slot)] = m.Watermark
		}
		return
	}
	var rec flow.Record
	if _, err := wire.ParseFlow(r.Key, r.Value, &rec); err != nil {
		t.Error(err)
	}
	if rec.Kind == flow.KindSkipData {
		f.gaps = append(f.gaps, rec)
		return
	}
	lane := int(rec.Src.Port) - 40000
	f.got[lane] = append(f.got[lane], int(rec.Bytes))
	f.n++
}

// settled reads what else there is, for a moment: there should be nothing.
func (f *flows) settled(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	for ctx.Err() == nil {
		f.cl.PollFetches(ctx).EachRecord(func(r *kgo.Record) { f.take(t, r) })
	}
}

func (f *flows) check(t *testing.T, d *kinesistest.Driver) {
	t.Helper()
	f.until(t, d.Total(), 120*time.Second)
	f.settled(t)
	for _, w := range d.Check(f.got) {
		t.Error(w)
	}
}

func long() bool { return os.Getenv("FLOWSTITCH_LONG") == "1" }

// TestKillsBetweenProduceAndCommit kills ingest pods with kill -9 while a stream
// of aggregates over 16 shards is fed, throttled and resharded: while the pod runs,
// while it is away, and twice in a row while it is away. Now and then another pod
// joins and leaves in order. The long cut does the same to both emulators.
func TestKillsBetweenProduceAndCommit(t *testing.T) {
	t.Parallel()
	c := kafkatest.Start(t)
	services := map[string]func(testing.TB) string{"fake": func(t testing.TB) string { return kinesistest.Start(t).URL }}
	kills := 2
	if long() {
		kills = 50
		services["kinesalite"], services["kinesis-local"] = kinesistest.Kinesalite, kinesistest.KinesisLocal
	}
	for name, start := range services {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			killPods(t, c, start(t), kills)
		})
	}
}

// reshards splits and merges in turn, and counts.
type reshards struct {
	d *kinesistest.Driver
	n int
}

func (r *reshards) next(i int) {
	r.n++
	if i%2 == 0 {
		r.d.Split(i % 16)
	} else {
		r.d.Merge(i % 15)
	}
}

func killPods(t *testing.T, c *kafkatest.Cluster, service string, kills int) {
	const patience = 120 * time.Second
	prefix := kafkatest.Prefix(t)
	throttler := kinesistest.Throttle(t, service, 5)
	d := kinesistest.NewDriver(t, service, "vpc", 40, line)
	d.KPL = true
	d.Create(16)
	f := readFlows(t, c, prefix)
	victim := startPod(t, c, prefix, throttler.URL)
	var other *child
	reshard := &reshards{d: d}
	for i := range kills {
		d.Feed(600)
		reshard.next(i)
		f.until(t, d.Total()-500, patience) // it is at work: somewhere between a produce and a commit
		victim.kill()
		d.Feed(100)
		if i%2 == 1 {
			for n := range 4 { // a split and a merge of what came of it, twice
				reshard.next(i + n)
				d.Feed(50)
			}
		}
		victim = startPod(t, c, prefix, throttler.URL)
		switch i % 10 {
		case 0:
			other = startPod(t, c, prefix, throttler.URL)
		case 1:
			other.leave(t)
		}
	}
	d.Feed(100)
	f.check(t, d)
	if throttler.Refused() == 0 {
		t.Error("no read was throttled")
	}
	t.Logf("%d kills, %d reshards, %d reads throttled, %d records put in %d Kinesis records, %d came out, broker %s",
		kills, reshard.n, throttler.Refused(), d.Total(), d.Records, f.n, c)
}

// TestSecondPodJoinsAndLeaves hands slots over in order and by force.
func TestSecondPodJoinsAndLeaves(t *testing.T) {
	t.Parallel()
	c := kafkatest.Start(t)
	prefix := kafkatest.Prefix(t)
	srv := kinesistest.Start(t)
	d := kinesistest.NewDriver(t, srv.URL, "vpc", 40, line)
	d.Create(16)
	f := readFlows(t, c, prefix)
	first := startPod(t, c, prefix, srv.URL)
	d.Feed(300)
	f.until(t, 200, 60*time.Second)
	second := startPod(t, c, prefix, srv.URL)
	for i := range 5 {
		d.Feed(300)
		d.Split(i)
		f.until(t, d.Total()-200, 60*time.Second)
	}
	first.leave(t)
	d.Feed(300)
	f.check(t, d)
	second.leave(t)
}

// TestBadRecordsAreRejectedWithTheirBytes: a record from 2100, one from 1970, when
// there was no VPC, and a broken aggregate, none of which may touch the clock; one
// of 2011 is a flow, and does not turn it back.
func TestBadRecordsAreRejectedWithTheirBytes(t *testing.T) {
	t.Parallel()
	c := kafkatest.Start(t)
	prefix := kafkatest.Prefix(t)
	srv := kinesistest.Start(t)
	d := kinesistest.NewDriver(t, srv.URL, "vpc", 4, line)
	d.Create(2)
	f := readFlows(t, c, prefix)
	future := "2 123456789012 eni-0a 10.0.0.1 203.0.113.9 40000 443 6 1 7 4102444800 4102444860 ACCEPT OK"
	broken := kpl.Join("k", line(0, 1), line(0, 2))
	broken[len(broken)-1] ^= 1
	d.Raw(0, []byte(future))
	d.Raw(1, broken)
	ancient := lineAt(time.Unix(60, 0), 2, 1)
	d.Raw(2, ancient)
	d.Raw(3, lineAt(time.Unix(1_300_000_000, 0), 3, 1))
	d.Put[3]++
	d.Feed(20)
	startPod(t, c, prefix, srv.URL)
	f.check(t, d)
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	for len(f.raw) < 3 && ctx.Err() == nil {
		f.cl.PollFetches(ctx).EachRecord(func(r *kgo.Record) { f.take(t, r) })
	}
	if !slices.Contains(f.raw, future) || !slices.Contains(f.raw, string(broken)) || !slices.Contains(f.raw, string(ancient)) {
		t.Errorf("rejects %q", f.raw)
	}
	// The clock is that of idle shards, 16 minutes behind the wall, and not of
	// the year 2100.
	for f.watermark == flow.MinTime && ctx.Err() == nil {
		f.cl.PollFetches(ctx).EachRecord(func(r *kgo.Record) { f.take(t, r) })
	}
	if behind := time.Since(f.watermark.UTC()); behind < 5*time.Minute || behind > 17*time.Minute {
		t.Errorf("the watermark is %v, %v behind", f.watermark, behind)
	}
}
