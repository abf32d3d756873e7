package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"runtime/metrics"
	"runtime/pprof"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/flowstitch/flowstitch/internal/pipeline"
	"github.com/flowstitch/flowstitch/pkg/gen"
	"github.com/flowstitch/flowstitch/pkg/stage"
	"github.com/flowstitch/flowstitch/pkg/telemetry"
)

// Options of a run.
type Options struct {
	Shape gen.Shape
	// Flows is how many records the traffic has.
	Flows int64
	// Rate is records a second of wall time; 0 is as fast as possible. At a
	// fixed rate probes measure the delay to an alert.
	Rate float64
	// Pipeline is the configuration of the services; its sources are replaced.
	Pipeline pipeline.Config
	// Broker describes the broker, for the header.
	Broker string
	// Preset names the settings, for the header.
	Preset string
	// Profiles is a directory for the run's cpu.pprof, allocs.pprof and
	// pipeline.pgo, the last for the compiler; "" writes none.
	Profiles string
	// Steady asks what is allocated when tables and panes have been filled, in
	// runs of an hour and a half of event time or more (see steadyFrom). It costs two collections
	// of garbage, which the processor time then has in it.
	Steady bool
	// Progress is told now and then what has been given.
	Progress func(given int64, rate float64)
}

// Run drives the pipeline until everything has been judged and returns what it
// cost. The topics must be empty: give the run a prefix of its own.
func Run(ctx context.Context, o Options) (*Result, error) {
	src, err := newSource(o.Shape, o.Flows, o.Rate)
	if err != nil {
		return nil, err
	}
	// Bytes are counted, not sampled, where a sample would miss small objects.
	runtime.MemProfileRate = 64 << 10 //nolint:reassign // the documented way to set it
	tel := telemetry.Quiet()
	o.Pipeline.Ingest.Files, o.Pipeline.Ingest.Stdin = []string{"-"}, src
	r := &run{o: o, src: src, tel: tel, broker: localBroker(o.Pipeline.Detect.Kafka.Brokers)}

	before, err := allocProfile()
	if err != nil {
		return nil, err
	}
	u := &used{before: before}
	allocs, cpu, broker := heapAllocs(), processCPU(), cpuOf(r.broker)
	raw, err := cpuProfile(func() error { return r.drive(ctx) })
	if err != nil {
		return nil, err
	}
	u.half, u.whole, u.steadyFlows = r.half, r.whole, r.steadyFlows
	u.cpu, u.allocs, u.broker = processCPU()-cpu, heapAllocs()-allocs, cpuOf(r.broker)-broker
	if err := errors.Join(r.store(ctx), r.trace(ctx)); err != nil {
		return nil, err
	}
	if u.after, err = allocProfile(); err != nil {
		return nil, err
	}
	if err := o.keepProfiles(raw); err != nil {
		return nil, err
	}
	if u.profile, err = readProfile(raw, "cpu"); err != nil {
		return nil, err
	}
	return r.result(u), nil
}

// run is one run under way.
type run struct {
	o   Options
	src *source
	tel *telemetry.Telemetry
	// broker is the process of a broker of its own on this machine, or 0.
	broker int

	began, ended time.Time
	mu           sync.Mutex
	alerts       int
	stored       map[string]int64 // bytes on the brokers' disks, by topic

	sessions, tables float64 // open at most, and what they took

	half, whole *share  // allocations at the ends of the steady part; nil: not asked, or not reached
	halfClock   float64 // evaluate's when it began
	steadyFlows int64
}

func (r *run) drive(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	r.began = time.Now()
	g, ctx := errgroup.WithContext(ctx)
	labelled(g, ctx, "generator", func(ctx context.Context) error { r.src.run(ctx); return nil })
	g.Go(func() error { return pipeline.Run(ctx, r.o.Pipeline, r.tel) })
	labelled(g, ctx, "alert reader", r.readAlerts)
	g.Go(func() error {
		defer stop()
		return r.watch(ctx)
	})
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	if r.ended.IsZero() {
		return errors.New("bench: interrupted before the traffic had been judged")
	}
	return nil
}

// labelled runs f with a profiler label that its goroutines inherit.
func labelled(g *errgroup.Group, ctx context.Context, name string, f func(context.Context) error) {
	g.Go(func() (err error) {
		pprof.Do(ctx, pprof.Labels(pipeline.StageLabel, name), func(ctx context.Context) { err = f(ctx) })
		return err
	})
}

