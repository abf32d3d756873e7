package shard

import (
	"errors"
	"time"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// Policy holds the numbers by which a shard's clock runs. Event times are in
// seconds, wall times in milliseconds.
type Policy struct {
	// Lateness is how far behind the newest end seen the clock stays.
	Lateness int64
	// MaxDelay is how far behind arrival the clock may fall at most, so that
	// a shard full of ancient records cannot stop time.
	MaxDelay int64
	// MaxFuture is how far a record may end after it arrived.
	MaxFuture int64
	// MaxSkew is how far a shard may be read ahead of the slowest, by arrival,
	// before it is paused.
	MaxSkew int64
	// StuckAfter is for how many milliseconds a shard or a listing may fail
	// before it stops holding the clock; 0 means that it holds for ever.
	StuckAfter int64
}

// PolicyFor returns the policy for flow logs of an aggregation interval:
// lateness of the interval and 5 minutes (what AWS states for delivery to
// CloudWatch Logs, best effort), a delay of at most the interval and 15 minutes,
// 10 minutes of future and of skew, half an hour until a shard is given up.
func PolicyFor(interval time.Duration) Policy {
	s := int64(interval / time.Second)
	return Policy{Lateness: s + 300, MaxDelay: s + 900, MaxFuture: 600, MaxSkew: 600, StuckAfter: 30 * 60 * 1000}
}

// Why a record is refused before it can touch a clock.
var (
	ErrFuture = errors.New("the record ends more than the allowed time after it arrived")
	ErrOrder  = errors.New("the record starts after its end")
)

// Check refuses a record that must not touch a clock: one that starts after
// its end, or that ends more than MaxFuture after its arrival (in Unix
// milliseconds). It is the reject rule of ingest.
func (p Policy) Check(start, end flow.Time, arrival int64) error {
	if start > end {
		return ErrOrder
	}
	if end > flow.Time(arrival/1000).Add(p.MaxFuture) {
		return ErrFuture
	}
	return nil
}

// clock is the event time below which a shard is expected to deliver no more:
// the newest end less the lateness, but no further behind the arrival than
// MaxDelay and never ahead of it. It grows with each argument, and both are
// running maxima, so it never goes back.
func (p Policy) clock(newest flow.Time, arrival int64) flow.Time {
	if arrival == 0 {
		return flow.MinTime
	}
	at := flow.Time(arrival / 1000)
	return min(max(newest.Add(-p.Lateness), at.Add(-p.MaxDelay)), at)
}
