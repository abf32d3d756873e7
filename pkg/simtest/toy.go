package simtest

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/stage"
)

// Toy is the smallest fold that has everything a real one has: it adds records
// up by key and window, tells early what it has (on ticks), and tells the final
// sum when the clock passes a window's end.
type Toy struct {
	Width int64 // seconds a window
	Cuts  int   // buckets
	Tag   byte  // goes into every output: stands for a configuration
}

// ToyConfig is the stage's configuration bytes of a Toy.
func (f *Toy) ToyConfig() []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(f.Width)), f.Tag, byte(f.Cuts))
}

// ParseToy is the inverse of ToyConfig.
func ParseToy(b []byte) (stage.Fold, error) {
	if len(b) != 10 {
		return nil, errors.New("not a toy's configuration")
	}
	return &Toy{Width: int64(binary.BigEndian.Uint64(b)), Tag: b[8], Cuts: int(b[9])}, nil
}

// Spec is the stage that folds a topic of toy records into closed windows.
func (f *Toy) Spec() stage.Spec {
	return stage.Spec{
		Input:   stage.FlowsTopic,
		Outputs: []stage.OutputTopic{{Name: stage.SessionsTopic, Marks: stage.PerPartition}},
		Config:  f.ToyConfig(),
		Fold:    ParseToy,
	}
}

// Buckets implements stage.Fold.
func (f *Toy) Buckets() int { return f.Cuts }

// Route implements stage.Fold.
func (f *Toy) Route(m *stage.Message) (int, error) {
	if len(m.Value) != 17 || m.Value[0] != 'd' {
		return 0, fmt.Errorf("%w: not a toy record", stage.ErrPoison)
	}
	return int(xxhash.Sum64(m.Key) % uint64(f.Cuts)), nil
}

// Watermark implements stage.Fold.
func (f *Toy) Watermark(clock flow.Time) flow.Time { return clock.Add(-f.Width) }

// NewBucket implements stage.Fold.
func (f *Toy) NewBucket(int32, int) stage.Bucket {
	return &toyBucket{f: f, windows: map[flow.Time]map[string]*Sum{}, clock: flow.MinTime}
}

// Sum is what a window of a key adds up to.
type Sum struct {
	Total, Count int64
	told         int64 // the count that was last told early
}

type toyBucket struct {
	f       *Toy
	windows map[flow.Time]map[string]*Sum
	starts  []flow.Time // of windows, ascending
	clock   flow.Time
	tick    int64
}

// ToyRecord is the value of a toy record.
func ToyRecord(at flow.Time, amount int64) []byte {
	b := binary.BigEndian.AppendUint64([]byte{'d'}, uint64(at))
	return binary.BigEndian.AppendUint64(b, uint64(amount))
}

func (b *toyBucket) Fold(m *stage.Message, out stage.Emitter) error {
	at := flow.Time(binary.BigEndian.Uint64(m.Value[1:]))
	amount := int64(binary.BigEndian.Uint64(m.Value[9:]))
	start := at.Floor(b.f.Width)
	if start.Add(b.f.Width) <= b.clock {
		b.emit('c', string(m.Key), start, &Sum{Total: amount, Count: 1}, out)
		return nil
	}
	w := b.windows[start]
	if w == nil {
		w = map[string]*Sum{}
		b.windows[start] = w
		i, _ := slices.BinarySearch(b.starts, start)
		b.starts = slices.Insert(b.starts, i, start)
	}
	s := w[string(m.Key)]
	if s == nil {
		s = &Sum{}
		w[string(m.Key)] = s
	}
	s.Total += amount
	s.Count++
	return nil
}

// updateEvery is how often, in wall milliseconds of the marks, a window that has
// changed is told early.
const updateEvery = 1000

func (b *toyBucket) Tick(wall int64, out stage.Emitter) {
	if wall < b.tick+updateEvery {
		return
	}
	b.tick = wall
	for _, start := range b.starts {
		for _, k := range slices.Sorted(maps.Keys(b.windows[start])) {
			if s := b.windows[start][k]; s.told != s.Count {
				s.told = s.Count
				b.emit('u', k, start, s, out)
			}
		}
	}
}

func (b *toyBucket) Advance(clock flow.Time, out stage.Emitter) bool {
	for len(b.starts) > 0 && (clock == flow.MaxTime || b.starts[0].Add(b.f.Width) <= clock) {
		start := b.starts[0]
		w := b.windows[start]
		for _, k := range slices.Sorted(maps.Keys(w)) {
			if out.Full() {
				return false
			}
			b.emit('f', k, start, w[k], out)
			delete(w, k)
		}
		delete(b.windows, start)
		b.starts = b.starts[1:]
	}
	b.clock = max(b.clock, clock)
	return true
}

// emit puts out kind, tag, window start, total and count: 'u' early, 'f' final,
// 'c' a correction.
func (b *toyBucket) emit(kind byte, key string, start flow.Time, s *Sum, out stage.Emitter) {
	v := binary.BigEndian.AppendUint64([]byte{kind, b.f.Tag}, uint64(start))
	v = binary.BigEndian.AppendUint64(v, uint64(s.Total))
	v = binary.BigEndian.AppendUint64(v, uint64(s.Count))
	out.Emit(stage.Output{Topic: stage.SessionsTopic, Partition: stage.SameAsIn, Key: []byte(key), Value: v})
}

func (b *toyBucket) AppendSnapshot(out []byte) []byte {
	out = binary.BigEndian.AppendUint64(out, uint64(b.clock))
	out = binary.BigEndian.AppendUint64(out, uint64(b.tick))
	for _, start := range b.starts {
		for _, k := range slices.Sorted(maps.Keys(b.windows[start])) {
			s := b.windows[start][k]
			out = binary.BigEndian.AppendUint64(out, uint64(start))
			for _, n := range []int64{s.Total, s.Count, s.told} {
				out = binary.BigEndian.AppendUint64(out, uint64(n))
			}
			out = append(out, byte(len(k)))
			out = append(out, k...)
		}
	}
	return out
}

func (b *toyBucket) Restore(in []byte) error {
	if len(in) < 16 {
		return errors.New("toy: snapshot too short")
	}
	next := func() uint64 {
		v := binary.BigEndian.Uint64(in)
		in = in[8:]
		return v
	}
	b.clock, b.tick = flow.Time(next()), int64(next())
	for len(in) > 0 {
		start := flow.Time(next())
		s := &Sum{Total: int64(next()), Count: int64(next()), told: int64(next())}
		n := int(in[0])
		k := string(in[1 : 1+n])
		in = in[1+n:]
		if b.windows[start] == nil {
			b.windows[start] = map[string]*Sum{}
			b.starts = append(b.starts, start)
		}
		b.windows[start][k] = s
	}
	return nil
}

// Fact is one output of a Toy.
type Fact struct {
	Kind, Tag byte // 'u' early, 'f' final, 'c' correction
	Key       string
	Start     flow.Time
	Sum       Sum
}

// ParseFact reads an output of a Toy.
func ParseFact(key, v []byte) (Fact, error) {
	if len(v) != 26 {
		return Fact{}, fmt.Errorf("a fact of %d bytes", len(v))
	}
	n := func(i int) int64 { return int64(binary.BigEndian.Uint64(v[i:])) }
	return Fact{Kind: v[0], Tag: v[1], Key: string(key), Start: flow.Time(n(2)), Sum: Sum{Total: n(10), Count: n(18)}}, nil
}

// Window names a sum.
type Window struct {
	Key   string
	Start flow.Time
}

// Verdict compares final facts with what they must be.
type Verdict struct {
	Windows    int // that there must be
	Lost       int // missing, or with too little in them
	Duplicated int // told twice, or with too much in them
	Early      int // provisional facts, for information
	Corrected  int // late data, for information
}

// Judge holds facts against want.
func Judge(want map[Window]Sum, facts []Fact) Verdict {
	v := Verdict{Windows: len(want)}
	have, told := map[Window]Sum{}, map[Window]int{}
	for i := range facts {
		f := &facts[i]
		id := Window{f.Key, f.Start}
		switch f.Kind {
		case 'u':
			v.Early++
			continue
		case 'c':
			v.Corrected++
		case 'f':
			if told[id]++; told[id] > 1 {
				v.Duplicated++
			}
		}
		s := have[id]
		s.Total, s.Count = s.Total+f.Sum.Total, s.Count+f.Sum.Count
		have[id] = s
	}
	for id, w := range want {
		switch c := cmp.Compare(have[id].Count, w.Count); {
		case c < 0:
			v.Lost++
		case c > 0:
			v.Duplicated++
		case have[id].Total != w.Total:
			v.Lost++
		}
	}
	for id := range have {
		if _, ok := want[id]; !ok {
			v.Duplicated++
		}
	}
	return v
}
