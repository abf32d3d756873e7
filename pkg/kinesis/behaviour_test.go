package kinesis

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/kinesis/kinesistest"
	"github.com/flowstitch/flowstitch/pkg/telemetry"
)

// TestGenerationsBehindAreWorkedThroughInOrder: a stream was resharded six times
// over before anybody read it.
func TestGenerationsBehindAreWorkedThroughInOrder(t *testing.T) {
	srv := kinesistest.Start(t)
	p := newDriver(t, srv.URL)
	p.Create(2)
	for range 3 {
		p.Feed(100)
		p.Split(0)
		p.Feed(100)
		p.Split(2)
		p.Feed(100)
		p.Merge(0)
		p.Merge(1)
	}
	p.Feed(100)
	d := newDeployment(t, testConfig(srv.URL), 3)
	d.join(0)
	d.join(1, 2)
	d.check(p)
}

// TestHalfAListingIsNone: an error on the second page gives no listing, or a
// child could start without its parent.
func TestHalfAListingIsNone(t *testing.T) {
	srv := kinesistest.Start(t)
	srv.PageSize(2)
	p := newDriver(t, srv.URL)
	p.Create(5)
	var mu sync.Mutex
	lists := 0
	srv.Fail(func(op, _ string) *kinesistest.Fault {
		mu.Lock()
		defer mu.Unlock()
		if op == "ListShards" {
			if lists++; lists == 2 {
				return &kinesistest.Denied
			}
		}
		return nil
	})
	cfg := testConfig(srv.URL)
	c, err := New(t.Context(), cfg, 1, cfg.Policy(time.Minute, 0), telemetry.Quiet(), awsOptions()...)
	if err != nil {
		t.Fatal(err)
	}
	if l, _, err := c.streams["vpc"].list(t.Context()); err == nil || l != nil {
		t.Errorf("listing %v, error %v", l, err)
	}
	if l, _, err := c.streams["vpc"].list(t.Context()); err != nil || len(l.Shards) != 5 {
		t.Errorf("listing %v, error %v", l, err)
	}
}

// before puts n records an hour ago and returns how many each lane has.
func before(srv *kinesistest.Server, p *kinesistest.Driver, n int) []int {
	old := time.Now().Add(-time.Hour)
	srv.Clock(func() time.Time { return old })
	p.Create(2)
	p.Feed(n)
	srv.Clock(time.Now)
	return slices.Clone(p.Put)
}

// after checks that what came out is what was put after the first records.
func (d *deployment) after(first []int, n int) {
	d.t.Helper()
	d.wait("what came after the start", func() bool { return d.total() >= n })
	d.mu.Lock()
	defer d.mu.Unlock()
	for lane, skipped := range first {
		for i, got := range d.got[lane] {
			if got != skipped+i+1 {
				d.t.Errorf("lane %d: record %d at place %d, the start is after %d", lane, got, i, skipped)
			}
		}
	}
	if d.total() != n {
		d.t.Errorf("%d records came, %d were put after the start", d.total(), n)
	}
}

func TestStartAtATime(t *testing.T) {
	srv := kinesistest.Start(t)
	p := newDriver(t, srv.URL)
	first := before(srv, p, 50)
	p.Feed(50)
	p.Split(0)
	p.Feed(50)
	cfg := testConfig(srv.URL)
	cfg.Start = time.Now().Add(-30 * time.Minute).UTC().Format(time.RFC3339)
	d := newDeployment(t, cfg, 2)
	d.join(0, 1)
	d.after(first, 100)
}

// TestStartAtTheLatest reads what comes after the group has begun, a split right
// behind it included, and a pod that starts later begins where the group did.
func TestStartAtTheLatest(t *testing.T) {
	srv := kinesistest.Start(t)
	p := newDriver(t, srv.URL)
	first := before(srv, p, 50)
	cfg := testConfig(srv.URL)
	cfg.Start = "latest"
	d := newDeployment(t, cfg, 2)
	pod := d.join(0)
	d.wait("the first slot to begin", func() bool { return len(d.ledger[0]) > 0 })
	p.Feed(50)
	p.Split(0)
	p.Feed(50)
	d.join(1)
	d.after(first, 100)
	pod.kill()
	p.Feed(50)
	d.join(0)
	d.after(first, 150)
}

