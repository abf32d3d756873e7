package query

import (
	"context"
	"errors"
	"strings"
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

// timeRange: what was appended before the range, or long after, is not read.
func timeRange(t *testing.T, ctx context.Context, c *kafkatest.Cluster, names stage.Topics) {
	t.Helper()
	now := flow.Time(time.Now().Unix())
	for name, s := range map[string]struct {
		from, to flow.Time
		planned  bool
	}{
		"to come":  {now + 3600, 0, false},
		"long ago": {1, base, false},
		"around":   {now - 60, now + 60, true},
	} {
		src := &Topics{Client: c.Opts(), Names: names, Topic: "sessions", From: s.from, To: s.to, Slack: 10 * time.Minute}
		if err := src.Run(ctx, NewFolder(engine(t, Spec{Aggregates: []string{"count"}}))); err != nil {
			t.Fatal(err)
		}
		if read := src.Records > 0; read != s.planned {
			t.Errorf("%s: read %d records", name, src.Records)
		}
	}
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
