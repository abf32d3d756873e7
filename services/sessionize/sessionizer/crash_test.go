package sessionizer

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/segmentio/encoding/json"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/stage"
	"github.com/flowstitch/flowstitch/pkg/wire"
)

// crashLog is a partition of flows with everything that a session table finds
// hard: reused ports, sessions of hours, disorder, exact repeats, late data, two
// observation points, coverage gaps, poison, and a clock that jumps.
func crashLog(rng *rand.Rand, n int) (log []stage.Message) {
	add := func(key, value []byte) {
		log = append(log, stage.Message{Partition: 2, Offset: int64(len(log)), Key: key, Value: value})
	}
	now, wall := flow.Time(1_700_000_000), int64(1_800_000_000_000)
	mark := func(slot uint32, at flow.Time) {
		wall += rng.Int64N(700)
		add(nil, wire.AppendMark(nil, &wire.Mark{Deployment: "d", Slot: slot, Slots: 2, Watermark: at, WallMS: wall, Idle: slot == 1 && rng.IntN(5) == 0}))
	}
	for len(log) < n {
		switch c := rng.IntN(1000); {
		case c < 800:
			r := crashFlow(rng, now)
			add(wire.AppendFlowKey(nil, 0, &r), wire.AppendFlow(nil, &r))
			if rng.IntN(20) == 0 { // told twice
				add(wire.AppendFlowKey(nil, 0, &r), wire.AppendFlow(nil, &r))
			}
		case c < 810:
			r := flow.Record{Kind: flow.KindSkipData, InterfaceID: "eni-1", Start: now - 60, End: now}
			add(wire.AppendFlowKey(nil, 0, &r), wire.AppendFlow(nil, &r))
		case c < 813:
			add([]byte("poison"), []byte{0xff, 0xff})
		case c < 900:
			mark(0, now-90)
		case c < 960:
			mark(1, now-flow.Time(60+rng.IntN(60)))
		case c < 963:
			now += flow.Time(rng.IntN(20_000)) // a jump: all that is open ends
		default:
			now += flow.Time(rng.IntN(15))
		}
	}
	mark(0, flow.MaxTime)
	mark(1, flow.MaxTime)
	return log
}

func crashFlow(rng *rand.Rand, now flow.Time) flow.Record {
	host := func(n int) flow.Addr { return flow.MustAddr(fmt.Sprintf("10.0.0.%d", n)) }
	client := flow.Endpoint{Addr: host(1 + rng.IntN(6)), Port: uint16(40000 + rng.IntN(4))} // few ports: reused all the time
	server := flow.Endpoint{Addr: host(100 + rng.IntN(3)), Port: []uint16{22, 443, 53}[rng.IntN(3)]}
	start := now - flow.Time(rng.IntN(80))
	if rng.IntN(50) == 0 {
		start -= flow.Time(rng.IntN(3000)) // late
	}
	r := flow.Record{
		Version: 5, Protocol: 6, Action: flow.Accept, HasFlags: true, TCPFlags: []uint8{0, flow.SYN, flow.SYN | flow.FIN, flow.FIN, flow.RST}[rng.IntN(5)],
		Src: client, Dst: server, Packets: 1 + rng.Uint64N(50), Bytes: 40 + rng.Uint64N(60_000), Start: start, End: start + flow.Time(rng.IntN(60)),
		InterfaceID: fmt.Sprintf("eni-%d", rng.IntN(2)), AccountID: "123456789012",
	}
	if server.Port == 53 {
		r.Protocol, r.TCPFlags, r.HasFlags = 17, 0, false
	}
	if rng.IntN(2) == 0 {
		r.Src, r.Dst = r.Dst, r.Src
		if r.TCPFlags&flow.SYN != 0 {
			r.TCPFlags |= flow.ACK
		}
	}
	if rng.IntN(15) == 0 {
		r.Action = flow.Reject
	}
	return r
}

// crashConfigs are an ordinary configuration, and the same with other gaps and
// with so little memory that sessions are evicted.
func crashConfigs(t *testing.T) (out [][]byte) {
	t.Helper()
	for i := range 4 {
		cfg := Default()
		c := cfg.table()
		c.IdleTCP += int64(30 * i)
		if i%2 == 1 {
			c.MaxBytes = 64 << 10
		}
		b, err := json.Marshal(foldConfig{Version: foldVersion, Session: c})
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b)
	}
	return out
}

// TestCrashesChangeNothing crashes the real fold at random: the table recovered
// equals the table lost to the byte, and all events equal those of a run without
// crashes, provisional ones included.
func TestCrashesChangeNothing(t *testing.T) {
	runs := 6
	if os.Getenv("FLOWSTITCH_LONG") == "1" {
		runs = 150
	}
	m := newMetrics(prometheus.NewRegistry())
	crashes, refolded, switches, events := 0, 0, 0, 0
	for seed := range uint64(runs) {
		rng := rand.New(rand.NewPCG(seed, 2))
		r := &stage.Rig{
			Log: crashLog(rng, 2500), Input: stage.FlowsTopic, Outputs: []string{stage.SessionsTopic},
			Build: func(c []byte) (stage.Fold, error) { return parseFold(c, m) }, Configs: crashConfigs(t), Rand: rng,
			MaxRecords: 5 + rng.IntN(60), TxBytes: 500 + rng.IntN(20_000), SnapshotPercent: 2 + rng.IntN(30), CrashPercent: 1 + rng.IntN(20),
			Graceful: seed%5 == 4,
		}
		if err := r.Run(); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		want, err := r.Reference(r.Switched)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if !slices.Equal(r.Output, want) {
			t.Fatalf("seed %d: after %d crashes %d events differ from the %d of a run without", seed, r.Crashes, len(r.Output), len(want))
		}
		if r.Graceful && r.Refolded != 0 {
			t.Errorf("seed %d: %d records refolded after orderly hand-overs", seed, r.Refolded)
		}
		crashes, refolded, switches, events = crashes+r.Crashes, refolded+r.Refolded, switches+len(r.Switched), events+len(want)
	}
	t.Logf("%d crashes, %d records refolded, %d changes of configuration, %d events", crashes, refolded, switches, events)
	if crashes == 0 || switches == 0 || refolded == 0 {
		t.Error("the test has lost its bite")
	}
}
