package flow

import (
	"math"
	"time"
)

// Time is event time: Unix seconds, the grain of VPC flow logs. It is its own
// type so that a wall-clock time can not be passed where event time is meant.
type Time int64

// The ends of event time. MaxTime is the watermark of a source that will never
// produce again; MinTime is the clock before anything is known.
const (
	MinTime Time = math.MinInt64
	MaxTime Time = math.MaxInt64
)

// Add returns t plus s seconds, saturating at MinTime and MaxTime: the end of
// time less any lateness is still the end of time.
func (t Time) Add(s int64) Time {
	if t == MinTime || t == MaxTime {
		return t
	}
	sum := t + Time(s)
	switch {
	case s > 0 && sum < t:
		return MaxTime
	case s < 0 && sum > t:
		return MinTime
	}
	return sum
}

// Floor returns the start of the bucket of the given width in seconds that t
// lies in, counted from the Unix epoch, so that buckets are absolute in UTC.
func (t Time) Floor(width int64) Time {
	r := int64(t) % width
	if r < 0 {
		r += width
	}
	return t - Time(r)
}

// UTC returns t as a time.Time, for people and for encoders.
func (t Time) UTC() time.Time { return time.Unix(int64(t), 0).UTC() }

// String formats t in RFC 3339, or names the end of time that it is.
func (t Time) String() string {
	switch t {
	case MinTime:
		return "beginning"
	case MaxTime:
		return "end"
	}
	return t.UTC().Format(time.RFC3339)
}
