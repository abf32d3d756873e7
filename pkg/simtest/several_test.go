package simtest

import (
	"context"
	"maps"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/flowstitch/flowstitch/pkg/kafkatest"
	"github.com/flowstitch/flowstitch/pkg/service"
	"github.com/flowstitch/flowstitch/pkg/stage"
	"github.com/flowstitch/flowstitch/pkg/telemetry"
)

// TestSeveralBrokers is what needs more than one real broker: three, in racks a,
// b and c, each topic on all of them and a write on two.
func TestSeveralBrokers(t *testing.T) {
	if testing.Short() {
		t.Skip("starts three Java brokers")
	}
	ctx, cancel := context.WithTimeout(context.Background(), busy)
	defer cancel()
	c, brokers := kafkatest.RealSeveral(ctx, t, "a", "b", "c")
	t.Run("a consumer reads in its own rack", func(t *testing.T) { readInRack(t, c) })
	t.Run("brokers end, one after another", func(t *testing.T) { endBrokers(t, c, brokers) })
}

// nodes counts what is fetched of a topic, by the broker that it came from.
type nodes struct {
	topic string

	mu      sync.Mutex
	records map[int32]int
}

var _ kgo.HookFetchBatchRead = (*nodes)(nil)

// OnFetchBatchRead is told of each batch.
func (n *nodes) OnFetchBatchRead(meta kgo.BrokerMetadata, topic string, _ int32, m kgo.FetchBatchMetrics) {
	if topic != n.topic {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.records[meta.NodeID] += m.NumRecords
}

// readInRack: a fold whose pod was told its zone reads flows from the broker
// there, whoever leads the partition; one that was told none reads from leaders.
func readInRack(t *testing.T, c *kafkatest.Cluster) {
	prefix := kafkatest.Prefix(t)
	l := &Load{Seed: 40, Slots: 2, Records: 10_000, Keys: 300, PerSec: 100, Jitter: 3}
	toy := &Toy{Width: 10, Cuts: 4}
	src, fold := configs(c, prefix, l)
	ensure(t, &src, &fold)
	settled(t, c, prefix)
	src.Telemetry = fresh(src.Telemetry)
	source, stop := context.WithCancel(context.Background())
	defer stop()
	done := make(chan error, 1)
	go func() { done <- stage.RunSlots(source, src, []string{stage.FlowsTopic}, l.NewSource) }()
	until(t, busy, "all flows to be written", func() bool {
		return metric(t, src.Telemetry.Registry, "flowstitch_stage_records_out_total", stage.FlowsTopic) >= float64(l.Slots*l.Records)
	})
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	read := func(zone string) map[int32]int {
		t.Setenv(service.RackEnv, zone)
		tel := telemetry.Quiet()
		n := &nodes{topic: (&stage.Topics{Prefix: prefix}).Name(stage.FlowsTopic), records: map[int32]int{}}
		tel.Client = []kgo.Opt{kgo.WithHooks(n)}
		common := service.DefaultCommon()
		common.Kafka.Brokers, common.Kafka.Racks = c.Addrs, map[string]string{"eu-west-1b": "b"}
		service, err := common.Stage("sessionize", "", tel)
		if err != nil {
			t.Fatal(err)
		}
		cfg := fold
		cfg.Client, cfg.Telemetry = service.Client, tel
		cfg.Service = "zone" + zone // each is a stage of its own, which begins at the start
		if err := stage.EnsureTopics(context.Background(), &cfg, cfg.StageTopics()...); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- stage.Run(ctx, cfg, toy.Spec()) }()
		until(t, busy, "all flows to be folded", func() bool {
			return metric(t, tel.Registry, "flowstitch_stage_records_in_total") >= float64(l.Slots*l.Records)
		})
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		return maps.Clone(n.records)
	}
	const inRack = 2 // the node in rack b
	told, untold := read("eu-west-1b"), read("")
	t.Logf("records by node: in zone b %v; without a zone %v", told, untold)
	all := 0
	for _, n := range told {
		all += n
	}
	if told[inRack]*10 < all*9 {
		t.Errorf("%d of %d records came from the broker of the rack", told[inRack], all)
	}
	if len(untold) < 2 {
		t.Errorf("without a zone, all records came from %v: one leader has every partition, and nothing is shown", untold)
	}
}

