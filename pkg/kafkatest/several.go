package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Several are the brokers of one cluster, each in a Java process of its own: each
// is broker and controller, so that any one of three may end. Node n+1 is the n-th.
type Several []*Process

// StartSeveral starts a broker in each of the racks. Topics are replicated to all
// of them, and a write needs all but one (with one rack, that one); a consumer that
// says its rack is sent to the replica there. A broker that does not answer for two
// seconds is taken for dead.
func StartSeveral(ctx context.Context, racks ...string) (s Several, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	var voters []string
	for i := range racks {
		p, err := newProcess(ctx, 0)
		if err != nil {
			return s, err
		}
		p.heap = "512m"
		s = append(s, p)
		voters = append(voters, fmt.Sprintf("%d@%s", i+1, p.controller()))
	}
	err = s.each(func(i int, p *Process) error {
		if err := p.format(ctx, p.member(i+1, racks[i], voters)); err != nil {
			return err
		}
		return p.run(ctx)
	})
	return s, err
}

// RealSeveral is StartSeveral for a test, which skips where there can be none,
// as with [Real]; the cluster ends with the test.
func RealSeveral(ctx context.Context, t testing.TB, racks ...string) (*Cluster, Several) {
	t.Helper()
	if c := Real(t); c.Kind != JVM {
		t.Skipf("needs brokers that it may end, and got %v", c)
	}
	s, err := StartSeveral(ctx, racks...)
	if err != nil {
		t.Fatalf("no cluster to test against: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return &Cluster{Addrs: s.Addrs(), Kind: JVM}, s
}

// Addrs are the brokers' addresses.
func (s Several) Addrs() (out []string) {
	for _, p := range s {
		out = append(out, p.Addr())
	}
	return out
}

// Close ends all brokers and removes their log directories.
func (s Several) Close() error {
	return s.each(func(_ int, p *Process) error { return p.Close() })
}

// each does something with all brokers at a time: none is up before most are.
func (s Several) each(do func(i int, p *Process) error) error {
	errs := make([]error, len(s))
	var wg sync.WaitGroup
	for i, p := range s {
		wg.Go(func() { errs[i] = do(i, p) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (p *Process) controller() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(p.ctrl)) }

// member are the properties of one node of several; a later line holds.
func (p *Process) member(node int, rack string, voters []string) string {
	n := len(voters)
	replicas, isr := strconv.Itoa(n), strconv.Itoa(max(1, n-1))
	own := []string{
		"node.id=" + strconv.Itoa(node),
		"broker.rack=" + rack,
		"replica.selector.class=org.apache.kafka.common.replica.RackAwareReplicaSelector",
		"controller.quorum.voters=" + strings.Join(voters, ","),
		"controller.quorum.fetch.timeout.ms=1000",
		"controller.quorum.election.timeout.ms=500",
		"broker.session.timeout.ms=2000",
		"broker.heartbeat.interval.ms=500",
		"replica.lag.time.max.ms=5000",
		"default.replication.factor=" + replicas,
		"min.insync.replicas=" + isr,
		"offsets.topic.replication.factor=" + replicas,
		"transaction.state.log.replication.factor=" + replicas,
		"transaction.state.log.min.isr=" + isr,
		"log.dirs=" + filepath.Join(p.dir, "data"),
		"",
	}
	return strings.Join(slices.Concat([]string{p.properties()}, own), "\n")
}
