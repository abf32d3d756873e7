package ingester

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"golang.org/x/sync/errgroup"

	"github.com/flowstitch/flowstitch/pkg/flowlog"
	"github.com/flowstitch/flowstitch/pkg/stage"
	"github.com/flowstitch/flowstitch/pkg/telemetry"
)

// Run ingests until ctx ends. Topics are made if they do not exist.
func Run(ctx context.Context, cfg Config, tel *telemetry.Telemetry) error {
	return run(ctx, cfg, tel)
}

// run is Run with options of the AWS SDK, such as another transport.
func run(ctx context.Context, cfg Config, tel *telemetry.Telemetry, opts ...func(*awsconfig.LoadOptions) error) error {
	sc, err := cfg.Stage("ingest", "", tel)
	if err != nil {
		return err
	}
	specs := append(sc.StageTopics(), stage.DataTopic(stage.FlowsTopic, cfg.Pipeline.Partitions), stage.RejectsSpec(cfg.Pipeline.Partitions))
	if err := stage.EnsureTopics(ctx, &sc, specs...); err != nil {
		return err
	}
	in := &ingest{cfg: cfg, metrics: newMetrics(tel.Registry), stdin: os.Stdin, fatal: make(chan error, 1)}
	if cfg.Stdin != nil {
		in.stdin = cfg.Stdin
	}
	if len(cfg.Files)+len(cfg.Kinesis.Streams) == 0 {
		tel.Log.Warn("there is nothing to ingest: the configuration names neither kinesis.streams nor files")
	}
	st, err := stage.NewSlots(sc, []string{stage.FlowsTopic, stage.RejectsTopic}, in.slot)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	if len(cfg.Kinesis.Streams) > 0 {
		if in.streams, err = newStreams(ctx, &cfg, st, tel, opts...); err != nil {
			return err
		}
		g.Go(func() error { return in.streams.run(ctx) })
	}
	g.Go(func() error { return st.Run(ctx) })
	g.Go(func() error {
		select {
		case err := <-in.fatal:
			return err
		case <-ctx.Done():
			return nil
		}
	})
	return g.Wait()
}

// ingest makes the workers of this process.
type ingest struct {
	cfg     Config
	metrics *metrics
	stdin   io.Reader
	streams *streams // nil without Kinesis
	// begun says that standard input has been read from; fatal takes the error
	// that no other try can mend.
	begun atomic.Bool
	fatal chan error
}

// slot makes the worker of one slot. Files belong to slot 0, so that one clock
// merges them.
func (in *ingest) slot(slot int) (stage.SlotWorker, error) {
	w := &worker{slot: uint32(slot), slots: uint32(in.cfg.Pipeline.Slots)}
	if slot == 0 && len(in.cfg.Files) > 0 {
		w.feeds = append(w.feeds, newFileFeed(in.cfg.Files, in.cfg.Logs.latenessSeconds(), in.open, in.metrics.count))
	}
	if in.streams != nil {
		f, err := newKinesisFeed(in.streams, slot, &in.cfg, in.metrics.count)
		if err != nil {
			return nil, err
		}
		w.feeds = append(w.feeds, f)
	}
	return w, nil
}

// open opens one file with a decoder of its own.
func (in *ingest) open(name string) (*reading, error) {
	if _, again := in.stdin.(Reopener); name == stdinName && !again && in.begun.Swap(true) {
		err := errors.New("ingest: standard input can not be read a second time, which taking a slot over again would need; give the log as a file")
		select {
		case in.fatal <- err:
		default:
		}
		return nil, err
	}
	r, closer, err := openInput(name, in.stdin)
	if err != nil {
		return nil, fmt.Errorf("ingest: %w", err)
	}
	dec, err1 := flowlog.New(in.cfg.Logs.decoder())
	known, err2 := in.cfg.Networks.owners()
	owners, err3 := flowlog.NewOwners(known)
	scopes, err4 := in.cfg.Networks.scopes()
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return nil, errors.Join(fmt.Errorf("ingest: %w", err), closer())
	}
	return &reading{Reader: r, closer: closer, decoder: dec, owners: owners, scopes: scopes}, nil
}
