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
	// From and To bound the event time that is asked for. A record can not be
	// appended before it happened: by the brokers' append times nothing is read
	// that was written before From. It may be appended long after, on the day of
	// a replay: a partition is read until its own clock, the watermarks in it,
	// has passed To by Slack. Slack is how long a session may go on after To and
	// still be told with its end.
	From, To flow.Time
	Slack    time.Duration
	// Clock is told the watermark of the whole topic; nil if nobody asks.
	Clock func(flow.Time)
	// Progress is told records read and of how many at most; may be nil.
	Progress func(done, total int64)

	// Records counts data records, Damaged those that could not be read.
	Records, Damaged int64
	FirstDamage      string

	read   int64 // records of any kind
	table  *marks
	spans  map[int32]*span
	event  session.Event
	record flow.Record
}

// DefaultSlack covers ingest's lateness, the active timeout and most sessions.
const DefaultSlack = 2 * time.Hour

// clockSkew is how far the brokers' clocks may be ahead of those that stamped
// the packets.
const clockSkew = 10 * time.Minute

// ErrNoTopic reports a topic that is not there.
var ErrNoTopic = errors.New("the topic does not exist")

// span is what is left to read of a partition.
type span struct {
	next, end int64
	// soon is where records appended after To plus Slack begin: where a live
	// pipeline's clock is expected to have passed To.
	soon int64
}

// left is how many records are still expected.
func (s *span) left() int64 {
	if s.next < s.soon {
		return s.soon - s.next
	}
	return max(s.end-s.next, 0)
}

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
	total := t.Planned()
	start := map[int32]kgo.Offset{}
	for p, s := range t.spans {
		if s.next < s.end {
			start[p] = kgo.NewOffset().At(s.next)
		}
	}
	t.table = newMarks(len(t.spans))
	cl.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: start})
	for left := len(start); left > 0; {
		fetches := cl.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			return err
		}
		if errs := fetches.Errors(); len(errs) > 0 {
			return fmt.Errorf("query: reading %s partition %d: %w", topic, errs[0].Partition, errs[0].Err)
		}
		var over []int32
		if over, err = t.eat(fetches, sink); err != nil {
			if errors.Is(err, ErrEnough) {
				return nil
			}
			return err
		}
		left -= len(over)
		cl.PauseFetchPartitions(map[string][]int32{topic: over})
		t.tell(max(total, t.read+t.Planned()))
	}
	if t.Clock != nil {
		t.Clock(flow.MaxTime)
	}
	return nil
}

// eat takes what was fetched and returns the partitions that are read.
func (t *Topics) eat(fetches kgo.Fetches, sink Sink) (over []int32, err error) {
	for iter := fetches.RecordIter(); !iter.Done(); {
		r := iter.Next()
		s := t.spans[r.Partition]
		if s.next >= s.end {
			continue
		}
		if r.Offset < s.end {
			if err := t.take(r, sink); err != nil {
				return over, err
			}
			t.read++
		}
		if s.next = r.Offset + 1; t.passed(r.Partition, s) {
			s.next = s.end
		}
		if s.next >= s.end {
			over = append(over, r.Partition)
		}
	}
	return over, nil
}

// passed reports whether nothing of the range follows in a partition. Where
// its clock is not known, because a slot that is gone said its last mark before
// the range, append times decide.
func (t *Topics) passed(partition int32, s *span) bool {
	if t.To == 0 || t.To == flow.MaxTime {
		return false
	}
	clock, known := t.table.of(partition)
	if !known {
		return s.soon > 0 && s.next >= s.soon
	}
	return clock >= t.To.Add(int64(t.Slack/time.Second))
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
	t.Progress(total-t.Planned(), total) // by offsets: of an aborted transaction no record comes
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
		starts, err = adm.ListOffsetsAfterMilli(ctx, millis(t.From)-clockSkew.Milliseconds(), topic)
	}
	if err != nil {
		return fmt.Errorf("query: where %s begins: %w", topic, err)
	}
	ends, err := adm.ListCommittedOffsets(ctx, topic)
	if err != nil {
		return fmt.Errorf("query: where %s ends: %w", topic, err)
	}
	var soon kadm.ListedOffsets
	if t.To > 0 && t.To != flow.MaxTime {
		if soon, err = adm.ListOffsetsAfterMilli(ctx, millis(t.To)+t.Slack.Milliseconds(), topic); err != nil {
			return fmt.Errorf("query: where %s ends: %w", topic, err)
		}
	}
	t.spans = map[int32]*span{}
	ends.Each(func(o kadm.ListedOffset) {
		s := &span{end: o.Offset}
		if st, ok := starts.Lookup(topic, o.Partition); ok && st.Err == nil {
			s.next = max(st.Offset, 0)
		}
		if u, ok := soon.Lookup(topic, o.Partition); ok && u.Err == nil && u.Offset > s.next && u.Offset < s.end {
			s.soon = u.Offset
		}
		t.spans[o.Partition] = s
	})
	return nil
}

func millis(t flow.Time) int64 { return int64(t) * 1000 }

// Planned returns how many records are still expected in the range.
func (t *Topics) Planned() (n int64) {
	for _, s := range t.spans {
		n += s.left()
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
	slots  []map[uint32]wire.Mark
	layout []uint32 // of the source, by partition: the newest
}

func newMarks(partitions int) *marks {
	m := &marks{slots: make([]map[uint32]wire.Mark, partitions), layout: make([]uint32, partitions)}
	for i := range m.slots {
		m.slots[i] = map[uint32]wire.Mark{}
	}
	return m
}

func (m *marks) mark(partition int32, k *wire.Mark) {
	if int(partition) >= len(m.slots) || k.Layout < m.layout[partition] {
		return
	}
	if k.Layout > m.layout[partition] { // the slots of the layout before are gone
		m.layout[partition] = k.Layout
		clear(m.slots[partition])
	}
	c := *k
	c.Deployment = "" // it aliases the record
	m.slots[partition][k.Slot] = c
}

// of returns the clock of one partition, once every slot has spoken and one of
// them is not idle.
func (m *marks) of(partition int32) (flow.Time, bool) {
	slots := m.slots[partition]
	clock, all, active := flow.MaxTime, uint32(1), false
	for _, k := range slots {
		all = max(all, k.Slots)
		if !k.Idle {
			clock, active = min(clock, k.Watermark), true
		}
	}
	return clock, active && len(slots) >= int(all)
}

func (m *marks) clock() flow.Time {
	clock := flow.MaxTime
	for p := range m.slots {
		c, known := m.of(int32(p))
		if !known {
			return flow.MinTime
		}
		clock = min(clock, c)
	}
	return clock
}
