// Package facts reads the final facts of a pipeline's run from its topics and
// holds them against those of another run.
//
// It guarantees that what it compares is final and read_committed: every final
// session event with its totals by session id, and every finding with its last
// state by uid. What is provisional, and positions in topics, are no facts.
package facts

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/session"
	"github.com/flowstitch/flowstitch/pkg/stage"
	"github.com/flowstitch/flowstitch/pkg/wire"
)

// Told is how often something was said, and what: a sum of hashes, so that the
// order does not matter.
type Told struct {
	Times int
	What  uint64
	Text  string // of a finding
}

// Facts are the final facts of a run.
type Facts struct {
	Sessions  map[string]Told // by id and kind of event
	Findings  map[string]Told // by uid, the last state
	Detectors map[string]int  // findings by detector
	Flows     int
	Rejects   int
	Closed    int // sessions
}

// Verdict compares the facts of a run with those of one without faults.
type Verdict struct{ Lost, Duplicated, Changed int }

// Read reads the topics of a run that has ended, to their ends.
func Read(ctx context.Context, opts []kgo.Opt, prefix string) (*Facts, error) {
	f := &Facts{Sessions: map[string]Told{}, Findings: map[string]Told{}, Detectors: map[string]int{}}
	last := map[string]*alert.Alert{}
	for _, topic := range []struct {
		logical string
		take    func(*kgo.Record) error
	}{
		{stage.SessionsTopic, f.session},
		{stage.AlertsTopic, func(r *kgo.Record) error {
			a, err := alert.Parse(r.Value)
			if err == nil {
				last[a.UID.String()] = a // a finding's statements are in one partition, in order
			}
			return err
		}},
		{stage.FlowsTopic, func(*kgo.Record) error { f.Flows++; return nil }},
		{stage.RejectsTopic, func(*kgo.Record) error { f.Rejects++; return nil }},
	} {
		if err := each(ctx, opts, (&stage.Topics{Prefix: prefix}).Name(topic.logical), topic.take); err != nil {
			return nil, err
		}
	}
	for uid, a := range last {
		if a.Verdict == alert.Withdrawn { // it was early, and is no fact
			continue
		}
		text := finding(a)
		f.Findings[uid] = Told{Times: 1, What: xxhash.Sum64String(text), Text: text}
		f.Detectors[a.Detector.ID]++
	}
	return f, nil
}

// session takes in one session event. What an event says of earlier provisional
// ones, and positions in topics, are no facts.
func (f *Facts) session(r *kgo.Record) error {
	var e session.Event
	if err := wire.ParseSession(r.Key, r.Value, &e); err != nil {
		return err
	}
	if !e.Kind.Final() {
		return nil
	}
	if e.Kind == session.KindClose {
		f.Closed++
	}
	e.OutDelta, e.InDelta, e.New = session.Traffic{}, session.Traffic{}, false
	e.OriginPartition, e.OriginOffset = 0, 0
	id := e.ID.String() + e.Kind.String()
	n := f.Sessions[id]
	n.Times++
	n.What += xxhash.Sum64(wire.AppendSession(nil, &e))
	f.Sessions[id] = n
	return nil
}

// finding is what a finding's last statement says, as far as it is a fact: how
// many statements there were, and where the evidence lies in topics, is not.
func finding(a *alert.Alert) string {
	b := *a
	b.Sequence, b.Activity = 0, 0
	b.Evidence = append([]alert.Evidence(nil), a.Evidence...)
	for i := range b.Evidence {
		b.Evidence[i].Topic, b.Evidence[i].Partition, b.Evidence[i].Offset = "", 0, 0
	}
	return fmt.Sprintf("%+v", b)
}

// Against counts what have lacks, has too often, or has differently than want.
func Against(want, have map[string]Told) (v Verdict) {
	for id, w := range want {
		switch h := have[id]; {
		case h.Times < w.Times:
			v.Lost++
		case h.Times > w.Times:
			v.Duplicated++
		case h.What != w.What:
			v.Changed++
		}
	}
	for id := range have {
		if _, ok := want[id]; !ok {
			v.Duplicated++
		}
	}
	return v
}

// Check returns nil if have is exactly want, or an error that says in what they
// differ, with the first few findings that do.
func Check(want, have *Facts) error {
	s, f := Against(want.Sessions, have.Sessions), Against(want.Findings, have.Findings)
	if s == (Verdict{}) && f == (Verdict{}) && have.Flows == want.Flows && have.Rejects == want.Rejects {
		return nil
	}
	var b strings.Builder
	n := 0
	for _, uid := range slices.Sorted(maps.Keys(want.Findings)) {
		if w, h := want.Findings[uid], have.Findings[uid]; h.What != w.What && n < 3 {
			n++
			fmt.Fprintf(&b, "\nwant %s\nhave %s", w.Text, h.Text)
		}
	}
	return fmt.Errorf("sessions %+v, findings %+v, %d flows and %d rejects (they must be %d and %d)%s",
		s, f, have.Flows, have.Rejects, want.Flows, want.Rejects, b.String())
}

// Digest is one number for all the facts: equal facts have equal digests.
func (f *Facts) Digest() uint64 {
	h := xxhash.New()
	for _, m := range []map[string]Told{f.Sessions, f.Findings} {
		for _, id := range slices.Sorted(maps.Keys(m)) {
			fmt.Fprintf(h, "%s %d %x\n", id, m[id].Times, m[id].What)
		}
	}
	fmt.Fprintf(h, "%d %d", f.Flows, f.Rejects)
	return h.Sum64()
}

// each reads the data of a topic, read_committed, to its end.
func each(ctx context.Context, opts []kgo.Opt, topic string, take func(*kgo.Record) error) error {
	cl, err := kgo.NewClient(append(slices.Clone(opts), kgo.ConsumeTopics(topic), kgo.KeepControlRecords(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))...)
	if err != nil {
		return fmt.Errorf("facts: %w", err)
	}
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, topic)
	if err = errors.Join(err, ends.Error()); err != nil {
		return fmt.Errorf("facts: the end of %s: %w", topic, err)
	}
	behind := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			behind[o.Partition] = o.Offset
		}
	})
	for len(behind) > 0 {
		fs := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			return fmt.Errorf("facts: reading %s: partitions behind their end: %v: %w", topic, behind, ctx.Err())
		}
		for it := fs.RecordIter(); !it.Done(); {
			r := it.Next()
			if r.Offset+1 >= behind[r.Partition] {
				delete(behind, r.Partition)
			}
			if r.Attrs.IsControl() || wire.IsMark(r.Value) {
				continue
			}
			if err := take(r); err != nil {
				return fmt.Errorf("facts: %s partition %d offset %d: %w", topic, r.Partition, r.Offset, err)
			}
		}
	}
	return nil
}
