package kinesis

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/flowstitch/flowstitch/pkg/kinesis/kinesistest"
	"github.com/flowstitch/flowstitch/pkg/telemetry"
)

// benchSlot makes a slot that reads a stream of n flow log lines, one a record
// or packed by KPL, from the fake over loopback HTTP.
func benchSlot(b *testing.B, n int, kpl bool) (*Slot, int) {
	srv := kinesistest.Start(b)
	p := kinesistest.NewDriver(b, srv.URL, "vpc", 8, func(lane, number int) []byte {
		return fmt.Appendf(nil, "2 123456789012 eni-0a1b2c3d4e5f6071%d 10.0.1.5 203.0.113.9 %d 443 6 20 4249 1700000000 1700000060 ACCEPT OK", lane, 1024+number%60000)
	})
	p.KPL = kpl
	p.Create(4)
	p.Feed(n)
	cfg := testConfig(srv.URL)
	ctx, cancel := context.WithCancel(context.Background())
	b.Cleanup(cancel)
	c, err := New(ctx, cfg, 1, cfg.Policy(time.Minute, 0), telemetry.Quiet(), awsOptions()...)
	if err != nil {
		b.Fatal(err)
	}
	go func() { _ = c.Run(ctx) }()
	s, err := c.Slot(ctx, 0, nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(s.Close)
	return s, n
}

// BenchmarkSlot is a user record through the SDK, over HTTP, to the checkpoint;
// the fake's own work is in the figure.
func BenchmarkSlot(b *testing.B) {
	for _, kpl := range []bool{false, true} {
		b.Run(fmt.Sprintf("kpl=%v", kpl), func(b *testing.B) {
			b.ReportAllocs()
			total, n := 0, 100_000
			for b.Loop() {
				b.StopTimer()
				s, n := benchSlot(b, n, kpl)
				b.StartTimer()
				for got := 0; got < n; got++ {
					s.Next(context.Background())
					s.Accept(1_700_000_060)
				}
				s.Commit(true)
				total += n
			}
			b.ReportMetric(float64(total)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

// BenchmarkHandOver is what the slot itself does for a user record: the page is
// in memory already.
func BenchmarkHandOver(b *testing.B) {
	s, _ := benchSlot(b, 1000, false)
	s.Next(context.Background())
	cur := s.current
	rec := cur.page.recs[cur.next]
	b.SetBytes(int64(len(rec.Data)))
	b.ReportAllocs()
	for b.Loop() {
		cur.next, cur.subs = 0, cur.subs[:0]
		if !s.deliver(cur) || !bytes.Equal(s.out.Data, cur.page.recs[0].Data) {
			b.Fatal("nothing at hand")
		}
		s.Accept(1_700_000_060)
	}
}
