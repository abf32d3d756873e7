package killtest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/cespare/xxhash/v2"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/kafkatest"
	"github.com/flowstitch/flowstitch/pkg/session"
	"github.com/flowstitch/flowstitch/pkg/stage"
	"github.com/flowstitch/flowstitch/pkg/wire"
)

// told is how often something was said, and what: a sum of hashes, so that the
// order does not matter.
type told struct {
	times int
	what  uint64
	text  string // of a finding
}

// facts are the final facts of a run.
type facts struct {
	sessions map[string]told // by id and kind of event
	findings map[string]told // by uid, the last state
	flows    int
	rejects  int
	closed   int
}

// verdict compares the facts of a run with those of one without faults.
type verdict struct{ lost, duplicated, changed int }

// readFacts reads the topics of a run that has ended.
func readFacts(t *testing.T, c *kafkatest.Cluster, prefix string) *facts {
	t.Helper()
	f := &facts{sessions: map[string]told{}, findings: map[string]told{}}
	each(t, c, prefix, stage.SessionsTopic, f.session)
	last := map[string]*alert.Alert{}
	each(t, c, prefix, stage.AlertsTopic, func(r *kgo.Record) error {
		a, err := alert.Parse(r.Value)
		if err == nil {
			last[a.UID.String()] = a // a finding's statements are in one partition, in order
		}
		return err
	})
	for uid, a := range last {
		if a.Verdict == alert.Withdrawn { // it was early, and is no fact
			continue
		}
		text := finding(a)
		f.findings[uid] = told{times: 1, what: xxhash.Sum64String(text), text: text}
	}
	each(t, c, prefix, stage.FlowsTopic, func(r *kgo.Record) error {
		f.flows++
		return nil
	})
	each(t, c, prefix, stage.RejectsTopic, func(*kgo.Record) error { f.rejects++; return nil })
	return f
}

// session takes in one session event. What an event says of earlier provisional
// ones, and positions in topics, are no facts.
func (f *facts) session(r *kgo.Record) error {
	var e session.Event
	if err := wire.ParseSession(r.Key, r.Value, &e); err != nil {
		return err
	}
	if !e.Kind.Final() {
		return nil
	}
	if e.Kind == session.KindClose {
		f.closed++
	}
	e.OutDelta, e.InDelta, e.New = session.Traffic{}, session.Traffic{}, false
	e.OriginPartition, e.OriginOffset = 0, 0
	id := e.ID.String() + e.Kind.String()
	n := f.sessions[id]
	n.times++
	n.what += xxhash.Sum64(wire.AppendSession(nil, &e))
	f.sessions[id] = n
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

// against counts what f lacks, has too often, or has differently than want.
func against(want, have map[string]told) (v verdict) {
	for id, w := range want {
		switch h := have[id]; {
		case h.times < w.times:
			v.lost++
		case h.times > w.times:
			v.duplicated++
		case h.what != w.what:
			v.changed++
		}
	}
	for id := range have {
		if _, ok := want[id]; !ok {
			v.duplicated++
		}
	}
	return v
}

// each reads the data of a topic, read_committed, to its end.
func each(t *testing.T, c *kafkatest.Cluster, prefix, logical string, f func(*kgo.Record) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), readLimit)
	defer cancel()
	topic := (&stage.Topics{Prefix: prefix}).Name(logical)
	cl, err := kgo.NewClient(append(c.Opts(), kgo.ConsumeTopics(topic), kgo.KeepControlRecords(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, topic)
	if err = errors.Join(err, ends.Error()); err != nil {
		t.Fatal(err)
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
			t.Fatalf("reading %s: partitions behind their end: %v: %v", topic, behind, ctx.Err())
		}
		for it := fs.RecordIter(); !it.Done(); {
			r := it.Next()
			if r.Offset+1 >= behind[r.Partition] {
				delete(behind, r.Partition)
			}
			if r.Attrs.IsControl() || wire.IsMark(r.Value) {
				continue
			}
			if err := f(r); err != nil {
				t.Fatalf("%s partition %d offset %d: %v", topic, r.Partition, r.Offset, err)
			}
		}
	}
}
