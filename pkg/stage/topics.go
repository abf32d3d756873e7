package stage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TopicSpec is what a topic must be for the guarantees to hold.
type TopicSpec struct {
	Name       string // logical
	Partitions int32
	// Configs are set when the topic is made.
	Configs map[string]string
	// Must lists those of Configs that an existing topic is refused without.
	Must []string
}

const day = 24 * 3600 * 1000 // milliseconds

// DataTopic is the specification of flows, sessions and observations: append
// time, so that replayed old data is not deleted on arrival, kept a day.
func DataTopic(name string, partitions int32) TopicSpec {
	return TopicSpec{
		Name: name, Partitions: partitions,
		Configs: map[string]string{
			"cleanup.policy":         "delete",
			"message.timestamp.type": "LogAppendTime",
			"retention.ms":           strconv.Itoa(day),
			"max.message.bytes":      strconv.Itoa(1 << 20),
		},
		Must: []string{"cleanup.policy", "message.timestamp.type"},
	}
}

// RejectsSpec keeps rejects a week, so that a person can look on Monday.
func RejectsSpec(partitions int32) TopicSpec {
	return TopicSpec{
		Name: RejectsTopic, Partitions: partitions,
		Configs: map[string]string{
			"cleanup.policy":         "delete",
			"message.timestamp.type": "LogAppendTime",
			"retention.ms":           strconv.Itoa(7 * day),
			"max.message.bytes":      strconv.Itoa(1 << 20),
		},
		Must: []string{"cleanup.policy"},
	}
}

// AlertsSpec keeps alerts without limit of age: their timestamps are event
// times, and a retention would delete old findings as they arrive.
func AlertsSpec(partitions int32) TopicSpec {
	return TopicSpec{
		Name: AlertsTopic, Partitions: partitions,
		Configs: map[string]string{
			"cleanup.policy":         "delete",
			"message.timestamp.type": "CreateTime",
			"retention.ms":           "-1",
			"max.message.bytes":      strconv.Itoa(1 << 20),
		},
		Must: []string{"cleanup.policy"},
	}
}

// StageTopics are the control topic and the ledger of a stage.
func (c *Config) StageTopics() []TopicSpec {
	return []TopicSpec{{
		Name: c.SlotsTopic(), Partitions: int32(c.Slots),
		Configs: map[string]string{"cleanup.policy": "delete"},
	}, {
		Name: c.LedgerTopic(), Partitions: int32(c.Slots),
		Configs: map[string]string{
			"cleanup.policy":            "compact",
			"segment.bytes":             strconv.Itoa(32 << 20),
			"segment.ms":                strconv.Itoa(10 * 60 * 1000),
			"min.cleanable.dirty.ratio": "0.1",
			"max.message.bytes":         strconv.Itoa(1 << 20),
			"message.timestamp.type":    "LogAppendTime",
		},
		Must: []string{"cleanup.policy"},
	}}
}

// errStarting is what readiness says before there is a stage that could.
var errStarting = errors.New("starting: looking at the topics")

// ErrTopic reports a topic that exists and would break a guarantee.
var ErrTopic = errors.New("stage: unfit topic")

// EnsureTopics makes the topics that do not exist and refuses, with the
// command that mends it, an existing one that would break the guarantees. Where
// all exist, it asks for no right but Describe and DescribeConfigs. A broker that
// is away is waited for, until ctx ends.
func EnsureTopics(ctx context.Context, c *Config, specs ...TopicSpec) error {
	watch := &brokerWatch{log: c.Telemetry.Log.With("stage", c.id()), now: c.Now}
	c.Telemetry.Health.Register(c.id(), nil, func() error { return cmp.Or(watch.away(), errStarting) })
	cl, err := kgo.NewClient(append(slices.Clone(c.Client), kgo.WithHooks(watch))...)
	if err != nil {
		return fmt.Errorf("stage: %w", err)
	}
	defer cl.Close()
	if err := awaitBroker(ctx, cl, watch); err != nil {
		return err
	}
	adm, names := kadm.NewClient(cl), c.topics()
	topics := make([]string, len(specs))
	for i := range specs {
		topics[i] = names.Name(specs[i].Name)
	}
	have, err := adm.ListTopics(ctx, topics...)
	if err != nil {
		return fmt.Errorf("stage: listing topics: %w", err)
	}
	for i := range specs {
		s := &specs[i]
		if !have.Has(topics[i]) {
			made, err := makeTopic(ctx, adm, topics[i], s, c.Replication)
			if err != nil {
				return err
			}
			if made {
				c.Telemetry.Log.Info("topic made", "topic", topics[i], "partitions", s.Partitions)
				continue
			}
		}
		err = patiently(ctx, func(ctx context.Context) error { return checkTopic(ctx, adm, topics[i], s) })
		if err != nil {
			return err
		}
	}
	return nil
}

