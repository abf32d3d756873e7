package kafkatest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// The environment that chooses a broker.
const (
	// EnvBrokers lists the brokers to use, comma-separated; nothing is started.
	EnvBrokers = "FLOWSTITCH_TEST_BROKERS"
	// EnvKind forces one kind: docker, jvm or kfake.
	EnvKind = "FLOWSTITCH_TEST_KAFKA"
	// EnvReal, when 1, asks for the best broker that the machine can have. Without
	// it (or another of these) tests run on kfake: go test ./... needs only Go.
	EnvReal = "FLOWSTITCH_REAL"
	// EnvStrict, when 1, asks for it too and makes a missing one a failure.
	EnvStrict = "FLOWSTITCH_CI_STRICT"
)

// wanted reports whether the environment asks for a real broker.
func wanted() bool {
	return os.Getenv(EnvReal) == "1" || os.Getenv(EnvStrict) == "1" || os.Getenv(EnvKind) != "" || os.Getenv(EnvBrokers) != ""
}

// Kind tells what a Cluster is.
type Kind string

// The kinds of cluster, in the order of preference.
const (
	Given  Kind = "given"  // by EnvBrokers
	Docker Kind = "docker" // a container of apache/kafka
	JVM    Kind = "jvm"    // Apache Kafka on a local Java
	KFake  Kind = "kfake"  // franz-go's fake, in this process
)

// Cluster is a running Kafka, real or fake.
type Cluster struct {
	Addrs []string
	Kind  Kind
	Fake  *kfake.Cluster // only with KFake
	Proc  *Process       // only with JVM
	why   []string       // why better kinds were passed over
}

// Real reports whether the cluster is Apache Kafka or something given.
func (c *Cluster) Real() bool { return c.Kind != KFake }

// Opts returns the client options that reach the cluster.
func (c *Cluster) Opts() []kgo.Opt { return []kgo.Opt{kgo.SeedBrokers(c.Addrs...)} }

// String says which cluster it is and why it is no better one.
func (c *Cluster) String() string {
	s := fmt.Sprintf("%s at %s", c.Kind, strings.Join(c.Addrs, ","))
	if len(c.why) > 0 {
		s += " (" + strings.Join(c.why, "; ") + ")"
	}
	return s
}

// shared is the one broker of this test binary; it is made at the first use.
var shared = sync.OnceValues(func() (*Cluster, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	return Launch(ctx)
})

// Start returns the binary's shared cluster and logs which kind it is.
func Start(t testing.TB) *Cluster {
	t.Helper()
	c, err := shared()
	if err != nil {
		t.Fatalf("no Kafka to test against: %v", err)
	}
	t.Logf("Kafka: %v", c)
	return c
}

// Real is Start for a test that means nothing on a fake: with kfake only it
// skips, or fails when FLOWSTITCH_CI_STRICT is 1.
func Real(t testing.TB) *Cluster {
	t.Helper()
	c := Start(t)
	if c.Real() {
		return c
	}
	if os.Getenv(EnvStrict) == "1" {
		t.Fatalf("this test needs a real Kafka and got %v; set %s, or install Docker or Java 17 with Maven", c, EnvBrokers)
	}
	t.Skipf("this test needs a real Kafka and got %v", c)
	return nil
}

// Embedded returns a kfake cluster of the test's own, for injected faults.
func Embedded(t testing.TB, opts ...kfake.Opt) *Cluster {
	t.Helper()
	c, err := embedded(opts...)
	if err != nil {
		t.Fatalf("starting kfake: %v", err)
	}
	t.Cleanup(c.Fake.Close)
	return c
}

func embedded(opts ...kfake.Opt) (*Cluster, error) {
	base := []kfake.Opt{
		kfake.NumBrokers(1),
		kfake.GroupMinSessionTimeout(100 * time.Millisecond),
		kfake.BrokerConfigs(map[string]string{"group.initial.rebalance.delay.ms": "0"}),
	}
	k, err := kfake.NewCluster(append(base, opts...)...)
	if err != nil {
		return nil, err
	}
	return &Cluster{Addrs: k.ListenAddrs(), Kind: KFake, Fake: k}, nil
}

// Prefix returns a topic prefix that no other test has, "test-<hex>.".
func Prefix(t testing.TB) string {
	t.Helper()
	var b [6]byte
	if _, err := rand.Read(b[:]); err != nil {
		t.Fatalf("no randomness for a topic prefix: %v", err)
	}
	return "test-" + hex.EncodeToString(b[:]) + "."
}

// Launch starts the best broker that the machine has. Without a real one it
// returns kfake; an error means that a kind was forced and can not be had.
func Launch(ctx context.Context) (*Cluster, error) {
	if v := os.Getenv(EnvBrokers); v != "" {
		return &Cluster{Addrs: strings.Split(v, ","), Kind: Given}, nil
	}
	if !wanted() {
		c, err := embedded()
		if err == nil {
			c.why = []string{EnvReal + "=1 asks for a real one"}
		}
		return c, err
	}
	forced := Kind(os.Getenv(EnvKind))
	var why []string
	for _, k := range []struct {
		kind  Kind
		start func(context.Context) (*Cluster, error)
	}{{Docker, startDocker}, {JVM, startShared}} {
		if forced != "" && forced != k.kind {
			continue
		}
		c, err := k.start(ctx)
		if err == nil {
			c.why = why
			return c, nil
		}
		if forced != "" {
			return nil, fmt.Errorf("%s=%s: %w", EnvKind, forced, err)
		}
		why = append(why, fmt.Sprintf("no %s: %v", k.kind, err))
	}
	if forced != "" && forced != KFake {
		return nil, fmt.Errorf("%s=%s is none of docker, jvm, kfake", EnvKind, forced)
	}
	c, err := embedded()
	if err != nil {
		return nil, err
	}
	c.why = why
	return c, nil
}

func startShared(ctx context.Context) (*Cluster, error) {
	p, err := StartProcess(ctx)
	if err != nil {
		return nil, err
	}
	return &Cluster{Addrs: []string{p.Addr()}, Kind: JVM, Proc: p}, nil
}
