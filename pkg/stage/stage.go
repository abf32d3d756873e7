package stage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/pprof"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// SlotFactory makes the worker of a slot. It is called at every taking-over.
type SlotFactory func(slot int) (SlotWorker, error)

// Stage is one member of a stage: it joins the group that hands out the slots
// and works those that it is given.
type Stage struct {
	cfg       Config
	outputs   []string
	factory   SlotFactory
	log       *slog.Logger
	m         metrics
	names     *Topics
	slots     string // topic
	ledger    string // topic
	in        inputs
	input     string // logical, "" for a source that is not Kafka
	group     *kgo.Client
	joining   chan struct{} // closed once group is set: it may assign before NewClient returns
	restoring chan struct{}
	pools     *fetchPools
	watch     *brokerWatch

	mu     sync.Mutex
	owned  map[int]*slot
	joined atomic.Bool
}

// NewSlots returns a stage whose source is not Kafka. outputs are the logical
// names of the topics that its workers write to; rejects is always among them.
func NewSlots(cfg Config, outputs []string, factory SlotFactory) (*Stage, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	names := cfg.topics()
	if !slices.Contains(outputs, RejectsTopic) {
		outputs = append(slices.Clone(outputs), RejectsTopic)
	}
	st := &Stage{
		cfg: cfg, outputs: outputs, factory: factory, names: names,
		slots: names.Name(cfg.SlotsTopic()), ledger: names.Name(cfg.LedgerTopic()),
		log:       cfg.Telemetry.Log.With("stage", cfg.id()),
		joining:   make(chan struct{}),
		restoring: make(chan struct{}, runtime.GOMAXPROCS(0)),
		owned:     map[int]*slot{},
		pools:     new(fetchPools),
	}
	st.watch = &brokerWatch{log: st.log, now: cfg.Now}
	if err := st.m.register(st); err != nil {
		return nil, fmt.Errorf("stage: %w", err)
	}
	cfg.Telemetry.Health.Register(cfg.id(), st.Live, st.Ready)
	return st, nil
}

// RunSlots makes a stage of slots and runs it until ctx ends.
func RunSlots(ctx context.Context, cfg Config, outputs []string, factory SlotFactory) error {
	st, err := NewSlots(cfg, outputs, factory)
	if err != nil {
		return err
	}
	return st.Run(ctx)
}

// Run works until ctx ends; then it hands its slots over in order, leaves the
// group and returns nil. Topics must exist (EnsureTopics). A broker that is away
// does not end it; configuration that can not work does. A Stage runs once.
//
// Its goroutines carry the profiler label ProfileLabel, so that a CPU profile
// tells the stages of one process apart.
func (st *Stage) Run(ctx context.Context) (err error) {
	pprof.Do(ctx, pprof.Labels(ProfileLabel, st.cfg.id()), func(ctx context.Context) { err = st.run(ctx) })
	return err
}

// ProfileLabel is the profiler label of a stage: "ingest", "detect.combine".
const ProfileLabel = "stage"

func (st *Stage) run(ctx context.Context) error {
	// Slots outlive ctx: they end in order first.
	hard, kill := context.WithCancel(context.WithoutCancel(ctx))
	defer kill()
	if err := st.connect(ctx, hard); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	var bg sync.WaitGroup
	bg.Go(func() { st.pollGroup(ctx) })
	bg.Go(func() { st.reportOffsets(ctx) })
	<-ctx.Done()
	st.log.Info("stopping: handing over slots")
	bg.Wait()
	st.release(st.all())
	leave, cancel := context.WithTimeout(hard, 5*time.Second)
	defer cancel()
	if err := st.group.LeaveGroupContext(leave); err != nil {
		st.log.Warn("leaving the group", "error", err)
	}
	st.group.CloseAllowingRebalance()
	return nil
}

