package stage

import (
	"fmt"
	"slices"
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
		kgo.ProducerBatchCompression(slices.Clone(st.cfg.Compression)...), // the client writes into the list it is given
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
		kgo.FetchMaxPartitionBytes(int32(min(st.cfg.FetchBytes, 1<<20))),
		kgo.MaxConcurrentFetches(1),
		kgo.FetchMaxWait(500*time.Millisecond),
		// A position that the log no longer holds must be seen, not skipped.
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
	)
}

// takeOverTimeout bounds each step of a taking-over, the predecessor's transaction
// may have to time out first; and the wait for more of the ledger.
func (st *Stage) takeOverTimeout() time.Duration { return 2*st.cfg.TxnTimeout + 10*time.Second }

func (st *Stage) newTx() *Tx { return newTx(st.cfg.id(), st.names, st.in.counts, st.cfg.MaxTxnBytes) }
