// Package pipeline runs the three services in one process, for the all-in-one
// command, the benchmark and tests.
//
// It guarantees that they are the same Run functions that the three binaries
// run, over the Kafka protocol, with one configuration of what they must agree
// on; there is no second path.
package pipeline

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/pprof"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"golang.org/x/sync/errgroup"

	"github.com/flowstitch/flowstitch/pkg/service"
	"github.com/flowstitch/flowstitch/pkg/stage"
	"github.com/flowstitch/flowstitch/pkg/telemetry"
	"github.com/flowstitch/flowstitch/services/detect/detector"
	"github.com/flowstitch/flowstitch/services/ingest/ingester"
	"github.com/flowstitch/flowstitch/services/sessionize/sessionizer"
)

// Config is the configuration of the three services.
type Config struct {
	Ingest     ingester.Config
	Sessionize sessionizer.Config
	Detect     detector.Config
}

// Default returns the services' defaults with the given common part.
func Default(common service.Common) Config {
	c := Config{Ingest: ingester.Default(), Sessionize: sessionizer.Default(), Detect: detector.Default()}
	c.Ingest.Common, c.Sessionize.Common, c.Detect.Common = common, common, common
	return c
}

// Run runs the three services until ctx ends or one of them fails.
func Run(ctx context.Context, cfg Config, tel *telemetry.Telemetry) error {
	for name, v := range map[string]interface{ Validate() error }{"ingest": &cfg.Ingest, "sessionize": &cfg.Sessionize, "detect": &cfg.Detect} {
		if err := v.Validate(); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	g, running := errgroup.WithContext(ctx)
	start := func(name string, run func(context.Context) error) {
		g.Go(func() (err error) {
			pprof.Do(running, pprof.Labels(StageLabel, name), func(ctx context.Context) { err = run(ctx) })
			return err
		})
	}
	start("ingest", func(ctx context.Context) error { return ingester.Run(ctx, cfg.Ingest, tel) })
	start("sessionize", func(ctx context.Context) error { return sessionizer.Run(ctx, cfg.Sessionize, tel) })
	start("detect", func(ctx context.Context) error { return detector.Run(ctx, cfg.Detect, tel) })
	if err := g.Wait(); ctx.Err() == nil || !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// StageLabel is the profiler label by which the goroutines of the services can
// be told apart in a CPU profile.
const StageLabel = stage.ProfileLabel

// Ready reports whether sessionize, combine and evaluate each own all their slots,
// so that what ingest is given from now on waits for nobody's beginning.
func Ready(reg prometheus.Gatherer, slots int) bool {
	n := 0
	for _, m := range Metrics(reg, "flowstitch_stage_slots") {
		if Label(m, "service") != "ingest" && m.GetGauge().GetValue() >= float64(slots) {
			n++
		}
	}
	return n == 3
}

// Finished reports whether everything that finite sources had to give has been
// judged: the clock of every partition of the last stage stands at the end of time.
func Finished(reg prometheus.Gatherer, partitions int) bool {
	n := 0
	for _, m := range Metrics(reg, "flowstitch_stage_clock_seconds") {
		if Label(m, "stage") == "evaluate" && math.IsInf(m.GetGauge().GetValue(), 1) {
			n++
		}
	}
	return n >= partitions
}

// Metrics returns the metrics of one family as they stand.
func Metrics(reg prometheus.Gatherer, name string) []*dto.Metric {
	families, err := reg.Gather()
	if err != nil {
		return nil // a family that can not be gathered now will be the next time
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()
		}
	}
	return nil
}

// Label returns the value of a metric's label.
func Label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}
