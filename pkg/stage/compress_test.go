package stage_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/gen"
	"github.com/flowstitch/flowstitch/pkg/wire"
)

// flowBatch returns n records of flows as they lie in a batch of one partition of
// 24: generated traffic, the keys that murmur2 puts there.
func flowBatch(tb testing.TB, n int) (batch []byte) {
	tb.Helper()
	sc := gen.Incident()
	sc.Rate = 200
	s, err := gen.NewStream(sc)
	if err != nil {
		tb.Fatal(err)
	}
	place := kgo.StickyKeyPartitioner(nil).ForTopic("flows")
	var r flow.Record
	for range 100_000 { // the first minutes are of the hosts' housekeeping mostly
		s.Next(&r)
	}
	for i := 0; i < n && s.Next(&r); {
		k := kgo.Record{Key: wire.AppendFlowKey(nil, 0, &r)}
		if place.Partition(&k, 24) != 0 {
			continue
		}
		asDefaultFormat(&r, i)
		rec := kmsg.NewRecord()
		rec.OffsetDelta, rec.Key, rec.Value = int32(i), k.Key, wire.AppendFlow(nil, &r)
		rec.Length = int32(len(rec.AppendTo(nil)) - 1) // about: its own length is not part of it
		batch = rec.AppendTo(batch)
		i++
	}
	return batch
}

// asDefaultFormat leaves of a record what AWS's default format has, version 2, and
// gives it a position in Kinesis.
func asDefaultFormat(r *flow.Record, i int) {
	*r = flow.Record{
		Version: 2, Protocol: r.Protocol, Action: r.Action, Src: r.Src, Dst: r.Dst, Packets: r.Packets, Bytes: r.Bytes, Start: r.Start, End: r.End,
		AccountID: r.AccountID, InterfaceID: r.InterfaceID, Owned: r.Owned,
		Origin: flow.Origin{
			Source: "flow-logs", Shard: "shardId-000000000003", LogGroup: "/vpc/flow-logs", LogStream: r.InterfaceID + "-all",
			Sequence: fmt.Sprintf("4966402853461%043d", i/50*7919), Line: int64(i % 50),
		},
	}
}

// codecs are those that Kafka knows.
func codecs() map[string]kgo.CompressionCodec {
	return map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "lz4": kgo.Lz4Compression(), "snappy": kgo.SnappyCompression(),
		"zstd": kgo.ZstdCompression(), "zstd-1": kgo.ZstdCompression().WithLevel(1), "gzip": kgo.GzipCompression(),
	}
}

// BenchmarkCompression measures what a codec makes of flows, there and back: the
// share of the bytes that is left, and processor time. A batch of 200 records is
// what a partition gets within a commit interval at 20,000 records/s; 5,000 fill a
// batch, as in a catch-up. The stages' default, Config.Compression, rests on it.
func BenchmarkCompression(b *testing.B) {
	for _, n := range []int{200, 5000} {
		batch := flowBatch(b, n)
		for name, codec := range codecs() {
			c, err := kgo.DefaultCompressor(codec)
			if err != nil {
				b.Fatal(err)
			}
			var buf bytes.Buffer
			compress := func() ([]byte, kgo.CompressionCodecType) {
				buf.Reset()
				if c == nil { // what the client makes of none
					return batch, kgo.CodecNone
				}
				return c.Compress(&buf, batch)
			}
			packed, kind := compress()
			packed = bytes.Clone(packed)
			b.Run(fmt.Sprintf("%s/%d/write", name, n), func(b *testing.B) {
				b.SetBytes(int64(len(batch)))
				b.ReportAllocs()
				for b.Loop() {
					compress()
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/record")
				b.ReportMetric(float64(len(packed))/float64(n), "bytes/record")
				b.ReportMetric(float64(len(packed))/float64(len(batch)), "left")
			})
			b.Run(fmt.Sprintf("%s/%d/read", name, n), func(b *testing.B) {
				d := kgo.DefaultDecompressor()
				b.SetBytes(int64(len(batch)))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := d.Decompress(packed, kind); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/record")
			})
		}
	}
}

// TestDefaultCompressionEarnsItsTime: on a batch of flows the default leaves less
// than two thirds of the bytes, and the broker may fall back to none.
func TestDefaultCompressionEarnsItsTime(t *testing.T) {
	batch := flowBatch(t, 200)
	c, err := kgo.DefaultCompressor(kgo.Lz4Compression())
	if err != nil {
		t.Fatal(err)
	}
	packed, kind := c.Compress(new(bytes.Buffer), batch)
	if kind != kgo.CodecLz4 || len(packed)*3 > len(batch)*2 {
		t.Errorf("lz4 leaves %d of %d bytes (codec %v)", len(packed), len(batch), kind)
	}
}
