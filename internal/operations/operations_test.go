package operations

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/flowstitch/flowstitch/pkg/kafkatest"
	"github.com/flowstitch/flowstitch/pkg/kinesis"
	"github.com/flowstitch/flowstitch/pkg/kinesis/kinesistest"
	"github.com/flowstitch/flowstitch/pkg/service"
	"github.com/flowstitch/flowstitch/pkg/telemetry"
	"github.com/flowstitch/flowstitch/services/detect/detector"
	"github.com/flowstitch/flowstitch/services/ingest/ingester"
	"github.com/flowstitch/flowstitch/services/sessionize/sessionizer"
)

var update = flag.Bool("update", false, "write the pages and manifests")

// input is a conversation, a rejected line and a header: enough for every
// service to have something to count.
const input = `version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status
2 111122223333 eni-0a 10.0.0.5 198.51.100.7 40000 443 6 10 8400 1700000000 1700000055 ACCEPT OK
2 111122223333 eni-0a 198.51.100.7 10.0.0.5 443 40000 6 9 5200 1700000000 1700000055 ACCEPT OK
2 111122223333 eni-0a this is no flow record at all
2 111122223333 eni-0a 10.0.0.5 198.51.100.7 40001 443 6 10 8400 1700003600 1700003655 ACCEPT OK
`

// TestPagesAreCurrent runs the pipeline and holds the pages against it.
func TestPagesAreCurrent(t *testing.T) {
	all := own(runPipeline(t))
	want, err := pages(all)
	if err != nil {
		t.Fatal(err)
	}
	for path, text := range want {
		full := filepath.Join("../..", path)
		if *update {
			if err := os.WriteFile(full, text, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		got, err := os.ReadFile(full)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, text) {
			t.Errorf("%s is not what the program says; run: go test ./internal/operations -update", path)
		}
	}
}

// TestEveryMetricExplainsItself: a help text, a unit or _total in the name.
func TestEveryMetricExplainsItself(t *testing.T) {
	for name, f := range own(runPipeline(t)) {
		if len(f.Help) < 10 || !strings.HasSuffix(f.Help, ".") {
			t.Errorf("%s: help %q is no sentence", name, f.Help)
		}
		if (f.Type == "counter") != strings.HasSuffix(name, "_total") {
			t.Errorf("%s is a %s: counters, and only they, end in _total", name, f.Type)
		}
	}
}

// runPipeline runs the services once per test binary and returns what they
// declare and export.
func runPipeline(t *testing.T) map[string]*Family {
	t.Helper()
	once.Do(func() { result, failure = gather(t) })
	if failure != nil {
		t.Fatal(failure)
	}
	return result
}

var (
	once    sync.Once
	result  map[string]*Family
	failure error
)

func gather(t *testing.T) (map[string]*Family, error) {
	cluster := kafkatest.Embedded(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	common := service.DefaultCommon()
	common.Kafka.Brokers = cluster.Addrs
	common.Pipeline.Partitions, common.Pipeline.Slots, common.Pipeline.Replication = 2, 2, 1
	common.Telemetry.Listen = ""

	in := ingester.Default()
	in.Common, in.Files, in.Stdin = common, []string{"-"}, strings.NewReader(input)
	in.Kinesis.Streams = []kinesis.Stream{stream(t)}
	se := sessionizer.Default()
	se.Common = common
	de := detector.Default()
	de.Common = common
	tels := map[string]*telemetry.Telemetry{}
	errs := make(chan error, 3)
	start := func(name string, run func(context.Context, *telemetry.Telemetry) error) {
		tel := telemetry.New(name, telemetry.Config{LogLevel: "error", LogFormat: "text"})
		tels[name] = tel
		go func() { errs <- run(ctx, tel) }()
	}
	start("ingest", func(ctx context.Context, tel *telemetry.Telemetry) error { return ingester.Run(ctx, in, tel) })
	start("sessionize", func(ctx context.Context, tel *telemetry.Telemetry) error { return sessionizer.Run(ctx, se, tel) })

	start("detect", func(ctx context.Context, tel *telemetry.Telemetry) error { return detector.Run(ctx, de, tel) })

	if err := waitFor(ctx, tels["detect"].Registry, "flowstitch_stage_records_in_total", errs); err != nil {
		return nil, err
	}
	all := map[string]*Family{}
	for name := range tels {
		f, err := families(name, tels[name].Registry)
		if err != nil {
			return nil, err
		}
		merge(all, f)
	}
	cancel()
	for range tels {
		if err := <-errs; err != nil && !errors.Is(err, context.Canceled) {
			return nil, err
		}
	}
	return all, nil
}

// stream is a Kinesis stream with two shards and a record, so that ingest shows
// what it says about streams.
func stream(t *testing.T) kinesis.Stream {
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	srv := kinesistest.Start(t)
	d := kinesistest.NewDriver(t, srv.URL, "vpc", 2, func(int, int) []byte { return []byte("no flow record either") })
	d.Create(2)
	return kinesis.Stream{Name: "vpc", Stream: "vpc", Region: "us-east-1", Endpoint: srv.URL, ReadsPerSecond: 100}
}

// waitFor returns when a counter of reg has counted.
func waitFor(ctx context.Context, reg *prometheus.Registry, name string, errs <-chan error) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		got, err := reg.Gather()
		if err != nil {
			return err
		}
		for _, f := range got {
			for _, m := range f.GetMetric() {
				if f.GetName() == name && m.GetCounter().GetValue() > 0 {
					return nil
				}
			}
		}
		select {
		case <-tick.C:
		case err := <-errs:
			return errors.Join(errors.New("a service ended early"), err)
		case <-ctx.Done():
			return errors.New(name + " never counted")
		}
	}
}
