package session

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"testing"
	"unsafe"

	"github.com/flowstitch/flowstitch/internal/race"
	"github.com/flowstitch/flowstitch/pkg/flow"
)

const million = 1_000_000 // sessions open in the benchmarks; tests of memory take half

// open4 returns the record number n of a million IPv4 sessions, one way or the
// other, in round number round, a minute apart.
func open4(r *flow.Record, n uint32, in bool, round int) {
	*r = flow.Record{
		Protocol: 6, Action: flow.Accept, HasFlags: true, TCPFlags: 0, InterfaceID: "eni-0123456789abcdef0", AccountID: "111122223333",
		Direction: flow.Egress, Owned: flow.OwnSrc, Packets: 10, Bytes: 1500,
		Src:   flow.Endpoint{Addr: flow.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), Port: uint16(32768 + n%28000)},
		Dst:   flow.Endpoint{Addr: flow.AddrFrom4([4]byte{203, 0, 113, byte(n % 251)}), Port: 443},
		Start: testBase + flow.Time(60*round),
	}
	r.End = r.Start + 50
	if in {
		r.Src, r.Dst, r.Direction, r.Owned = r.Dst, r.Src, flow.Ingress, flow.OwnDst
	}
}

func fill(t *Table, n uint32, emit Emit) {
	var r flow.Record
	for i := range n {
		open4(&r, i, false, 0)
		t.Observe(&r, 0, int64(i), emit)
		open4(&r, i, true, 0)
		t.Observe(&r, 0, int64(i), emit)
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func nothing(*Event) {}

// TestBytesPerSession measures half a million open IPv4 sessions of both directions
// at one interface: while their records are pending, told, and folded.
func TestBytesPerSession(t *testing.T) {
	if testing.Short() || race.Enabled {
		t.Skip("measures the heap; not with -short or -race")
	}
	const limit, sessions = 160, million / 2
	before := heap()
	tab := NewTable(Default())
	stage := func(name string) {
		per := float64(heap()-before) / sessions
		s := tab.Stats()
		t.Logf("%-28s %.1f bytes of heap a session, %d open, %d pending", name, per, s.Open, s.Pending)
		if per > limit {
			t.Errorf("%s: %.1f bytes a session, at most %d wanted", name, per, limit)
		}
	}
	tab.Tick(1, nothing)
	fill(tab, sessions, nothing)
	stage("both records pending")
	tab.Tick(10_000, nothing)
	stage("pending and told")
	runtime.KeepAlive(tab)

	tab = nil
	before = heap()
	tab = NewTable(Default())
	var r flow.Record
	tab.Tick(1, nothing)
	for i := range uint32(sessions) {
		open4(&r, i, false, 0)
		tab.Observe(&r, 0, 1, nothing)
	}
	tab.Advance(testBase+1, nothing, nil)
	tab.Tick(10_000, nothing)
	stage("one record folded and told")
	runtime.KeepAlive(tab)
}

func TestSizes(t *testing.T) {
	for _, s := range []struct {
		name      string
		got, want uintptr
	}{
		{"entry and its link", unsafe.Sizeof(entry{}) + unsafe.Sizeof(link{}), entrySize - timerSize}, {"node", unsafe.Sizeof(node{}), nodeSize},
		{"pending", unsafe.Sizeof(pending{}), pendingSize}, {"key", unsafe.Sizeof(ckey{}), 16},
	} {
		if s.got != s.want {
			t.Errorf("%s takes %d bytes, the accounting says %d", s.name, s.got, s.want)
		}
	}
}

// value is what the map baseline stores for a key.
type value [64]byte

func keysOf(n uint32) []flow.Key {
	keys := make([]flow.Key, n)
	var r flow.Record
	for i := range n {
		open4(&r, i, false, 0)
		keys[i], _ = flow.NewKey(0, r.Protocol, r.Src, r.Dst)
	}
	return keys
}

// BenchmarkObserve takes records of known sessions, in random order, at a
// million open ones: without the folding of what the clock passes, with it,
// and beside one lookup and one store in a Go map of the same key and a
// 64-byte value.
func BenchmarkObserve(b *testing.B) {
	b.Run("known", func(b *testing.B) { benchObserve(b, false) })
	b.Run("known-and-fold", func(b *testing.B) { benchObserve(b, true) })
	b.Run("baseline-go-map", benchMap)
}

func benchMap(b *testing.B) {
	keys := keysOf(million)
	m := make(map[flow.Key]value, million)
	for _, k := range keys {
		m[k] = value{}
	}
	order := rand.New(rand.NewPCG(1, 2)).Perm(million)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		k := keys[order[i%million]]
		v := m[k]
		v[i%64]++
		m[k] = v
	}
}

func benchObserve(b *testing.B, folded bool) {
	tab := NewTable(Default())
	fill(tab, million, nothing)
	tab.Advance(testBase+1, nothing, nil)
	order := rand.New(rand.NewPCG(1, 2)).Perm(million)
	records := make([]flow.Record, 4096)
	round := 1
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		n := i % million
		if n%len(records) == 0 {
			b.StopTimer()
			if n == 0 && i > 0 {
				round++
				if !folded {
					tab.Advance(testBase+flow.Time(60*(round-1))+1, nothing, nil)
				}
			}
			for j := range records {
				open4(&records[j], uint32(order[(n+j)%million]), false, round)
			}
			b.StartTimer()
			if folded && n == 0 && i > 0 {
				tab.Advance(testBase+flow.Time(60*(round-1))+1, nothing, nil)
			}
		}
		tab.Observe(&records[n%len(records)], 0, int64(i), nothing)
	}
}