// connect looks the topics up and joins the group.
func (st *Stage) connect(ctx, hard context.Context) error {
	probe, err := kgo.NewClient(st.opts()...)
	if err != nil {
		return fmt.Errorf("stage: client options: %w", err)
	}
	defer probe.Close()
	// A broker that is away at the start is waited for like any other time.
	if err := awaitBroker(ctx, probe, st.watch); err != nil {
		return err
	}
	if st.in, err = lookUp(ctx, probe, st.names, st.input, st.outputs); err != nil {
		return err
	}
	if st.input != "" && int(st.in.inputCount)%st.cfg.Slots != 0 {
		return fmt.Errorf("stage: %d slots do not divide the %d partitions of %s; choose 24, 48 or 96 of both", st.cfg.Slots, st.in.inputCount, st.names.Name(st.input))
	}
	control, err := lookUp(ctx, probe, st.names, "", []string{st.cfg.SlotsTopic(), st.cfg.LedgerTopic()})
	if err != nil {
		return err
	}
	for name, n := range control.counts {
		if int(n) != st.cfg.Slots {
			return fmt.Errorf("%w: %s has %d partitions for %d slots; the two must be equal: set slots to it, or run under a new prefix", ErrTopic, st.names.Name(name), n, st.cfg.Slots)
		}
	}
	st.group, err = kgo.NewClient(append(st.opts(),
		kgo.ConsumerGroup(st.cfg.Group()),
		kgo.ConsumeTopics(st.slots),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		// Dynamic membership: a member that leaves frees its slots at once
		// (facts/kubernetes.md measured 0.5 s against 10.5 s of static).
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.SessionTimeout(st.cfg.SessionTimeout),
		kgo.HeartbeatInterval(max(st.cfg.SessionTimeout/10, 50*time.Millisecond)),
		// A member that dies within a rebalance holds the group for so long.
		kgo.RebalanceTimeout(st.cfg.handover()),
		kgo.DisableAutoCommit(),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, p map[string][]int32) { st.assign(hard, p[st.slots]) }),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, p map[string][]int32) { st.release(p[st.slots]) }),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, p map[string][]int32) { st.lose(p[st.slots]) }),
	)...)
	if err != nil {
		return fmt.Errorf("stage: client options: %w", err)
	}
	close(st.joining)
	return nil
}

// pollGroup keeps the control topic's consumer turning. Nothing is ever
// written there; what it polls is nothing, or errors.
func (st *Stage) pollGroup(ctx context.Context) {
	for ctx.Err() == nil {
		fs := st.group.PollFetches(ctx)
		fs.EachError(func(topic string, p int32, err error) {
			if ctx.Err() == nil {
				st.log.Log(ctx, st.watch.level(), "control topic", "topic", topic, "partition", p, "error", err)
			}
		})
	}
}

func (st *Stage) assign(hard context.Context, slots []int32) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.joined.Store(true)
	for _, n := range slots {
		if st.owned[int(n)] != nil {
			continue
		}
		ctx, kill := context.WithCancel(hard)
		s := &slot{st: st, n: int(n), stop: make(chan struct{}), done: make(chan struct{}), kill: kill}
		s.turn()
		st.owned[s.n] = s
		go s.run(ctx)
	}
	st.m.slots.Set(float64(len(st.owned)))
	st.log.Info("slots assigned", "new", slots, "owned", len(st.owned))
}

// all lists the slots that are owned.
func (st *Stage) all() (out []int32) {
	st.mu.Lock()
	defer st.mu.Unlock()
	for n := range st.owned {
		out = append(out, int32(n))
	}
	return out
}

// take removes slots from those owned.
func (st *Stage) take(slots []int32) (out []*slot) {
	st.mu.Lock()
	defer st.mu.Unlock()
	for n, s := range st.owned {
		if slices.Contains(slots, int32(n)) {
			out = append(out, s)
			delete(st.owned, n)
		}
	}
	st.m.slots.Set(float64(len(st.owned)))
	return out
}

// release hands slots over in order, all at a time, and returns when they have
// ended. Called by the group within its rebalance: the next owner starts after.
func (st *Stage) release(slots []int32) {
	if len(slots) == 0 { // a rebalance that takes nothing from us
		return
	}
	out := st.take(slots)
	st.log.Info("slots revoked", "slots", slots, "worked", len(out))
	for _, s := range out {
		close(s.stop)
	}
	// An orderly end is bounded: a worker that hangs must not hold the group.
	limit := time.NewTimer(st.cfg.handover())
	defer limit.Stop()
	for _, s := range out {
		select {
		case <-s.done:
		case <-limit.C:
			for _, s := range out {
				s.kill()
			}
			<-s.done
		}
		s.kill()
	}
}

