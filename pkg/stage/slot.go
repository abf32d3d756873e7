package stage

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// slot is one slot while this process is assigned it: it takes it over, works,
// and on any error drops the client and takes it over again.
type slot struct {
	st   *Stage
	n    int
	stop chan struct{}      // closed: hand over in order
	done chan struct{}      // closed: run has returned
	kill context.CancelFunc // ends it at once

	live atomic.Bool  // taken over and refolded
	beat atomic.Int64 // Unix nanoseconds of the loop's last turn
}

var (
	errFenced = errors.New("stage: another member has taken the slot")
	errHanded = errors.New("stage: the slot was handed over")
)

// Pauses before a slot is taken again after an error.
const (
	firstPause = 100 * time.Millisecond
	longPause  = 5 * time.Second
)

// run works the slot until it is told to stop (in order) or ctx ends (at once).
func (s *slot) run(ctx context.Context) {
	defer close(s.done)
	<-s.st.joining
	log := s.st.log.With("slot", s.n)
	pause := firstPause
	for ctx.Err() == nil {
		began := time.Now()
		err := s.own(ctx)
		s.live.Store(false)
		if err == nil || errors.Is(err, errHanded) || ctx.Err() != nil || s.stopping() {
			return
		}
		s.st.m.takeovers.WithLabelValues(reasonOf(err)).Inc()
		if time.Since(began) > time.Minute {
			pause = firstPause
		}
		if errors.Is(err, errFenced) {
			log.Warn("fenced; waiting for the group to confirm the assignment", "error", err)
			s.confirm(ctx)
			continue
		}
		log.Log(ctx, s.st.watch.level(), "slot dropped; it will be taken over again", "error", err, "pause", pause)
		s.sleep(ctx, pause)
		pause = min(2*pause, longPause)
	}
}

func (s *slot) stopping() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

func (s *slot) sleep(ctx context.Context, d time.Duration) {
	s.turn()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-s.stop:
	case <-t.C:
	}
}

func (s *slot) turn() { s.beat.Store(s.st.cfg.Now().UnixNano()) }

// confirm waits until the group's coordinator says that the slot is ours. A
// member that the group has given up must not fence the one that it chose: two
// that both believed would fence each other for ever.
func (s *slot) confirm(ctx context.Context) {
	for ctx.Err() == nil && !s.stopping() {
		s.sleep(ctx, time.Second)
		if ok, err := s.st.assigned(ctx, s.n); ok && err == nil {
			return
		}
	}
}

// own takes the slot over, works it, and returns what ended that.
func (s *slot) own(ctx context.Context) error {
	s.turn()
	cl, err := s.st.slotClient(s.n)
	if err != nil {
		return err
	}
	defer cl.Close()
	began := s.st.cfg.Now()
	ledger, err := s.takeOver(ctx, cl)
	if err != nil {
		return err
	}
	w, err := s.restore(ctx, ledger)
	if err != nil {
		return err
	}
	defer w.Close()
	c := &committer{s: s, cl: cl, marks: newMarker(s.st)}
	s.st.log.Info("slot taken", "slot", s.n, "ledger_records", len(ledger), "took", s.st.cfg.Now().Sub(began))
	return s.work(ctx, c, w, began)
}

// restore hands the worker its ledger. Only a few slots do so at a time, since
// the ledger is in memory twice meanwhile.
func (s *slot) restore(ctx context.Context, ledger map[string][]byte) (SlotWorker, error) {
	if err := s.queue(ctx); err != nil {
		return nil, err
	}
	defer func() { <-s.st.restoring }()
	w, err := s.st.factory(s.n)
	if err != nil {
		return nil, err
	}
	if raw, ok := w.(interface {
		restoreAll(context.Context, map[string][]byte) error
	}); ok {
		err = raw.restoreAll(ctx, ledger)
	} else {
		var own []LedgerRecord
		for _, name := range slices.Sorted(maps.Keys(ledger)) {
			if !isReserved(name) {
				own = append(own, LedgerRecord{Slot: s.n, Name: name, Value: ledger[name]})
			}
		}
		err = w.Restore(ctx, own)
	}
	if err != nil {
		w.Close()
		return nil, fmt.Errorf("stage: restoring slot %d: %w", s.n, err)
	}
	s.turn()
	return w, nil
}

