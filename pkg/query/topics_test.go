package query

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/kafkatest"
	"github.com/flowstitch/flowstitch/pkg/rule"
	"github.com/flowstitch/flowstitch/pkg/session"
	"github.com/flowstitch/flowstitch/pkg/stage"
	"github.com/flowstitch/flowstitch/pkg/wire"
)

// produce writes records in one transaction, which it commits or aborts.
func produce(t *testing.T, ctx context.Context, c *kafkatest.Cluster, id string, end kgo.TransactionEndTry, recs ...*kgo.Record) {
	t.Helper()
	cl, err := kgo.NewClient(append(c.Opts(), kgo.TransactionalID(id), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := cl.ProduceSync(ctx, recs...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if err := cl.EndTransaction(ctx, end); err != nil {
		t.Fatal(err)
	}
}

func sessionRecord(topic string, partition int32, e *session.Event) *kgo.Record {
	return &kgo.Record{Topic: topic, Partition: partition, Key: wire.AppendSessionKey(nil, e), Value: wire.AppendSession(nil, e)}
}

func markRecord(topic string, partition int32, at flow.Time) *kgo.Record {
	return &kgo.Record{Topic: topic, Partition: partition, Value: wire.AppendMark(nil, &wire.Mark{Slots: 1, Watermark: at, WallMS: 1})}
}

// TestTopics reads committed sessions of two partitions, tells the clock of
// the marks, survives a record that is none, and ends where the topic ended.
func TestTopics(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	c := kafkatest.Start(t)
	prefix := kafkatest.Prefix(t)
	names := stage.Topics{Prefix: prefix}
	adm, err := kgo.NewClient(c.Opts()...)
	if err != nil {
		t.Fatal(err)
	}
	defer adm.Close()
	appendTime := "LogAppendTime"
	for _, topic := range []string{"sessions", "flows"} {
		if _, err := kadm.NewClient(adm).CreateTopic(ctx, 2, 1, map[string]*string{"message.timestamp.type": &appendTime}, names.Name(topic)); err != nil {
			t.Fatal(err)
		}
	}
	topic := names.Name("sessions")
	produce(t, ctx, c, prefix+"a", kgo.TryCommit,
		sessionRecord(topic, 0, event(session.KindProgress, 1, base+300, 100, 100)),
		sessionRecord(topic, 1, event(session.KindClose, 2, base+10, 20, 20)),
		&kgo.Record{Topic: topic, Partition: 1, Key: []byte("x"), Value: []byte{0xff, 0xff}},
		markRecord(topic, 0, base+400), markRecord(topic, 1, base+300),
	)
	produce(t, ctx, c, prefix+"b", kgo.TryAbort, sessionRecord(topic, 0, event(session.KindClose, 3, base+10, 1e6, 1e6)))
	produce(t, ctx, c, prefix+"c", kgo.TryCommit, sessionRecord(topic, 0, event(session.KindClose, 1, base+600, 300, 200)))
	produce(t, ctx, c, prefix+"d", kgo.TryAbort, sessionRecord(topic, 1, event(session.KindClose, 4, base+10, 1e6, 1e6)))

	e := engine(t, Spec{GroupBy: []string{"client"}, Aggregates: []string{"count", "sum(bytes)"}})
	var clocks []flow.Time
	src := &Topics{Client: c.Opts(), Names: names, Topic: "sessions", Clock: func(at flow.Time) { clocks = append(clocks, at) }}
	f := NewFolder(e)
	if err := src.Run(ctx, f); err != nil {
		t.Fatal(err)
	}
	if err := f.Finish(); err != nil {
		t.Fatal(err)
	}
	want := "client,count,sum(bytes)\n10.0.0.1,1,300\n10.0.0.2,1,20"
	if got := table(t, e.Result()); got != want || src.Damaged != 1 {
		t.Errorf("on %s: %d damaged (%s), got\n%s", c, src.Damaged, src.FirstDamage, got)
	}
	if len(clocks) < 2 || clocks[len(clocks)-2] != base+300 || clocks[len(clocks)-1] != flow.MaxTime {
		t.Errorf("clocks %v", clocks)
	}
	timeRange(t, ctx, c, names)
	flowsOf(t, ctx, c, names, prefix)

	gone := &Topics{Client: c.Opts(), Names: stage.Topics{Prefix: prefix + "not."}, Topic: "sessions"}
	if err := gone.Run(ctx, f); !errors.Is(err, ErrNoTopic) || !strings.Contains(err.Error(), "prefix") {
		t.Errorf("a topic that is not there: %v", err)
	}
}

// timeRange: what was written before the range is not read; of what was
// written long after it happened, as much as the clock in the topic asks for.
func timeRange(t *testing.T, ctx context.Context, c *kafkatest.Cluster, names stage.Topics) {
	t.Helper()
	now := flow.Time(time.Now().Unix())
	for name, s := range map[string]struct {
		from, to flow.Time
		records  int64
	}{
		"to come":       {now + 3600, 0, 0},
		"long ago":      {base - 2*86400, base - 86400, 3}, // up to the first marks
		"as replayed":   {base, base + 60, 4},              // before the last of them
		"up to now":     {base, 0, 4},
		"of the writer": {now - 60, now + 60, 4}, // the brokers' time says that it may be there
	} {
		src := &Topics{Client: c.Opts(), Names: names, Topic: "sessions", From: s.from, To: s.to, Slack: 10 * time.Minute}
		if err := src.Run(ctx, NewFolder(engine(t, Spec{Aggregates: []string{"count"}}))); err != nil {
			t.Fatal(err)
		}
		if src.Records != s.records {
			t.Errorf("%s: read %d records, want %d", name, src.Records, s.records)
		}
	}
}

// fetched counts what the brokers sent.
type fetched struct{ records, bytes atomic.Int64 }

// OnFetchBatchRead implements kgo.HookFetchBatchRead.
func (f *fetched) OnFetchBatchRead(_ kgo.BrokerMetadata, _ string, _ int32, m kgo.FetchBatchMetrics) {
	f.records.Add(int64(m.NumRecords))
	f.bytes.Add(int64(m.CompressedBytes))
}

// TestRangeIsNoFullScan replays forty hours of sessions, all appended now. A
// range of two hours at the beginning reads four hours of it, whatever the day
// on which they were written, and a range that is over before the topic was
// made reads nothing.
func TestRangeIsNoFullScan(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	c := kafkatest.Start(t)
	prefix := kafkatest.Prefix(t)
	names := stage.Topics{Prefix: prefix}
	topic := names.Name("sessions")
	adm, err := kgo.NewClient(c.Opts()...)
	if err != nil {
		t.Fatal(err)
	}
	defer adm.Close()
	appendTime := "LogAppendTime"
	if _, err := kadm.NewClient(adm).CreateTopic(ctx, 2, 1, map[string]*string{"message.timestamp.type": &appendTime}, topic); err != nil {
		t.Fatal(err)
	}
	const hours, each = 40, 400 // sessions a partition and hour
	for h := range hours {
		var recs []*kgo.Record
		for i := range 2 * each {
			e := event(session.KindClose, i%250, 0, 10, 10)
			e.First, e.DeltaFirst = base.Add(int64(h*3600+i)), base.Add(int64(h*3600+i))
			e.Last, e.ID[1], e.ID[2], e.ID[3] = e.First.Add(10), byte(i>>8), byte(h), 1
			recs = append(recs, sessionRecord(topic, int32(i%2), e))
		}
		at := base.Add(int64(h+1) * 3600)
		produce(t, ctx, c, prefix+"t", kgo.TryCommit, append(recs, markRecord(topic, 0, at), markRecord(topic, 1, at))...)
	}
	for name, r := range map[string]struct {
		from, to   flow.Time
		count      string
		read       int64 // exactly
		records    int64 // that the brokers send at most, ahead of the reader
		progressed bool
	}{
		"everything": {0, 0, "32000", 32000, 1 << 40, true},
		"two hours":  {base, base + 7200, "1600", 3200, 2 * each * hours / 4, true},
		"one before": {base - 86400, base - 82800, "0", 800, 2 * each * hours / 4, true},
		"to come":    {flow.Time(time.Now().Unix()) + 7200, 0, "0", 0, 0, false},
	} {
		var sent fetched
		e := engine(t, Spec{Aggregates: []string{"count"}, From: r.from, To: r.to})
		told := false
		src := &Topics{
			Client: append(c.Opts(), kgo.WithHooks(&sent), kgo.FetchMaxPartitionBytes(32<<10), kgo.FetchMaxBytes(64<<10)),
			Names:  names, Topic: "sessions", From: r.from, To: r.to, Slack: 2 * time.Hour,
			Progress: func(done, total int64) { told = told || done > 0 && done <= total },
		}
		f := NewFolder(e)
		if err := src.Run(ctx, f); err != nil {
			t.Fatal(err)
		}
		if got := table(t, e.Result()); got != "count\n"+r.count || src.Records != r.read || sent.records.Load() > r.records || told != r.progressed {
			t.Errorf("%s on %s: %q by %d records with %d of %d (%d bytes) fetched, progress %v", name, c, got, src.Records, sent.records.Load(), 2*each*hours, sent.bytes.Load(), told)
		}
		t.Logf("%s: %d records, %d bytes fetched", name, sent.records.Load(), sent.bytes.Load())
	}
}

// TestPassed: a partition is over when its own clock is past the range, and by
// append time only where a slot never speaks.
func TestPassed(t *testing.T) {
	src := &Topics{To: base, Slack: time.Hour, table: newMarks(1)}
	s := &span{next: 10, soon: 20, end: 30}
	mark := func(slot, layout uint32, at flow.Time, idle bool) {
		src.table.mark(0, &wire.Mark{Slot: slot, Slots: 2, Layout: layout, Watermark: at, Idle: idle})
	}
	want := func(when string, over bool) {
		t.Helper()
		if src.passed(0, s) != over {
			t.Errorf("%s: over is %v", when, !over)
		}
	}
	want("before anybody spoke", false)
	mark(0, 1, base+7200, false)
	want("one of two slots", false)
	s.next = 20
	want("one of two slots, beyond the append time", true)
	mark(1, 1, base+100, false)
	want("a slot that lags, beyond the append time", false)
	mark(1, 1, flow.MaxTime, true)
	want("an idle slot", true)
	mark(0, 1, flow.MaxTime, true)
	s.next = 10
	want("all idle", false)
	mark(0, 2, base+7200, false)
	want("a new layout", false)
	mark(1, 1, base+7200, false)
	want("a mark of the old layout", false)
	mark(1, 2, base+3600, false)
	want("both slots of the new one", true)
	src.To = 0
	want("no end", false)
}

func flowsOf(t *testing.T, ctx context.Context, c *kafkatest.Cluster, names stage.Topics, prefix string) {
	t.Helper()
	topic := names.Name("flows")
	r := flow.Record{
		Protocol: 6, Src: flow.Endpoint{Addr: flow.MustAddr("10.0.0.1"), Port: 1}, Dst: flow.Endpoint{Addr: flow.MustAddr("10.0.0.2"), Port: 23},
		Packets: 1, Bytes: 40, Start: base, End: base + 1, Action: flow.Reject,
	}
	produce(t, ctx, c, prefix+"e", kgo.TryCommit, &kgo.Record{Topic: topic, Key: wire.AppendFlowKey(nil, 0, &r), Value: wire.AppendFlow(nil, &r)})
	l, err := rule.NewLanguage(rule.Flows())
	if err != nil {
		t.Fatal(err)
	}
	e, err := New(l, Spec{Filter: `dst_port == 23 && action == "REJECT"`, Aggregates: []string{"count"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := (&Topics{Client: c.Opts(), Names: names, Topic: "flows"}).Run(ctx, NewFlows(e)); err != nil {
		t.Fatal(err)
	}
	if got := table(t, e.Result()); got != "count\n1" {
		t.Errorf("flows: %q", got)
	}
}
