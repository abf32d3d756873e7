package simtest

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/flowstitch/flowstitch/internal/race"
	"github.com/flowstitch/flowstitch/pkg/kafkatest"
	"github.com/flowstitch/flowstitch/pkg/stage"
	"github.com/flowstitch/flowstitch/pkg/telemetry"
)

const testPartitions = 8

// member is one process's worth of the toy pipeline: a source stage and a fold.
type member struct {
	stop context.CancelFunc
	done sync.WaitGroup
	errs chan error
	fold stage.Config
}

func configs(c *kafkatest.Cluster, prefix string, l *Load) (src, fold stage.Config) {
	src = stage.Default()
	src.Client, src.Prefix, src.Service, src.Slots = c.Opts(), prefix, "ingest", l.Slots
	src.CommitInterval, src.SessionTimeout, src.TxnTimeout = 20*time.Millisecond, 2*time.Second, 2*time.Second
	src.SnapshotPeriod, src.HandoverTimeout = 2*time.Second, 5*time.Second
	if race.Enabled {
		// Each batch that is packed or unpacked takes a buffer of 4 MB from a pool,
		// which under the race detector is often empty: it was two thirds of all
		// processor time.
		src.Compression = []kgo.CompressionCodec{kgo.NoCompression()}
	}
	if os.Getenv("FLOWSTITCH_TEST_LOG") != "" {
		src.Telemetry.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	fold = src
	fold.Service, fold.Slots = "sessionize", 4
	return src, fold
}

func ensure(t testing.TB, src, fold *stage.Config) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	specs := append(append(src.StageTopics(), fold.StageTopics()...),
		stage.DataTopic(stage.FlowsTopic, testPartitions), stage.DataTopic(stage.SessionsTopic, testPartitions), stage.RejectsSpec(1))
	if err := stage.EnsureTopics(ctx, src, specs...); err != nil {
		t.Fatal(err)
	}
}

func start(src, fold stage.Config, l *Load, toy *Toy) *member {
	ctx, cancel := context.WithCancel(context.Background())
	m := &member{stop: cancel, errs: make(chan error, 2)}
	src.Telemetry, fold.Telemetry = fresh(src.Telemetry), fresh(fold.Telemetry)
	src.Telemetry.Log = src.Telemetry.Log.With("member", fmt.Sprintf("%p", m))
	fold.Telemetry.Log = src.Telemetry.Log
	m.fold = fold
	m.done.Go(func() { m.errs <- stage.RunSlots(ctx, src, []string{stage.FlowsTopic}, l.NewSource) })
	m.done.Go(func() { m.errs <- stage.Run(ctx, fold, toy.Spec()) })
	return m
}

func fresh(old *telemetry.Telemetry) *telemetry.Telemetry {
	t := telemetry.Quiet()
	t.Log = old.Log
	return t
}

func (m *member) end(t testing.TB) {
	t.Helper()
	m.stop()
	m.done.Wait()
	for range 2 {
		if err := <-m.errs; err != nil {
			t.Errorf("stage ended with %v", err)
		}
	}
}

func judge(t testing.TB, m *member, c *kafkatest.Cluster, prefix string, l *Load, toy *Toy, limit time.Duration) Verdict {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	go func() {
		select {
		case err := <-m.errs:
			m.errs <- err
			if err != nil {
				t.Errorf("stage ended with %v", err)
				cancel()
			}
		case <-ctx.Done():
		}
	}()
	facts, err := Collect(ctx, c.Opts(), prefix, testPartitions)
	if err != nil {
		t.Fatal(err)
	}
	v := Judge(l.Want(toy.Width), facts)
	t.Logf("%+v", v)
	if v.Lost != 0 || v.Duplicated != 0 || v.Corrected != 0 {
		t.Errorf("lost, duplicated or closed early: %+v", v)
	}
	return v
}

func TestPipelineWithoutFaults(t *testing.T) {
	for name, c := range map[string]*kafkatest.Cluster{"kfake": kafkatest.Embedded(t), "best": kafkatest.Start(t)} {
		t.Run(name, func(t *testing.T) {
			l := &Load{Seed: 1, Slots: 2, Records: 20000, Keys: 500, PerSec: 100, Jitter: 5}
			toy := &Toy{Width: 10, Cuts: 8}
			prefix := kafkatest.Prefix(t)
			src, fold := configs(c, prefix, l)
			ensure(t, &src, &fold)
			m := start(src, fold, l, toy)
			judge(t, m, c, prefix, l, toy, 60*time.Second)
			m.end(t)
		})
	}
}