// endBrokers ends the coordinator of the fold's group, by SIGKILL and in order in
// turns (once by SIGKILL in the short cut), while the toy pipeline runs; with it go the leaders of a third of all
// partitions and the coordinators of some transactions.
func endBrokers(t *testing.T, c *kafkatest.Cluster, brokers kafkatest.Several) {
	rounds, records := 1, 6_000
	if os.Getenv("FLOWSTITCH_LONG") == "1" {
		rounds, records = 8, 80_000
	}
	prefix := kafkatest.Prefix(t)
	l := &Load{Seed: 41, Slots: 2, Records: records, Keys: 300, PerSec: 100, Jitter: 3, Burst: 40, Pace: 50 * time.Millisecond}
	toy := &Toy{Width: 10, Cuts: 4}
	src, fold := configs(c, prefix, l)
	ensure(t, &src, &fold)
	settled(t, c, prefix)
	m := start(src, fold, l, toy)
	folded := func() float64 { return metric(t, m.fold.Telemetry.Registry, "flowstitch_stage_records_in_total") }
	until(t, busy, "some records", func() bool { return folded() > 1000 })
	var stalls []time.Duration
	for round := range rounds {
		victim := coordinator(t, c, fold.Group())
		led := leads(t, c, prefix, victim)
		end := brokers[victim-1].Kill
		if round%2 == 1 {
			end = brokers[victim-1].Stop
		}
		if err := end(); err != nil {
			t.Fatal(err)
		}
		began, before := time.Now(), folded()
		until(t, busy, "the stage to go on without the broker", func() bool { return folded() > before+400 || folded() == float64(l.Slots*l.Records) })
		stalls = append(stalls, time.Since(began).Round(10*time.Millisecond))
		next := coordinator(t, c, fold.Group())
		if next == victim || led == 0 {
			t.Errorf("round %d: node %d led %d partitions and was coordinator, and node %d is now", round, victim, led, next)
		}
		if round == rounds-1 {
			break // the other two do the rest
		}
		if err := brokers[victim-1].Restart(context.Background()); err != nil {
			t.Fatal(err)
		}
		settled(t, c, prefix)
	}
	v := judge(t, m, c, prefix, l, toy, busy)
	m.end(t)
	t.Logf("%d times a broker ended (SIGKILL and SIGTERM in turns); the fold went on after %v; %d windows exact; transactions aborted %v, slots dropped %v",
		rounds, stalls, v.Windows, metric(t, m.fold.Telemetry.Registry, "flowstitch_stage_transactions_aborted_total"),
		metric(t, m.fold.Telemetry.Registry, "flowstitch_stage_slots_dropped_total"))
}

// admin asks the cluster something until it has an answer.
func admin[T any](t testing.TB, c *kafkatest.Cluster, what string, ask func(context.Context, *kadm.Client) (T, bool)) (out T) {
	t.Helper()
	cl, err := kgo.NewClient(c.Opts()...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	until(t, busy, what, func() (ok bool) {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		out, ok = ask(ctx, kadm.NewClient(cl))
		return ok
	})
	return out
}

// coordinator is the node that coordinates a group.
func coordinator(t testing.TB, c *kafkatest.Cluster, group string) int32 {
	t.Helper()
	return admin(t, c, "the coordinator of "+group, func(ctx context.Context, adm *kadm.Client) (int32, bool) {
		at := adm.FindGroupCoordinators(ctx, group)[group]
		return at.NodeID, at.Err == nil
	})
}

// leads is how many partitions of the pipeline a node leads.
func leads(t testing.TB, c *kafkatest.Cluster, prefix string, node int32) int {
	t.Helper()
	return admin(t, c, "the leaders", func(ctx context.Context, adm *kadm.Client) (n int, ok bool) {
		topics, err := adm.ListTopics(ctx, names(prefix)...)
		topics.EachPartition(func(p kadm.PartitionDetail) {
			if p.Leader == node {
				n++
			}
		})
		return n, err == nil
	})
}

// settled waits until every partition of the pipeline has a leader and all of its
// replicas in sync.
func settled(t testing.TB, c *kafkatest.Cluster, prefix string) {
	t.Helper()
	admin(t, c, "all replicas to be in sync", func(ctx context.Context, adm *kadm.Client) (struct{}, bool) {
		topics, err := adm.ListTopics(ctx, names(prefix)...)
		ok := err == nil && topics.Error() == nil
		topics.EachPartition(func(p kadm.PartitionDetail) { ok = ok && p.Leader >= 0 && len(p.ISR) == len(c.Addrs) })
		return struct{}{}, ok
	})
}

// names are the toy pipeline's topics with data.
func names(prefix string) []string {
	n := stage.Topics{Prefix: prefix}
	return slices.Sorted(slices.Values([]string{n.Name(stage.FlowsTopic), n.Name(stage.SessionsTopic)}))
}