// watch waits for the end and tells the progress.
func (r *run) watch(ctx context.Context) error {
	t := time.NewTicker(100 * time.Millisecond)
	defer t.Stop()
	for n, ready := 0, false; ; n++ {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
		if !ready && pipeline.Ready(r.tel.Registry, r.o.Pipeline.Detect.Pipeline.Slots) {
			ready = true
			close(r.src.ready)
		}
		if n%10 == 0 {
			r.sample()
		}
		if n%10 == 0 && r.o.Progress != nil {
			given, _, first := r.src.progress()
			r.o.Progress(given, float64(given)/time.Since(first).Seconds())
		}
		if err := r.steady(); err != nil {
			return err
		}
		if pipeline.Finished(r.tel.Registry, int(r.o.Pipeline.Detect.Pipeline.Partitions)) {
			r.ended = time.Now()
			return nil
		}
	}
}

// steadyFrom and steadyTo are the part of the event time, as evaluate's clocks
// have reached it, in which a run counts as steady: tables and panes have been
// filled, and what comes at once when the input ends is not in it. Clocks end
// some 20 minutes of event time behind the input, so that a run of less than
// an hour and a half has no such part. What has been given says nothing:
// ingest is far ahead.
const (
	steadyFrom = 0.5
	steadyTo   = 0.75
)

// steady notes the allocations at both ends of that part.
func (r *run) steady() (err error) {
	if !r.o.Steady || r.whole != nil {
		return nil
	}
	clock, span := r.evaluated(), float64(r.o.Flows)/float64(r.o.Shape.Rate)
	at := (clock - float64(r.o.Shape.Start)) / span
	switch {
	case math.IsInf(clock, 1) || at < steadyFrom:
	case r.half == nil:
		r.halfClock = clock
		if r.half, err = allocProfile(); err == nil {
			err = r.o.keepAllocs("allocs-half.pprof")
		}
	case at >= steadyTo:
		r.steadyFlows = int64((clock - r.halfClock) * float64(r.o.Shape.Rate))
		if r.whole, err = allocProfile(); err == nil {
			err = r.o.keepAllocs("allocs-steady.pprof")
		}
	}
	return err
}

// evaluated is the event time up to which evaluate has judged, in Unix seconds;
// 0: some partition has no clock yet.
func (r *run) evaluated() float64 {
	n, least := 0, math.Inf(1)
	for _, m := range pipeline.Metrics(r.tel.Registry, "flowstitch_stage_clock_seconds") {
		if pipeline.Label(m, "stage") == "evaluate" {
			n++
			least = min(least, m.GetGauge().GetValue())
		}
	}
	if n < int(r.o.Pipeline.Detect.Pipeline.Partitions) {
		return 0
	}
	return least
}

// sample notes the largest number of open sessions and what they take.
func (r *run) sample() {
	sum := func(name string) (v float64) {
		for _, m := range pipeline.Metrics(r.tel.Registry, name) {
			v += m.GetGauge().GetValue()
		}
		return v
	}
	if n := sum("flowstitch_sessionize_open_sessions"); n > r.sessions {
		r.sessions, r.tables = n, sum("flowstitch_sessionize_table_bytes")
	}
}

// readAlerts measures how long after its probe each alert is readable.
func (r *run) readAlerts(ctx context.Context) error {
	names := stage.Topics{Prefix: r.o.Pipeline.Detect.Pipeline.Prefix}
	opts, err := r.o.Pipeline.Detect.Kafka.Opts()
	if err != nil {
		return err
	}
	cl, err := kgo.NewClient(append(opts,
		kgo.ConsumeTopics(names.Name(stage.AlertsTopic)), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxWait(100*time.Millisecond),
		kgo.MetadataMinAge(200*time.Millisecond), kgo.UnknownTopicRetries(-1),
	)...)
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	defer cl.Close()
	for ctx.Err() == nil {
		fs := cl.PollFetches(ctx)
		now := time.Now()
		fs.EachRecord(func(rec *kgo.Record) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.alerts++
			r.src.alerted(rec.Value, now)
		})
	}
	return nil
}

// store asks the brokers how many bytes the run's topics take on disk, one
// replica each: what was produced, as compressed. Brokers that can not tell
// leave it out.
func (r *run) store(ctx context.Context) error {
	opts, err := r.o.Pipeline.Detect.Kafka.Opts()
	if err != nil {
		return err
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	dirs, err := kadm.NewClient(cl).DescribeAllLogDirs(ctx, nil)
	if err != nil {
		return nil //nolint:nilerr // the figure is left out
	}
	r.stored = map[string]int64{}
	prefix := r.o.Pipeline.Detect.Pipeline.Prefix
	type partition struct {
		topic string
		n     int32
	}
	most := map[partition]int64{}
	dirs.Each(func(d kadm.DescribedLogDir) {
		d.Topics.Each(func(p kadm.DescribedLogDirPartition) {
			if strings.HasPrefix(p.Topic, prefix) {
				at := partition{p.Topic, p.Partition}
				most[at] = max(most[at], p.Size)
			}
		})
	})
	for p, n := range most {
		r.stored[p.topic] += n
	}
	return nil
}

// heapAllocs is the total of bytes allocated on the heap so far.
func heapAllocs() float64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return float64(s[0].Value.Uint64())
}
