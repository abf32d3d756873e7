package sessionizer

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/segmentio/encoding/json"

	"github.com/flowstitch/flowstitch/internal/race"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/stage"
	"github.com/flowstitch/flowstitch/pkg/wire"
)

// discard counts what a fold puts out.
type discard struct{ n int }

func (d *discard) Emit(stage.Output) { d.n++ }
func (d *discard) Full() bool        { return false }

// sessionsAt is when the first of them starts.
const sessionsAt flow.Time = 1_760_000_000

// longSession is record i of the sessions that the tests of size keep open, of
// 500 interfaces; back is the answer.
func longSession(i int, back bool) flow.Record {
	const at = sessionsAt
	r := flow.Record{
		Version: 5, Protocol: 6, Action: flow.Accept, HasFlags: true, TCPFlags: flow.SYN, Packets: 10, Bytes: 4000, Start: at + flow.Time(i%200), End: at + flow.Time(i%200) + 50,
		Src: flow.Endpoint{Addr: flow.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), Port: uint16(20000 + i%40000)},
		Dst: flow.Endpoint{Addr: flow.AddrFrom4([4]byte{203, 0, 113, byte(i)}), Port: 443}, InterfaceID: fmt.Sprintf("eni-%08x", i%500), AccountID: "123456789012",
	}
	if back {
		r.Src, r.Dst, r.TCPFlags = r.Dst, r.Src, flow.SYN|flow.ACK
	}
	return r
}

// TestMemoryOfAPartition holds a partition of a million sessions in eight to its
// share of memory: everything that its 64 buckets keep, points of 500 interfaces
// included, in 200 bytes a session.
func TestMemoryOfAPartition(t *testing.T) {
	if testing.Short() || race.Enabled {
		t.Skip("measures the heap; not with -short or -race")
	}
	const sessions, limit = 125_000, 200
	cfg := Default()
	canonical, err := json.Marshal(foldConfig{Version: foldVersion, Session: cfg.table()})
	if err != nil {
		t.Fatal(err)
	}
	f, err := parseFold(canonical, newMetrics(prometheus.NewRegistry()))
	if err != nil {
		t.Fatal(err)
	}
	before := liveHeap()
	list := make([]stage.Bucket, f.Buckets())
	for i := range list {
		list[i] = f.NewBucket(0, i)
	}
	out := &discard{}
	m := stage.Message{}
	for i := range sessions {
		for _, back := range []bool{false, true} {
			r := longSession(i, back)
			m.Key, m.Value = wire.AppendFlowKey(m.Key[:0], 0, &r), wire.AppendFlow(m.Value[:0], &r)
			at, err := f.Route(&m)
			if err != nil {
				t.Fatal(err)
			}
			if err := list[at].Fold(&m, out); err != nil {
				t.Fatal(err)
			}
			m.Offset++
		}
	}
	tell := func(what string) {
		per := float64(liveHeap()-before) / sessions
		t.Logf("%s: %.1f bytes of live heap a session", what, per)
		if per > limit {
			t.Errorf("%s: %.1f bytes a session, at most %d wanted", what, per, limit)
		}
	}
	tell("pending")
	for _, b := range list {
		b.Tick(1_800_000_000_000, out)
		b.Tick(1_800_000_002_000, out)
		b.Advance(sessionsAt+210, out)
	}
	tell("told and folded")
	var snapshot []byte
	size := 0
	for _, b := range list {
		snapshot = b.AppendSnapshot(snapshot[:0])
		size += len(snapshot)
	}
	t.Logf("%d events; snapshots of %.1f bytes a session", out.n, float64(size)/sessions)
	runtime.KeepAlive(list)
}

func liveHeap() uint64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}
