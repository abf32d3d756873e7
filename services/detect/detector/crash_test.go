package detector

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/segmentio/encoding/json"

	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/detect"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/session"
	"github.com/flowstitch/flowstitch/pkg/stage"
	"github.com/flowstitch/flowstitch/pkg/wire"
)

// crashSession is one session event of a day with scans, guessing, calls home,
// crafted probes and gaps, at about now.
func crashSession(rng *rand.Rand, now flow.Time, n int) *session.Event {
	ours := flow.MustAddr(fmt.Sprintf("10.0.0.%d", 1+rng.IntN(5)))
	theirs := flow.MustAddr(fmt.Sprintf("198.51.100.%d", 1+rng.IntN(30)))
	at := now - flow.Time(rng.IntN(200))
	e := &session.Event{
		Kind: session.KindClose, Evidence: session.EvidenceFlags, Confidence: 95, Outcome: session.OutcomeAnswered,
		First: at, Last: at + flow.Time(rng.IntN(60)), DeltaFirst: at, New: true, Opened: true, Direction: session.Inbound, Owned: flow.OwnDst,
		Points: []session.Point{{ID: fmt.Sprintf("eni-%d", rng.IntN(3)), AccountID: "123456789012", NearServer: true}},
	}
	if rng.IntN(4) == 0 {
		e.Kind, e.Opened = session.KindUpdate, false
	}
	client, server := flow.Endpoint{Addr: theirs, Port: uint16(40000 + n%20000)}, flow.Endpoint{Addr: ours, Port: 443}
	out, in := session.Traffic{Packets: 10, Bytes: 900, Records: 1, Flags: 3}, session.Traffic{Packets: 12, Bytes: 9000, Records: 1, Flags: 19}
	switch rng.IntN(6) {
	case 0: // a scan
		client.Addr, server.Port = flow.MustAddr("203.0.113.7"), uint16(1000+n%3000)
		out, in, e.Outcome = session.Traffic{Packets: 1, Bytes: 44, Records: 1, Flags: 2}, session.Traffic{}, session.OutcomeUnanswered
	case 1: // guessing
		client.Addr, server.Port = flow.MustAddr("203.0.113.9"), 22
		out, in = session.Traffic{Packets: 14, Bytes: 1900, Records: 1, Flags: 3}, session.Traffic{Packets: 12, Bytes: 2400, Records: 1, Flags: 19}
	case 2: // ours calls out, now and then with much
		client.Addr, server.Addr = ours, theirs
		server.Port = []uint16{443, 4444}[rng.IntN(2)]
		out.Bytes = 1000 + int64(rng.IntN(1<<(10+rng.IntN(16))))
		e.Owned, e.Direction = flow.OwnSrc, session.Outbound
	case 3: // a crafted probe
		out, in, e.Outcome = session.Traffic{Packets: 2, Bytes: 80, Records: 1, Flags: 2}, session.Traffic{}, session.OutcomeUnanswered
	default:
	}
	e.Client, e.Server, e.Out, e.In, e.OutDelta, e.InDelta = client, server, out, in, out, in
	if e.Kind.Final() {
		e.OutFinal, e.InFinal = out, in
	}
	e.Key, _ = flow.NewKey(0, 6, client, server)
	binary.BigEndian.PutUint64(e.ID[:], uint64(n)+1)
	return e
}

// crashLog is a partition of the input of a stage: n records of data, poison,
// marks of two slots, and a clock that jumps.
func crashLog(rng *rand.Rand, n int, data func(now flow.Time, i int) (key, value []byte)) (log []stage.Message) {
	add := func(key, value []byte) {
		log = append(log, stage.Message{Partition: 2, Offset: int64(len(log)), Key: key, Value: value})
	}
	now, wall := flow.Time(1_700_006_400), int64(1_800_000_000_000)
	mark := func(slot uint32, at flow.Time) {
		wall += rng.Int64N(3000)
		add(nil, wire.AppendMark(nil, &wire.Mark{Deployment: "d", Slot: slot, Slots: 2, Watermark: at, WallMS: wall, Idle: slot == 1 && rng.IntN(5) == 0}))
	}
	for len(log) < n {
		switch c := rng.IntN(1000); {
		case c < 800:
			add(data(now, len(log)))
		case c < 803:
			add([]byte("poison"), []byte{0xff, 0xff})
		case c < 870:
			mark(0, now-300)
		case c < 940:
			mark(1, now-flow.Time(300+rng.IntN(60)))
		case c < 942:
			now += flow.Time(rng.IntN(20_000))
		default:
			now += flow.Time(rng.IntN(60))
		}
	}
	mark(0, flow.MaxTime)
	mark(1, flow.MaxTime)
	return log
}

// crashObservations is what combiners send of such sessions.
func crashObservations(rng *rand.Rand, n int) []stage.Message {
	set := detect.DefaultSettings()
	var queue []stage.Output
	collect := &outputs{}
	combine := (&combineFold{set: &set, metrics: newMetrics(prometheus.NewRegistry())}).NewBucket(0, 0)
	sessions := 0
	return crashLog(rng, n, func(now flow.Time, _ int) (key, value []byte) {
		for len(queue) == 0 {
			e := crashSession(rng, now, sessions)
			if err := combine.Fold(&stage.Message{Offset: int64(sessions), Key: wire.AppendSessionKey(nil, e), Value: wire.AppendSession(nil, e)}, collect); err != nil {
				panic(err)
			}
			if sessions++; sessions%8 == 0 {
				combine.Tick(int64(sessions)*2000, collect)
				combine.Advance(now-250, collect)
			}
			queue, collect.list = collect.list, nil
		}
		o := queue[0]
		queue = queue[1:]
		return o.Key, o.Value
	})
}

