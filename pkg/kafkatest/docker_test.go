package kafkatest

import (
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestDockerRequest: the container that is asked for, as far as that can be said
// without an engine.
func TestDockerRequest(t *testing.T) {
	r := request()
	if !r.Started || r.Image != "apache/kafka:"+Version || len(r.ExposedPorts) != 1 || r.ExposedPorts[0] != "9092/tcp" || r.WaitingFor == nil {
		t.Errorf("the request is %+v", r)
	}
	if err := r.Validate(); err != nil {
		t.Errorf("testcontainers refuses the request: %v", err)
	}
	if len(r.LifecycleHooks) != 1 || len(r.LifecycleHooks[0].PostStarts) != 1 {
		t.Error("nobody tells the broker its address")
	}
}

// TestDockerScript: a shell takes the script, and gets the address from it.
func TestDockerScript(t *testing.T) {
	sh, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash on the PATH")
	}
	script := strings.Replace(startScript("127.0.0.1:32768"), "exec /etc/kafka/docker/run", "exec env", 1)
	file := filepath.Join(t.TempDir(), "start.sh")
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(sh, file).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, want := range []string{
		"KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://127.0.0.1:32768,INSIDE://localhost:9094\n", "KAFKA_INTER_BROKER_LISTENER_NAME=INSIDE\n",
		"KAFKA_PROCESS_ROLES=broker,controller\n",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the broker's environment lacks %q:\n%s", want, out)
		}
	}
}

// TestDockerConfiguration runs the container's configuration on a local Java,
// behind a port that is not its own, as an engine maps it, and which the broker
// itself can not reach: transactions must come to an end all the same.
func TestDockerConfiguration(t *testing.T) {
	if testing.Short() || !wanted() {
		t.Skipf("starts a Java broker of its own; %s=1 asks for it", EnvReal)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	outside, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close()
	_, mappedPort, err := net.SplitHostPort(outside.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	inside, _, err := freePorts()
	if err != nil {
		t.Fatal(err)
	}
	p, err := startProcess(ctx, 0, func(p *Process) string {
		// "outside.invalid" is no host: within the container neither is the mapped address.
		env := dockerEnv("outside.invalid:"+mappedPort, strconv.Itoa(p.port), strconv.Itoa(p.ctrl), strconv.Itoa(inside))
		lines := []string{"log.dirs=" + filepath.Join(p.dir, "data"), ""}
		for k, v := range env { // as the image's own script does
			lines = append(lines, strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(k, "KAFKA_")), "_", ".")+"="+strings.ReplaceAll(v, "://:", "://127.0.0.1:"))
		}
		return strings.Join(lines, "\n")
	})
	if err != nil && os.Getenv(EnvStrict) == "1" {
		t.Fatalf("no local broker: %v", err)
	}
	if err != nil {
		t.Skipf("no local broker: %v", err)
	}
	defer func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}()
	var proxies sync.WaitGroup
	proxies.Go(func() { forward(outside, p.Addr(), &proxies) })
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, outside.Addr().String())
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(outside.Addr().String()), kgo.Dialer(dial), kgo.TransactionalID("docker"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { cl.Close(); _ = outside.Close(); proxies.Wait() }()
	if _, err := kadm.NewClient(cl).CreateTopic(ctx, 1, 1, nil, "inside"); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second waits for the end of the first
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := cl.ProduceSync(ctx, &kgo.Record{Topic: "inside", Value: []byte("x")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := cl.EndTransaction(ctx, kgo.TryCommit); err != nil {
			t.Fatalf("a transaction does not end: %v", err)
		}
	}
}

// forward is what an engine's port mapping does.
func forward(l net.Listener, to string, wg *sync.WaitGroup) {
	for {
		in, err := l.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", to)
		if err != nil {
			_ = in.Close()
			continue
		}
		pipe := func(a, b net.Conn) {
			_, _ = io.Copy(a, b)
			_, _ = a.Close(), b.Close()
		}
		wg.Go(func() { pipe(in, out) })
		wg.Go(func() { pipe(out, in) })
	}
}
