package stage_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/simtest"
	"github.com/flowstitch/flowstitch/pkg/stage"
	"github.com/flowstitch/flowstitch/pkg/wire"
)

// toyLog is a partition with every kind of traffic: disorder, late data, poison,
// repeated keys, two source slots of which one goes idle and comes back, a
// layout that is replaced, and a clock that jumps over everything at once.
func toyLog(rng *rand.Rand, n int) []stage.Message {
	var log []stage.Message
	add := func(key string, value []byte) {
		log = append(log, stage.Message{Partition: 2, Offset: int64(len(log)), Key: []byte(key), Value: value})
	}
	wall, layout := int64(1_700_000_000_000), uint32(1)
	mark := func(slot uint32, at flow.Time, idle bool) {
		wall += rng.Int64N(400)
		add("", wire.AppendMark(nil, &wire.Mark{Deployment: "d", Layout: layout, Slot: slot, Slots: 2, Watermark: at, Idle: idle, WallMS: wall}))
	}
	now := flow.Time(1_000_000)
	for len(log) < n {
		switch c := rng.IntN(100); {
		case c < 80:
			add(fmt.Sprintf("k%d", rng.IntN(60)), simtest.ToyRecord(now-flow.Time(rng.IntN(25)), rng.Int64N(1000)))
		case c < 81:
			add("bad", []byte("not a toy record"))
		case c < 90:
			mark(0, now-20, false)
		case c < 97:
			mark(1, now-flow.Time(15+rng.IntN(10)), rng.IntN(4) == 0)
		case c < 98:
			now += flow.Time(rng.IntN(3000)) // a jump: everything closes
		case rng.IntN(20) == 0:
			layout++
		default:
			now += flow.Time(rng.IntN(4))
		}
	}
	mark(0, flow.MaxTime, false)
	mark(1, flow.MaxTime, false)
	return log
}

func toyConfigs() [][]byte {
	var out [][]byte
	for tag := byte('A'); tag < 'E'; tag++ {
		out = append(out, (&simtest.Toy{Width: 10, Cuts: 4, Tag: tag}).ToyConfig())
	}
	return out
}

// crashRun runs one seed and holds its output against a run without crashes.
func crashRun(t *testing.T, seed uint64, records int, graceful bool) *stage.Rig {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	r := &stage.Rig{
		Log: toyLog(rng, records), Input: stage.FlowsTopic, Outputs: []string{stage.SessionsTopic}, Build: simtest.ParseToy, Configs: toyConfigs(), Rand: rng,
		MaxRecords: 1 + rng.IntN(60), TxBytes: 200 + rng.IntN(4000), SnapshotPercent: rng.IntN(40), CrashPercent: 1 + rng.IntN(25),
		Graceful: graceful,
	}
	if err := r.Run(); err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	want, err := r.Reference(r.Switched)
	if err != nil {
		t.Fatalf("seed %d: reference: %v", seed, err)
	}
	if !slices.Equal(r.Output, want) {
		i := 0
		for i < min(len(r.Output), len(want)) && r.Output[i] == want[i] {
			i++
		}
		t.Fatalf("seed %d: after %d crashes the output differs at record %d of %d (want %d): %q, want %q; configurations changed at %v",
			seed, r.Crashes, i, len(r.Output), len(want), r.Output[i:min(i+1, len(r.Output))], want[i:min(i+1, len(want))], r.Switched)
	}
	return r
}

// TestCrashesChangeNothing crashes a partition thousands of times: the state
// recovered equals the state lost, and the whole output, early records
// included, equals that of a run without crashes, byte for byte.
func TestCrashesChangeNothing(t *testing.T) {
	runs, crashes, refolded, switches := 12, 0, 0, 0
	if os.Getenv("FLOWSTITCH_LONG") == "1" {
		runs = 300
	}
	for seed := range uint64(runs) {
		r := crashRun(t, seed, 3000, false)
		crashes, refolded, switches = crashes+r.Crashes, refolded+r.Refolded, switches+len(r.Switched)
	}
	t.Logf("%d crashes, %d records refolded, %d changes of configuration", crashes, refolded, switches)
	if crashes < 50*runs/10 || switches == 0 {
		t.Errorf("only %d crashes and %d changes of configuration: the test has lost its bite", crashes, switches)
	}
}

// TestHandOverRefoldsNothing: an owner that ends in order leaves nothing to
// refold.
func TestHandOverRefoldsNothing(t *testing.T) {
	for seed := range uint64(20) {
		r := crashRun(t, seed, 2000, true)
		if r.Crashes == 0 {
			continue
		}
		// What is lost between the drain and the next owner's start is nothing.
		if r.Refolded > 0 {
			t.Fatalf("seed %d: %d hand-overs, %d records refolded", seed, r.Crashes, r.Refolded)
		}
	}
}

// TestClockJumpsOverAMillionEntries: one mark closes everything that is open, in
// many transactions, with crashes in the middle of it. The output is that of a run
// without crashes: nothing is closed twice and nothing is forgotten.
func TestClockJumpsOverAMillionEntries(t *testing.T) {
	entries := 20_000
	if os.Getenv("FLOWSTITCH_LONG") == "1" {
		entries = 1_000_000
	}
	rng := rand.New(rand.NewPCG(1, 9))
	var log []stage.Message
	add := func(key string, value []byte) {
		log = append(log, stage.Message{Partition: 2, Offset: int64(len(log)), Key: []byte(key), Value: value})
	}
	for i := range entries {
		add(fmt.Sprintf("k%d", i), simtest.ToyRecord(1_000_000, int64(i)))
	}
	add("", wire.AppendMark(nil, &wire.Mark{Deployment: "d", Slots: 1, Watermark: 2_000_000, WallMS: 1}))
	r := &stage.Rig{
		Log: log, Input: stage.FlowsTopic, Outputs: []string{stage.SessionsTopic}, Build: simtest.ParseToy, Configs: toyConfigs()[:1], Rand: rng,
		MaxRecords: entries / 3, TxBytes: entries * 4, SnapshotPercent: 100, CrashPercent: 20, // a record is about 75 bytes: some twenty transactions
	}
	if err := r.Run(); err != nil {
		t.Fatal(err)
	}
	want, err := r.Reference(nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Output) != entries || !slices.Equal(r.Output, want) {
		t.Errorf("%d records closed after %d crashes, want %d, the same", len(r.Output), r.Crashes, len(want))
	}
	t.Logf("%d entries closed by one mark, %d crashes, %d records refolded", entries, r.Crashes, r.Refolded)
	if r.Crashes < 3 {
		t.Errorf("only %d crashes: the test has lost its bite", r.Crashes)
	}
}
