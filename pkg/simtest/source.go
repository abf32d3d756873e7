package simtest

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/stage"
	"github.com/flowstitch/flowstitch/pkg/wire"
)

// Load is a set of generated records: a function of its fields alone.
type Load struct {
	Seed    uint64
	Slots   int   // sources, each with Records
	Records int   // of each source
	Keys    int   // distinct keys
	PerSec  int   // records a second of event time of a source
	Jitter  int64 // seconds by which records are out of order, below Lateness
	// Burst and Pace, where above 0, slow a source down to Burst records a
	// transaction and a transaction each Pace.
	Burst int
	Pace  time.Duration
}

// lateness is how far a source's watermark stays behind, in seconds.
func (l *Load) lateness() int64 { return l.Jitter + 1 }

// epoch is where the generated event time begins: 2026-01-01.
const epoch flow.Time = 1767225600

// mix is splitmix64: each record is a function of its number.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Record returns the i-th record of a source.
func (l *Load) Record(slot, i int) (key string, at flow.Time, amount int64) {
	h := mix(l.Seed ^ uint64(slot)<<40 ^ uint64(i))
	key = fmt.Sprintf("k%d", h%uint64(l.Keys))
	at = epoch + flow.Time(i/l.PerSec)
	if l.Jitter > 0 {
		at -= flow.Time(mix(h) % uint64(l.Jitter+1))
	}
	return key, at, int64(h>>40)%1000 + 1
}

// Want is what the windows of the given width must add up to.
func (l *Load) Want(width int64) map[Window]Sum {
	want := map[Window]Sum{}
	for slot := range l.Slots {
		for i := range l.Records {
			key, at, amount := l.Record(slot, i)
			id := Window{key, at.Floor(width)}
			s := want[id]
			s.Total, s.Count = s.Total+amount, s.Count+1
			want[id] = s
		}
	}
	return want
}

// Source is the worker of a slot that produces its part of a Load, with its
// checkpoint in the ledger.
type Source struct {
	load *Load
	slot int
	next int
}

// NewSource returns the slot factory of a Load.
func (l *Load) NewSource(slot int) (stage.SlotWorker, error) {
	return &Source{load: l, slot: slot}, nil
}

// Restore implements stage.SlotWorker.
func (s *Source) Restore(_ context.Context, ledger []stage.LedgerRecord) error {
	for _, r := range ledger {
		if r.Name != "next" || len(r.Value) != 8 {
			return fmt.Errorf("unexpected ledger record %q", r.Name)
		}
		s.next = int(binary.BigEndian.Uint64(r.Value))
	}
	return nil
}

// Fill implements stage.SlotWorker.
func (s *Source) Fill(ctx context.Context, tx *stage.Tx) error {
	l := s.load
	if s.next == l.Records {
		wait(ctx, time.Until(tx.Deadline()))
		return nil
	}
	for n := 0; s.next < l.Records && !tx.Full() && ctx.Err() == nil; n++ {
		if l.Pace > 0 && n == l.Burst {
			wait(ctx, l.Pace)
			break
		}
		key, at, amount := l.Record(s.slot, s.next)
		tx.Emit(stage.Output{Topic: stage.FlowsTopic, Partition: stage.ByKey, Key: []byte(key), Value: ToyRecord(at, amount)})
		s.next++
	}
	tx.Ledger("next", binary.BigEndian.AppendUint64(nil, uint64(s.next)))
	w := stage.Watermark{
		Topic: stage.FlowsTopic, Partition: stage.AllPartitions, Slot: uint32(s.slot), Slots: uint32(l.Slots),
		Time: epoch + flow.Time(s.next/l.PerSec) - flow.Time(l.lateness()),
	}
	if s.next == l.Records {
		w.Time = flow.MaxTime
	}
	tx.Watermark(w)
	return nil
}

// Close implements stage.SlotWorker.
func (s *Source) Close() {}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// Collect reads the facts on sessions, read_committed, until every partition
// has been marked as finished (flow.MaxTime), or ctx ends.
func Collect(ctx context.Context, opts []kgo.Opt, prefix string, partitions int) ([]Fact, error) {
	names := stage.Topics{Prefix: prefix}
	cl, err := kgo.NewClient(append(append([]kgo.Opt{}, opts...),
		kgo.ConsumeTopics(names.Name(stage.SessionsTopic)),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()))...)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	var facts []Fact
	finished := map[int32]bool{}
	for len(finished) < partitions {
		fs := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			return facts, fmt.Errorf("%d of %d partitions finished, %d facts: %w", len(finished), partitions, len(facts), ctx.Err())
		}
		for it := fs.RecordIter(); !it.Done(); {
			r := it.Next()
			if wire.IsMark(r.Value) {
				var m wire.Mark
				if err := wire.ParseMark(r.Value, &m); err != nil {
					return facts, err
				}
				if m.Watermark == flow.MaxTime {
					finished[r.Partition] = true
				}
				continue
			}
			f, err := ParseFact(r.Key, r.Value)
			if err != nil {
				return facts, err
			}
			facts = append(facts, f)
		}
	}
	return facts, nil
}
