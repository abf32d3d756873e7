package stage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// LedgerView follows the ledger of all slots of a stage, so that a worker knows
// what slots that others own have committed: for ingest, the checkpoints of a
// shard's parents. It sees committed records only, and none of the stage's own.
type LedgerView struct {
	st       *Stage
	prefixes []string

	mu      sync.Mutex
	records map[string]viewed
	next    map[int32]int64 // offset after the last that was seen, by slot
	changed chan struct{}   // closed and replaced at each change
}

type viewed struct {
	LedgerRecord
	at time.Time // append time
}

// NewLedgerView returns the view of st's ledger, of the records whose names
// begin with one of the prefixes, or of all without any; Run makes it follow.
func NewLedgerView(st *Stage, prefixes ...string) *LedgerView {
	return &LedgerView{st: st, prefixes: prefixes, records: map[string]viewed{}, next: map[int32]int64{}, changed: make(chan struct{})}
}

// Run follows the ledger until ctx ends and returns nil then. A broker that is
// away is waited for.
func (v *LedgerView) Run(ctx context.Context) error {
	from := map[int32]kgo.Offset{}
	for n := range v.st.cfg.Slots {
		from[int32(n)] = kgo.NewOffset().AtStart()
	}
	cl, err := kgo.NewClient(append(v.st.readOpts(),
		// A ledger that compaction has passed by goes on at its start.
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.KeepControlRecords(), // their offsets count, for Sync
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{v.st.ledger: from}))...)
	if err != nil {
		return fmt.Errorf("stage: following the ledger: %w", err)
	}
	defer cl.Close()
	for ctx.Err() == nil {
		fs := cl.PollFetches(ctx)
		if err := fs.Err(); err != nil && ctx.Err() == nil {
			return fmt.Errorf("stage: following the ledger: %w", err)
		}
		v.take(fs)
	}
	return nil
}

func (v *LedgerView) take(fs kgo.Fetches) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for it := fs.RecordIter(); !it.Done(); {
		r := it.Next()
		v.next[r.Partition] = r.Offset + 1
		name := string(r.Key)
		if r.Attrs.IsControl() || isReserved(name) || !v.wants(name) {
			continue
		}
		// Where two slots have written a name, because what it stands for moved
		// from one to the other, the later one holds.
		if old, ok := v.records[name]; ok && old.Slot != int(r.Partition) && r.Timestamp.Before(old.at) {
			continue
		}
		if r.Value == nil {
			delete(v.records, name)
			continue
		}
		v.records[name] = viewed{LedgerRecord{Slot: int(r.Partition), Name: name, Value: r.Value}, r.Timestamp}
	}
	close(v.changed)
	v.changed = make(chan struct{})
}

func (v *LedgerView) wants(name string) bool {
	return len(v.prefixes) == 0 || slices.ContainsFunc(v.prefixes, func(p string) bool { return strings.HasPrefix(name, p) })
}

// Get returns the newest record of a name.
func (v *LedgerView) Get(name string) (LedgerRecord, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	r, ok := v.records[name]
	return r.LedgerRecord, ok
}

// All returns the newest records whose names begin with prefix, by name.
func (v *LedgerView) All(prefix string) []LedgerRecord {
	v.mu.Lock()
	defer v.mu.Unlock()
	var out []LedgerRecord
	for r := range maps.Values(v.records) {
		if strings.HasPrefix(r.Name, prefix) {
			out = append(out, r.LedgerRecord)
		}
	}
	slices.SortFunc(out, func(a, b LedgerRecord) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// Changed returns a channel that is closed at the next change.
func (v *LedgerView) Changed() <-chan struct{} {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.changed
}

// Sync waits until the view holds everything that was committed before the
// call. Run must be running.
func (v *LedgerView) Sync(ctx context.Context) error {
	ends, err := v.ends(ctx)
	if err != nil {
		return err
	}
	for {
		changed := v.Changed()
		if v.reached(ends) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (v *LedgerView) ends(ctx context.Context) (map[int32]int64, error) {
	cl, err := kgo.NewClient(v.st.opts()...)
	if err != nil {
		return nil, fmt.Errorf("stage: ledger: %w", err)
	}
	defer cl.Close()
	listed, err := kadm.NewClient(cl).ListCommittedOffsets(ctx, v.st.ledger)
	if err = errors.Join(err, listed.Error()); err != nil {
		return nil, fmt.Errorf("stage: end of the ledger: %w", err)
	}
	ends := map[int32]int64{}
	listed.Each(func(o kadm.ListedOffset) { ends[o.Partition] = o.Offset })
	return ends, nil
}

func (v *LedgerView) reached(ends map[int32]int64) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	for p, end := range ends {
		if v.next[p] < end {
			return false
		}
	}
	return true
}
