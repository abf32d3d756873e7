package flowlog

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// count is a sink that costs nothing.
type count struct {
	records, rejects int
	sum              uint64
}

func (c *count) Record(r *flow.Record) { c.records++; c.sum += r.Bytes }
func (c *count) Reject(*Reject)        { c.rejects++ }

const lineV5 = "5 123456789010 eni-1235b8ca123456789 10.0.0.71 52.95.128.179 34210 80 6 7 471 1616729292 1616729349 ACCEPT OK " +
	"vpc-abcdefab012345678 subnet-aaaaaaaa012345678 i-0c50d5961bcb2d47b 3 IPv4 10.0.0.71 52.95.128.179 " +
	"ap-southeast-2 apse2-az3 - - - S3 egress 8"

// bare only splits a line and converts the numbers of the given columns, in one
// pass, validating nothing and keeping no text: what any decoder has to do at
// least. It is the fastest of four such loops that were tried: numbers end where
// their digits do, other values where bytes.IndexByte finds a space.
func bare(line []byte, numeric *[64]bool, out *[64]uint64, fields *[64][]byte) (c int) {
	for i := 0; i < len(line); i++ {
		from := i
		if numeric[c&63] {
			v := uint64(0)
			for ; i < len(line) && line[i] != ' '; i++ {
				v = v*10 + uint64(line[i]-'0')
			}
			out[c&63] = v
		} else if j := bytes.IndexByte(line[i:], ' '); j >= 0 {
			i += j
		} else {
			i = len(line)
		}
		fields[c&63] = line[from:i]
		c++
	}
	return c
}

func benchmarkDecode(b *testing.B, format, line string) {
	d := mustNew(b, Config{Format: format})
	data := bytes.Repeat([]byte(line+"\n"), 1000)
	var c count
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		d.Payload(data, flow.Origin{}, &c)
	}
	if c.rejects != 0 {
		b.Fatal("rejects")
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/line")
}

func benchmarkBare(b *testing.B, f *Format, line string) {
	var numeric [64]bool
	var out [64]uint64
	var fields [64][]byte
	for i := range f.cols {
		numeric[i] = f.cols[i].op >= opPackets
	}
	data := bytes.Repeat([]byte(line+"\n"), 1000)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		rest := data
		for len(rest) > 0 {
			j := bytes.IndexByte(rest, '\n')
			bare(rest[:j], &numeric, &out, &fields)
			rest = rest[j+1:]
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/line")
}

func BenchmarkV2(b *testing.B) {
	b.Run("baseline", func(b *testing.B) { benchmarkBare(b, V2(), lineV2) })
	b.Run("decode", func(b *testing.B) { benchmarkDecode(b, V2().String(), lineV2) })
	b.Run("inferred", func(b *testing.B) { benchmarkDecode(b, "", lineV2) })
	b.Run("ratio", func(b *testing.B) { benchmarkRatio(b, V2(), lineV2) })
}

func BenchmarkV5(b *testing.B) {
	b.Run("baseline", func(b *testing.B) { benchmarkBare(b, UpTo(5), lineV5) })
	b.Run("decode", func(b *testing.B) { benchmarkDecode(b, UpTo(5).String(), lineV5) })
	b.Run("ratio", func(b *testing.B) { benchmarkRatio(b, UpTo(5), lineV5) })
}

// benchmarkRatio runs the bare loop and the decoder in turns over the same
// lines and reports how many times as long the decoder takes, by the fastest
// round of each: what else the machine does then matters little.
func benchmarkRatio(b *testing.B, f *Format, line string) {
	var numeric [64]bool
	var out [64]uint64
	var tokens [64][]byte
	for i := range f.cols {
		numeric[i] = f.cols[i].op >= opPackets
	}
	data := bytes.Repeat([]byte(line+"\n"), 200)
	d := mustNew(b, Config{Format: f.String()})
	var c count
	var sink Sink = &c
	fastBare, fastDecode := time.Duration(1<<62), time.Duration(1<<62)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		t0 := time.Now()
		for rest := data; len(rest) > 0; {
			j := bytes.IndexByte(rest, '\n')
			bare(rest[:j], &numeric, &out, &tokens)
			rest = rest[j+1:]
		}
		t1 := time.Now()
		d.Payload(data, flow.Origin{}, sink)
		fastBare, fastDecode = min(fastBare, t1.Sub(t0)), min(fastDecode, time.Since(t1))
	}
	if c.rejects != 0 {
		b.Fatal("rejects")
	}
	b.ReportMetric(float64(fastDecode)/float64(fastBare), "x-bare")
	b.ReportMetric(float64(fastDecode)/200, "ns/line")
}

// BenchmarkEnvelope decodes a gzipped CloudWatch envelope of 400 events, beside
// what inflating it alone takes.
func BenchmarkEnvelope(b *testing.B) {
	recs := traffic(1, 400)
	rng := rand.New(rand.NewPCG(1, 1))
	text := []byte(`{"messageType":"DATA_MESSAGE","owner":"123456789010","logGroup":"vpc","logStream":"eni-1-all","subscriptionFilters":["f"],"logEvents":[`)
	for i := range recs {
		if i > 0 {
			text = append(text, ',')
		}
		// An id has 56 digits, as in AWS's sample; events of a batch begin alike.
		text = fmt.Appendf(text, `{"id":"3195310660696698337880%017d%017d","timestamp":%d000,"message":"%s"}`,
			rng.IntN(1e17), rng.IntN(1e17), recs[i].Start, V2().AppendLine(nil, &recs[i]))
	}
	text = append(text, `]}`...)
	data := gzipped(b, string(text))
	var z inflater
	var buf []byte
	d := mustNew(b, Config{Format: V2().String()})
	var c count
	var sink Sink = &c
	fastInflate, fastDecode := time.Duration(1<<62), time.Duration(1<<62)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		t0 := time.Now()
		buf, _, _ = z.inflate(buf, data, 1<<30)
		t1 := time.Now()
		d.Payload(data, flow.Origin{}, sink)
		fastInflate, fastDecode = min(fastInflate, t1.Sub(t0)), min(fastDecode, time.Since(t1))
	}
	if c.rejects > 0 || c.records == 0 {
		b.Fatal("rejects")
	}
	b.ReportMetric(float64(fastDecode)/float64(fastInflate), "x-inflate")
	b.ReportMetric(100*float64(fastInflate)/float64(fastDecode), "%-inflate")
	b.ReportMetric(float64(fastDecode)/400, "ns/line")
}

// BenchmarkStream decodes a text file of version 5.
func BenchmarkStream(b *testing.B) {
	data := bytes.Repeat([]byte(lineV5+"\n"), 1000)
	d := mustNew(b, Config{})
	var c count
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if err := d.Stream(bytes.NewReader(data), flow.Origin{}, &c); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAsk looks for the layout of a payload that has none that is sure: what
// a log costs that is not configured, for each sample of 256 lines.
func BenchmarkAsk(b *testing.B) {
	f, err := ParseFormat(withPairs(silent, "srcaddr dstaddr", "srcport dstport"))
	if err != nil {
		b.Fatal(err)
	}
	data := written(f, traffic(1, 256))
	d := mustNew(b, Config{})
	var c count
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		d.Payload(data, flow.Origin{}, &c)
	}
	if c.records > 0 {
		b.Fatal("records")
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/256, "ns/line")
}
