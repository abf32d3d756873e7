package kafkatest

import (
	"context"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

func roundTrip(t *testing.T, c *Cluster) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	topic := Prefix(t) + "round"
	cl, err := kgo.NewClient(append(c.Opts(), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if _, err := kadm.NewClient(cl).CreateTopic(ctx, 1, 1, nil, topic); err != nil {
		t.Fatal(err)
	}
	if err := cl.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte("x")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if fs := cl.PollFetches(ctx); fs.NumRecords() != 1 || fs.Err() != nil {
		t.Fatalf("polled %d records, error %v; want the one that was produced", fs.NumRecords(), fs.Err())
	}
}

func TestStartGivesABrokerThatWorks(t *testing.T) { roundTrip(t, Start(t)) }

func TestEmbedded(t *testing.T) { roundTrip(t, Embedded(t)) }

func TestGivenAddressWins(t *testing.T) {
	t.Setenv(EnvBrokers, "127.0.0.1:1,127.0.0.1:2")
	c, err := Launch(context.Background())
	if err != nil || c.Kind != Given || len(c.Addrs) != 2 {
		t.Fatalf("got %v, %v; want the two given addresses", c, err)
	}
}

func TestUnknownKindIsRefused(t *testing.T) {
	t.Setenv(EnvBrokers, "")
	t.Setenv(EnvKind, "zookeeper")
	if c, err := Launch(context.Background()); err == nil {
		t.Fatalf("got %v, want an error", c)
	}
}

func TestProcessSurvivesKillAndEndsByItsPid(t *testing.T) {
	if testing.Short() || !wanted() {
		t.Skipf("starts a Java broker of its own three times; %s=1 asks for it", EnvReal)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	p, err := StartProcess(ctx)
	if err != nil && os.Getenv(EnvStrict) == "1" {
		t.Fatalf("no local broker: %v", err)
	}
	if err != nil {
		t.Skipf("no local broker: %v", err)
	}
	c := &Cluster{Addrs: []string{p.Addr()}, Kind: JVM, Proc: p}
	roundTrip(t, c)
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := p.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	roundTrip(t, c)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(p.pid, 0); err == nil {
		t.Errorf("process %d still runs after Close", p.pid)
	}
	if _, err := os.Stat(p.dir); !os.IsNotExist(err) {
		t.Errorf("%s still there after Close: %v", p.dir, err)
	}
}
