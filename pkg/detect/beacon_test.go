package detect

import (
	"math"
	"math/rand/v2"
	"testing"
)

// course builds a host's beats at one destination: n of them, next telling how
// many seconds after the beat before.
func course(r *rand.Rand, n int, next func() float64) (beats []Beat) {
	at := 0.0
	for range n {
		beats = append(beats, Beat{t0.Add(int64(at)), 900 + int64(r.IntN(9))})
		at += max(next(), 0)
	}
	return beats
}

// everScored reports whether a course is a beacon at any time of its life: it is
// judged as it grows, a pane at a time.
func everScored(t *BeaconTuning, all []Beat) bool {
	for n := int(t.Beats); n <= len(all); n += 3 {
		g := (&scratch{}).grade(all[max(0, n-maxBeats):n])
		if g.score >= t.Score && g.beats >= t.Beats && g.span >= t.Span && g.share >= max(t.Regular, g.chance) {
			return true
		}
	}
	return false
}

// TestBeaconRates holds how often arrivals of every kind are called a beacon,
// over many seeds. Sizes hardly vary, so that timing alone decides.
func TestBeaconRates(t *testing.T) {
	const seeds = 1500
	tuning := defaultBeacon()
	for _, c := range []struct {
		name     string
		min, max float64 // share of the courses
		next     func(r *rand.Rand, period float64) func() float64
	}{
		{"poisson", 0, 0.004, func(r *rand.Rand, p float64) func() float64 {
			return func() float64 { return r.ExpFloat64() * p }
		}},
		{"bursts of a person", 0, 0.004, func(r *rand.Rand, p float64) func() float64 {
			return func() float64 {
				if r.IntN(5) > 0 {
					return r.ExpFloat64() * 4
				}
				return r.ExpFloat64() * p * 5
			}
		}},
		{"heavy tail", 0, 0.004, func(r *rand.Rand, p float64) func() float64 {
			return func() float64 { return p / 3 * (math.Pow(r.Float64(), -1/1.3) - 0.9) }
		}},
		{"period, 10 % jitter", 0.99, 1, func(r *rand.Rand, p float64) func() float64 {
			return func() float64 { return p * (0.9 + 0.2*r.Float64()) }
		}},
		{"period, 20 % jitter", 0.99, 1, func(r *rand.Rand, p float64) func() float64 {
			return func() float64 { return p * (0.8 + 0.4*r.Float64()) }
		}},
		{"period, every tenth beat lost", 0.95, 1, func(r *rand.Rand, p float64) func() float64 {
			return func() float64 {
				if r.IntN(10) == 0 {
					return 2 * p
				}
				return p * (0.95 + 0.1*r.Float64())
			}
		}},
	} {
		hits := 0
		for seed := range uint64(seeds) {
			r := rand.New(rand.NewPCG(seed, 5))
			period := 10 + r.Float64()*600
			n := 20 + r.IntN(120)
			if everScored(&tuning, course(r, n, c.next(r, period))) {
				hits++
			}
		}
		share := float64(hits) / seeds
		t.Logf("%-32s %.2f %% are called a beacon", c.name, 100*share)
		if share < c.min || share > c.max {
			t.Errorf("%s: %.4f of %d courses are called a beacon, want %v to %v", c.name, share, seeds, c.min, c.max)
		}
	}
}