// lose drops slots that the group has given to somebody else already.
func (st *Stage) lose(slots []int32) {
	if len(slots) == 0 {
		return
	}
	out := st.take(slots)
	st.log.Info("slots lost", "slots", slots, "worked", len(out))
	for _, s := range out {
		s.kill()
	}
	for _, s := range out {
		<-s.done
	}
}

// membership is who we are in the group, and since which generation.
func (st *Stage) membership() (member string, generation int32) { return st.group.GroupMetadata() }

// assigned asks the group's coordinator whether the slot is ours now.
func (st *Stage) assigned(ctx context.Context, n int) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, st.cfg.TxnTimeout)
	defer cancel()
	groups, err := kadm.NewClient(st.group).DescribeGroups(ctx, st.cfg.Group())
	if err != nil {
		return false, err
	}
	g := groups[st.cfg.Group()]
	if g.Err != nil || g.State != "Stable" {
		return false, g.Err
	}
	me, _ := st.membership()
	for _, m := range g.Members {
		a, ok := m.Assigned.AsConsumer()
		if !ok || m.MemberID != me {
			continue
		}
		for _, t := range a.Topics {
			if t.Topic == st.slots && slices.Contains(t.Partitions, int32(n)) {
				return true, nil
			}
		}
	}
	return false, nil
}

// offsetsEvery is how often the positions are also committed as the group's
// offsets. Nothing here reads them: they are for KEDA, Burrow and
// kafka-consumer-groups, which would not see the lag otherwise.
const offsetsEvery = 2 * time.Second

func (st *Stage) reportOffsets(ctx context.Context) {
	if st.input == "" {
		return
	}
	t := time.NewTicker(offsetsEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			st.commitOffsets(context.WithoutCancel(ctx))
			return
		case <-t.C:
			st.commitOffsets(ctx)
		}
	}
}

func (st *Stage) commitOffsets(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, offsetsEvery)
	defer cancel()
	member, generation := st.membership()
	positions := st.m.positions()
	if generation < 0 || len(positions) == 0 {
		return
	}
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.MemberID, req.Generation = st.cfg.Group(), member, generation
	t := kmsg.NewOffsetCommitRequestTopic()
	t.Topic, t.TopicID = st.names.Name(st.input), st.in.inputID
	for p, at := range positions {
		rp := kmsg.NewOffsetCommitRequestTopicPartition()
		rp.Partition, rp.Offset = p, at
		t.Partitions = append(t.Partitions, rp)
	}
	req.Topics = append(req.Topics, t)
	if _, err := req.RequestWith(ctx, st.group); err != nil && ctx.Err() == nil {
		st.log.Debug("reporting offsets", "error", err)
	}
}

// Live reports whether every slot's loop turns. It never depends on a broker:
// while one is away, the loops turn and say so in Ready.
func (st *Stage) Live() error {
	st.mu.Lock()
	defer st.mu.Unlock()
	for n, s := range st.owned {
		if still := st.cfg.Now().Sub(time.Unix(0, s.beat.Load())); still > liveWithin {
			return fmt.Errorf("slot %d has not turned for %v", n, still.Round(time.Second))
		}
	}
	return nil
}

// liveWithin is beyond every bounded wait of a slot's loop.
const liveWithin = 3 * time.Minute

// Ready reports nil when this member has joined, every slot that it was given is
// refolded and live, and the brokers answer.
func (st *Stage) Ready() error {
	if !st.joined.Load() {
		return errors.New("not assigned yet")
	}
	if err := st.watch.away(); err != nil {
		return err
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	behind := 0
	for _, s := range st.owned {
		if !s.live.Load() {
			behind++
		}
	}
	if behind > 0 {
		return fmt.Errorf("%d of %d slots are still being taken over", behind, len(st.owned))
	}
	return nil
}
