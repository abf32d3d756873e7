package window

import (
	"bytes"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// TestSetForgetsCuts holds that a set is a function of the values alone.
func TestSetForgetsCuts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Uint64Range(0, 400), 0, 600).Draw(t, "values")
		k := rapid.IntRange(3, 64).Draw(t, "k")
		whole := NewSet(k)
		parts := []Set{NewSet(k), NewSet(k), NewSet(k)}
		distinct := map[uint64]bool{}
		for _, v := range values {
			whole.Add(v)
			distinct[v] = true
		}
		for _, v := range rapid.Permutation(values).Draw(t, "order") {
			parts[rapid.IntRange(0, 2).Draw(t, "part")].Add(v)
		}
		parts[1].Merge(parts[2])
		parts[0].Merge(parts[1])
		a, b := whole.AppendTo(nil), parts[0].AppendTo(nil)
		if !bytes.Equal(a, b) {
			t.Fatalf("cut and merged: %x, whole: %x", b, a)
		}
		if len(distinct) <= k && (whole.Count() != int64(len(distinct)) || !whole.Exact()) {
			t.Fatalf("%d values counted as %d", len(distinct), whole.Count())
		}
		r := NewReader(a)
		back := ReadSet(r)
		if err := r.Close(); err != nil || !bytes.Equal(back.AppendTo(nil), a) {
			t.Fatalf("read back: %v", err)
		}
	})
}

func TestSetEstimates(t *testing.T) {
	for _, n := range []int{1000, 50_000, 1_000_000} {
		s := NewSet(256)
		for i := range n {
			s.Add(uint64(i) * 7919)
		}
		if off := math.Abs(float64(s.Count())/float64(n) - 1); off > 4/math.Sqrt(254) {
			t.Errorf("%d values estimated as %d", n, s.Count())
		}
	}
}

func TestSizes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Int64Range(1, 1e9), 1, 300).Draw(t, "values")
		var whole, a, b Sizes
		for i, v := range values {
			whole.Add(v, 1)
			if i%2 == 0 {
				a.Add(v, 1)
			} else {
				b.Add(v, 1)
			}
		}
		b.Merge(a)
		if !bytes.Equal(whole.AppendTo(nil), b.AppendTo(nil)) {
			t.Fatal("the cut shows")
		}
		slices.Sort(values)
		q := rapid.Float64Range(0, 1).Draw(t, "q")
		want := float64(values[int(q*float64(len(values)-1))])
		if got := whole.Quantile(q); math.Abs(got/want-1) > 0.0514 { // half a bucket: sqrt(1.05/0.95)
			t.Fatalf("quantile %v is %v, got %v", q, want, got)
		}
	})
	var s Sizes
	for _, v := range []int64{14, 15, 14, 14, 200, 3} {
		s.Add(v, 1)
	}
	if mode, near := s.Mode(); near != 4 || math.Abs(mode-14) > 1.5 {
		t.Errorf("mode %v with %d", mode, near)
	}
}

func TestBaseline(t *testing.T) {
	var b Baseline
	t0 := flow.Time(1_700_006_400)
	for i := range 100 {
		b.Learn(t0.Add(int64(i*300)), float64(100+i%10))
	}
	b.Learn(t0.Add(100*300), 0) // silence teaches nothing
	n := b.At(t0.Add(100*300), 86400)
	if n.N != 100 || n.Median < 104 || n.Median > 105 || n.High != 109 || n.Spread < 3 || n.Spread > 4.5 || n.Seasonal {
		t.Errorf("normal is %+v", n)
	}
	if n := b.At(t0.Add(100*300), 3000); n.N != 10 {
		t.Errorf("of the last 3,000 s it knows %d", n.N)
	}
	r := NewReader(b.AppendTo(nil))
	back := ReadBaseline(r)
	if err := r.Close(); err != nil || !bytes.Equal(back.AppendTo(nil), b.AppendTo(nil)) {
		t.Errorf("read back: %v", err)
	}
}

// TestBaselineIsSeasonal: what is usual at this hour of the week is usual.
func TestBaselineIsSeasonal(t *testing.T) {
	var b Baseline
	t0 := flow.Time(1_700_006_400)
	for i := range 3 * 7 * 288 {
		at := t0.Add(int64(i * 300))
		v := 100.0
		if int64(at)/3600%168 == 10 {
			v = 5000
		}
		b.Learn(at, v)
	}
	busy := t0.Add(3 * 7 * 86400)
	for int64(busy)/3600%168 != 10 {
		busy = busy.Add(3600)
	}
	if n := b.At(busy, 7*86400); !n.Seasonal || n.Median < 4000 {
		t.Errorf("at the busy hour: %+v", n)
	}
	if n := b.At(busy.Add(3*3600), 7*86400); n.Median > 200 {
		t.Errorf("at a quiet hour: %+v", n)
	}
}

// FuzzReaders holds that no bytes make a reader panic or take what is not there.
func FuzzReaders(f *testing.F) {
	s := NewSet(8)
	var z Sizes
	var b Baseline
	for i := range 20 {
		s.Add(uint64(i))
		z.Add(int64(i*i), 1)
		b.Learn(flow.Time(i*300), float64(i))
	}
	f.Add(s.AppendTo(nil))
	f.Add(z.AppendTo(nil))
	f.Add(b.AppendTo(nil))
	f.Fuzz(func(t *testing.T, p []byte) {
		r := NewReader(p)
		if s := ReadSet(r); r.Close() == nil && !bytes.Equal(s.AppendTo(nil), p) {
			r := NewReader(s.AppendTo(nil))
			if ReadSet(r); r.Close() != nil {
				t.Fatal("a set that was read can not be read again")
			}
		}
		r = NewReader(p)
		z := ReadSizes(r)
		z.Mode()
		z.Quantile(0.5)
		r = NewReader(p)
		b := ReadBaseline(r)
		b.At(flow.Time(1000), 1000)
	})
}

func BenchmarkSetAdd(b *testing.B) {
	s := NewSet(256)
	b.ReportAllocs()
	i := uint64(0)
	for b.Loop() {
		s.Add(i)
		i++
	}
}
