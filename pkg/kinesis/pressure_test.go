package kinesis

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/flowstitch/flowstitch/pkg/kinesis/kinesistest"
	"github.com/flowstitch/flowstitch/pkg/telemetry"
)

// padded makes the driver's lines this many bytes longer.
func padded(p *kinesistest.Driver, n int) {
	p.Line = func(lane, number int) []byte {
		return fmt.Appendf(nil, "%d %d %d%s", lane, number, time.Now().Unix(), strings.Repeat(" ", n))
	}
}

// takeSlot makes a consumer with one slot, for a test that takes records by hand.
func takeSlot(t *testing.T, cfg Config) *Slot {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c, err := New(ctx, cfg, 1, cfg.Policy(time.Minute, 0), telemetry.Quiet(), awsOptions()...)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = c.Run(ctx) }()
	s, err := c.Slot(ctx, 0, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(); cancel(); <-ended })
	return s
}

// await looks again and again until something holds.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick, limit := time.NewTicker(5*time.Millisecond), time.After(60*time.Second)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("waited for %s in vain", what)
		}
	}
}

// next takes one record.
func (s *Slot) next(ctx context.Context, t *testing.T) (lane string, size int) {
	t.Helper()
	d := s.Next(ctx)
	if d == nil {
		t.Fatal("nothing comes out")
	}
	lane, _, _ = strings.Cut(string(d.Data), " ")
	size = len(d.Data)
	s.Accept(0)
	return lane, size
}

// TestAHotShardStarvesNoOther: one shard has far more than the others, and
// theirs comes out after a turn of the hot one each.
func TestAHotShardStarvesNoOther(t *testing.T) {
	srv := kinesistest.Start(t)
	p := newDriver(t, srv.URL)
	p.Create(4)
	padded(p, 10_000)
	for i := range 1000 { // 10 MB into the first shard
		p.Raw(0, p.Line(0, i+1))
	}
	for _, lane := range []int{15, 25, 35} {
		p.Raw(lane, p.Line(lane, 1))
	}
	s := takeSlot(t, testConfig(srv.URL))
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	met, hot := map[string]bool{}, 0
	take := func() {
		if lane, size := s.next(ctx, t); lane == "0" {
			hot += size
		} else {
			met[lane] = true
		}
	}
	take()
	await(t, "a page of every shard", func() bool {
		for _, k := range s.order {
			if s.cursors[k].page == nil && len(s.readers[k].pages) == 0 {
				return false
			}
		}
		return len(s.order) == 4
	})
	for len(met) < 3 {
		take()
	}
	if most := 4*turnBytes + 10_100; hot > most {
		t.Errorf("%d bytes of the hot shard came before the quiet ones; %d are fair", hot, most)
	}
}

// TestShardsTakeTurnsWithinTheBound: sixteen shards have room for one page
// together, and all of them come to their end.
func TestShardsTakeTurnsWithinTheBound(t *testing.T) {
	srv := kinesistest.Start(t)
	p := newDriver(t, srv.URL)
	padded(p, 10_000)
	p.Create(16)
	p.Feed(1500) // 15 MB
	cfg := testConfig(srv.URL)
	cfg.MemoryBytes = maxResponse
	d := newDeployment(t, cfg, 4)
	pod := d.join(all(4)...)
	d.wait("all", func() bool {
		if held := pod.sum(t, "in_flight_bytes", ""); held > maxResponse {
			t.Fatalf("%v bytes are in flight", held)
		}
		return d.total() >= p.Total()
	})
	d.check(p)
}

// TestASlowTakerSlowsTheReaders: who takes nothing, as while a broker is slow,
// stops the reads at the bound of bytes, and gets all when he takes again.
func TestASlowTakerSlowsTheReaders(t *testing.T) {
	t.Parallel()
	srv := kinesistest.Start(t)
	p := newDriver(t, srv.URL)
	p.Create(8)
	padded(p, 10_000)
	const n = 2400 // 24 MB
	p.Feed(n)
	cfg := testConfig(srv.URL)
	cfg.MemoryBytes = maxResponse
	s := takeSlot(t, cfg)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	s.next(ctx, t)
	calls, since := -1, time.Now()
	await(t, "the reads to stop", func() bool {
		if held := testutil.ToFloat64(s.c.metrics.inFlight); held > maxResponse {
			t.Fatalf("%v bytes are in flight", held)
		}
		if now := srv.Calls("GetRecords"); now != calls {
			calls, since = now, time.Now()
		}
		return time.Since(since) > 500*time.Millisecond // a shard that is read is read every 20 ms
	})
	read := testutil.ToFloat64(s.c.metrics.bytes.WithLabelValues("vpc"))
	if read == 0 || read > maxResponse {
		t.Errorf("%v bytes were read, of which one record was taken", read)
	}
	for range n - 1 {
		s.next(ctx, t)
		if held := testutil.ToFloat64(s.c.metrics.inFlight); held > maxResponse {
			t.Fatalf("%v bytes are in flight", held)
		}
	}
	t.Logf("the reads stopped at %v of %d bytes, after %d calls", read, n*10_000, calls)
}
