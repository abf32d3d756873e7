package ingester

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/klauspost/compress/gzip"

	"github.com/flowstitch/flowstitch/pkg/kafkatest"
	"github.com/flowstitch/flowstitch/pkg/kinesis/kinesistest"
	"github.com/flowstitch/flowstitch/pkg/kinesis/kpl"
)

// zipped is data as one gzip member.
func zipped(tb testing.TB, data []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(data); err != nil {
		tb.Fatal(err)
	}
	if err := z.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// TestOneStreamOfMixedPayloads: the kinds of payload change from record to record
// and inside an aggregate, and each line of each comes out once and in order.
func TestOneStreamOfMixedPayloads(t *testing.T) {
	t.Parallel()
	c := kafkatest.Start(t)
	prefix := kafkatest.Prefix(t)
	srv := kinesistest.Start(t)
	d := kinesistest.NewDriver(t, srv.URL, "vpc", 8, line)
	d.Create(4)
	// lines takes the next n lines of a lane.
	lines := func(lane, n int) (out []byte) {
		for range n {
			d.Put[lane]++
			out = append(append(out, line(lane, d.Put[lane])...), '\n')
		}
		return out
	}
	events := func(lane, n int) []byte {
		b := envelope(t, lane, d.Put[lane]+1, n)
		d.Put[lane] += n
		return b
	}
	firehose := func(lane int) []byte { return fmt.Appendf(nil, `{"message":%q}`, bytes.TrimSpace(lines(lane, 1))) }
	kinds := []func(lane int) []byte{
		func(lane int) []byte { return bytes.TrimSpace(lines(lane, 1)) },
		func(lane int) []byte { return lines(lane, 5) },
		func(lane int) []byte { return events(lane, 20) },
		firehose,
		func(lane int) []byte { return zipped(t, lines(lane, 3)) },
		func(lane int) []byte { return append(events(lane, 2), events(lane, 3)...) }, // two gzip members
		func(lane int) []byte {
			return kpl.Join("k", lines(lane, 1), events(lane, 4), firehose(lane), lines(lane, 2), zipped(t, lines(lane, 2)))
		},
		func(int) []byte {
			return zipped(t, []byte(`{"messageType":"CONTROL_MESSAGE","owner":"CloudwatchLogs","logGroup":"","logStream":"","subscriptionFilters":[],`+
				`"logEvents":[{"id":"","timestamp":"1700000000000","message":"CWL CONTROL MESSAGE: Checking health of destination Kinesis stream."}]}`))
		},
	}
	for i := range 25 * len(kinds) {
		lane := i % 7 // so that each lane meets each kind
		d.Raw(lane, kinds[i%len(kinds)](lane))
	}
	f := readFlows(t, c, prefix)
	startPod(t, c, prefix, srv.URL)
	f.check(t, d)
	if len(f.raw) > 0 {
		t.Errorf("%d rejects, the first %q", len(f.raw), f.raw[0])
	}
}
