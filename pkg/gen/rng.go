package gen

import "math/bits"

// rng is SplitMix64 (Steele, Lea, Flood 2014): eight bytes of state, good enough
// for traffic, and the same on every machine and Go release. Each activity has
// one of its own, so that taking one away changes no other.
type rng struct{ state uint64 }

// newRNG derives a generator from the scenario's seed and a name.
func newRNG(seed uint64, name string) rng {
	h := uint64(14695981039346656037) // FNV-1a
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * 1099511628211
	}
	r := rng{seed ^ h}
	r.next()
	return r
}

func (r *rng) next() uint64 {
	r.state += 0x9e3779b97f4a7c15
	z := r.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// n returns a number in [0, n); 0 for n <= 0.
func (r *rng) n(n int64) int64 {
	if n <= 0 {
		return 0
	}
	hi, _ := bits.Mul64(r.next(), uint64(n))
	return int64(hi)
}

// between returns a number in [lo, hi].
func (r *rng) between(lo, hi int64) int64 { return lo + r.n(hi-lo+1) }

// percent is true p times in a hundred.
func (r *rng) percent(p int64) bool { return r.n(100) < p }

// tailed returns a number of about the given mean with an exponential tail: a
// geometric number of halvings and a uniform rest, in integers. Its mean is
// 1.5 halvings, its median close to the mean's two thirds, and it is cut at 20.
func (r *rng) tailed(mean int64) int64 {
	k := min(int64(bits.TrailingZeros64(r.next()|1<<20)), 20)
	unit := mean*2/3 + 1
	return k*unit + r.n(unit)
}

// heavy returns a number with a power-law tail above lo: it doubles for each
// coin that falls right, at most doublings times.
func (r *rng) heavy(lo int64, doublings int) int64 {
	k := min(bits.TrailingZeros64(r.next()|1<<40), doublings)
	v := lo << k
	return v + r.n(v)
}