// tokenService is an STS that gives the credentials of one role.
func tokenService(t *testing.T) (asked func() string) {
	var mu sync.Mutex
	var form string
	sts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		mu.Lock()
		form = r.Form.Get("RoleArn") + " " + r.Form.Get("ExternalId")
		mu.Unlock()
		fmt.Fprintf(w, `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
<AccessKeyId>OTHERACCOUNT</AccessKeyId><SecretAccessKey>SK</SecretAccessKey><SessionToken>T</SessionToken><Expiration>%s</Expiration>
</Credentials></AssumeRoleResult></AssumeRoleResponse>`, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	}))
	t.Cleanup(sts.Close)
	t.Setenv("AWS_ENDPOINT_URL_STS", sts.URL)
	return func() string { mu.Lock(); defer mu.Unlock(); return form }
}

// TestStreamsOfOtherAccountsAndRegionsInOneDeployment: a stream of our own, one
// of another region, and one of another account by a role and its ARN.
func TestStreamsOfOtherAccountsAndRegionsInOneDeployment(t *testing.T) {
	const role = "arn:aws:iam::111122223333:role/reader"
	asked := tokenService(t)
	servers, drivers := make([]*kinesistest.Server, 3), make([]*kinesistest.Driver, 3)
	cfg := testConfig("")
	own := cfg.Streams[0]
	cfg.Streams = nil
	for i, name := range []string{"vpc", "abroad", "theirs"} {
		servers[i] = kinesistest.Start(t)
		drivers[i] = newDriver(t, servers[i].URL)
		drivers[i].Line = func(lane, number int) []byte {
			return fmt.Appendf(nil, "%d %d %d", lane+100*i, number, time.Now().Unix())
		}
		drivers[i].Create(i + 2)
		s := own
		s.Name, s.Endpoint = name, servers[i].URL
		cfg.Streams = append(cfg.Streams, s)
	}
	cfg.Streams[1].Region = "eu-west-1"
	cfg.Streams[2].Region, cfg.Streams[2].RoleARN, cfg.Streams[2].ExternalID = "ap-south-1", role, "secret"
	cfg.Streams[2].Stream = "arn:aws:kinesis:us-east-1:000000000000:stream/vpc"
	d := newDeployment(t, cfg, 4)
	d.join(0, 1)
	d.join(2, 3)
	for i, p := range drivers {
		p.Feed(100)
		p.Split(0)
		p.Feed(100)
		got := map[int][]int{}
		d.wait("the stream "+cfg.Streams[i].Name, func() bool {
			n := 0
			for lane := range p.Put {
				got[lane] = slices.Clone(d.got[lane+100*i])
				n += len(got[lane])
			}
			return n >= p.Total()
		})
		for _, w := range p.Check(got) {
			t.Errorf("%s: %s", cfg.Streams[i].Name, w)
		}
	}
	if asked() != role+" secret" {
		t.Errorf("STS was asked for %q", asked())
	}
	// The drivers sign as test/us-east-1.
	for i, want := range []string{"test/us-east-1", "test/eu-west-1", "OTHERACCOUNT/ap-south-1"} {
		signed := servers[i].Signed()
		if by := slices.DeleteFunc(signed, func(s string) bool { return i > 0 && s == "test/us-east-1" }); !slices.Equal(by, []string{want}) {
			t.Errorf("the calls for %s are signed by %v, want %s", cfg.Streams[i].Name, by, want)
		}
	}
}

// TestExpiredCredentialsAreFetchedAnew: those that the SDK still holds for good
// are thrown away when the service calls them expired.
func TestExpiredCredentialsAreFetchedAnew(t *testing.T) {
	srv := kinesistest.Start(t)
	p := newDriver(t, srv.URL)
	p.Create(2)
	p.Feed(40)
	var mu sync.Mutex
	fetched := 0
	srv.Fail(func(string, string) *kinesistest.Fault {
		mu.Lock()
		defer mu.Unlock()
		if fetched < 2 {
			return &kinesistest.ExpiredToken
		}
		return nil
	})
	provider := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		mu.Lock()
		defer mu.Unlock()
		fetched++
		if fetched == 2 {
			return aws.Credentials{}, errors.New("the token file is being written")
		}
		return aws.Credentials{AccessKeyID: fmt.Sprint("key", fetched), SecretAccessKey: "s", CanExpire: true, Expires: time.Now().Add(time.Hour)}, nil
	})
	d := newDeployment(t, testConfig(srv.URL), 1)
	d.options = append(awsOptions(), awsconfig.WithCredentialsProvider(provider))
	pod := d.join(0)
	d.check(p)
	if n := pod.sum(t, "faults_total", "credentials"); n == 0 {
		t.Error("no fault of credentials is counted")
	}
	if by := srv.Signed(); !slices.Contains(by, "key1/us-east-1") || !slices.Contains(by, "key3/us-east-1") {
		t.Errorf("signed by %v", by)
	}
}

