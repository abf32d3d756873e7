package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/segmentio/encoding/json"

	"github.com/flowstitch/flowstitch/internal/bench"
	"github.com/flowstitch/flowstitch/internal/pipeline"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/gen"
	"github.com/flowstitch/flowstitch/pkg/service"
)

const benchUsage = `
Usage:  flowstitch bench [flags]
        flowstitch bench -compare BEFORE.json AFTER.json

Drives the whole pipeline with generated traffic and reports what it costs: flows
a second, CPU by stage and by whose code it is, bytes allocated, bytes written to
each topic, commit latency and, at a fixed rate, the delay from a record to the
alert that it causes. Without -brokers it runs on the embedded broker. On a given
broker it makes topics under a prefix of its own and leaves them there.

Examples:
  flowstitch bench -flows 1000000
  flowstitch bench -brokers 127.0.0.1:9092 -flows 5000000 -json after.json
  flowstitch bench -rate 50000 -flows 1500000
  flowstitch bench -compare before.json after.json
`

func benchCommand() command {
	return command{name: "bench", summary: "measure what the whole pipeline costs on this machine or a given broker", usage: benchUsage, run: runBench}
}

type benchFlags struct {
	flows             int64
	rate              float64
	brokers           listFlag
	jsonPath, preset  string
	profiles          string
	compare, steady   bool
	partitions, slots int
	commit            time.Duration
	shape             gen.Shape
	seconds           int64
}

func parseBench(e *env, args []string) (*benchFlags, []string, error) {
	b := &benchFlags{shape: gen.Balanced()}
	fs := newFlags(e, benchCommand())
	fs.Int64Var(&b.flows, "flows", 1_000_000, "how many flow records the traffic has")
	fs.Float64Var(&b.rate, "rate", 0, "records a second of wall time; 0 is as fast as possible")
	fs.Var(&b.brokers, "brokers", "Kafka `brokers`, host:port; without it the embedded broker")
	fs.StringVar(&b.jsonPath, "json", "", "also write the result to this `file`")
	fs.StringVar(&b.profiles, "profiles", "", "write cpu.pprof, allocs.pprof and pipeline.pgo (for go build -pgo) to this `directory`")
	fs.StringVar(&b.preset, "preset", "default", "default, or low-latency: commits every 50ms, holds a new session for 100ms, looks at an address at most so often")
	fs.BoolVar(&b.steady, "steady", false, "also tell what is allocated once tables and panes are filled, in runs of 5400 -event-seconds or more; costs two collections of garbage")
	fs.BoolVar(&b.compare, "compare", false, "compare two result files")
	fs.IntVar(&b.partitions, "partitions", 4, "partitions of flows, sessions and observations")
	fs.IntVar(&b.slots, "slots", 0, "slots of each stage; 0 is one for each partition")
	fs.DurationVar(&b.commit, "commit", 0, "commit interval; 0 is the preset's")
	fs.Int64Var(&b.seconds, "event-seconds", 0, "span of event time that the traffic covers, unless a rate is given; 0 is what gives each open session its records once a minute")
	fs.Int64Var(&b.shape.Sessions, "sessions", b.shape.Sessions, "sessions open at the same time")
	fs.Int64Var(&b.shape.Sources, "sources", b.shape.Sources, "distinct sources")
	fs.Int64Var(&b.shape.Intervals, "intervals", b.shape.Intervals, "aggregation intervals that a session lasts")
	fs.Int64Var(&b.shape.Interfaces, "interfaces", b.shape.Interfaces, "interfaces that see each conversation")
	fs.Int64Var(&b.shape.SkewPercent, "skew", b.shape.SkewPercent, "percent of the sessions that belong to one hundredth of the sources")
	fs.Int64Var(&b.shape.IPv6Percent, "ipv6", b.shape.IPv6Percent, "percent of the sources that speak IPv6")
	fs.Int64Var(&b.shape.LatePercent, "late", b.shape.LatePercent, "percent of the records that come -late-by late")
	fs.Int64Var(&b.shape.LateBy, "late-by", 120, "how late those come, in `seconds`")
	if err := parseFlags(fs, args); err != nil {
		return nil, nil, err
	}
	switch {
	case b.compare && fs.NArg() != 2:
		return nil, nil, usagef("-compare takes two result files")
	case !b.compare && fs.NArg() > 0:
		return nil, nil, usagef("bench takes no arguments: %q", fs.Args())
	case b.preset != "default" && b.preset != "low-latency":
		return nil, nil, usagef("-preset is %q; it is default or low-latency", b.preset)
	case b.flows <= 0 || b.rate < 0 || b.seconds < 0:
		return nil, nil, usagef("-flows must be above 0, -rate and -event-seconds not below")
	}
	return b, fs.Args(), nil
}

