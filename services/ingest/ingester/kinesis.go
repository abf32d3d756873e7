package ingester

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"golang.org/x/sync/errgroup"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/flowlog"
	"github.com/flowstitch/flowstitch/pkg/kinesis"
	"github.com/flowstitch/flowstitch/pkg/kinesis/shard"
	"github.com/flowstitch/flowstitch/pkg/session"
	"github.com/flowstitch/flowstitch/pkg/stage"
	"github.com/flowstitch/flowstitch/pkg/telemetry"
)

// streams is the Kinesis source of this process: what its slots share.
type streams struct {
	consumer *kinesis.Consumer
	view     *stage.LedgerView
	tel      *telemetry.Telemetry

	mu      sync.Mutex
	learned map[string]*byte // the value that was learned last, by name
}

// newStreams makes the source; run must run beside the stage whose ledger the
// view follows.
func newStreams(ctx context.Context, cfg *Config, st *stage.Stage, tel *telemetry.Telemetry, opts ...func(*awsconfig.LoadOptions) error) (*streams, error) {
	c, err := kinesis.New(ctx, cfg.Kinesis, cfg.Pipeline.Slots, cfg.Kinesis.Policy(cfg.Logs.Interval, cfg.Logs.Lateness), tel, opts...)
	if err != nil {
		return nil, fmt.Errorf("ingest: %w", err)
	}
	return &streams{consumer: c, view: stage.NewLedgerView(st, shard.NamePrefix), tel: tel, learned: map[string]*byte{}}, nil
}

// run lists the streams and follows the checkpoints of all slots until ctx ends.
func (s *streams) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.consumer.Run(ctx) })
	g.Go(func() error { return s.view.Run(ctx) })
	g.Go(func() error {
		for ctx.Err() == nil {
			changed := s.view.Changed()
			if err := s.learn(); err != nil {
				return err
			}
			select {
			case <-changed:
			case <-ctx.Done():
			}
			// Several slots commit at about the same time.
			waitUntil(ctx, time.Now().Add(20*time.Millisecond))
		}
		return nil
	})
	return g.Wait()
}

// learn tells the consumer what has changed in the ledger of all slots.
func (s *streams) learn() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	gone := make(map[string]bool, len(s.learned))
	for name := range s.learned {
		gone[name] = true
	}
	for _, r := range s.view.All(shard.NamePrefix) {
		delete(gone, r.Name)
		if len(r.Value) == 0 || s.learned[r.Name] == &r.Value[0] {
			continue
		}
		s.learned[r.Name] = &r.Value[0]
		if err := s.consumer.Learn(r.Name, r.Value); err != nil {
			return err
		}
	}
	for name := range gone {
		delete(s.learned, name)
		if err := s.consumer.Learn(name, nil); err != nil {
			return err
		}
	}
	return nil
}

// kinesisFeed feeds a slot from the shards that live in it.
type kinesisFeed struct {
	src       *streams
	slotN     int
	slot      *kinesis.Slot
	policy    shard.Policy
	decoder   *flowlog.Decoder
	owners    *flowlog.Owners
	scopes    session.Scopes
	report    func(*batch)
	b         *batch
	before    flowlog.Stats
	undecoded uint64 // gaps and broken aggregates since the last flush
	unknown   int    // fields that AWS does not define and that were told of
	pinned    int    // layouts that the ledger has
	keptPins  chunked

	arrival int64     // of the user record at hand, Unix milliseconds
	newest  flow.Time // end of what it gave
}

func newKinesisFeed(src *streams, slot int, cfg *Config, report func(*batch)) (*kinesisFeed, error) {
	dec, err1 := flowlog.New(cfg.Logs.decoder())
	known, err2 := cfg.Networks.owners()
	owners, err3 := flowlog.NewOwners(known)
	scopes, err4 := cfg.Networks.scopes()
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return nil, fmt.Errorf("ingest: %w", err)
	}
	return &kinesisFeed{
		src: src, slotN: slot, policy: src.consumer.Policy(), decoder: dec, owners: owners, scopes: scopes, report: report, b: newBatch(),
		keptPins: chunked{prefix: ledgerPins},
	}, nil
}

// restore implements feed.
func (f *kinesisFeed) restore(ctx context.Context, ledger []stage.LedgerRecord) error {
	checkpoints := map[string][]byte{}
	for _, r := range ledger {
		if strings.HasPrefix(r.Name, shard.NamePrefix) {
			checkpoints[r.Name] = r.Value
		}
	}
	if err := f.restoreLearned(ledger); err != nil {
		return err
	}
	var err error
	f.slot, err = f.src.consumer.Slot(ctx, f.slotN, checkpoints, f.src.ready(ctx))
	return err
}

