package killtest

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/segmentio/encoding/json"

	"github.com/flowstitch/flowstitch/internal/pipeline"
	"github.com/flowstitch/flowstitch/pkg/service"
	"github.com/flowstitch/flowstitch/pkg/telemetry"
	"github.com/flowstitch/flowstitch/services/detect/detector"
	"github.com/flowstitch/flowstitch/services/ingest/ingester"
	"github.com/flowstitch/flowstitch/services/sessionize/sessionizer"
)

// envMember makes this test binary a service process instead of a test.
const envMember = "FLOWSTITCH_KILLTEST_MEMBER"

// The layout of the test: small, so that two processes share each service.
const (
	partitions = 8
	slots      = 4
)

// The services, by the number of their process modulo three.
const (
	ingest = iota
	sessionize
	detect
	services
)

// memberSpec is what a service process is to do.
type memberSpec struct {
	Service int
	Addrs   []string
	Prefix  string
	Log     string    // the flow log to ingest
	Begin   time.Time // when its first byte could be read
	Rate    float64   // bytes a second that became readable since; 0: all
}

func TestMain(m *testing.M) {
	if v := os.Getenv(envMember); v != "" {
		os.Exit(runMember(v))
	}
	os.Exit(m.Run())
}

func runMember(v string) int {
	var s memberSpec
	if err := json.Unmarshal([]byte(v), &s); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() { // the parent is gone
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(3)
	}()
	tel := telemetry.Quiet()
	tel.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := s.run(ctx, tel); err != nil {
		fmt.Fprintln(os.Stderr, "ended with:", err)
		return 1
	}
	return 0
}

func (s *memberSpec) run(ctx context.Context, tel *telemetry.Telemetry) error {
	common := service.DefaultCommon()
	common.Kafka.Brokers = s.Addrs
	p := &common.Pipeline
	p.Prefix, p.Partitions, p.Slots = s.Prefix, partitions, slots
	p.CommitInterval, p.SnapshotPeriod, p.SessionTimeout = 100*time.Millisecond, 5*time.Second, 2*time.Second
	cfg := pipeline.Default(common)
	switch s.Service {
	case ingest:
		cfg.Ingest.Files, cfg.Ingest.Stdin = []string{"-"}, &growing{path: s.Log, begin: s.Begin, rate: s.Rate}
		if err := cfg.Ingest.Validate(); err != nil {
			return err
		}
		return ingester.Run(ctx, cfg.Ingest, tel)
	case sessionize:
		return sessionizer.Run(ctx, cfg.Sessionize, tel)
	default:
		go tellJudged(ctx, tel)
		return detector.Run(ctx, cfg.Detect, tel)
	}
}

// judgedWord begins the line by which a detect process tells that a partition's
// clock stands at the end of time.
const judgedWord = "judged"

// tellJudged says twice a second which partitions of this process are done.
func tellJudged(ctx context.Context, tel *telemetry.Telemetry) {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, m := range pipeline.Metrics(tel.Registry, "flowstitch_stage_clock_seconds") {
			if pipeline.Label(m, "stage") == "evaluate" && math.IsInf(m.GetGauge().GetValue(), 1) {
				fmt.Fprintln(os.Stderr, judgedWord, pipeline.Label(m, "partition"))
			}
		}
	}
}

// growing is a file that becomes readable at a steady rate from Begin on, for
// whoever opens it: what was readable once is readable at once.
type growing struct {
	path  string
	begin time.Time
	rate  float64
}

var _ ingester.Reopener = (*growing)(nil)

// Read makes it an io.Reader; the services call Reopen.
func (g *growing) Read([]byte) (int, error) { return 0, io.EOF }

// Reopen implements ingester.Reopener.
func (g *growing) Reopen() (io.ReadCloser, error) {
	f, err := os.Open(g.path)
	if err != nil {
		return nil, err
	}
	return &grown{File: f, g: g}, nil
}

type grown struct {
	*os.File
	g    *growing
	read int64
}

// Read gives what is readable by now, and waits a moment if there is nothing.
func (r *grown) Read(p []byte) (int, error) {
	for r.g.rate > 0 {
		if left := int64(time.Since(r.g.begin).Seconds()*r.g.rate) - r.read; left > 0 {
			p = p[:min(int64(len(p)), left)]
			break
		}
		t := time.NewTimer(10 * time.Millisecond)
		<-t.C
	}
	n, err := r.File.Read(p)
	r.read += int64(n)
	return n, err
}
