package bench

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/flowlog"
	"github.com/flowstitch/flowstitch/pkg/gen"
)

// source is an endless flow log of a shape: a reader of default version 2
// lines, at a fixed rate or as fast as they are read.
type source struct {
	load  *gen.Load
	total int64   // records to give
	rate  float64 // records a second of wall time; 0 is as fast as possible

	chunks chan []byte
	free   chan []byte
	cur    []byte
	rest   []byte
	ready  chan struct{} // closed when the services wait for records

	mu     sync.Mutex
	given  int64
	bytes  int64
	first  time.Time
	probes []*probe
}

// chunkRecords is how many lines are handed over at a time; at a fixed rate
// a chunk is what is due after chunkEvery.
const (
	chunkRecords = 2000
	chunkEvery   = 5 * time.Millisecond
	// probeEvery is no multiple or divisor of commit intervals and ticks, so that
	// probes meet them in all their phases.
	probeEvery = 173 * time.Millisecond
	// warmUp is how long a run at a fixed rate goes on before the first probe, and
	// coolDown how long after the last: neither what topics, groups and first
	// transactions take is a delay of an alert, nor that a source's end closes
	// every open session at once.
	warmUp   = 8 * time.Second
	coolDown = 2 * time.Second
)

func newSource(shape gen.Shape, total int64, rate float64) (*source, error) {
	load, err := gen.NewLoad(shape)
	if err != nil {
		return nil, err
	}
	s := &source{load: load, total: total, rate: rate, chunks: make(chan []byte, 8), free: make(chan []byte, 16), ready: make(chan struct{})}
	return s, nil
}

// run generates until everything is given or ctx ends.
func (s *source) run(ctx context.Context) {
	defer close(s.chunks)
	var r flow.Record
	format := flowlog.V2()
	// A rate is one that is taken, from the start, and how long a broker waits for
	// a group's first members (3 s by default) is no cost of a flow.
	select {
	case <-s.ready:
	case <-ctx.Done():
		return
	}
	begin := time.Now()
	s.mu.Lock()
	s.first = begin
	s.mu.Unlock()
	nextProbe := begin.Add(warmUp)
	lastProbe := s.total - int64(coolDown.Seconds()*s.rate)
	for n := int64(0); n < s.total && ctx.Err() == nil; {
		want := min(chunkRecords, s.total-n)
		if s.rate > 0 {
			want = min(want, int64(time.Since(begin).Seconds()*s.rate)-n)
			if want <= 0 {
				waitFor(ctx, chunkEvery)
				continue
			}
		}
		b := s.buffer()
		for range want {
			s.load.Next(&r)
			b = append(format.AppendLine(b, &r), '\n')
		}
		n += want
		var p *probe
		if s.rate > 0 && time.Now().After(nextProbe) && n < lastProbe {
			nextProbe = nextProbe.Add(probeEvery)
			b, p = s.probe(b, format)
		}
		if !s.hand(ctx, b, want, p) {
			return
		}
	}
}

func (s *source) hand(ctx context.Context, b []byte, n int64, p *probe) bool {
	if p != nil { // from when it is ready: an ingest that is slow to take it is part of the delay
		s.mu.Lock()
		p.given = time.Now()
		s.mu.Unlock()
	}
	select {
	case s.chunks <- b:
	case <-ctx.Done():
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.given, s.bytes = s.given+n, s.bytes+int64(len(b))
	return true
}

func waitFor(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func (s *source) buffer() []byte {
	select {
	case b := <-s.free:
		return b[:0]
	default:
		return make([]byte, 0, 256<<10)
	}
}

// probeSessions is how many logins a probe makes: above the ten from which
// password guessing is told.
const probeSessions = 24

// probe appends one burst of password guessing from an address of its own at a
// server of its own, so that the delay of one alert can be measured.
func (s *source) probe(b []byte, format *flowlog.Format) ([]byte, *probe) {
	s.mu.Lock()
	p := newProbe(len(s.probes) + 1)
	s.probes = append(s.probes, p)
	s.mu.Unlock()
	server := flow.Endpoint{Addr: flow.AddrFrom4([4]byte{10, 200, p.addr[14], p.addr[15]}), Port: 22}
	now := s.load.Time()
	for i := range probeSessions {
		c := flow.Endpoint{Addr: p.addr, Port: uint16(40000 + i)}
		r := flow.Record{
			Version: 2, AccountID: "123456789010", InterfaceID: "eni-0123456789abcdef0", Protocol: 6, Action: flow.Accept,
			Src: c, Dst: server, Packets: 14, Bytes: 2100, Start: now.Add(-2), End: now.Add(-1),
		}
		b = append(format.AppendLine(b, &r), '\n')
		r.Src, r.Dst = server, c
		b = append(format.AppendLine(b, &r), '\n')
	}
	return b, p
}

// Read implements io.Reader.
func (s *source) Read(p []byte) (int, error) {
	if len(s.rest) == 0 {
		if s.cur != nil {
			select {
			case s.free <- s.cur:
			default:
			}
		}
		var ok bool
		if s.cur, ok = <-s.chunks; !ok {
			s.cur = nil
			return 0, io.EOF
		}
		s.rest = s.cur
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// progress is what has been given so far.
func (s *source) progress() (records, bytes int64, first time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.given, s.bytes, s.first
}