// ready tells when the consumer knows what every slot had committed before now.
func (s *streams) ready(ctx context.Context) func() bool {
	var done atomic.Bool
	go func() {
		for ctx.Err() == nil && !done.Load() {
			err := s.view.Sync(ctx)
			if err == nil {
				err = s.learn()
			}
			if err == nil {
				done.Store(true)
				return
			}
			if ctx.Err() == nil {
				s.tel.Log.Warn("the checkpoints of the other slots are not known yet; no shard is begun before", "error", err)
			}
			waitUntil(ctx, time.Now().Add(time.Second))
		}
	}()
	return done.Load
}

// fill implements feed.
func (f *kinesisFeed) fill(ctx context.Context, tx transaction) error {
	for !tx.Full() && ctx.Err() == nil {
		d := f.slot.Next(ctx)
		if d == nil {
			break
		}
		f.decode(d)
		f.slot.Accept(f.newest)
		if len(f.b.items) >= batchItems {
			f.flush(tx)
		}
	}
	saves, gaps := f.slot.Commit(false)
	for i := range gaps {
		f.undecoded++
		f.b.addFlow(0, gapRecord(&gaps[i]))
	}
	f.flush(tx)
	for _, s := range saves {
		tx.Ledger(s.Name, s.Value)
	}
	f.saveLearned(tx)
	return nil
}

// brokenAggregate is why a KPL aggregate is rejected.
const brokenAggregate = "the record begins like a KPL aggregate, and its MD5 or its structure does not hold; look at the producer"

func (f *kinesisFeed) decode(d *kinesis.Delivery) {
	f.arrival, f.newest = d.Arrival, 0
	if d.Broken {
		f.undecoded++
		f.b.addReject(&flowlog.Reject{Raw: d.Data, Class: flowlog.ClassCompress, Reason: brokenAggregate, Origin: d.Origin})
		return
	}
	f.decoder.Payload(d.Data, d.Origin, f)
}

// Record implements flowlog.Sink. What the clock's policy refuses must not
// touch a clock, here or downstream.
func (f *kinesisFeed) Record(r *flow.Record) {
	if err := f.policy.Check(r.Start, r.End, f.arrival); err != nil {
		f.b.addReject(&flowlog.Reject{Raw: f.raw(r), Class: flowlog.ClassTime, Field: "end", Origin: r.Origin,
			Reason: fmt.Sprintf("%v: it arrived at %s and ends at %s", err, time.UnixMilli(f.arrival).UTC().Format(time.RFC3339), r.End)})
		return
	}
	f.newest = max(f.newest, r.End)
	f.owners.Stamp(r)
	f.b.addFlow(f.scopes.Of(r), r)
}

// raw returns the bytes of the record at hand: its line, or, where it came as
// JSON, what the line would have been.
func (f *kinesisFeed) raw(r *flow.Record) []byte {
	if line := f.decoder.Raw(); line != nil {
		return line
	}
	return flowlog.UpTo(11).AppendLine(nil, r)
}

// Reject implements flowlog.Sink.
func (f *kinesisFeed) Reject(r *flowlog.Reject) { f.b.addReject(r) }

// flush moves the batch into the transaction. What did not come through the
// decoder is a line of its own, so that the balance holds.
func (f *kinesisFeed) flush(tx transaction) {
	now := f.decoder.Stats()
	f.b.read = flowlog.Stats{
		Lines: now.Lines - f.before.Lines + f.undecoded, Bytes: now.Bytes - f.before.Bytes,
		Headers: now.Headers - f.before.Headers, Control: now.Control - f.before.Control,
		Unknown: now.Unknown - f.before.Unknown,
	}
	f.before, f.undecoded = now, 0
	f.tellUnknown()
	f.b.produce(tx)
	f.report(f.b)
	f.b.reset()
}

// tellUnknown tells of a field that AWS does not define when it is first met.
func (f *kinesisFeed) tellUnknown() {
	if f.decoder.Unknown() == f.unknown {
		return
	}
	f.unknown = f.decoder.Unknown()
	names := make([]string, 0, f.unknown)
	for _, u := range f.decoder.UnknownFields() {
		names = append(names, u.Name)
	}
	f.src.tel.Log.Warn("the flow logs have fields that AWS does not define; they are kept as text", "slot", f.slotN, "fields", names)
}

// gapRecord tells of a coverage gap in the words that AWS has for one, so that
// it takes the same way to an alert.
func gapRecord(g *kinesis.Gap) *flow.Record {
	return &flow.Record{
		Kind: flow.KindSkipData, InterfaceID: "kinesis/" + g.Stream + "/" + g.Shard, Start: g.From, End: g.To,
		Attrs:  []flow.Attr{{Name: "flowstitch-gap", Value: g.Reason}},
		Origin: flow.Origin{Source: g.Stream, Shard: g.Shard},
	}
}

// clock implements feed.
func (f *kinesisFeed) clock() (watermark flow.Time, idle bool) { return f.slot.Clock() }

// close implements feed.
func (f *kinesisFeed) close() {
	if f.slot != nil {
		f.slot.Close()
	}
}