// makeTopic reports false if the topic exists by now: services start side by side.
func makeTopic(ctx context.Context, adm *kadm.Client, topic string, s *TopicSpec, replication int16) (made bool, err error) {
	configs := map[string]*string{}
	for k, v := range s.Configs {
		configs[k] = kadm.StringPtr(v)
	}
	_, err = adm.CreateTopic(ctx, s.Partitions, replication, configs, topic)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, kerr.TopicAlreadyExists):
		return false, nil
	case errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.ClusterAuthorizationFailed):
		return false, fmt.Errorf("stage: topic %s does not exist, or may not be described, and may not be made by this principal: make it with flowstitch topics ensure under one that may, or grant what flowstitch topics acls lists: %w", topic, err)
	}
	return false, fmt.Errorf("stage: making topic %s: %w", topic, err)
}

func checkTopic(ctx context.Context, adm *kadm.Client, topic string, s *TopicSpec) error {
	details, err := adm.ListTopics(ctx, topic)
	if err == nil {
		err = details.Error()
	}
	if err != nil {
		return fmt.Errorf("stage: describing topic %s: %w", topic, err)
	}
	if n := len(details[topic].Partitions); n != int(s.Partitions) {
		return fmt.Errorf("%w: %s has %d partitions and the layout wants %d: more partitions would move keys; "+
			"set the layout to the topic's count, or drain and move to a new layout (flowstitch topics plan)", ErrTopic, topic, n, s.Partitions)
	}
	configs, err := adm.DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return fmt.Errorf("stage: describing topic %s: %w", topic, err)
	}
	have := map[string]string{}
	for _, rc := range configs {
		if rc.Err != nil {
			return fmt.Errorf("stage: describing topic %s: %w", topic, rc.Err)
		}
		for _, kv := range rc.Configs {
			have[kv.Key] = kv.MaybeValue()
		}
	}
	var bad []string
	for _, k := range slices.SortedFunc(maps.Keys(s.Configs), cmp.Compare[string]) {
		if v, ok := have[k]; ok && v != s.Configs[k] && slices.Contains(s.Must, k) {
			bad = append(bad, k+"="+s.Configs[k])
		}
	}
	if len(bad) > 0 {
		return fmt.Errorf("%w: %s needs %s; mend it with: kafka-configs.sh --bootstrap-server BROKER --alter --entity-type topics --entity-name %s --add-config %s",
			ErrTopic, topic, strings.Join(bad, " and "), topic, strings.Join(bad, ","))
	}
	return nil
}

// inputs is what a stage needs to know of topics: partition counts of what it
// writes, and the partitions and id of what it reads.
type inputs struct {
	counts     map[string]int32 // by logical name
	inputID    [16]byte
	inputCount int32
}

// lookUp asks the cluster about the input (which may be "") and the outputs.
func lookUp(ctx context.Context, cl *kgo.Client, names *Topics, input string, outputs []string) (in inputs, err error) {
	err = patiently(ctx, func(ctx context.Context) error {
		in, err = lookUpOnce(ctx, cl, names, input, outputs)
		return err
	})
	return in, err
}

// patiently asks again for a while where a topic is not known: one that was
// made a moment ago is not known to every broker yet.
func patiently(ctx context.Context, ask func(context.Context) error) error {
	for began := time.Now(); ; {
		err := ask(ctx)
		if !errors.Is(err, kerr.UnknownTopicOrPartition) || time.Since(began) > propagation {
			return err
		}
		t := time.NewTimer(100 * time.Millisecond)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			if errors.Is(ctx.Err(), context.Canceled) {
				return ctx.Err() // we are to end: that the topic is not known yet is no news
			}
			return err
		}
	}
}

// propagation is how long a new topic may take to be known everywhere.
const propagation = 10 * time.Second

func lookUpOnce(ctx context.Context, cl *kgo.Client, names *Topics, input string, outputs []string) (in inputs, err error) {
	ask := make([]string, 0, len(outputs)+1)
	for _, o := range outputs {
		ask = append(ask, names.Name(o))
	}
	if input != "" {
		ask = append(ask, names.Name(input))
	}
	details, err := kadm.NewClient(cl).ListTopics(ctx, ask...)
	if err == nil {
		err = details.Error()
	}
	if err != nil {
		return in, fmt.Errorf("stage: topics %s: %w", strings.Join(ask, ", "), err)
	}
	in.counts = map[string]int32{}
	for _, o := range outputs {
		in.counts[o] = int32(len(details[names.Name(o)].Partitions))
	}
	if input != "" {
		d := details[names.Name(input)]
		in.inputID, in.inputCount = d.ID, int32(len(d.Partitions))
	}
	return in, nil
}
