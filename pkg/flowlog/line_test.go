package flowlog

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// TestWords compares what reads eight bytes at a time with loops over bytes.
func TestWords(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOfN(rapid.OneOf(rapid.ByteRange('0', '9'), rapid.SampledFrom([]byte(" /:\x00-\x80\xba\xff!A"))), 8, 40).Draw(t, "bytes")
		v, j := leading((*[8]byte)(b), 3)
		want, n := number(b[:8], 0)
		if j != 3+n || n > 0 && v != want {
			t.Fatalf("%q: leading is %d up to %d, not %d up to %d", b, v, j-3, want, n)
		}
		from := rapid.IntRange(0, len(b)).Draw(t, "from")
		if got := space(b, from); got != end(b, from) {
			t.Fatalf("%q from %d: a space at %d, not %d", b, from, got, end(b, from))
		}
	})
}

// BenchmarkVaried decodes lines of which no two are alike, as a log has them: with
// one line again and again, as in the others, the processor knows every length.
func BenchmarkVaried(b *testing.B) {
	data := written(V2(), traffic(1, 1<<14))
	lines := bytes.Count(data, []byte{'\n'})
	d := mustNew(b, Config{Format: V2().String()})
	var c count
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		d.Payload(data, flow.Origin{}, &c)
	}
	if c.rejects > 0 {
		b.Fatal("rejects")
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(lines), "ns/line")
}
