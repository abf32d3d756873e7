package bench

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/flowstitch/flowstitch/internal/pipeline"
	"github.com/flowstitch/flowstitch/internal/race"
	"github.com/flowstitch/flowstitch/pkg/gen"
	"github.com/flowstitch/flowstitch/pkg/service"
	"github.com/flowstitch/flowstitch/pkg/telemetry"
)

// TestDelayOfTheDesign measures the delay from a record to its alert on fake time,
// where nothing takes any. What is left are the waits of the design itself, the
// commit intervals, holds and marks, whatever else the machine does; a longer delay
// than that is of a broker or a processor that was busy.
func TestDelayOfTheDesign(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector has nothing to find here that simpipeline does not show it")
	}
	for _, c := range []struct {
		name   string
		preset func(*pipeline.Config)
		most   time.Duration // the slowest probe
	}{
		{"default", func(*pipeline.Config) {}, 12 * time.Second}, // early_hold is 10 s
		{"low-latency", LowLatency, 500 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.name == "default" && os.Getenv("FLOWSTITCH_LONG") != "1" {
				t.Skip("set FLOWSTITCH_LONG=1: the preset is what is promised most narrowly")
			}
			synctest.Test(t, func(t *testing.T) {
				r := simulate(t, c.preset)
				delays := r.src.delays()
				slices.Sort(delays)
				if len(delays) < 12 {
					t.Fatalf("%d probes were told", len(delays))
				}
				worst := delays[len(delays)-1]
				t.Logf("%d probes: median %v, slowest %v; %.0f early observations", len(delays), delays[len(delays)/2], worst,
					pipeline.Metrics(r.tel.Registry, "flowstitch_detect_early_observations_total")[0].GetCounter().GetValue())
				for _, p := range r.src.results() {
					parts := []float64{p.Flows, p.Sessions, p.Observations, p.Alert}
					if least := slices.Min(parts); least < -0.001 || p.Flows+p.Sessions+p.Observations+p.Alert-p.Delay > 1e-6 || p.Sessions+p.Observations == 0 {
						t.Errorf("the parts %v are not those of %.3f s", parts, p.Delay)
					}
				}
				if worst > c.most {
					t.Errorf("the slowest probe took %v, more than %v: %v", worst, c.most, delays)
				}
			})
		})
	}
}

// simulate drives half a minute of traffic through the services and a fake broker,
// within a bubble.
func simulate(t *testing.T, preset func(*pipeline.Config)) *run {
	t.Helper()
	var net kfake.VirtualNetwork
	const port = 9092
	k, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.ListenFn(net.Listen), kfake.Ports(port),
		kfake.BrokerConfigs(map[string]string{"group.initial.rebalance.delay.ms": "0"}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	common := service.DefaultCommon()
	common.Kafka.Brokers, common.Kafka.Dial = []string{fmt.Sprintf("127.0.0.1:%d", port)}, net.DialContext
	common.Kafka.Codecs = []kgo.CompressionCodec{kgo.NoCompression()}
	common.Pipeline.Partitions, common.Pipeline.Slots = 4, 4
	const rate, flows = 1000, 20_000
	shape := gen.Balanced()
	shape.Sessions, shape.Sources, shape.Rate = 8000, 4000, rate
	shape.Start = 1_767_225_600 // 2026: the bubble's own time is a year of no flow logs
	src, err := newSource(shape, flows, rate)
	if err != nil {
		t.Fatal(err)
	}
	cfg := pipeline.Default(common)
	preset(&cfg)
	cfg.Ingest.Files, cfg.Ingest.Stdin = []string{"-"}, src
	r := &run{o: Options{Shape: shape, Flows: flows, Rate: rate, Pipeline: cfg}, src: src, tel: telemetry.Quiet()}
	if err := r.drive(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := r.trace(context.Background()); err != nil {
		t.Fatal(err)
	}
	return r
}
