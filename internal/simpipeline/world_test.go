package simpipeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/flowstitch/flowstitch/internal/facts"
	"github.com/flowstitch/flowstitch/internal/pipeline"
	"github.com/flowstitch/flowstitch/internal/race"
	"github.com/flowstitch/flowstitch/pkg/gen"
	"github.com/flowstitch/flowstitch/pkg/kafkaclient"
	"github.com/flowstitch/flowstitch/pkg/service"
	"github.com/flowstitch/flowstitch/pkg/simtest"
	"github.com/flowstitch/flowstitch/pkg/telemetry"
	"github.com/flowstitch/flowstitch/services/detect/detector"
	"github.com/flowstitch/flowstitch/services/ingest/ingester"
	"github.com/flowstitch/flowstitch/services/sessionize/sessionizer"
)

// The layout: small, and still with more members than slots at times.
const (
	prefix     = "sim."
	partitions = 4
	slots      = 2
)

// The services, by number.
const (
	ingest = iota
	sessionize
	detect
	services
)

// flowLog is twenty minutes of a small VPC with three attacks.
func flowLog(t testing.TB) []byte { return flowLogOf(t, 20*time.Minute, 0.3) }

// flowLogOf is a time of a small VPC with three attacks, of which the last begins
// when half of it has passed; rate is of ordinary sessions a second.
func flowLogOf(t testing.TB, d time.Duration, rate float64) []byte {
	t.Helper()
	sc := gen.Incident()
	sc.Duration, sc.Rate = d, rate
	sc.Attacks = []gen.Attack{
		{
			Kind: gen.KindProbeSweep, At: d / 10, For: 4 * time.Minute, Source: "198.51.100.77",
			Targets: []string{"alb-a", "alb-b", "bastion", "web-1", "web-2", "web-3"}, Ports: []uint16{22, 23, 445, 3389, 8080},
		},
		{
			Kind: gen.KindPortScan, At: d * 3 / 10, For: 2 * time.Minute, Source: "198.51.100.78",
			Targets: []string{"bastion"}, Count: 150,
		},
		{
			Kind: gen.KindSSHGuessing, At: d / 2, For: 8 * time.Minute, Source: "203.0.113.99",
			Targets: []string{"bastion"}, Count: 120,
		},
	}
	s, err := gen.NewStream(sc)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := gen.Write(&b, s, gen.Lines{Header: true}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// growing is a log that is written while it is read, evenly from begin on: what
// could be read once can be read at once.
type growing struct {
	data  []byte
	begin time.Time
	over  time.Duration // until all of it is there
}

var _ ingester.Reopener = (*growing)(nil)

// Read makes it an io.Reader; ingest calls Reopen.
func (g *growing) Read([]byte) (int, error) { return 0, io.EOF }

// Reopen implements ingester.Reopener.
func (g *growing) Reopen() (io.ReadCloser, error) { return &grown{g: g}, nil }

type grown struct {
	g    *growing
	read int
}

// Read gives what there is by now, and waits if that is nothing.
func (r *grown) Read(p []byte) (int, error) {
	for r.read < len(r.g.data) {
		share := min(1, float64(time.Since(r.g.begin))/float64(r.g.over))
		if there := int(share * float64(len(r.g.data))); there > r.read {
			n := copy(p, r.g.data[r.read:there])
			r.read += n
			return n, nil
		}
		wait(context.Background(), 50*time.Millisecond)
	}
	return 0, io.EOF
}

func (r *grown) Close() error { return nil }

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// world is a simulated deployment; it lives within a bubble of synctest.
type world struct {
	t    testing.TB
	net  kfake.VirtualNetwork
	k    *kfake.Cluster
	log  *growing
	bury *simtest.Undertaker

	members []*member
	joined  int
	gone    sync.WaitGroup // members that are no longer waited for
	expire  context.CancelFunc

	restarts int // of members that ended with an error
	lines    *lines
	session  time.Duration // the groups' session timeout

	// With access control: what the observer is, and who the services are.
	observer []kgo.Opt
	sasl     func(service int) kafkaclient.SASL
}

// member is one process of one service.
type member struct {
	service int
	id      string // client id
	link    *simtest.Link
	tel     *telemetry.Telemetry
	stop    context.CancelFunc
	done    chan struct{}
	err     error
}

var brokers = []string{"127.0.0.1:9092", "127.0.0.1:9093", "127.0.0.1:9094"}

func newWorld(t testing.TB, log []byte, over time.Duration, more ...kfake.Opt) *world {
	t.Helper()
	w := &world{t: t, log: &growing{data: log, begin: time.Now(), over: over}, session: 2 * time.Second}
	var err error
	w.k, err = kfake.NewCluster(append(more, kfake.NumBrokers(3), kfake.ListenFn(w.net.Listen), kfake.Ports(9092, 9093, 9094),
		kfake.GroupMinSessionTimeout(100*time.Millisecond),
		kfake.BrokerConfigs(map[string]string{"group.initial.rebalance.delay.ms": "0"}))...)
	if err != nil {
		t.Fatal(err)
	}
	var groups []string
	for _, g := range []string{"ingest", "sessionize", "detect.combine", "detect.evaluate"} {
		groups = append(groups, prefix+"flowstitch."+g)
	}
	w.bury = simtest.NewUndertaker(w.opts(), groups...)
	ctx, cancel := context.WithCancel(context.Background())
	w.expire = cancel
	w.gone.Go(func() { w.bury.Run(ctx) })
	return w
}

// opts are those of an observer whose network never fails.
func (w *world) opts() []kgo.Opt {
	return append([]kgo.Opt{kgo.SeedBrokers(brokers...), kgo.Dialer(w.net.DialContext)}, w.observer...)
}

// codecs are what members pack with: lz4, or nothing under the race detector,
// where its buffers of 4 MB for each batch took most of the processor time.
func codecs() []kgo.CompressionCodec {
	if race.Enabled {
		return []kgo.CompressionCodec{kgo.NoCompression()}
	}
	return []kgo.CompressionCodec{kgo.Lz4Compression()}
}

// common is the configuration of a member.
func (w *world) common(m *member) service.Common {
	c := service.DefaultCommon()
	c.Kafka.Brokers, c.Kafka.ClientID, c.Kafka.Dial = brokers, m.id, m.link.Dial
	c.Kafka.Codecs = codecs()
	if w.sasl != nil {
		c.Kafka.SASL = w.sasl(m.service)
	}
	p := &c.Pipeline
	p.Prefix, p.Partitions, p.Slots = prefix, partitions, slots
	p.CommitInterval, p.SnapshotPeriod, p.SessionTimeout = 200*time.Millisecond, 5*time.Second, w.session
	return c
}

// join starts a process of a service.
func (w *world) join(service int) *member {
	w.joined++
	ctx, cancel := context.WithCancel(context.Background())
	m := &member{service: service, id: fmt.Sprintf("member-%d", w.joined), link: simtest.NewLink(w.net.DialContext), stop: cancel, done: make(chan struct{})}
	m.tel = telemetry.Quiet()
	switch {
	case w.lines != nil:
		m.tel.Log = slog.New(w.lines)
	case os.Getenv("FLOWSTITCH_TEST_LOG") != "":
		m.tel.Log = slog.New(slog.NewTextHandler(os.Stderr, nil)).With("member", m.id)
	}
	cfg := pipeline.Default(w.common(m))
	go func() {
		defer close(m.done)
		switch service {
		case ingest:
			cfg.Ingest.Files, cfg.Ingest.Stdin = []string{"-"}, w.log
			m.err = ingester.Run(ctx, cfg.Ingest, m.tel)
		case sessionize:
			m.err = sessionizer.Run(ctx, cfg.Sessionize, m.tel)
		default:
			m.err = detector.Run(ctx, cfg.Detect, m.tel)
		}
	}()
	w.members = append(w.members, m)
	return m
}

// remove takes a member off the list of those that work.
func (w *world) remove(i int) *member {
	m := w.members[i]
	w.members = append(w.members[:i], w.members[i+1:]...)
	return m
}

// crash ends a member as kill -9 does: nothing that it still does reaches anybody.
func (w *world) crash(i int) {
	m := w.remove(i)
	m.link.Cut()
	w.bury.Died(m.id)
	m.stop()
	w.gone.Go(func() { <-m.done })
}

// leave ends a member as SIGTERM does; it must end without an error, or, where it
// had not begun to work, with the end itself (pkg/service makes status 0 of both).
func (w *world) leave(i int) {
	m := w.remove(i)
	m.stop()
	w.gone.Go(func() {
		<-m.done
		if m.err != nil && !errors.Is(m.err, context.Canceled) {
			w.t.Errorf("%s left with %v", m.id, m.err)
		}
	})
}

// mend starts members again that ended by themselves, as Kubernetes would.
func (w *world) mend() {
	for i := 0; i < len(w.members); i++ {
		select {
		case <-w.members[i].done:
			m := w.remove(i)
			w.t.Logf("%s ended with %v", m.id, m.err)
			w.restarts++
			w.bury.Died(m.id)
			w.join(m.service)
			i--
		default:
		}
	}
}

// finish waits until everything has been judged, ends all members in order and
// returns the facts.
func (w *world) finish(limit time.Duration) *facts.Facts {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	for !w.judged() {
		if ctx.Err() != nil {
			w.t.Fatalf("not judged after %v", limit)
		}
		w.mend()
		wait(ctx, time.Second)
	}
	for len(w.members) > 0 {
		w.leave(0)
	}
	w.expire()
	w.gone.Wait()
	wait(context.Background(), time.Minute) // what still hangs in a slow network ends
	read, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	f, err := facts.Read(read, w.opts(), prefix)
	if err != nil {
		w.t.Fatal(err)
	}
	w.k.Close()
	return f
}

// clocks returns the clocks of a stage's partitions, Unix seconds of event time,
// as its members show them; +Inf is the end of time.
func (w *world) clocks(stage string) map[string]float64 {
	out := map[string]float64{}
	for _, m := range w.members {
		for _, s := range pipeline.Metrics(m.tel.Registry, "flowstitch_stage_clock_seconds") {
			if pipeline.Label(s, "service")+"."+pipeline.Label(s, "stage") == stage {
				out[pipeline.Label(s, "partition")] = s.GetGauge().GetValue()
			}
		}
	}
	return out
}

// judged reports whether the clock of every partition of the last stage stands
// at the end of time.
func (w *world) judged() bool {
	clocks := w.clocks("detect.evaluate")
	for _, c := range clocks {
		if !math.IsInf(c, 1) {
			return false
		}
	}
	return len(clocks) == partitions
}