// queue waits for a turn to restore, which is no standstill however long others take.
func (s *slot) queue(ctx context.Context) error {
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	for {
		s.turn()
		select {
		case s.st.restoring <- struct{}{}:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// work fills and commits transactions: while one is on its way, the next is
// being filled.
func (s *slot) work(ctx context.Context, c *committer, w SlotWorker, began time.Time) error {
	fillCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // an orderly stop ends a Fill that waits
		select {
		case <-s.stop:
			cancel()
		case <-fillCtx.Done():
		}
	}()
	p := &pipeline{c: c, txs: [2]*Tx{s.st.newTx(), s.st.newTx()}}
	for _, tx := range p.txs {
		tx.ahead, tx.now = &p.ahead, s.st.cfg.Now
	}
	defer func() { _ = p.wait() }() // the client must not be closed under a commit
	refolded, _ := w.(interface{ refolded() bool })
	for fillCtx.Err() == nil {
		s.turn()
		tx := p.next(s.st.cfg.Now().Add(s.st.cfg.CommitInterval))
		if err := w.Fill(fillCtx, tx); err != nil {
			return errors.Join(err, p.wait())
		}
		if err := p.submit(ctx, tx); err != nil {
			return err
		}
		if !s.live.Load() && (refolded == nil || refolded.refolded()) {
			s.live.Store(true)
			took := s.st.cfg.Now().Sub(began)
			s.st.m.timeToLive.Observe(took.Seconds())
			s.st.log.Info("slot live", "slot", s.n, "took", took)
		}
	}
	if ctx.Err() != nil { // lost: nothing of ours may be committed any more
		return ctx.Err()
	}
	if err := p.wait(); err != nil {
		return err
	}
	return s.drain(ctx, p, w)
}

// drain lets the worker write what spares its successor a refold.
func (s *slot) drain(ctx context.Context, p *pipeline, w SlotWorker) error {
	d, ok := w.(Drainer)
	if !ok || !s.live.Load() {
		return errHanded
	}
	ctx, cancel := context.WithTimeout(ctx, s.st.cfg.HandoverTimeout)
	defer cancel()
	for done := false; !done && ctx.Err() == nil; {
		s.turn()
		tx := p.next(s.st.cfg.Now().Add(s.st.cfg.CommitInterval))
		var err error
		if done, err = d.Drain(ctx, tx); err != nil {
			return err
		}
		if err := p.submit(ctx, tx); err != nil {
			return err
		}
	}
	if err := p.wait(); err != nil {
		return err
	}
	return errHanded
}

// pipeline holds two transactions: one being filled, one on its way.
type pipeline struct {
	c      *committer
	txs    [2]*Tx
	i      int
	ahead  atomic.Bool
	result chan error // of the one on its way; nil when there is none
}

func (p *pipeline) next(deadline time.Time) *Tx {
	p.i ^= 1
	tx := p.txs[p.i]
	tx.reset(deadline)
	return tx
}

// submit waits for the transaction before and sends this one on its way.
func (p *pipeline) submit(ctx context.Context, tx *Tx) error {
	if err := p.wait(); err != nil {
		return err
	}
	p.c.marks.add(tx, p.c.s.st.cfg.Now())
	if tx.err != nil {
		return tx.err
	}
	if tx.empty() {
		return nil
	}
	p.result = make(chan error, 1)
	p.ahead.Store(true)
	go func(r chan<- error) {
		err := p.c.commit(ctx, tx)
		p.ahead.Store(false)
		r <- err
	}(p.result)
	return nil
}

func (p *pipeline) wait() error {
	if p.result == nil {
		return nil
	}
	err := <-p.result
	p.result = nil
	return err
}

// takeOver makes the slot ours (design.md section 6):
//  1. a producer id for the slot's transactional id fences the predecessor and
//     aborts what it had open;
//  2. an owner record is committed and read back read_committed: when it
//     appears, every transaction before it is resolved. The end offset alone
//     does not show that, since end markers arrive asynchronously;
//  3. what was read on the way is the slot's ledger.
func (s *slot) takeOver(ctx context.Context, cl *kgo.Client) (map[string][]byte, error) {
	err := s.step(ctx, func(ctx context.Context) error {
		_, _, err := cl.ProducerID(ctx)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("stage: slot %d: no producer id: %w", s.n, err)
	}
	member, generation := s.st.membership()
	me := owner{generation: generation, layout: s.st.cfg.Layout, member: member, nonce: nonce()}
	if err := s.step(ctx, func(ctx context.Context) error { return s.claim(ctx, cl, &me) }); err != nil {
		return nil, err
	}
	ledger, newer, err := s.readLedger(ctx, &me)
	if err != nil {
		return nil, err
	}
	if newer == nil {
		return ledger, nil
	}
	// A group that was deleted, or expired while nobody ran, counts its
	// generations from the start again: the coordinator has the last word.
	if ok, err := s.st.assigned(ctx, s.n); err != nil || !ok {
		return nil, fmt.Errorf("%w: generation %d is newer than ours, %d", errFenced, newer.generation, generation)
	}
	return ledger, nil
}

// step bounds one step of a taking-over.
func (s *slot) step(ctx context.Context, do func(context.Context) error) error {
	s.turn()
	ctx, cancel := context.WithTimeout(ctx, s.st.takeOverTimeout())
	defer cancel()
	return do(ctx)
}

func nonce() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails, since Go 1.24
	return hex.EncodeToString(b[:])
}

// claim commits the owner record.
func (s *slot) claim(ctx context.Context, cl *kgo.Client, me *owner) error {
	if err := cl.BeginTransaction(); err != nil {
		return fmt.Errorf("stage: slot %d: %w", s.n, err)
	}
	var err error
	r := &kgo.Record{Topic: s.st.ledger, Partition: int32(s.n), Key: []byte(nameOwner), Value: me.append(nil)}
	cl.Produce(ctx, r, func(_ *kgo.Record, e error) { err = e })
	if e := cl.Flush(ctx); e != nil { // the promise has run once Flush returns without an error
		return s.classify("claiming", e)
	}
	if err == nil {
		err = cl.EndTransaction(ctx, kgo.TryCommit)
	}
	return s.classify("claiming", err)
}

// classify tells the errors that mean another owner from the rest.
func (s *slot) classify(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, kerr.ProducerFenced), errors.Is(err, kerr.InvalidProducerEpoch), errors.Is(err, kerr.InvalidProducerIDMapping):
		return fmt.Errorf("%w: slot %d: %s: %w", errFenced, s.n, what, err)
	}
	return fmt.Errorf("stage: slot %d: %s: %w", s.n, what, err)
}

// reasonOf is the label under which an error is counted.
func reasonOf(err error) string {
	var ke *kerr.Error
	switch {
	case errors.Is(err, errFenced):
		return "fenced"
	case errors.As(err, &ke):
		return ke.Message
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	}
	return "other"
}
