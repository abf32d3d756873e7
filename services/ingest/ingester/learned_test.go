package ingester

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/flowlog"
	"github.com/flowstitch/flowstitch/pkg/kinesis"
	"github.com/flowstitch/flowstitch/pkg/kinesis/shard"
	"github.com/flowstitch/flowstitch/pkg/stage"
	"github.com/flowstitch/flowstitch/pkg/telemetry"
)

func learner(t *testing.T) *kinesisFeed {
	t.Helper()
	dec, err := flowlog.New(flowlog.Config{})
	if err != nil {
		t.Fatal(err)
	}
	owners, err := flowlog.NewOwners(flowlog.OwnersConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return &kinesisFeed{
		src: &streams{tel: telemetry.Quiet()}, policy: shard.PolicyFor(time.Minute), decoder: dec, owners: owners,
		report: func(*batch) {}, b: newBatch(), keptOwners: chunked{prefix: ledgerOwners}, keptPins: chunked{prefix: ledgerPins},
	}
}

// ownFormat returns n lines of a layout that no document shows: one alone does
// not tell which number is which.
func ownFormat(n int) []byte {
	var b []byte
	for i := range n {
		start := 1_700_000_000 + i
		b = fmt.Appendf(b, "eni-0a1b2c3d4e5f60718 10.0.0.%d 203.0.113.%d %d 443 6 %d %d %d %d ACCEPT OK\n",
			i%5+1, i%50+1, 40000+i*7, i%500+1, (i%500+1)*1400, start, start+20+i%30)
	}
	return b
}

// TestLayoutSurvivesItsSlot: the layout that a slot has inferred is committed
// with the records that it was inferred from, and its successor reads with it.
func TestLayoutSurvivesItsSlot(t *testing.T) {
	const arrival = 1_700_000_400_000
	at := flow.Origin{Source: "vpc"}
	first := learner(t)
	first.decode(&kinesis.Delivery{Data: ownFormat(300), Origin: at, Arrival: arrival})
	if first.b.flows != 300 {
		t.Fatalf("%d flows, %d rejects", first.b.flows, first.b.rejected)
	}
	tx := &fakeTx{ledger: map[string][]byte{}}
	first.saveLearned(tx)
	if len(tx.ledger) == 0 {
		t.Fatal("nothing was saved with the first records")
	}
	saved := len(tx.ledger)
	first.saveLearned(tx)
	if len(tx.ledger) != saved {
		t.Error("it is saved again, though nothing is new")
	}
	stranger, successor := learner(t), learner(t)
	if err := successor.restoreLearned(recordsOf(tx)); err != nil {
		t.Fatal(err)
	}
	for _, f := range []*kinesisFeed{stranger, successor} {
		f.decode(&kinesis.Delivery{Data: ownFormat(1), Origin: at, Arrival: arrival})
	}
	if stranger.b.rejected != 1 || successor.b.flows != 1 {
		t.Errorf("one line: %d rejects without, %d flows with what was learned", stranger.b.rejected, successor.b.flows)
	}
	// What another version wrote is no reason to stand still.
	if err := learner(t).restoreLearned([]stage.LedgerRecord{{Name: ledgerPins + "0", Value: []byte{99}}}); err != nil {
		t.Error(err)
	}
}

func recordsOf(tx *fakeTx) (out []stage.LedgerRecord) {
	for name, value := range tx.ledger {
		out = append(out, stage.LedgerRecord{Name: name, Value: value})
	}
	return out
}

// TestChunks: a value larger than a record comes back, also when it has shrunk
// since, and one with a hole is an error.
func TestChunks(t *testing.T) {
	tx := &fakeTx{ledger: map[string][]byte{}}
	c := chunked{prefix: "x/"}
	for _, size := range []int{3*chunkSize + 1, 2 * chunkSize, 0, 7} {
		want := bytes.Repeat([]byte{byte(size), 2, 3}, size/3+1)[:size]
		c.save(tx, want)
		heir := chunked{prefix: "x/"}
		got, err := heir.load(recordsOf(tx))
		if err != nil || !bytes.Equal(got, want) || heir.n != c.n {
			t.Errorf("%d bytes: %d bytes in %d records, %v", size, len(got), heir.n, err)
		}
	}
	for _, bad := range []string{"x/1", "x/a"} {
		if _, err := c.load([]stage.LedgerRecord{{Name: bad, Value: []byte("1")}}); err == nil {
			t.Errorf("%s alone was taken", bad)
		}
	}
}

// TestKinesisBalance: lines = records + rejects + headers, also for what does not come
// through the decoder: a broken aggregate, a record from the future, a field
// that nobody knows.
func TestKinesisBalance(t *testing.T) {
	const arrival = 1_700_000_400_000
	f := learner(t)
	var lines, records, rejects uint64
	f.report = func(b *batch) {
		lines += b.read.Lines - b.read.Headers
		records += uint64(b.flows + b.nodata + b.skipdata)
		rejects += uint64(b.rejected)
	}
	f.decode(&kinesis.Delivery{Data: []byte("no aggregate"), Broken: true, Arrival: arrival})
	f.decode(&kinesis.Delivery{Data: []byte("srcaddr dstaddr srcport dstport protocol start end colour\n10.0.0.1 10.0.0.2 40000 443 6 1700000000 1700000010 red\n"), Arrival: arrival})
	f.decode(&kinesis.Delivery{Data: []byte(flowLine(1, 1_700_009_000)), Arrival: arrival})
	f.flush(&fakeTx{max: 100, ledger: map[string][]byte{}})
	if lines != 3 || records != 1 || rejects != 2 || f.unknown != 1 {
		t.Errorf("%d lines, %d records, %d rejects, %d unknown fields", lines, records, rejects, f.unknown)
	}
	f.flush(&fakeTx{max: 100, ledger: map[string][]byte{}})
	if lines != 3 {
		t.Error("what was counted is counted again")
	}
}