// crashConfigs are the defaults, and the same with other thresholds, as when
// the tuning is changed while it runs.
func crashConfigs(t *testing.T) (out [][]byte) {
	t.Helper()
	for i := range 3 {
		set := detect.DefaultSettings()
		set.Tuning.Brute.Attempts += int64(3 * i)
		set.Tuning.Scan.Ports += int64(i)
		if i == 2 {
			set.EvaluateEntities, set.CombineEntities = 64, 64 // evicts, relieves
		}
		b, err := json.Marshal(foldConfig{Version: foldVersion, Settings: set})
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b)
	}
	return out
}

// nowAndThenTwo writes alerts to a second topic in every other life of a bucket.
type nowAndThenTwo struct {
	evaluateFold
	lives int
}

const secondTopic = stage.AlertsTopic + "-ecs"

// NewBucket implements stage.Fold.
func (f *nowAndThenTwo) NewBucket(partition int32, bucket int) stage.Bucket {
	one := evaluateFold{set: f.set, rules: f.rules, writers: f.writers, metrics: f.metrics, now: f.now}
	if f.lives++; f.lives%2 == 0 {
		one.writers = append(ocsf(), writer{topic: secondTopic, encoder: alert.NewEncoder(alert.Options{Format: alert.ECS})})
	}
	return one.NewBucket(partition, bucket)
}

// on are the records of one topic, rejects among them: those of the second
// topic depend on when it was switched on.
func on(topic string, list []stage.Produced) (out []stage.Produced) {
	for _, p := range list {
		if p.Topic == topic || p.Topic == stage.RejectsTopic {
			out = append(out, p)
		}
	}
	return out
}

// TestCrashesChangeNothing crashes both folds at random, and hands them over to
// other tunings on the way: the state recovered equals the state lost to the
// byte, and everything that was sent, provisional alerts included, equals what a
// run without crashes sends. Only the positions of evidence depend on the run,
// and here the log is the same.
func TestCrashesChangeNothing(t *testing.T) {
	runs := 4
	if os.Getenv("FLOWSTITCH_LONG") == "1" {
		runs = 100
	}
	m := newMetrics(prometheus.NewRegistry())
	still := func() time.Time { return time.Unix(1_900_000_000, 0) }
	for _, c := range []struct {
		name, input, output string
		log                 func(rng *rand.Rand) []stage.Message
		build               func(set *detect.Settings) stage.Fold
	}{
		{"combine", stage.SessionsTopic, stage.ObservationsTopic, func(rng *rand.Rand) []stage.Message {
			return crashLog(rng, 1500, func(now flow.Time, i int) (key, value []byte) {
				e := crashSession(rng, now, i)
				return wire.AppendSessionKey(nil, e), wire.AppendSession(nil, e)
			})
		}, func(set *detect.Settings) stage.Fold { return &combineFold{set: set, metrics: m} }},
		{"evaluate", stage.ObservationsTopic, stage.AlertsTopic, func(rng *rand.Rand) []stage.Message {
			return crashObservations(rng, 1500)
		}, func(set *detect.Settings) stage.Fold {
			return &evaluateFold{set: set, metrics: m, writers: ocsf(), now: still}
		}},
		{"evaluate, a second topic switched on and off", stage.ObservationsTopic, stage.AlertsTopic, func(rng *rand.Rand) []stage.Message {
			return crashObservations(rng, 1500)
		}, func(set *detect.Settings) stage.Fold {
			return &nowAndThenTwo{evaluateFold: evaluateFold{set: set, metrics: m, writers: ocsf(), now: still}}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			crashes, refolded, switches, sent := 0, 0, 0, 0
			for seed := range uint64(runs) {
				rng := rand.New(rand.NewPCG(seed, 7))
				r := &stage.Rig{
					Log: c.log(rng), Input: c.input, Outputs: []string{c.output, secondTopic}, Configs: crashConfigs(t), Rand: rng,
					Build: func(config []byte) (stage.Fold, error) {
						set, err := parseConfig(config)
						if err != nil {
							return nil, err
						}
						return c.build(set), nil
					},
					MaxRecords: 5 + rng.IntN(60), TxBytes: 2000 + rng.IntN(50_000), SnapshotPercent: 2 + rng.IntN(30), CrashPercent: 1 + rng.IntN(20),
					Graceful: seed%4 == 3,
				}
				if err := r.Run(); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				want, err := r.Reference(r.Switched)
				if err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				if !slices.Equal(on(c.output, r.Output), on(c.output, want)) {
					t.Fatalf("seed %d: after %d crashes %d records differ from the %d of a run without", seed, r.Crashes, len(r.Output), len(want))
				}
				if r.Graceful && r.Refolded != 0 {
					t.Errorf("seed %d: %d records refolded after orderly hand-overs", seed, r.Refolded)
				}
				crashes, refolded, switches, sent = crashes+r.Crashes, refolded+r.Refolded, switches+len(r.Switched), sent+len(want)
			}
			t.Logf("%d crashes, %d records refolded, %d changes of configuration, %d records sent", crashes, refolded, switches, sent)
			if crashes == 0 || switches == 0 || refolded == 0 || sent == 0 {
				t.Error("the test has lost its bite")
			}
		})
	}
}
