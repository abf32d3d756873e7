package ingester

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/flowstitch/flowstitch/pkg/kafkatest"
	"github.com/flowstitch/flowstitch/pkg/kinesis/kinesistest"
	"github.com/flowstitch/flowstitch/pkg/stage"
	"github.com/flowstitch/flowstitch/pkg/telemetry"
)

// inProcess is an ingest pod in the test's own process, whose metrics it reads.
type inProcess struct {
	t    *testing.T
	tel  *telemetry.Telemetry
	stop func()
}

func runHere(t *testing.T, cfg Config) *inProcess {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	ctx, cancel := context.WithCancel(context.Background())
	p := &inProcess{t: t, tel: telemetry.Quiet()}
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, cfg, p.tel) }()
	p.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(p.stop)
	return p
}

// metric adds a family up over those of its labels that contain the text.
func (p *inProcess) metric(name, label string) (sum float64) {
	p.t.Helper()
	return metric(p.t, p.tel.Registry, name, label)
}

func metric(t *testing.T, reg prometheus.Gatherer, name, label string) (sum float64) {
	t.Helper()
	return family(t, reg, "flowstitch_ingest_"+name, label)
}

func family(t testing.TB, reg prometheus.Gatherer, name, label string) (sum float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			if strings.Contains(fmt.Sprint(m.GetLabel()), label) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// read reads flows until something holds.
func (f *flows) read(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	for !holds() {
		if ctx.Err() != nil {
			t.Fatalf("waited for %s in vain; %d flows are there", what, f.n)
		}
		poll, stop := context.WithTimeout(ctx, 50*time.Millisecond)
		f.cl.PollFetches(poll).EachRecord(func(r *kgo.Record) { f.take(t, r) })
		stop()
	}
}

// TestAShardHoursBehindPausesTheRest follows one shard of four that stands at
// its first page through the whole service: the other three are paused, the
// clock of flows waits, and all of it shows in the metrics.
func TestAShardHoursBehindPausesTheRest(t *testing.T) {
	c := kafkatest.Start(t)
	prefix := kafkatest.Prefix(t)
	srv := kinesistest.Start(t)
	var mu sync.Mutex
	at := time.Now().Add(-90 * time.Minute)
	now := func() time.Time { mu.Lock(); defer mu.Unlock(); return at }
	srv.Clock(now)
	srv.RecordsPerCall(10)
	d := kinesistest.NewDriver(t, srv.URL, "vpc", 40, func(lane, number int) []byte { return lineAt(now(), lane, number) })
	d.Create(4)
	for range 6 {
		d.Feed(160)
		mu.Lock()
		at = at.Add(15 * time.Minute)
		mu.Unlock()
	}
	shards := []string{"shardId-000000000000", "shardId-000000000001", "shardId-000000000002", "shardId-000000000003"}
	for _, id := range shards {
		srv.Hold("vpc", id, 10)
	}
	f := readFlows(t, c, prefix)
	p := runHere(t, podConfig(c.Addrs, prefix, srv.URL))
	f.until(t, 40, 60*time.Second)
	for _, id := range shards[1:] {
		srv.Hold("vpc", id, -1)
	}
	f.read(t, "three paused shards", func() bool { return p.metric("kinesis_paused_shards", "vpc") == 3 })
	f.settled(t)
	if f.n > d.Total()/2 {
		t.Errorf("%d of %d flows came while one shard stands at the first", f.n, d.Total())
	}
	if n := p.metric("kinesis_reading_shards", "vpc"); n != 1 {
		t.Errorf("%v shards are being read", n)
	}
	if s := p.metric("kinesis_behind_seconds", "vpc"); s < 80*60 || s > 100*60 {
		t.Errorf("%v s behind the tip; it is an hour and a half", s)
	}
	f.read(t, "a mark of each slot that has a shard", func() bool { return len(f.marks) == 4 })
	low := f.watermark
	for _, w := range f.marks {
		low = min(low, w)
	}
	if behind := time.Since(low.UTC()); behind < 80*time.Minute {
		t.Errorf("the clock of flows is only %v behind: it does not wait for the shard", behind)
	}
	srv.Hold("vpc", shards[0], -1)
	f.check(t, d)
	f.read(t, "no paused shard", func() bool {
		return p.metric("kinesis_paused_shards", "vpc") == 0 && p.metric("kinesis_behind_seconds", "vpc") == 0
	})
	if n := p.metric("records_total", "flow"); n != float64(d.Total()) {
		t.Errorf("%v flows are counted of %d", n, d.Total())
	}
	p.stop()
	if n := p.metric("kinesis_in_flight_bytes", "") + p.metric("kinesis_reading_shards", ""); n != 0 {
		t.Errorf("%v shards or bytes are left behind", n)
	}
}

// TestAShardThatNobodyCanReadIsAGapInFlows: when policy lets it go, the clock of
// flows goes on and a record there says for what time nothing is known; when it
// can be read again all of it comes.
func TestAShardThatNobodyCanReadIsAGapInFlows(t *testing.T) {
	c := kafkatest.Start(t)
	prefix := kafkatest.Prefix(t)
	srv := kinesistest.Start(t)
	d := kinesistest.NewDriver(t, srv.URL, "vpc", 8, line)
	d.Create(2)
	d.Feed(40)
	f := readFlows(t, c, prefix)
	cfg := podConfig(c.Addrs, prefix, srv.URL)
	cfg.Kinesis.StuckAfter = 700 * time.Millisecond
	p := runHere(t, cfg)
	f.until(t, 40, 60*time.Second)
	const id = "shardId-000000000001"
	srv.Fail(func(op, shard string) *kinesistest.Fault {
		if shard == id && op != "PutRecords" {
			return &kinesistest.Denied
		}
		return nil
	})
	d.Feed(40)
	f.read(t, "the gap", func() bool { return len(f.gaps) > 0 })
	g := f.gaps[0]
	if g.InterfaceID != "kinesis/vpc/"+id || g.End <= g.Start || len(g.Attrs) != 1 || !strings.Contains(g.Attrs[0].Value, "could not be read") {
		t.Errorf("the gap is %+v", g)
	}
	if p.metric("kinesis_coverage_gaps_total", "vpc") == 0 || p.metric("records_total", "skipdata") == 0 || p.metric("kinesis_faults_total", "denied") == 0 {
		t.Error("the gap or its cause is not counted")
	}
	srv.Fail(nil)
	f.check(t, d)
}

// TestASlowBrokerSlowsTheReaders: while the broker takes nothing, no more is
// read than memory_bytes and the transactions at hand hold; then all comes.
func TestASlowBrokerSlowsTheReaders(t *testing.T) {
	c := kafkatest.Embedded(t)
	prefix := kafkatest.Prefix(t)
	srv := kinesistest.Start(t)
	const records, size = 900, 50_000 // 45 MB of what is no flow log, so that as much goes to the broker
	d := kinesistest.NewDriver(t, srv.URL, "vpc", 4, nil)
	d.Create(4)
	for i := range records {
		d.Raw(i%4, fmt.Appendf(nil, "%06d%s", i, bytes.Repeat([]byte("x"), size-6)))
	}
	cfg := podConfig(c.Addrs, prefix, srv.URL)
	cfg.Pipeline.Slots, cfg.Kinesis.MemoryBytes = 1, 10<<20
	names := stage.Topics{Prefix: prefix}
	refuse := c.Fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: names.Name("rejects"), Err: kerr.NotEnoughReplicas, Count: -1})
	f := readFlows(t, c, prefix)
	p := runHere(t, cfg)
	calls, since := -1, time.Now()
	f.read(t, "the reads to stop", func() bool {
		if held := p.metric("kinesis_in_flight_bytes", ""); held > 10<<20 {
			t.Fatalf("%v bytes are in flight", held)
		}
		if n := srv.Calls("GetRecords"); n != calls || p.metric("kinesis_read_bytes_total", "vpc") == 0 {
			calls, since = n, time.Now()
		}
		return time.Since(since) > 500*time.Millisecond
	})
	read := p.metric("kinesis_read_bytes_total", "vpc")
	if read == 0 || read > 30<<20 {
		t.Errorf("%v of %d bytes were read while the broker takes nothing", read, records*size)
	}
	refuse.Remove()
	f.read(t, "all of it", func() bool { return len(f.raw) >= records })
	slices.Sort(f.raw)
	for i, raw := range f.raw {
		if !strings.HasPrefix(raw, fmt.Sprintf("%06d", i)) || len(raw) != size {
			t.Fatalf("reject %d of %d is %.10q of %d bytes", i, len(f.raw), raw, len(raw))
		}
	}
	t.Logf("the reads stopped at %v of %d bytes", read, records*size)
}