func runBench(ctx context.Context, e *env, args []string) error {
	b, files, err := parseBench(e, args)
	if err != nil {
		return err
	}
	if b.compare {
		return compareBench(e, files[0], files[1])
	}
	defer service.RelaxCollector()() // as the services themselves
	brokers, about := []string(b.brokers), "Kafka at "+b.brokers.String()
	if len(brokers) == 0 {
		cluster, err := startBroker("")
		if err != nil {
			return err
		}
		defer cluster.Close()
		brokers, about = cluster.ListenAddrs(), "embedded"
	}
	o, err := b.options(brokers, about)
	if err != nil {
		return err
	}
	opts, err := o.Pipeline.Detect.Kafka.Opts()
	if err != nil {
		return err
	}
	if err := reachable(ctx, opts, brokers); err != nil {
		return err
	}
	o.Progress = func(given int64, rate float64) {
		if e.terminal {
			fmt.Fprintf(e.stderr, "\r\x1b[K%s flows given, %s/s", count(float64(given)), count(rate))
		}
	}
	result, err := bench.Run(ctx, o)
	if e.terminal {
		fmt.Fprint(e.stderr, "\r\x1b[K")
	}
	if err != nil {
		return err
	}
	return errors.Join(result.WriteTable(e.stdout), b.save(result))
}

// options makes the run's configuration. The deployment and prefix are new
// each time, so that a given broker's topics begin empty.
func (b *benchFlags) options(brokers []string, about string) (bench.Options, error) {
	common := service.DefaultCommon()
	common.Kafka.Brokers = brokers
	common.Telemetry.Listen = ""
	p := &common.Pipeline
	p.Prefix = "bench-" + strconv.FormatInt(time.Now().UnixMilli(), 36) + "."
	p.Deployment, p.Partitions, p.Slots = "bench", int32(b.partitions), b.slots
	if b.slots == 0 {
		p.Slots = b.partitions
	}
	if err := common.Validate(); err != nil {
		return bench.Options{}, usagef("%v", err)
	}
	shape := b.shape
	switch {
	case b.rate > 0:
		shape.Rate, shape.Start = max(1, int64(b.rate)), flow.Time(time.Now().Unix())
	case b.seconds > 0:
		shape.Rate = max(1, b.flows/b.seconds)
	default:
		// Slower, and a session is silent for longer than its idle gap before
		// its turn comes again: each would be cut into many.
		shape.Rate = max(1, 2*shape.Interfaces*shape.Sessions/60)
	}
	if err := shape.Validate(); err != nil {
		return bench.Options{}, usagef("%v", err)
	}
	cfg := pipeline.Default(common)
	if b.preset == "low-latency" {
		bench.LowLatency(&cfg)
	}
	if b.commit > 0 {
		bench.CommitEvery(&cfg, b.commit)
	}
	return bench.Options{Shape: shape, Flows: b.flows, Rate: b.rate, Pipeline: cfg, Broker: about, Preset: b.preset, Profiles: b.profiles, Steady: b.steady}, nil
}

func (b *benchFlags) save(r *bench.Result) error {
	if b.jsonPath == "" {
		return nil
	}
	out, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(b.jsonPath, append(out, '\n'), 0o644)
}

func compareBench(e *env, before, after string) error {
	var results [2]bench.Result
	for i, path := range []string{before, after} {
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(b, &results[i]); err != nil {
			return fmt.Errorf("%s is no result of flowstitch bench: %w", path, err)
		}
	}
	return bench.Compare(e.stdout, &results[0], &results[1])
}
