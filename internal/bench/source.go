package bench

import (
	"bytes"
	"context"
	"fmt"
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
	asked  chan struct{} // closed when ingest reads for the first time
	once   sync.Once

	mu     sync.Mutex
	given  int64
	bytes  int64
	first  time.Time
	probes map[string]time.Time // probing address -> when its last line was given
}

// chunkRecords is how many lines are handed over at a time; at a fixed rate
// a chunk is what is due after chunkEvery.
const (
	chunkRecords = 2000
	chunkEvery   = 5 * time.Millisecond
	probeEvery   = time.Second
	// warmUp is how long a run at a fixed rate goes on before the first probe:
	// what topics, groups and first transactions take is no delay of an alert.
	warmUp = 5 * time.Second
)

func newSource(shape gen.Shape, total int64, rate float64) (*source, error) {
	load, err := gen.NewLoad(shape)
	if err != nil {
		return nil, err
	}
	s := &source{load: load, total: total, rate: rate, chunks: make(chan []byte, 8), free: make(chan []byte, 16), probes: map[string]time.Time{}, asked: make(chan struct{})}
	return s, nil
}

// run generates until everything is given or ctx ends.
func (s *source) run(ctx context.Context) {
	defer close(s.chunks)
	var r flow.Record
	format := flowlog.V2()
	if s.rate > 0 { // a rate is one that is taken, from the start
		select {
		case <-s.asked:
		case <-ctx.Done():
			return
		}
	}
	begin := time.Now()
	s.mu.Lock()
	s.first = begin
	s.mu.Unlock()
	nextProbe := begin.Add(warmUp)
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
		probe := ""
		if s.rate > 0 && time.Now().After(nextProbe) {
			nextProbe = nextProbe.Add(probeEvery)
			b, probe = s.probe(b, format)
		}
		if !s.hand(ctx, b, want, probe) {
			return
		}
	}
}

func (s *source) hand(ctx context.Context, b []byte, n int64, probe string) bool {
	select {
	case s.chunks <- b:
	case <-ctx.Done():
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.given, s.bytes = s.given+n, s.bytes+int64(len(b))
	if probe != "" {
		s.probes[probe] = time.Now()
	}
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

// probe appends one burst of password guessing from an address of its own, so
// that the delay of one alert can be measured, and returns that address.
func (s *source) probe(b []byte, format *flowlog.Format) ([]byte, string) {
	n := len(s.probes) + 1
	client := flow.AddrFrom4([4]byte{198, 18, byte(n >> 8), byte(n)})
	server := flow.Endpoint{Addr: flow.AddrFrom4([4]byte{10, 200, 0, 1}), Port: 22}
	now := s.load.Time()
	for i := range probeSessions {
		c := flow.Endpoint{Addr: client, Port: uint16(40000 + i)}
		r := flow.Record{
			Version: 2, AccountID: "123456789010", InterfaceID: "eni-0123456789abcdef0", Protocol: 6, Action: flow.Accept,
			Src: c, Dst: server, Packets: 14, Bytes: 2100, Start: now.Add(-2), End: now.Add(-1),
		}
		b = append(format.AppendLine(b, &r), '\n')
		r.Src, r.Dst = server, c
		b = append(format.AppendLine(b, &r), '\n')
	}
	return b, client.String()
}

// Read implements io.Reader.
func (s *source) Read(p []byte) (int, error) {
	s.once.Do(func() { close(s.asked) })
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

// alerted returns how long after a probe an alert that names it was seen, once
// for each probe. value is the alert's JSON.
func (s *source) alerted(value []byte, at time.Time) (delay time.Duration, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for addr, given := range s.probes {
		if bytes.Contains(value, []byte(fmt.Sprintf("%q", addr))) {
			delete(s.probes, addr)
			s.probes["told "+addr] = time.Time{}
			return at.Sub(given), true
		}
	}
	return 0, false
}