// TestFiveReadsASecond is what AWS allows all readers of a shard together, and
// what is left of it where the configuration says that others read it, too.
func TestFiveReadsASecond(t *testing.T) {
	t.Parallel()
	for _, share := range []float64{0, 2} {
		srv := kinesistest.Start(t)
		srv.RecordsPerCall(1) // there is always more
		p := newDriver(t, srv.URL)
		p.Create(1)
		p.Feed(100)
		cfg := testConfig(srv.URL)
		cfg.Streams[0].ReadsPerSecond = share
		d := newDeployment(t, cfg, 1)
		began := time.Now()
		d.join(0)
		d.wait("four records", func() bool { return d.total() >= 4 })
		took, calls := time.Since(began).Seconds(), float64(srv.Calls("GetRecords"))
		if share == 0 {
			share = awsReadsPerSecond
		}
		if most := 1 + took*share; calls > most {
			t.Errorf("%v reads in %v s, %v are allowed", calls, took, most)
		}
		d.stopAll()
	}
}

// TestSubscriptionsAreRenewed where they ended, and once a second at most.
func TestSubscriptionsAreRenewed(t *testing.T) {
	t.Parallel()
	srv := kinesistest.Start(t)
	srv.SubscriptionLife(150 * time.Millisecond)
	p := newDriver(t, srv.URL)
	p.Create(1)
	cfg := testConfig(srv.URL)
	cfg.Streams[0].FanOut = "flowstitch"
	d := newDeployment(t, cfg, 1)
	began := time.Now()
	pod := d.join(0)
	for range 3 {
		p.Feed(50)
		d.check(p)
		n := srv.Calls("SubscribeToShard")
		d.wait("a renewal", func() bool { return srv.Calls("SubscribeToShard") > n })
	}
	calls, took := srv.Calls("SubscribeToShard"), time.Since(began)
	if most := 1 + int(took/time.Second); calls > most || calls < 3 {
		t.Errorf("%d subscriptions in %v, one a second is allowed", calls, took)
	}
	if n := pod.sum(t, "calls_total", "SubscribeToShard"); n < 3 || srv.Calls("GetRecords") > 0 {
		t.Errorf("%v subscriptions are counted, %d polls", n, srv.Calls("GetRecords"))
	}
}

// TestAStreamNobodyCanList does not stop the clock for ever.
func TestAStreamNobodyCanList(t *testing.T) {
	srv := kinesistest.Start(t)
	p := newDriver(t, srv.URL)
	p.Create(1)
	srv.Fail(func(op, _ string) *kinesistest.Fault {
		if op == "ListShards" {
			return &kinesistest.Denied
		}
		return nil
	})
	cfg := testConfig(srv.URL)
	cfg.StuckAfter = 500 * time.Millisecond
	d := newDeployment(t, cfg, 2)
	pod := d.join(0, 1)
	d.wait("the gap", func() bool { return len(d.gaps) > 0 })
	d.wait("all slots to go on", func() bool { return !slices.Contains(d.spoken, false) })
	d.mu.Lock()
	if g := d.gaps[0]; g.Stream != "vpc" || g.To <= g.From-1 || !strings.Contains(g.Reason, "listed") {
		t.Errorf("gap %+v", g)
	}
	d.mu.Unlock()
	if pod.sum(t, "coverage_gaps_total", "vpc") == 0 || pod.sum(t, "faults_total", "ListShards") == 0 {
		t.Error("the gap or its cause is not counted")
	}
	d.mu.Lock()
	d.clock, d.marks = flow.MinTime, []flow.Time{flow.MinTime, flow.MinTime}
	d.mu.Unlock()
	srv.Fail(nil)
	p.Feed(20)
	d.check(p)
}

// TestEveryMetricIsRead: a test of this package names each metric.
func TestEveryMetricIsRead(t *testing.T) {
	reg := prometheus.NewRegistry()
	newMetrics(reg)
	tests, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, name := range tests {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(b)
	}
	descs := make(chan *prometheus.Desc, 100)
	reg.Describe(descs)
	close(descs)
	n := 0
	for desc := range descs {
		_, rest, _ := strings.Cut(desc.String(), `fqName: "flowstitch_ingest_kinesis_`)
		name, _, _ := strings.Cut(rest, `"`)
		if n++; name == "" || !strings.Contains(text.String(), fmt.Sprintf("sum(t, %q,", name)) {
			t.Errorf("no test reads %q", name)
		}
	}
	if n != 12 {
		t.Errorf("%d metrics", n)
	}
}
