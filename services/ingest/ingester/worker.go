package ingester

import (
	"context"
	"time"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/stage"
)

// feed is one kind of source that feeds a slot: its files, or its Kinesis shards.
type feed interface {
	// restore takes what the slot's ledger holds; the feed picks its own names.
	restore(ctx context.Context, ledger []stage.LedgerRecord) error
	// fill moves what has been read into tx, with the positions that cover it,
	// until tx is full, there is nothing at hand, or ctx ends.
	fill(ctx context.Context, tx transaction) error
	// clock is the event time below which the feed has nothing more to give,
	// or idle if it feeds nothing now.
	clock() (watermark flow.Time, idle bool)
	close()
}

// transaction is what a feed needs of a stage.Tx.
type transaction interface {
	stage.Emitter
	Ledger(name string, value []byte)
}

// worker is the ingest of one slot: its feeds share transactions and a watermark.
type worker struct {
	slot, slots uint32
	feeds       []feed
}

// Restore implements stage.SlotWorker.
func (w *worker) Restore(ctx context.Context, ledger []stage.LedgerRecord) error {
	for _, f := range w.feeds {
		if err := f.restore(ctx, ledger); err != nil {
			return err
		}
	}
	return nil
}

// Fill implements stage.SlotWorker. The feeds share the time that is left
// until the deadline, the first one served longest.
func (w *worker) Fill(ctx context.Context, tx *stage.Tx) error {
	mark := stage.Watermark{Topic: topicFlows, Partition: stage.AllPartitions, Slot: w.slot, Slots: w.slots, Time: flow.MaxTime, Idle: true}
	for i, f := range w.feeds {
		left := len(w.feeds) - i
		share := time.Until(tx.Deadline()) / time.Duration(left)
		filling, cancel := context.WithTimeout(ctx, share)
		err := f.fill(filling, tx)
		cancel()
		if err != nil {
			return err
		}
		if t, idle := f.clock(); !idle {
			mark.Time, mark.Idle = min(mark.Time, t), false
		}
	}
	if mark.Idle {
		mark.Time = flow.MinTime
	}
	tx.Watermark(mark)
	if len(w.feeds) == 0 || mark.Idle || mark.Time == flow.MaxTime {
		waitUntil(ctx, tx.Deadline())
	}
	return nil
}

// Close implements stage.SlotWorker.
func (w *worker) Close() {
	for _, f := range w.feeds {
		f.close()
	}
}

// waitUntil lets a slot with nothing to do wait for its commit.
func waitUntil(ctx context.Context, deadline time.Time) {
	t := time.NewTimer(time.Until(deadline))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
