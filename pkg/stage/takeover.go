package stage

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
)

// readLedger reads the slot's ledger up to me, the owner record that was just
// committed. newer is an owner of a higher generation than ours, if there was
// one. However long the ledger is, and however slow the network: as long as more
// of it comes it is read, since another try would not be faster.
func (s *slot) readLedger(ctx context.Context, me *owner) (ledger map[string][]byte, newer *owner, err error) {
	cl, err := kgo.NewClient(append(s.st.readOpts(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{s.st.ledger: {int32(s.n): kgo.NewOffset().AtStart()}}))...)
	if err != nil {
		return nil, nil, fmt.Errorf("stage: slot %d: client: %w", s.n, err)
	}
	defer cl.Close()
	l := ledgerReader{s: s, me: me, records: map[string][]byte{}}
	for {
		var fs kgo.Fetches
		err := s.step(ctx, func(ctx context.Context) error {
			fs = cl.PollFetches(ctx)
			return errors.Join(ctx.Err(), fs.Err())
		})
		if err != nil {
			return nil, nil, fmt.Errorf("stage: slot %d: reading the ledger: %w", s.n, err)
		}
		for it := fs.RecordIter(); !it.Done(); {
			if done, err := l.take(it.Next()); err != nil || done {
				return l.records, l.newer, err
			}
		}
	}
}

// ledgerReader is what has been read of a ledger.
type ledgerReader struct {
	s       *slot
	me      *owner
	records map[string][]byte
	newer   *owner
}

// take takes in one record; done means that it is the owner record me.
func (l *ledgerReader) take(r *kgo.Record) (done bool, err error) {
	l.s.st.m.ledgerRead.Add(float64(len(r.Key) + len(r.Value)))
	name := string(r.Key)
	if r.Value == nil {
		delete(l.records, name)
		return false, nil
	}
	l.records[name] = r.Value
	if name != nameOwner {
		return false, nil
	}
	o, err := parseOwner(r.Value)
	switch {
	case err != nil:
		return false, fmt.Errorf("stage: slot %d: owner record: %w", l.s.n, err)
	case o.nonce == l.me.nonce:
		return true, nil
	case o.layout > l.me.layout:
		return false, fmt.Errorf("stage: slot %d: the ledger is of layout %d and this stage is configured for %d; set the layout to it", l.s.n, o.layout, l.me.layout)
	}
	if l.newer = nil; o.generation > l.me.generation && o.member != l.me.member {
		l.newer = &o
	}
	return false, nil
}
