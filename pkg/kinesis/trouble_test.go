package kinesis

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/kinesis/kinesistest"
	"github.com/flowstitch/flowstitch/pkg/kinesis/kpl"
	"github.com/flowstitch/flowstitch/pkg/kinesis/shard"
)

// sum adds a counter up over all its labels that contain the text.
func (p *pod) sum(t *testing.T, name, label string) (n float64) {
	t.Helper()
	families, err := p.tel.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "flowstitch_ingest_kinesis_"+name {
			continue
		}
		for _, m := range f.GetMetric() {
			if strings.Contains(fmt.Sprint(m.GetLabel()), label) {
				n += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return n
}

// TestTroubleDelaysAndNeverSkips makes a third of all calls fail, in every way
// that the service has, and lets the iterators expire.
func TestTroubleDelaysAndNeverSkips(t *testing.T) {
	t.Parallel()
	for _, fanOut := range []string{"", "flowstitch"} {
		t.Run("fan-out "+fanOut, func(t *testing.T) {
			srv := kinesistest.Start(t)
			srv.SubscriptionLife(200 * time.Millisecond)
			p := newDriver(t, srv.URL)
			p.KPL = true
			p.Create(4)
			cfg := testConfig(srv.URL)
			cfg.Streams[0].FanOut = fanOut
			d := newDeployment(t, cfg, 3)
			pod := d.join(all(3)...)
			p.Feed(300)
			d.check(p)
			var mu sync.Mutex
			calls := 0
			faults := []kinesistest.Fault{kinesistest.Throttled, kinesistest.ExpiredToken, kinesistest.Internal, kinesistest.Denied, kinesistest.Expired}
			srv.Fail(func(op, _ string) *kinesistest.Fault {
				if op == "PutRecords" || op == "DescribeStreamSummary" {
					return nil
				}
				mu.Lock()
				defer mu.Unlock()
				if calls++; calls%3 > 0 {
					return nil
				}
				return &faults[calls/3%len(faults)]
			})
			p.Feed(300)
			srv.ExpireIterators()
			p.Feed(300)
			d.check(p)
			d.wait("every kind of fault", func() bool {
				for _, kind := range []string{"throttled", "credentials", "service", "denied"} {
					if pod.sum(t, "faults_total", kind) == 0 {
						return false
					}
				}
				return true
			})
			srv.Fail(nil)
			p.Split(1)
			p.Feed(300)
			p.Merge(0)
			p.Feed(300)
			d.check(p)
			if fanOut != "" && (srv.Calls("GetRecords") > 0 || pod.sum(t, "calls_total", "SubscribeToShard") == 0) {
				t.Error("the shards were not read by subscriptions")
			}
			if fanOut == "" && pod.sum(t, "faults_total", "iterator_expired") == 0 {
				t.Error("no expired iterator was counted")
			}
		})
	}
}

func TestCountersBalance(t *testing.T) {
	srv := kinesistest.Start(t)
	p := newDriver(t, srv.URL)
	p.Create(2)
	d := newDeployment(t, testConfig(srv.URL), 2)
	pod := d.join(0, 1)
	p.Feed(200)
	d.check(p)
	if r, u := pod.sum(t, "records_total", "vpc"), pod.sum(t, "user_records_total", "vpc"); r != 200 || u != 200 {
		t.Errorf("%v records and %v user records counted of 200", r, u)
	}
	if pod.sum(t, "read_bytes_total", "vpc") == 0 || pod.sum(t, "reading_shards", "vpc") != 2 {
		t.Error("bytes or shards are not shown")
	}
	pod.kill()
	if n := pod.sum(t, "in_flight_bytes", ""); n != 0 {
		t.Errorf("%v bytes of the budget are lost", n)
	}
	if n := pod.sum(t, "reading_shards", "vpc"); n != 0 {
		t.Errorf("%v shards are still being read", n)
	}
}

func TestBrokenAggregateIsOneReject(t *testing.T) {
	srv := kinesistest.Start(t)
	p := newDriver(t, srv.URL)
	p.Create(1)
	d := newDeployment(t, testConfig(srv.URL), 1)
	pod := d.join(0)
	bad := kpl.Join("k", p.Line(0, 99), p.Line(0, 98))
	bad[9] ^= 1
	p.Raw(0, bad)
	p.Feed(50)
	d.check(p)
	if d.other != 1 || pod.sum(t, "broken_aggregates_total", "vpc") != 1 {
		t.Errorf("%d rejects", d.other)
	}
}

// TestAggregateCutByACrash commits in the middle of aggregates all the time.
func TestAggregateCutByACrash(t *testing.T) {
	srv := kinesistest.Start(t)
	p := newDriver(t, srv.URL)
	p.Create(1)
	var lines [][]byte
	for i := range 950 { // far more than one commit of the test holds
		lines = append(lines, p.Line(0, i+1))
	}
	p.Raw(0, kpl.Join("k", lines...))
	p.Put[0] = len(lines)
	d := newDeployment(t, testConfig(srv.URL), 1)
	crashes := d.crashEvery(3)
	d.join(0)
	d.check(p)
	if crashes() == 0 || d.cut == 0 {
		t.Errorf("%d crashes, %d inside the aggregate", crashes(), d.cut)
	}
}

func TestRetentionTookRecords(t *testing.T) {
	srv := kinesistest.Start(t)
	var mu sync.Mutex
	back := 30 * time.Hour
	srv.Clock(func() time.Time { mu.Lock(); defer mu.Unlock(); return time.Now().Add(-back) })
	p := newDriver(t, srv.URL)
	p.Create(1)
	p.Feed(10)
	cfg := testConfig(srv.URL)
	srv.SetRetention("vpc", 48*time.Hour)
	d := newDeployment(t, cfg, 1)
	pod := d.join(0)
	d.wait("the first records", func() bool { return d.total() == 10 })
	pod.kill()
	// The checkpoint says when the shard was at its tip: now. Make it older, as
	// it would be after 30 hours away.
	for name, value := range d.ledger[0] {
		cp, err := shard.ParseCheckpoint(value)
		if err != nil {
			t.Fatal(err)
		}
		cp.Arrival -= (30 * time.Hour).Milliseconds()
		d.ledger[0][name] = cp.Append(nil)
	}
	p.Feed(10)
	srv.Trim("vpc", "shardId-000000000000", 15)
	srv.SetRetention("vpc", 24*time.Hour)
	d.join(0)
	d.wait("what is left, and the gap", func() bool { return d.total() == 15 && len(d.gaps) > 0 })
	if g := d.gaps[0]; g.To-g.From < 5*3600 || g.To-g.From > 7*3600 || !strings.Contains(g.Reason, "retention") {
		t.Errorf("gap %+v: about 6 hours are missing", g)
	}
}

// TestAShardNobodyCanReadIsGivenUp: the others' clock goes on, a gap is told,
// and when the shard can be read again nothing of it is lost.
func TestAShardNobodyCanReadIsGivenUp(t *testing.T) {
	t.Parallel()
	srv := kinesistest.Start(t)
	p := newDriver(t, srv.URL)
	p.Create(2)
	cfg := testConfig(srv.URL)
	cfg.StuckAfter = 700 * time.Millisecond
	d := newDeployment(t, cfg, 2)
	pod := d.join(0, 1)
	p.Feed(40)
	d.check(p)
	const id = "shardId-000000000001"
	srv.Fail(func(op, shard string) *kinesistest.Fault {
		if shard == id && op != "PutRecords" {
			return &kinesistest.Denied
		}
		return nil
	})
	p.Feed(40)
	d.wait("the gap", func() bool { return len(d.gaps) > 0 && d.gaps[0].Shard == id })
	if pod.sum(t, "coverage_gaps_total", "vpc") == 0 {
		t.Error("the gap is not counted")
	}
	srv.Fail(nil)
	d.check(p)
}

func TestSequenceThatTheServiceRefuses(t *testing.T) {
	srv := kinesistest.Start(t)
	p := newDriver(t, srv.URL)
	p.Create(1)
	d := newDeployment(t, testConfig(srv.URL), 1)
	pod := d.join(0)
	p.Feed(20)
	d.check(p)
	pod.kill()
	p.Feed(20)
	var mu sync.Mutex
	refusals := 0
	srv.Fail(func(op, _ string) *kinesistest.Fault {
		mu.Lock()
		defer mu.Unlock()
		if op == "GetShardIterator" && refusals == 0 {
			refusals++
			return &kinesistest.Fault{Status: 400, Code: "InvalidArgumentException"}
		}
		return nil
	})
	pod = d.join(0)
	d.check(p) // what was read before is not read again
	if pod.sum(t, "repeated_records_total", "vpc") != 20 || len(d.gaps) != 1 {
		t.Errorf("%v records were repeated and dropped, gaps %v", pod.sum(t, "repeated_records_total", "vpc"), d.gaps)
	}
}

func TestDefaultConfigIsValid(t *testing.T) {
	cfg := Default()
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	cfg.Start = "yesterday"
	cfg.Streams = []Stream{{Name: "a/b", ReadsPerSecond: 6, ExternalID: "x"}, {Name: "x", Stream: "s", Endpoint: "::"}, {Name: "x", Stream: "s"}}
	err := cfg.Validate()
	for _, want := range []string{"start:", "streams[0].name", "streams[0].stream", "reads_per_second", "external_id", "streams[1].endpoint", "used twice"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not tell of %s", err, want)
		}
	}
}

func TestPolicyTakesALateness(t *testing.T) {
	cfg := Default()
	p := cfg.Policy(time.Minute, time.Hour)
	if p.Lateness != 3600 || p.MaxDelay != 4200 || p.Check(flow.Time(5), flow.Time(4), 0) == nil {
		t.Errorf("policy %+v", p)
	}
}

func TestPacer(t *testing.T) {
	p := newPacer(&Stream{}, time.Second)
	if w := p.read(100, true); w != 200*time.Millisecond {
		t.Errorf("a busy shard waits %v", w)
	}
	if w := p.read(10<<20, true); w != 5*time.Second {
		t.Errorf("after 10 MiB: %v; AWS throttles for 5 s", w)
	}
	for range 20 {
		p.read(0, false)
	}
	if w := p.read(0, false); w != time.Second {
		t.Errorf("an idle shard waits %v", w)
	}
	before := p.interval
	p.throttled()
	if p.interval != 2*before {
		t.Errorf("throttled: %v after %v", p.interval, before)
	}
	for range 30 {
		if w := p.failed(); w > backoffMost {
			t.Errorf("backoff of %v", w)
		}
	}
}
