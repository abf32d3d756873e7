package window

import (
	"cmp"
	"math"
	"slices"
)

// A size bucket has 5 % relative accuracy, so it is about 10 % wide, which is
// how far password guesses vary (docs/alerts/brute-force.md). sizeGamma is the
// logarithm of the ratio of neighbouring bounds: ln((1+0.05)/(1-0.05)).
const sizeGamma = 0.10008345855698253

// Sizes is a histogram of positive numbers in logarithmic buckets of 5 %
// relative accuracy: the mapping of DDSketch (Masson et al., VLDB 2019) over a
// sparse sorted store, because DDSketch's own stores keep no canonical bytes. The zero Sizes is empty and ready.
type Sizes struct{ bins []bin }

type bin struct {
	index int32
	n     int64
}

// maxBins bounds a histogram; sizes from 1 to 2^63 need 437 buckets.
const maxBins = 512

// Reset empties the histogram and keeps its room.
func (s *Sizes) Reset() { s.bins = s.bins[:0] }

// Clone returns a copy that shares no memory.
func (s *Sizes) Clone() Sizes { return Sizes{bins: slices.Clone(s.bins)} }

// Add adds v, n times. What is not positive counts as 1.
func (s *Sizes) Add(v, n int64) {
	i := int32(math.Floor(math.Log(float64(max(v, 1))) / sizeGamma))
	s.add(i, n)
}

func (s *Sizes) add(i int32, n int64) {
	at, found := slices.BinarySearchFunc(s.bins, i, func(b bin, i int32) int { return cmp.Compare(b.index, i) })
	if found {
		s.bins[at].n += n
		return
	}
	s.bins = slices.Insert(s.bins, at, bin{i, n})
}

// Merge adds everything of o.
func (s *Sizes) Merge(o Sizes) {
	for _, b := range o.bins {
		s.add(b.index, b.n)
	}
}

// N is how many numbers were added.
func (s *Sizes) N() (n int64) {
	for _, b := range s.bins {
		n += b.n
	}
	return n
}

// Quantile returns the q-quantile to within the accuracy; 0 when empty.
func (s *Sizes) Quantile(q float64) float64 {
	rank := int64(q * float64(s.N()-1))
	for _, b := range s.bins {
		if rank -= b.n; rank < 0 {
			return math.Exp((float64(b.index) + 0.5) * sizeGamma)
		}
	}
	return 0
}

// Mode returns the value around which most numbers lie and how many lie within
// one bucket (about 10 %) of it.
func (s *Sizes) Mode() (value float64, near int64) {
	for i, b := range s.bins {
		n := b.n
		if i > 0 && s.bins[i-1].index == b.index-1 {
			n += s.bins[i-1].n
		}
		if i+1 < len(s.bins) && s.bins[i+1].index == b.index+1 {
			n += s.bins[i+1].n
		}
		if n > near {
			near, value = n, math.Exp((float64(b.index)+0.5)*sizeGamma)
		}
	}
	return value, near
}

// AppendTo appends the histogram.
func (s *Sizes) AppendTo(b []byte) []byte {
	b = AppendUint(b, uint64(len(s.bins)))
	for _, x := range s.bins {
		b = AppendInt(AppendInt(b, int64(x.index)), x.n)
	}
	return b
}

// ReadSizes reads what AppendTo wrote.
func ReadSizes(r *Reader) (s Sizes) {
	s.Read(r)
	return s
}

// Read is ReadSizes into a histogram whose room is used again.
func (s *Sizes) Read(r *Reader) {
	s.Reset()
	n := r.Len()
	if n > maxBins {
		r.Fail("a histogram has too many bins")
		return
	}
	for i := range n {
		x := bin{int32(r.Varint()), r.Varint()}
		if i > 0 && x.index <= s.bins[i-1].index {
			r.Fail("a histogram is not in order")
			return
		}
		s.bins = append(s.bins, x)
	}
}
