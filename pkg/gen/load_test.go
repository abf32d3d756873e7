package gen

import (
	"testing"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/flowlog"
)

// TestLoadKeepsItsShape counts what a load really holds.
func TestLoadKeepsItsShape(t *testing.T) {
	shape := Shape{
		Seed: 3, Start: 1_700_000_000, Rate: 1000, Sessions: 500, Intervals: 4, Interfaces: 2,
		Sources: 1000, Servers: 20, SkewPercent: 50, IPv6Percent: 30, SilentPercent: 10, LatePercent: 5, LateBy: 3600,
	}
	l, err := NewLoad(shape)
	if err != nil {
		t.Fatal(err)
	}
	const n = 200_000
	var r flow.Record
	keys, points := map[flow.Key]int{}, map[string]int{}
	six, late, hot, replies := 0, 0, 0, 0
	hotSet := map[flow.Addr]bool{}
	for i := range shape.Sources / 100 {
		hotSet[loadClient(i)], hotSet[loadAddr6(1, i)] = true, true
	}
	for range n {
		l.Next(&r)
		k, _ := flow.NewKey(0, r.Protocol, r.Src, r.Dst)
		keys[k]++
		points[r.InterfaceID]++
		six += b2i(!r.Src.Addr.Is4())
		late += b2i(r.End < l.Time()-2000)
		hot += b2i(hotSet[r.Src.Addr] || hotSet[r.Dst.Addr])
		replies += b2i(r.Bytes == 9000)
	}
	about := func(what string, got, want, slack int) {
		t.Helper()
		if got < want-slack || got > want+slack {
			t.Errorf("%s: %d, want %d ± %d", what, got, want, slack)
		}
	}
	about("interfaces", len(points), 2, 0)
	about("late", late, n*5/100, n/100)
	about("hot", hot, n*51/100, n*4/100)
	about("IPv6", six, n*30/100, n*3/100)
	about("replies", replies, n*90/190, n*2/100)
	// A session has 4 intervals of 4 records (2 when silent: 3.8 on average).
	about("sessions", len(keys), n*10/152, n/200)
	if got := l.Time(); got != shape.Start+n/1000 {
		t.Errorf("event time %v", got)
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestLoadShapes(t *testing.T) {
	for _, change := range []func(*Shape){
		func(s *Shape) { s.Rate = 0 }, func(s *Shape) { s.Sessions = 0 }, func(s *Shape) { s.Interfaces = 9 },
		func(s *Shape) { s.SkewPercent = 101 }, func(s *Shape) { s.Sources = 1 << 30 },
	} {
		s := Balanced()
		change(&s)
		if _, err := NewLoad(s); err == nil {
			t.Errorf("taken: %+v", s)
		}
	}
	one := Shape{Rate: 1, Sessions: 1, Intervals: 1, Interfaces: 1, Sources: 1, Servers: 1, SilentPercent: 100}
	l, err := NewLoad(one)
	if err != nil {
		t.Fatal(err)
	}
	var r flow.Record
	for range 100 {
		if l.Next(&r); r.Bytes != 1800 {
			t.Fatalf("a silent session was answered: %+v", r)
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	l, err := NewLoad(Balanced())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	var r flow.Record
	for b.Loop() {
		l.Next(&r)
	}
}

func BenchmarkStream(b *testing.B) {
	sc := Incident()
	sc.Rate, sc.Duration = 200, maxDuration
	s := stream(b, sc)
	b.ReportAllocs()
	var r flow.Record
	for b.Loop() {
		s.Next(&r)
	}
}

func BenchmarkLines(b *testing.B) {
	sc := Incident()
	sc.Rate, sc.Duration = 200, maxDuration
	s := stream(b, sc)
	f := flowlog.V2()
	var line []byte
	var r flow.Record
	s.Next(&r)
	b.SetBytes(int64(len(f.AppendLine(nil, &r))))
	b.ReportAllocs()
	for b.Loop() {
		s.Next(&r)
		line = f.AppendLine(line[:0], &r)
	}
}
