package window

import (
	"bytes"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/DataDog/sketches-go/ddsketch"
	"github.com/DataDog/sketches-go/ddsketch/mapping"
	"github.com/DataDog/sketches-go/ddsketch/store"
)

// library returns DDSketch as its authors maintain it, over a store of theirs
// and with the accuracy of Sizes.
func library(t *testing.T, s store.Provider) *ddsketch.DDSketch {
	t.Helper()
	m, err := mapping.NewLogarithmicMapping(0.05)
	if err != nil {
		t.Fatal(err)
	}
	return ddsketch.NewDDSketchFromStoreProvider(m, s)
}

// sizesOf draws sizes as sessions have them: from one byte to gigabytes.
func sizesOf(r *rand.Rand, n int) []int64 {
	out := make([]int64, n)
	for i := range out {
		out[i] = 1 + r.Int64N(1<<(1+r.IntN(33)))
	}
	return out
}

// TestSizesAgainstTheLibrary: Sizes has the very buckets of DDSketch, and says
// the same quantiles to within a quarter of a percent: it takes the middle of a
// bucket on the logarithmic scale, the library that of the relative errors.
func TestSizesAgainstTheLibrary(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 1))
		lib, ours := library(t, store.DenseStoreConstructor), Sizes{}
		for _, v := range sizesOf(r, 1+r.IntN(2000)) {
			ours.Add(v, 1)
			if err := lib.Add(float64(v)); err != nil {
				t.Fatal(err)
			}
		}
		i := 0
		lib.GetPositiveValueStore().ForEach(func(index int, count float64) bool {
			if i >= len(ours.bins) || int(ours.bins[i].index) != index || ours.bins[i].n != int64(count) {
				t.Errorf("seed %d: bucket %d of the library holds %v and is not ours", seed, index, count)
				return true
			}
			i++
			return false
		})
		if i != len(ours.bins) {
			t.Errorf("seed %d: %d buckets, the library has %d", seed, len(ours.bins), i)
		}
		for _, q := range []float64{0, 0.05, 0.5, 0.9, 0.99, 1} {
			want, err := lib.GetValueAtQuantile(q)
			if got := ours.Quantile(q); err != nil || math.Abs(got/want-1) > 0.0025 {
				t.Errorf("seed %d: the %v quantile is %v, the library says %v (%v)", seed, q, got, want, err)
			}
		}
	}
}

// TestWhyNotTheLibrary holds the reason that doc.go gives: the library's sparse
// store, the one that is as small as ours, writes equal content as different
// bytes, and the other stores take half a kilobyte for a single value.
func TestWhyNotTheLibrary(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	values := sizesOf(r, 300)
	same, ours := 0, []byte(nil)
	var first []byte
	for i := range 20 {
		lib, s := library(t, store.SparseStoreConstructor), Sizes{}
		for _, at := range r.Perm(len(values)) {
			s.Add(values[at], 1)
			if err := lib.Add(float64(values[at])); err != nil {
				t.Fatal(err)
			}
		}
		var b []byte
		lib.Encode(&b, true)
		if i == 0 {
			first, ours = b, s.AppendTo(nil)
			continue
		}
		if bytes.Equal(b, first) {
			same++
		}
		if !bytes.Equal(s.AppendTo(nil), ours) {
			t.Error("Sizes depends on the order")
		}
	}
	if same == 19 {
		t.Error("the library's sparse store has canonical bytes now: use it, and mend doc.go")
	}
	const n = 1000
	var keep [n]store.Store
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := range keep {
		keep[i] = store.DenseStoreConstructor()
		keep[i].Add(70)
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / n; each < 512 {
		t.Errorf("the library's dense store takes %d bytes for one value: it could serve, see doc.go", each)
	}
	runtime.KeepAlive(&keep)
}
