package kinesis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/flowstitch/flowstitch/pkg/kinesis/shard"
	"github.com/flowstitch/flowstitch/pkg/telemetry"
)

// Consumer is what all slots of a process share: clients, listings, the view of
// every slot's checkpoints, and the bound on memory. Its methods may be called
// from any goroutine.
type Consumer struct {
	cfg     Config
	slots   int
	policy  shard.Policy
	begin   int64
	log     *slog.Logger
	metrics *metrics
	streams map[string]*stream
	names   []string
	budget  *semaphore.Weighted

	mu       sync.Mutex
	listings map[string]*shard.Listing
	unlisted map[string]int64 // wall ms since when
	ledger   *shard.Ledger
	version  uint64 // of what plans are made from
}

// New makes the clients of the configured streams and reads nothing yet.
// Slots is the number of slots of the deployment's layout, and the policy that
// of [Config.Policy]. The options go to the AWS SDK's own configuration, after
// the default chain.
func New(ctx context.Context, cfg Config, slots int, policy shard.Policy, tel *telemetry.Telemetry, opts ...func(*awsconfig.LoadOptions) error) (*Consumer, error) {
	begin, err := cfg.start(time.Now())
	if err != nil {
		return nil, fmt.Errorf("kinesis: start: %w", err)
	}
	c := &Consumer{
		cfg: cfg, slots: slots, policy: policy, begin: begin, log: tel.Log, metrics: newMetrics(tel.Registry),
		streams: map[string]*stream{}, budget: semaphore.NewWeighted(cfg.MemoryBytes),
		listings: map[string]*shard.Listing{}, unlisted: map[string]int64{}, ledger: shard.NewLedger(),
	}
	for _, s := range cfg.Streams {
		client, forget, err := newClient(ctx, &s, opts...)
		if err != nil {
			return nil, err
		}
		c.streams[s.Name] = &stream{cfg: s, client: client, forget: forget, poke: make(chan struct{}, 1)}
		c.names = append(c.names, s.Name)
		c.metrics.begin(s.Name)
		c.unlisted[s.Name] = time.Now().UnixMilli()
	}
	return c, nil
}

// Policy returns the clock's policy, whose Check every flow record must pass
// before it may count for [Slot.Accept].
func (c *Consumer) Policy() shard.Policy { return c.policy }

// Run lists the shards of every stream again and again until ctx ends.
func (c *Consumer) Run(ctx context.Context) error {
	var g errgroup.Group
	for _, name := range c.names {
		s := c.streams[name]
		g.Go(func() error {
			c.keepListing(ctx, s)
			return nil
		})
	}
	return g.Wait()
}

// leastListing is how soon a listing follows another, however many shards end.
const leastListing = 200 * time.Millisecond

func (c *Consumer) keepListing(ctx context.Context, s *stream) {
	failures := 0
	for ctx.Err() == nil {
		wait := c.cfg.ListEvery
		if err := c.listOnce(ctx, s); err != nil && ctx.Err() == nil {
			failures++
			wait = backoff(failures)
			c.failedListing(s, err, failures)
		} else {
			failures = 0
		}
		sleep(ctx, min(wait, leastListing))
		select {
		case <-ctx.Done():
		case <-time.After(max(0, wait-leastListing)):
		case <-s.poke:
		}
	}
}

func (c *Consumer) listOnce(ctx context.Context, s *stream) error {
	l, arn, err := s.list(ctx)
	if err != nil {
		return err
	}
	if err := s.register(ctx, arn, l.Stream); err != nil {
		return err
	}
	c.metrics.calls.WithLabelValues(s.cfg.Name, "ListShards").Inc()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listings[s.cfg.Name] = l
	delete(c.unlisted, s.cfg.Name)
	c.version++
	return nil
}

func (c *Consumer) failedListing(s *stream, err error, failures int) {
	if errors.Is(err, errNotYet) {
		return
	}
	f := faultOf(err)
	c.metrics.faults.WithLabelValues(s.cfg.Name, "ListShards", string(f)).Inc()
	if f == faultCredentials {
		s.forget()
	}
	c.mu.Lock()
	if _, already := c.unlisted[s.cfg.Name]; !already {
		c.unlisted[s.cfg.Name] = time.Now().UnixMilli()
	}
	c.mu.Unlock()
	if failures == 1 || failures%20 == 0 {
		c.log.Warn("the shards could not be listed; trying on", "stream", s.cfg.Name, "fault", f, "failures", failures, "error", err)
	}
}

// relist asks for a listing of a stream soon.
func (c *Consumer) relist(name string) {
	select {
	case c.streams[name].poke <- struct{}{}:
	default:
	}
}

// Learn takes in one record of any slot's ledger, in the order of that ledger;
// a nil value is a deletion. Names that are not checkpoints are ignored.
func (c *Consumer) Learn(name string, value []byte) error {
	rest, mine := strings.CutPrefix(name, shard.NamePrefix)
	at := strings.LastIndexByte(rest, '/')
	if !mine || at < 0 {
		return nil
	}
	k := shard.Key{Stream: rest[:at], Shard: rest[at+1:]}
	if value == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.ledger.Delete(k)
		c.version++
		return nil
	}
	cp, err := shard.ParseCheckpoint(value)
	if err != nil {
		return fmt.Errorf("kinesis: ledger record %s: %w", name, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	before, known := c.ledger.Get(cp.Key)
	c.ledger.Put(cp)
	if !known || before.State != cp.State {
		c.version++
		if st, ok := c.streams[nameOf(cp.Stream)]; ok && cp.Done() && c.unseen(&cp) {
			select {
			case st.poke <- struct{}{}:
			default:
			}
		}
	}
	return nil
}

// unseen reports whether the listing shows no child yet of a shard that ended.
func (c *Consumer) unseen(cp *shard.Checkpoint) bool {
	l := c.listings[nameOf(cp.Stream)]
	return l == nil || !l.HasChild(cp.Shard)
}

// nameOf returns the configured name of an incarnation.
func nameOf(incarnation string) string {
	name, _, _ := strings.Cut(incarnation, "@")
	return name
}

// view must be called with c.mu held; what it returns must be used under it.
func (c *Consumer) view(now time.Time) shard.View {
	return shard.View{Names: c.names, Listings: c.listings, Unlisted: c.unlisted, Ledger: c.ledger, Start: c.begin, Now: now.UnixMilli()}
}

func sleep(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
