package query

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/session"
	"github.com/flowstitch/flowstitch/pkg/stage"
	"github.com/flowstitch/flowstitch/pkg/wire"
)

// Topics reads a topic of a running pipeline, committed records only, up to
// where it ends when the reading begins.
type Topics struct {
	Client []kgo.Opt
	Names  stage.Topics
	Topic  string // logical: flows or sessions
	// From and To bound the event time that is asked for. The brokers know
	// append times: nothing is read that was appended before From less Slack
	// or, where To is given, after To plus Slack. A record can not be appended
	// before it happened, but minutes after (the lateness, a catch-up).
	From, To flow.Time
	Slack    time.Duration
	// Clock is told the watermark of the whole topic; nil if nobody asks.
	Clock func(flow.Time)
	// Progress is told records read and of how many at most; may be nil.
	Progress func(done, total int64)

	// Records counts data records, Damaged those that could not be read.
	Records, Damaged int64
	FirstDamage      string

	table  *marks
	spans  map[int32]*span
	event  session.Event
	record flow.Record
}

// DefaultSlack covers ingest's lateness and a short outage.
const DefaultSlack = 2 * time.Hour

// ErrNoTopic reports a topic that is not there.
var ErrNoTopic = errors.New("the topic does not exist")

type span struct{ next, end int64 }

// Run reads the range and gives it to the sink. It ends early, without an
// error, when the sink has enough, and with ctx's error when that ends.
func (t *Topics) Run(ctx context.Context, sink Sink) error {
	cl, err := kgo.NewClient(append(slices.Clone(t.Client),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(), kgo.FetchMaxWait(250*time.Millisecond))...)
	if err != nil {
		return fmt.Errorf("query: %w", err)
	}
	defer cl.Close()
	topic := t.Names.Name(t.Topic)
	if err := t.plan(ctx, cl, topic); err != nil {
		return err
	}
	var left, total int64
	start := map[int32]kgo.Offset{}
	for p, s := range t.spans {
		if s.next < s.end {
			start[p] = kgo.NewOffset().At(s.next)
			left++
			total += s.end - s.next
		}
	}
	t.table = newMarks(len(t.spans))
	cl.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: start})
	for left > 0 {
		fetches := cl.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			return err
		}
		if errs := fetches.Errors(); len(errs) > 0 {
			return fmt.Errorf("query: reading %s partition %d: %w", topic, errs[0].Partition, errs[0].Err)
		}
		for iter := fetches.RecordIter(); !iter.Done(); {
			r := iter.Next()
			s := t.spans[r.Partition]
			if s.next >= s.end || r.Offset >= s.end {
				continue
			}
			if err := t.take(r, sink); err != nil {
				if errors.Is(err, ErrEnough) {
					return nil
				}
				return err
			}
			if s.next = r.Offset + 1; s.next >= s.end {
				left--
			}
		}
		t.tell(total)
	}
	if t.Clock != nil {
		t.Clock(flow.MaxTime)
	}
	return nil
}

func (t *Topics) tell(total int64) {
	if t.Clock != nil {
		if c := t.table.clock(); c != flow.MinTime {
			t.Clock(c)
		}
	}
	if t.Progress == nil {
		return
	}
	rest := int64(0)
	for _, s := range t.spans {
		rest += max(s.end-s.next, 0)
	}
	t.Progress(total-rest, total)
}

// plan finds the offsets between which to read, by the brokers' timestamps.
func (t *Topics) plan(ctx context.Context, cl *kgo.Client, topic string) error {
	adm := kadm.NewClient(cl)
	details, err := adm.ListTopics(ctx, topic)
	if err != nil {
		return fmt.Errorf("query: %w", err)
	}
	if !details.Has(topic) || details[topic].Err != nil {
		return fmt.Errorf("query: %s: %w; is the prefix right?", topic, ErrNoTopic)
	}
	starts, err := adm.ListStartOffsets(ctx, topic)
	if err == nil && t.From > 0 {
		starts, err = adm.ListOffsetsAfterMilli(ctx, millis(t.From)-t.Slack.Milliseconds(), topic)
	}
	if err != nil {
		return fmt.Errorf("query: where %s begins: %w", topic, err)
	}
	ends, err := adm.ListCommittedOffsets(ctx, topic)
	if err != nil {
		return fmt.Errorf("query: where %s ends: %w", topic, err)
	}
	upto := ends
	if t.To > 0 && t.To != flow.MaxTime {
		if upto, err = adm.ListOffsetsAfterMilli(ctx, millis(t.To)+t.Slack.Milliseconds(), topic); err != nil {
			return fmt.Errorf("query: where %s ends: %w", topic, err)
		}
	}
	t.spans = map[int32]*span{}
	ends.Each(func(o kadm.ListedOffset) {
		s := &span{end: o.Offset}
		if st, ok := starts.Lookup(topic, o.Partition); ok && st.Err == nil {
			s.next = max(st.Offset, 0)
		}
		if u, ok := upto.Lookup(topic, o.Partition); ok && u.Err == nil && u.Offset >= 0 {
			s.end = min(s.end, u.Offset)
		}
		t.spans[o.Partition] = s
	})
	return nil
}

func millis(t flow.Time) int64 { return int64(t) * 1000 }

// Planned returns how many records lie in the range that was found.
func (t *Topics) Planned() (n int64) {
	for _, s := range t.spans {
		n += max(s.end-s.next, 0)
	}
	return n
}

func (t *Topics) take(r *kgo.Record, sink Sink) error {
	if r.Attrs.IsControl() {
		return nil
	}
	if wire.IsMark(r.Value) {
		var m wire.Mark
		if wire.ParseMark(r.Value, &m) == nil {
			t.table.mark(r.Partition, &m)
		}
		return nil
	}
	t.Records++
	var err error
	if t.Topic == stage.FlowsTopic {
		if _, err = wire.ParseFlow(r.Key, r.Value, &t.record); err == nil {
			return sink.Flow(&t.record)
		}
	} else if err = wire.ParseSession(r.Key, r.Value, &t.event); err == nil {
		return sink.Event(&t.event, Position{r.Partition, r.Offset})
	}
	t.Damaged++
	if t.FirstDamage == "" {
		t.FirstDamage = fmt.Sprintf("partition %d offset %d: %v", r.Partition, r.Offset, err)
	}
	return nil
}

// marks is the clock of a topic: the minimum over its partitions, each the
// minimum over the slots of its source that are not idle.
type marks struct {
	slots []map[uint32]wire.Mark
}

func newMarks(partitions int) *marks {
	m := &marks{slots: make([]map[uint32]wire.Mark, partitions)}
	for i := range m.slots {
		m.slots[i] = map[uint32]wire.Mark{}
	}
	return m
}

func (m *marks) mark(partition int32, k *wire.Mark) {
	if int(partition) < len(m.slots) {
		c := *k
		c.Deployment = "" // it aliases the record
		m.slots[partition][k.Slot] = c
	}
}

func (m *marks) clock() flow.Time {
	clock := flow.MaxTime
	for _, slots := range m.slots {
		if len(slots) == 0 {
			return flow.MinTime
		}
		active, all := flow.MaxTime, uint32(0)
		for _, k := range slots {
			all = max(all, k.Slots)
			if !k.Idle {
				active = min(active, k.Watermark)
			}
		}
		if len(slots) < int(all) {
			return flow.MinTime
		}
		clock = min(clock, active)
	}
	return clock
}
