package stage_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/flowstitch/flowstitch/pkg/kafkatest"
	"github.com/flowstitch/flowstitch/pkg/stage"
)

func TestEnsureTopicsMakesAndRefuses(t *testing.T) {
	c := kafkatest.Start(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cl, err := kgo.NewClient(c.Opts()...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	cfg := stage.Default()
	cfg.Client, cfg.Service, cfg.Stage, cfg.Slots = c.Opts(), "detect", "combine", 4

	cfg.Prefix = kafkatest.Prefix(t)
	specs := append(cfg.StageTopics(), stage.DataTopic(stage.SessionsTopic, 8), stage.AlertsSpec(3), stage.RejectsSpec(2))
	for range 2 { // the second time they exist
		if err := stage.EnsureTopics(ctx, &cfg, specs...); err != nil {
			t.Fatal(err)
		}
	}
	names := stage.Topics{Prefix: cfg.Prefix}
	if got := names.Name(cfg.LedgerTopic()); got != cfg.Prefix+"flowstitch.detect.combine.ledger.v1" {
		t.Errorf("the ledger is called %s", got)
	}
	if l, ok := names.Logical(names.Name(cfg.LedgerTopic())); !ok || l != cfg.LedgerTopic() {
		t.Errorf("the ledger's logical name comes back as %q", l)
	}
	configs, err := adm.DescribeTopicConfigs(ctx, names.Name(cfg.LedgerTopic()))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"cleanup.policy": "compact", "segment.bytes": "33554432", "segment.ms": "600000", "min.cleanable.dirty.ratio": "0.1"}
	for _, kv := range configs[0].Configs {
		if w, ok := want[kv.Key]; ok && kv.MaybeValue() != w {
			t.Errorf("the ledger's %s is %s, want %s", kv.Key, kv.MaybeValue(), w)
		}
	}

	for name, bad := range map[string]struct {
		partitions int32
		configs    map[string]*string
		want       string
	}{
		"partition count": {6, map[string]*string{"message.timestamp.type": kadm.StringPtr("LogAppendTime")}, "has 6 partitions"},
		"cleanup policy": {8, map[string]*string{
			"message.timestamp.type": kadm.StringPtr("LogAppendTime"), "cleanup.policy": kadm.StringPtr("compact"),
		}, "--add-config cleanup.policy=delete"},
		"timestamps": {8, map[string]*string{"message.timestamp.type": kadm.StringPtr("CreateTime")}, "--add-config message.timestamp.type=LogAppendTime"},
	} {
		cfg.Prefix = kafkatest.Prefix(t)
		topic := (&stage.Topics{Prefix: cfg.Prefix}).Name(stage.SessionsTopic)
		if _, err := adm.CreateTopic(ctx, bad.partitions, 1, bad.configs, topic); err != nil {
			t.Fatal(err)
		}
		err := stage.EnsureTopics(ctx, &cfg, stage.DataTopic(stage.SessionsTopic, 8))
		if !errors.Is(err, stage.ErrTopic) || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("wrong %s: %v; want a refusal that says %q", name, err, bad.want)
		}
	}
}

func TestConfigTellsEveryProblem(t *testing.T) {
	c := stage.Default()
	c.Slots, c.TxnTimeout = 0, 0
	err := c.Validate()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"seed brokers", "service", "slots", "transaction timeout"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v: does not mention %q", err, want)
		}
	}
	c = stage.Default()
	c.Client, c.Service = []kgo.Opt{kgo.SeedBrokers("127.0.0.1:9")}, "x"
	if err := c.Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
}

// TestStartsWhileTheBrokerIsAway: a stage that starts before its broker waits,
// and ends at once when it is told to.
func TestStartsWhileTheBrokerIsAway(t *testing.T) {
	c := stage.Default()
	c.Client, c.Service = []kgo.Opt{kgo.SeedBrokers("127.0.0.1:1")}, "x"
	st, err := stage.NewSlots(c, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	if err := st.Run(ctx); err != nil {
		t.Error(err)
	}
	if st.Ready() == nil {
		t.Error("ready without a broker")
	}
	if err := st.Live(); err != nil {
		t.Errorf("not live: %v", err)
	}
}
