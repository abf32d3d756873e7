package simtest

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/flowstitch/flowstitch/pkg/kafkatest"
	"github.com/flowstitch/flowstitch/pkg/stage"
	"github.com/flowstitch/flowstitch/pkg/telemetry"
)

// TestTwoOwnersSettle: again and again the group gives the slots of a member to
// another, since its heartbeats come late, while it goes on working. So both
// believe that they own them. The one that is late is fenced, once a slot; the
// other never is, and it stays at that.
func TestTwoOwnersSettle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, &Load{Seed: 20, Slots: 2, Records: 6_000, Keys: 200, PerSec: 50, Jitter: 5, Burst: 25, Pace: 500 * time.Millisecond})
		b.src.CommitInterval, b.fold.CommitInterval = 200*time.Millisecond, 200*time.Millisecond
		b.src.TxnTimeout, b.fold.TxnTimeout = 10*time.Second, 10*time.Second // what is on its way outlives the hang
		a := b.join()
		wait(context.Background(), 3*time.Second)
		other := b.join()
		wait(context.Background(), 10*time.Second)
		fenced := func(m *simMember) float64 {
			return metric(t, m.fold.Telemetry.Registry, "flowstitch_stage_slots_dropped_total", "reason=fenced")
		}
		slots := func(m *simMember) float64 { return metric(t, m.fold.Telemetry.Registry, "flowstitch_stage_slots") }
		const rounds = 3
		for round := range rounds {
			if slots(a) != 2 || slots(other) != 2 {
				t.Fatalf("round %d: %v and %v slots before, want 2 each", round, slots(a), slots(other))
			}
			before := fenced(a)
			a.link.Late(kmsg.Heartbeat, 6*time.Second+time.Duration(round)*50*time.Millisecond)
			wait(context.Background(), 5*time.Second)
			if slots(a) != 2 || slots(other) != 4 {
				t.Errorf("round %d: %v and %v slots meanwhile, want one that believes, and one that has all four", round, slots(a), slots(other))
			}
			wait(context.Background(), 10*time.Second)
			if n := fenced(a) - before; n != 2 || fenced(other) != 0 {
				t.Errorf("round %d: fenced %v times for two slots, and the other, in whose right it was, %v times", round, n, fenced(other))
			}
		}
		settled := fenced(a)
		wait(context.Background(), time.Minute)
		if fenced(a) != settled || fenced(other) != 0 {
			t.Errorf("a minute later: fenced %v times (before %v), the other %v times (want 0): they have not settled", fenced(a), settled, fenced(other))
		}
		t.Logf("%d times late: fenced %v times", rounds, settled)
		b.exact()
		b.end(a, other)
	})
}

// hungReaders starts two sources, hangs one with a transaction open before it can
// end it, and returns for how long a reader got nothing.
func hungReaders(t *testing.T, opts []kgo.Opt, dial Dialer, prefix string, txn time.Duration) time.Duration {
	t.Helper()
	l := &Load{Seed: 21, Slots: 2, Records: 100_000, Keys: 200, PerSec: 50, Jitter: 5, Burst: 10, Pace: 100 * time.Millisecond}
	src, fold := configs(&kafkatest.Cluster{}, prefix, l)
	src.TxnTimeout, src.SessionTimeout = txn, time.Minute // the group is not what helps
	links := []*Link{NewLink(dial), NewLink(dial)}
	src.Client = append(append([]kgo.Opt{}, opts...), kgo.Dialer(dial))
	fold.Client = src.Client
	ensure(t, &src, &fold)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, len(links))
	var members []*telemetry.Telemetry
	for _, link := range links {
		cfg := src
		cfg.Telemetry = fresh(src.Telemetry)
		cfg.Client = append(append([]kgo.Opt{}, opts...), kgo.Dialer(link.Dial))
		go func() { done <- stage.RunSlots(ctx, cfg, []string{stage.FlowsTopic}, l.NewSource) }()
		members = append(members, cfg.Telemetry)
		until(t, busy, "a member to be ready", func() bool { _, ok := cfg.Telemetry.Health.Ready(); return ok })
	}
	// What hangs must be a transaction with flows in it, not a taking-over.
	for _, m := range members {
		until(t, busy, "each member to work one slot", func() bool {
			_, ok := m.Health.Ready()
			return ok && metric(t, m.Registry, "flowstitch_stage_slots") == 1
		})
	}
	cl, err := kgo.NewClient(append(append([]kgo.Opt{}, opts...), kgo.Dialer(dial), kgo.ConsumeTopics((&stage.Topics{Prefix: prefix}).Name(stage.FlowsTopic)),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxWait(100*time.Millisecond))...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	last, worst := map[int32]time.Time{}, time.Duration(0)
	readUntil := func(end time.Time) {
		rctx, cancel := context.WithDeadline(ctx, end)
		defer cancel()
		for rctx.Err() == nil {
			cl.PollFetches(rctx).EachRecord(func(r *kgo.Record) {
				now := time.Now()
				if at, ok := last[r.Partition]; ok {
					worst = max(worst, now.Sub(at))
				}
				last[r.Partition] = now
			})
		}
	}
	readUntil(time.Now().Add(3 * time.Second))
	if worst > txn/2 {
		t.Logf("before the hang, a partition was silent for %v: a busy machine", worst)
	}
	worst = 0
	<-links[0].HoldAt(kmsg.EndTxn, 4*txn)
	readUntil(time.Now().Add(3 * txn))
	cancel()
	for range links {
		if err := <-done; err != nil {
			t.Errorf("stage ended with %v", err)
		}
	}
	return worst
}

// TestHungMemberDelaysReaders: a member that hangs with a transaction open holds
// its readers up, and by no more than the transaction timeout.
func TestHungMemberDelaysReaders(t *testing.T) {
	const txn = 4 * time.Second
	t.Run("simulated", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newBubble(t, &Load{Slots: 2})
			defer b.end()
			worst := hungReaders(t, b.plain, b.net.DialContext, "hung.", txn)
			t.Logf("readers waited %v for a transaction timeout of %v", worst, txn)
			if worst < txn/2 || worst > txn+time.Second {
				t.Errorf("readers waited %v, want about the transaction timeout, %v", worst, txn)
			}
		})
	})
	t.Run("real", func(t *testing.T) {
		c := kafkatest.Real(t)
		worst := hungReaders(t, c.Opts(), (&net.Dialer{}).DialContext, kafkatest.Prefix(t), txn)
		t.Logf("%s: readers waited %v for a transaction timeout of %v", c.Kind, worst, txn)
		// A broker looks for them once in a while; that of pkg/kafkatest each second.
		if c.Kind == kafkatest.JVM && (worst < txn/2 || worst > 2*txn) {
			t.Errorf("readers waited %v, want about the transaction timeout, %v", worst, txn)
		}
	})
}
