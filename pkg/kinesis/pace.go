package kinesis

import (
	"math/rand/v2"
	"time"
)

// pacer decides when a shard is read next. It is pure but for its jitter, and
// has no clock: it tells how long to wait after a read.
type pacer struct {
	least, most time.Duration // between two reads: the limit, and when idle
	bytes       int64         // a second
	interval    time.Duration // grows when idle or throttled
	failures    int
}

// throttleMost is how slow throttling makes a shard's reads at most; AWS
// throttles for 5 s after a call of 10 MiB.
const throttleMost = 5 * time.Second

func newPacer(s *Stream, idle time.Duration) pacer {
	reads, bytes := s.ReadsPerSecond, s.BytesPerSecond
	if reads == 0 {
		reads = awsReadsPerSecond
	}
	if bytes == 0 {
		bytes = awsBytesPerSecond
	}
	least := time.Duration(float64(time.Second) / reads)
	return pacer{least: least, most: max(least, idle), bytes: bytes, interval: least}
}

// read tells that a read gave so many bytes and returns how long to wait before
// the next, measured from the start of this one. A shard with more to give is
// read as fast as its share allows, an idle one less and less often.
func (p *pacer) read(size int64, more bool) time.Duration {
	p.failures = 0
	switch {
	case more || size > 0:
		p.interval = max(p.least, p.interval*3/4)
	default:
		p.interval = min(max(p.least, p.interval*3/2), p.most)
	}
	if more && p.interval > p.most/2 {
		p.interval = max(p.least, p.most/2)
	}
	return max(p.interval, time.Duration(float64(size)/float64(p.bytes)*float64(time.Second)))
}

// throttled slows the shard down: somebody else reads it, too.
func (p *pacer) throttled() time.Duration {
	p.interval = min(max(p.least, p.interval)*2, max(p.least, throttleMost))
	return jitter(p.interval)
}

// backoffMost is how long a failing call is left alone at most.
const backoffMost = 10 * time.Second

// failed returns how long to wait after a failure.
func (p *pacer) failed() time.Duration {
	p.failures++
	return backoff(p.failures)
}

// backoff doubles from 100 ms up to backoffMost, jittered.
func backoff(failures int) time.Duration {
	return jitter(min(100*time.Millisecond<<min(failures-1, 10), backoffMost))
}

// jitter returns between a half of d and d, so that many readers which failed
// together do not come back together.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }
