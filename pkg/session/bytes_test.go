package session_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/flowstitch/flowstitch/internal/race"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/flowlog"
	"github.com/flowstitch/flowstitch/pkg/gen"
	"github.com/flowstitch/flowstitch/pkg/session"
	"github.com/flowstitch/flowstitch/pkg/wire"
)

const (
	snapshotPeriod = 2400 // seconds, the default of stage
	commits        = 4    // a second, the default of stage
	buckets        = 64
	lateness       = 360
)

// The codecs under comparison: sessionize takes zstd, the other stages lz4.
var codecs = [...]struct {
	name string
	kgo.CompressionCodec
}{{"zstd", kgo.ZstdCompression().WithLevel(1)}, {"lz4", kgo.Lz4Compression()}}

const zstd, lz4 = 0, 1

// topic counts what is written to one topic as it would lie on a broker's disk:
// a record batch and a transaction marker for each commit.
type topic struct {
	comp         [len(codecs)]kgo.Compressor
	raw          []byte // records of the batch under way
	buf          bytes.Buffer
	n            int64
	records, all int64
	disk         [len(codecs)]int64
}

func newTopic() *topic {
	t := &topic{}
	for i, c := range codecs {
		t.comp[i], _ = kgo.DefaultCompressor(c.CompressionCodec)
	}
	return t
}

func (t *topic) add(key, value []byte) {
	var head, mid [16]byte
	h := binary.AppendVarint(append(head[:0], 0, 0), t.n) // attributes, no timestamp delta, offset delta
	h = binary.AppendVarint(h, int64(len(key)))
	m := binary.AppendVarint(mid[:0], int64(len(value)))
	t.raw = binary.AppendVarint(t.raw, int64(len(h)+len(key)+len(m)+len(value)+1))
	for _, part := range [...][]byte{h, key, m, value, {0}} { // no headers
		t.raw = append(t.raw, part...)
	}
	t.n++
	t.records++
	t.all += int64(len(key) + len(value))
}

func (t *topic) commit() {
	if t.n == 0 {
		return
	}
	const batchHeader, marker = 61, 78
	for i, c := range t.comp {
		t.buf.Reset()
		out, _ := c.Compress(&t.buf, t.raw)
		t.disk[i] += batchHeader + marker + int64(len(out))
	}
	t.raw, t.n = t.raw[:0], 0
}

// written runs one partition of sessionize at the pace of its traffic and
// counts what it writes, under two strategies: rolling snapshots, and a
// changelog of every entry that a commit touched.
type written struct {
	flows, sessions, ledger, changes *topic
	tables                           []*session.Table
	touched                          map[flow.Key]bool
	clock, newest                    flow.Time
	due                              float64 // snapshots
	next                             int
	offset                           int64
	key, val                         []byte
}

func newWritten() *written {
	w := &written{flows: newTopic(), sessions: newTopic(), ledger: newTopic(), changes: newTopic(), touched: map[flow.Key]bool{}}
	for range buckets {
		w.tables = append(w.tables, session.NewTable(session.Default()))
	}
	return w
}

func (w *written) topics() [4]*topic { return [...]*topic{w.flows, w.sessions, w.ledger, w.changes} }

func (w *written) emit(e *session.Event) {
	w.touched[e.Key] = true
	w.key, w.val = wire.AppendSessionKey(w.key[:0], e), wire.AppendSession(w.val[:0], e)
	w.sessions.add(w.key, w.val)
}

// observe writes a record to flows and folds what is read back.
func (w *written) observe(t *testing.T, r *flow.Record) {
	var x flow.Record
	w.key, w.val = wire.AppendFlowKey(w.key[:0], 0, r), wire.AppendFlow(w.val[:0], r)
	w.flows.add(w.key, w.val)
	if _, err := wire.ParseFlow(w.key, w.val, &x); err != nil {
		t.Fatal(err)
	}
	w.newest = max(w.newest, x.End)
	w.offset++
	if x.Kind == flow.KindFlow {
		src, dst := x.Ends()
		k, _ := flow.NewKey(0, x.Protocol, src, dst)
		w.touched[k] = true
		w.tables[session.BucketOf(k, buckets)].Observe(&x, 0, w.offset, w.emit)
	}
}

// commit ends an interval: marks, the position, the snapshots that are due.
func (w *written) commit(wall int64) {
	if c := w.newest.Add(-lateness); c > w.clock {
		w.clock = c
		m := wire.AppendMark(nil, &wire.Mark{Deployment: "default", Slots: 1, Watermark: c, WallMS: wall})
		w.flows.add(nil, m)
		w.sessions.add(nil, m)
	}
	for _, t := range w.tables {
		t.Tick(wall, w.emit)
		t.Advance(w.clock, w.emit, nil)
	}
	w.ledger.add([]byte("~pos/0"), make([]byte, 36))
	for w.due += buckets / float64(snapshotPeriod*commits); w.due >= 1; w.due-- {
		w.val = w.tables[w.next].AppendSnapshot(append(w.val[:0], make([]byte, 40)...)) // behind its head
		w.ledger.add([]byte("~bucket/0/"+strconv.Itoa(w.next)+"/0"), w.val)
		w.next = (w.next + 1) % buckets
	}
	for k := range w.touched {
		w.key, w.val = k.AppendTo(w.key[:0]), w.tables[session.BucketOf(k, buckets)].AppendKey(w.val[:0], &k)
		w.changes.add(w.key, w.val)
	}
	clear(w.touched)
	for _, t := range w.topics() {
		t.commit()
	}
}

// traffic decodes what a stream of the scenario writes in a format and calls
// second with the records that are delivered in each second.
func traffic(t *testing.T, sc gen.Scenario, version uint8, second func(at flow.Time, list []flow.Record)) {
	t.Helper()
	stream, err := gen.NewStream(sc)
	if err != nil {
		t.Fatal(err)
	}
	d, err := flowlog.New(flowlog.Config{})
	if err != nil {
		t.Fatal(err)
	}
	owners, err := flowlog.NewOwners(flowlog.OwnersConfig{})
	if err != nil {
		t.Fatal(err)
	}
	f := flowlog.UpTo(version)
	got := &records{}
	text := append(f.AppendHeader(nil), '\n')
	line, at := int64(0), stream.Delivered()
	var r flow.Record
	for more := true; more; {
		more = stream.Next(&r)
		if !more || stream.Delivered() != at {
			got.list = got.list[:0]
			if err := d.Stream(bytes.NewReader(text), flow.Origin{Source: "flows.log"}, got); err != nil || got.rejects > 0 {
				t.Fatal(err, got.rejects)
			}
			for i := range got.list {
				line++
				got.list[i].Origin.Line = line
				owners.Stamp(&got.list[i])
			}
			second(at, got.list)
			at, text = stream.Delivered(), append(f.AppendHeader(text[:0]), '\n')
		}
		text = append(f.AppendLine(text, &r), '\n')
	}
}

type records struct {
	list    []flow.Record
	rejects int
}

func (c *records) Record(r *flow.Record)    { c.list = append(c.list, r.Clone()) }
func (c *records) Reject(_ *flowlog.Reject) { c.rejects++ }

// run passes the traffic as fast as it happened. What is written in the first
// warm seconds is not counted: the table fills, and nothing ends yet.
func (w *written) run(t *testing.T, sc gen.Scenario, version uint8, warm int64) {
	begin := flow.Time(sc.Start.Unix())
	last := begin
	traffic(t, sc, version, func(at flow.Time, list []flow.Record) {
		if last < begin.Add(warm) && at >= begin.Add(warm) {
			for _, p := range w.topics() {
				p.all, p.records, p.disk = 0, 0, [len(codecs)]int64{}
			}
		}
		w.due += float64(at-last-1) * buckets / snapshotPeriod // in silence nothing is committed, time passes
		last = at
		for part := range commits {
			for i := len(list) * part / commits; i < len(list)*(part+1)/commits; i++ {
				w.observe(t, &list[i])
			}
			w.commit(int64(at)*1000 + int64(part)*1000/commits)
		}
	})
}

// TestBytesWritten holds sessionize to its target: for each byte of flows, as
// both lie compressed on the broker's disk, at most one byte of sessions and
// snapshots together, with TCP flags (version 5) and without (version 2), and
// less than half of what a changelog of every touched entry makes of the same
// traffic. With FLOWSTITCH_LONG=1 two million flows in two hours.
func TestBytesWritten(t *testing.T) {
	if testing.Short() || race.Enabled {
		t.Skip("a measurement of some seconds; not with -short or -race")
	}
	sc := gen.Incident()
	sc.Rate, sc.Duration = 16, 45*time.Minute
	if os.Getenv("FLOWSTITCH_LONG") == "1" {
		sc.Rate, sc.Duration = 64, 2*time.Hour
	}
	sc.Trim()
	for _, version := range []uint8{2, 5} {
		w := newWritten()
		w.run(t, sc, version, 25*60)
		each := func(p *topic, codec int) float64 { return float64(p.disk[codec]) / float64(p.records) }
		t.Logf("version %d: %d flows of %.1f bytes on disk (lz4), %d events (%.1f zstd, %.1f lz4, %d before), snapshots of %d bytes (zstd), %d records of a changelog (%.1f zstd, %.1f lz4)",
			version, w.flows.records, each(w.flows, lz4), w.sessions.records, each(w.sessions, zstd), each(w.sessions, lz4), w.sessions.all/w.sessions.records,
			w.ledger.disk[zstd], w.changes.records, each(w.changes, zstd), each(w.changes, lz4))
		for codec, c := range codecs {
			of := func(p *topic) float64 { return float64(p.disk[codec]) / float64(w.flows.disk[lz4]) }
			ours, theirs := of(w.sessions)+of(w.ledger), of(w.sessions)+of(w.changes)
			t.Logf("%s, for each byte of flows: sessions %.2f + snapshots %.2f = %.2f; with a changelog %.2f + %.2f = %.2f",
				c.name, of(w.sessions), of(w.ledger), ours, of(w.sessions), of(w.changes), theirs)
			if codec == zstd && ours > 1 || theirs < 2*ours {
				t.Errorf("%s: %.2f bytes for each of flows, %.2f with a changelog; at most 1 wanted with zstd, and half of the changelog's", c.name, ours, theirs)
			}
		}
		all := float64(w.flows.all)
		t.Logf("before compression: %.2f; with a changelog %.2f", float64(w.sessions.all+w.ledger.all)/all, float64(w.sessions.all+w.changes.all)/all)
	}
}
