package kinesis

import (
	"context"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/flowstitch/flowstitch/pkg/kinesis/shard"
)

// reader reads one shard in a goroutine of its own and hands over pages. At
// most one page waits while the next is fetched; whoever does not take pages
// stops the reader.
type reader struct {
	key     shard.Key
	st      *stream
	c       *Consumer
	pages   chan *page
	wake    chan<- struct{} // of the slot
	failing atomic.Int64    // wall ms since when reads fail, 0 when they do not
	cancel  context.CancelFunc
	done    chan struct{}
}

// page is what one read gave.
type page struct {
	recs  []types.Record
	size  int64 // bytes of the budget that it holds
	tip   bool  // there was nothing more at time at
	at    int64 // wall ms when the read began
	ended bool  // the shard is closed and this is its last page
	// restarted tells that the service refused the checkpoint's sequence
	// number and that the shard is read from its oldest record instead.
	restarted bool
}

// position is where a reader goes on.
type position struct {
	sequence string
	again    bool  // the record at sequence itself is wanted again
	start    int64 // without sequence: arrival in ms, 0 is the oldest
	oldest   bool  // from the oldest record, but nothing up to sequence
	resume   string
}

func positionOf(cp *shard.Checkpoint) position {
	return position{sequence: cp.Sequence, again: cp.Sub > 0, start: cp.Start}
}

// request returns the position as the API names it.
func (p *position) request() (kind types.ShardIteratorType, sequence *string, at *time.Time) {
	switch {
	case p.resume != "":
		return types.ShardIteratorTypeAfterSequenceNumber, aws.String(p.resume), nil
	case p.oldest:
	case p.sequence != "" && p.again:
		return types.ShardIteratorTypeAtSequenceNumber, aws.String(p.sequence), nil
	case p.sequence != "":
		return types.ShardIteratorTypeAfterSequenceNumber, aws.String(p.sequence), nil
	case p.start > 0:
		return types.ShardIteratorTypeAtTimestamp, nil, aws.Time(time.UnixMilli(p.start))
	}
	return types.ShardIteratorTypeTrimHorizon, nil, nil
}

// advance drops what was read before and moves the position behind the rest.
func (p *position) advance(recs []types.Record) (fresh []types.Record, repeated int) {
	fresh = recs
	for len(fresh) > 0 && p.sequence != "" {
		cmp := compareSequence(aws.ToString(fresh[0].SequenceNumber), p.sequence)
		if cmp > 0 || (cmp == 0 && p.again) {
			break
		}
		fresh = fresh[1:]
		repeated++
	}
	if n := len(fresh); n > 0 {
		p.sequence, p.again, p.oldest = aws.ToString(fresh[n-1].SequenceNumber), false, false
		p.resume = ""
	}
	return fresh, repeated
}

// compareSequence compares sequence numbers, decimal numbers of up to 128 digits.
func compareSequence(a, b string) int {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}

// startReader begins to read a shard at its checkpoint.
func (c *Consumer) startReader(ctx context.Context, cp *shard.Checkpoint, wake chan<- struct{}) *reader {
	ctx, cancel := context.WithCancel(ctx)
	r := &reader{key: cp.Key, st: c.streams[nameOf(cp.Stream)], c: c, pages: make(chan *page, 1), wake: wake, cancel: cancel, done: make(chan struct{})}
	pos := positionOf(cp)
	go func() {
		defer close(r.done)
		if r.st.cfg.FanOut != "" {
			r.listen(ctx, pos)
		} else {
			r.poll(ctx, pos)
		}
	}()
	return r
}

// stop ends the reader and gives back what its pages hold.
func (r *reader) stop() {
	r.cancel()
	<-r.done
	select {
	case p := <-r.pages:
		r.c.release(p.size)
	default:
	}
}

// hand waits until the slot has room for a page. It reports false when the
// reader is stopped, and keeps nothing of the budget then.
func (r *reader) hand(ctx context.Context, p *page) bool {
	select {
	case r.pages <- p:
	case <-ctx.Done():
		r.c.release(p.size)
		return false
	}
	select {
	case r.wake <- struct{}{}:
	default:
	}
	return true
}

// reserve takes bytes of the budget before they are read.
func (c *Consumer) reserve(ctx context.Context, n int64) (int64, error) {
	n = min(n, c.cfg.MemoryBytes)
	if err := c.budget.Acquire(ctx, n); err != nil {
		return 0, err
	}
	c.metrics.inFlight.Add(float64(n))
	return n, nil
}

func (c *Consumer) release(n int64) {
	if n > 0 {
		c.metrics.inFlight.Sub(float64(n)) // first, or who takes them next is counted twice
		c.budget.Release(n)
	}
}

// fill makes a page of the records that a call gave, of the budget that was
// reserved for it, and gives back what is too much.
func (r *reader) fill(pos *position, recs []types.Record, reserved int64) *page {
	name := r.st.cfg.Name
	fresh, repeated := pos.advance(recs)
	p := &page{recs: fresh}
	for i := range fresh {
		p.size += int64(len(fresh[i].Data))
	}
	r.c.metrics.records.WithLabelValues(name).Add(float64(len(fresh)))
	r.c.metrics.bytes.WithLabelValues(name).Add(float64(p.size))
	r.c.metrics.repeated.WithLabelValues(name).Add(float64(repeated))
	p.size = min(p.size, reserved)
	r.c.release(reserved - p.size)
	r.failing.Store(0)
	return p
}

// failed counts a failure and returns how long to wait.
func (r *reader) failed(call string, err error, p *pacer) time.Duration {
	f := faultOf(err)
	r.c.metrics.faults.WithLabelValues(r.st.cfg.Name, call, string(f)).Inc()
	switch f {
	case faultThrottled:
		return p.throttled()
	case faultIterator:
		return 0
	case faultBusy: // the subscription that this one replaces has not ended
		return jitter(p.least * 4)
	case faultCredentials:
		r.st.forget()
	case faultGone:
		r.c.relist(r.st.cfg.Name)
	default: // waiting is all that can be done
	}
	if r.failing.CompareAndSwap(0, time.Now().UnixMilli()) {
		r.c.log.Warn("a shard could not be read; trying on", "stream", r.st.cfg.Name, "shard", r.key.Shard, "call", call, "fault", f, "error", err)
	}
	return p.failed()
}
