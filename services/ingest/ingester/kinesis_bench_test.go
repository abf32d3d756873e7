package ingester

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/kafkatest"
	"github.com/flowstitch/flowstitch/pkg/kinesis"
	"github.com/flowstitch/flowstitch/pkg/kinesis/kinesistest"
	"github.com/flowstitch/flowstitch/pkg/telemetry"
)

// envelope is a CloudWatch Logs subscription record of n lines of a lane, the
// first with the given number.
func envelope(tb testing.TB, lane, first, n int) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	fmt.Fprintf(z, `{"messageType":"DATA_MESSAGE","owner":"123456789012","logGroup":"g","logStream":"eni-%d","subscriptionFilters":["f"],"logEvents":[`, lane)
	for i := range n {
		if i > 0 {
			fmt.Fprint(z, ",")
		}
		fmt.Fprintf(z, `{"id":"%056d","timestamp":1700000000000,"message":"%s"}`, i, line(lane, first+i))
	}
	fmt.Fprint(z, "]}")
	if err := z.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// BenchmarkKinesisDecode is a subscription record of 500 lines from its bytes
// to the keys and values of flows: inflate, decode, own, key, encode.
func BenchmarkKinesisDecode(b *testing.B) {
	cfg := podConfig([]string{"127.0.0.1:1"}, "", "http://127.0.0.1:1")
	b.Setenv("AWS_ACCESS_KEY_ID", "test")
	b.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	c, err := kinesis.New(b.Context(), cfg.Kinesis, 6, cfg.Kinesis.Policy(time.Minute, 0), telemetry.Quiet())
	if err != nil {
		b.Fatal(err)
	}
	f, err := newKinesisFeed(&streams{consumer: c}, 0, &cfg, func(*batch) {})
	if err != nil {
		b.Fatal(err)
	}
	const lines = 500
	data := envelope(b, 1, 1, lines)
	d := &kinesis.Delivery{Data: data, Arrival: time.Now().UnixMilli(), Origin: flow.Origin{Source: "vpc", Shard: "shardId-000000000000", Sequence: "49"}}
	b.SetBytes(int64(lines * len(line(1, 1))))
	b.ReportAllocs()
	for b.Loop() {
		f.decode(d)
		if f.b.flows != lines {
			b.Fatalf("%d flows of %d lines, %d rejected", f.b.flows, lines, f.b.rejected)
		}
		f.b.reset()
	}
	b.ReportMetric(float64(lines)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

// TestCPUPerMillionRecords reports what an ingest pod costs end to end: the fake
// or an emulator before it, a broker behind it, each in another process.
func TestCPUPerMillionRecords(t *testing.T) {
	if !long() {
		t.Skip("a measurement: it is in the long cut (FLOWSTITCH_LONG=1)")
	}
	for name, service := range map[string]func(testing.TB) string{
		"fake":       func(t testing.TB) string { return kinesistest.Start(t).URL },
		"kinesalite": kinesistest.Kinesalite,
	} {
		t.Run(name, func(t *testing.T) { cpuPerMillion(t, service(t)) })
	}
}

func cpuPerMillion(t *testing.T, url string) {
	const perRecord, records = 500, 2000
	c := kafkatest.Start(t)
	prefix := kafkatest.Prefix(t)
	d := kinesistest.NewDriver(t, url, "vpc", 40, nil)
	d.Create(16)
	for i := range records {
		lane := i % 40
		d.Raw(lane, envelope(t, lane, d.Put[lane]+1, perRecord))
		d.Put[lane] += perRecord
	}
	f := readFlows(t, c, prefix)
	began := time.Now()
	p := startPod(t, c, prefix, url)
	f.check(t, d)
	took := time.Since(began)
	p.leave(t)
	cpu := p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
	n := float64(d.Total())
	t.Logf("%d records in %v: %.0f records/s, %.2f CPU seconds a million, broker %s", d.Total(), took.Round(time.Millisecond),
		n/took.Seconds(), cpu.Seconds()/n*1e6, c)
}