// BenchmarkOpenClose is the life of a short session: two records in, one event
// out, nothing left.
func BenchmarkOpenClose(b *testing.B) {
	tab := NewTable(Default())
	var r flow.Record
	b.ReportAllocs()
	for i := range b.N {
		for _, in := range []bool{false, true} {
			open4(&r, uint32(i), in, 0)
			r.Start += flow.Time(i / 1000)
			r.End, r.TCPFlags = r.Start+1, flow.SYN|flow.FIN
			tab.Observe(&r, 0, int64(i), nothing)
		}
		if i%1000 == 999 {
			tab.Advance(r.Start-100, nothing, nil)
		}
	}
}

// BenchmarkSnapshot writes a bucket of a hundred thousand sessions.
func BenchmarkSnapshot(b *testing.B) {
	tab := NewTable(Default())
	fill(tab, 100_000, nothing)
	tab.Advance(testBase+1, nothing, nil)
	snap := tab.AppendSnapshot(nil)
	b.Run("append", func(b *testing.B) {
		b.SetBytes(int64(len(snap)))
		b.ReportAllocs()
		for range b.N {
			snap = tab.AppendSnapshot(snap[:0])
		}
	})
	b.Run("restore", func(b *testing.B) {
		b.SetBytes(int64(len(snap)))
		b.ReportAllocs()
		for range b.N {
			if err := NewTable(Default()).Restore(snap); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Logf("%s", fmt.Sprintf("%.1f bytes a session", float64(len(snap))/100_000))
}

// TestTenMillion holds ten million open sessions in 2 GiB. It takes that
// memory and half a minute, so it is asked for: FLOWSTITCH_BIG=1.
func TestTenMillion(t *testing.T) {
	if os.Getenv("FLOWSTITCH_BIG") == "" {
		t.Skip("set FLOWSTITCH_BIG=1 to fill a table of ten million sessions")
	}
	const sessions = 10 * million
	before := heap()
	tab := NewTable(Default())
	tab.Tick(1, nothing)
	var r flow.Record
	for i := range uint32(sessions) {
		open4(&r, i, false, 0)
		tab.Observe(&r, 0, int64(i), nothing)
	}
	tab.Advance(testBase+1, nothing, nil)
	used := heap() - before
	s := tab.Stats()
	t.Logf("%d open sessions take %.2f GiB, %.1f bytes each; the table counts %.2f GiB", s.Open, float64(used)/(1<<30), float64(used)/sessions, float64(s.Bytes)/(1<<30))
	if s.Open != sessions || used > 2<<30 {
		t.Errorf("%d sessions take %d bytes", s.Open, used)
	}
	runtime.KeepAlive(tab)
}
