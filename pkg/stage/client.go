package stage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// opts are the options of every client of the stage.
func (st *Stage) opts() []kgo.Opt {
	return append(append([]kgo.Opt{}, st.cfg.Client...), kgo.WithHooks(st.watch), kgo.MetadataMinAge(250*time.Millisecond))
}

// slotClient makes the transactional producer of a slot.
func (st *Stage) slotClient(n int) (*kgo.Client, error) {
	cl, err := kgo.NewClient(append(st.opts(),
		kgo.TransactionalID(st.cfg.transactionalID(n)),
		kgo.TransactionTimeout(st.cfg.TxnTimeout),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		// Everything of a transaction is handed over at once and then flushed:
		// a linger longer than that lets batches fill.
		kgo.ProducerLinger(time.Second),
		kgo.MaxBufferedRecords(1<<20),
		kgo.ProducerBatchMaxBytes(1<<20),
		kgo.ProducerBatchCompression(kgo.Lz4Compression(), kgo.NoCompression()),
	)...)
	if err != nil {
		return nil, fmt.Errorf("stage: slot %d: client: %w", n, err)
	}
	return cl, nil
}

// readOpts are those of a reader of what transactions have committed.
func (st *Stage) readOpts() []kgo.Opt {
	return append(st.opts(),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.FetchMaxBytes(int32(st.cfg.FetchBytes)),
		kgo.FetchMaxPartitionBytes(1<<20),
		kgo.MaxConcurrentFetches(1),
		kgo.FetchMaxWait(500*time.Millisecond),
		// A position that the log no longer holds must be seen, not skipped.
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
	)
}

// takeOverTimeout bounds the steps of a taking-over, each: the predecessor's
// transaction may have to time out first.
func (st *Stage) takeOverTimeout() time.Duration { return 2*st.cfg.TxnTimeout + 10*time.Second }

func (st *Stage) newTx() *Tx { return newTx(st.cfg.id(), st.names, st.in.counts, st.cfg.MaxTxnBytes) }

// readLedger reads a slot's ledger up to me, the owner record that was just
// committed. newer is an owner of a higher generation than ours, if there was
// one.
func (st *Stage) readLedger(ctx context.Context, n int, me *owner) (ledger map[string][]byte, newer *owner, err error) {
	cl, err := kgo.NewClient(append(st.readOpts(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{st.ledger: {int32(n): kgo.NewOffset().AtStart()}}))...)
	if err != nil {
		return nil, nil, fmt.Errorf("stage: slot %d: client: %w", n, err)
	}
	defer cl.Close()
	ledger = map[string][]byte{}
	for {
		fs := cl.PollFetches(ctx)
		if err := errors.Join(ctx.Err(), fs.Err()); err != nil {
			return nil, nil, fmt.Errorf("stage: slot %d: reading the ledger: %w", n, err)
		}
		for it := fs.RecordIter(); !it.Done(); {
			r := it.Next()
			st.m.ledgerRead.Add(float64(len(r.Key) + len(r.Value)))
			name := string(r.Key)
			if r.Value == nil {
				delete(ledger, name)
				continue
			}
			ledger[name] = r.Value
			if name != nameOwner {
				continue
			}
			o, err := parseOwner(r.Value)
			if err != nil {
				return nil, nil, fmt.Errorf("stage: slot %d: owner record: %w", n, err)
			}
			if o.nonce == me.nonce {
				return ledger, newer, nil
			}
			if o.layout > me.layout {
				return nil, nil, fmt.Errorf("stage: slot %d: the ledger is of layout %d and this stage is configured for %d; set the layout to it", n, o.layout, me.layout)
			}
			if newer = nil; o.generation > me.generation && o.member != me.member {
				newer = &o
			}
		}
	}
}
