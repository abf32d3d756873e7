package ingester

import (
	"bytes"
	"fmt"
	"math/rand/v2"
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
		report: func(*batch) {}, b: newBatch(), keptPins: chunked{prefix: ledgerPins},
	}
}

// ownFormat returns n lines of a layout that no document shows: one alone does
// not tell which number is which, nor who sent. Requests and replies with their
// flags and directions prove that together.
func ownFormat(n int) []byte {
	var b []byte
	for i := range n {
		start := 1_700_000_000 + i
		src, dst, sport, dport, flags, way := "10.0.0.1", fmt.Sprintf("203.0.113.%d", i/2%50+1), 40000+i/2*7, 443, 2, "egress"
		if i%2 == 1 {
			src, dst, sport, dport, flags, way = dst, src, dport, sport, 18, "ingress"
		}
		b = fmt.Appendf(b, "eni-0a1b2c3d4e5f60718 %s %s %d %d 6 %d %d %d %d ACCEPT OK %d %s\n",
			src, dst, sport, dport, i%500+1, (i%500+1)*1400, start, start+20+i%30, flags, way)
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

// history is n payloads of some interfaces, in a layout that must be inferred
// and with addresses that must be learned, some of which are taken back again.
func history(rng *rand.Rand, n int) (out [][]byte) {
	out = append(out, ownFormat(300))
	for len(out) < n {
		eni, peer, start := rng.IntN(12), rng.IntN(6), 1_700_000_000+rng.IntN(100)
		own := fmt.Sprintf("10.0.1.%d", eni)
		if eni < 3 && rng.IntN(20) == 0 { // it forwards
			own = "10.0.9.9"
		}
		src, dst := own, fmt.Sprintf("203.0.113.%d", peer)
		if rng.IntN(2) == 0 {
			src, dst = dst, src
		}
		out = append(out, fmt.Appendf(nil, "eni-0a1b2c3d4e5f607%02d %s %s %d 443 6 3 4200 %d %d ACCEPT OK", eni, src, dst, 40000+len(out), start, start+30))
	}
	return out
}

// commitLike gives payloads to a feed one after another, with a commit after
// each few of them, and returns what they became, by payload. Where crash says
// so, a successor takes over from the ledger before the commit.
func commitLike(t *testing.T, payloads [][]byte, rng *rand.Rand, crash func() bool) (out []string) {
	t.Helper()
	tx := &fakeTx{ledger: map[string][]byte{}}
	f := learner(t)
	for done := 0; done < len(payloads); {
		n := min(1+rng.IntN(5), len(payloads)-done)
		var became []string
		for _, p := range payloads[done : done+n] {
			f.decode(&kinesis.Delivery{Data: p, Origin: flow.Origin{Source: "vpc"}, Arrival: 1_700_000_400_000})
			became = append(became, string(f.b.arena))
			f.b.reset()
		}
		if crash() {
			f = learner(t)
			if err := f.restoreLearned(recordsOf(tx)); err != nil {
				t.Fatal(err)
			}
			continue
		}
		f.saveLearned(tx)
		out, done = append(out, became...), done+n
	}
	return out
}

// TestCrashesChangeNothingThatIsLearned: whose addresses are whose, and how a
// line is read, are as without a crash, wherever the crash was.
func TestCrashesChangeNothingThatIsLearned(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		payloads := history(rng, 400)
		want := commitLike(t, payloads, rng, func() bool { return false })
		got := commitLike(t, payloads, rng, func() bool { return rng.IntN(3) == 0 })
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("seed %d: payload %d of %d became %q instead of %q", seed, i, len(want), got[i], want[i])
			}
		}
	}
}

// TestAForgottenInterfaceLeavesTheLedger: the ledger is as bounded as the memory.
func TestAForgottenInterfaceLeavesTheLedger(t *testing.T) {
	f := learner(t)
	var err error
	if f.owners, err = flowlog.NewOwners(flowlog.OwnersConfig{MaxInterfaces: 2}); err != nil {
		t.Fatal(err)
	}
	tx := &fakeTx{ledger: map[string][]byte{}}
	for i := range 5 {
		f.owners.Stamp(&flow.Record{InterfaceID: fmt.Sprintf("eni-%d", i), Src: flow.Endpoint{Addr: flow.MustAddr("10.0.0.1")}, Dst: flow.Endpoint{Addr: flow.MustAddr("10.0.0.2")}})
		f.saveLearned(tx)
	}
	kept := 0
	for _, r := range recordsOf(tx) {
		if r.Value != nil {
			kept++
		}
	}
	if kept != 2 {
		t.Errorf("%d interfaces are in the ledger, 2 are known", kept)
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
