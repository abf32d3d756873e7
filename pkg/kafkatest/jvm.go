package kafkatest

import (
	"bufio"
	"context"
	_ "embed" // for the pom
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

//go:embed pom.xml
var pom []byte

// Version of Apache Kafka that Maven fetches; pom.xml names the same.
const Version = "4.1.0"

// wrapper runs the broker as a child, tells its pid, and ends it by that pid
// when its own standard input closes: that happens when the process that
// started it ends in any way, kill -9 included. A broker that was killed and
// started again is told by another line.
const wrapper = `
dir=$1; shift
"$@" >>"$dir/out.log" 2>&1 &
p=$!
echo $p
read -r what
[ "$what" = keep ] || kill -TERM $p 2>/dev/null
wait $p
[ "$what" = stop ] || [ "$what" = keep ] || rm -rf "$dir"
`

// Process is an Apache Kafka broker in a Java process of its own, one node in
// KRaft mode that is broker and controller.
type Process struct {
	dir        string
	libs       string
	heap       string // of the Java process, at most
	port, ctrl int
	pid        int
	cmd        *exec.Cmd
	stdin      io.WriteCloser
}

// Addr is the broker's address on the loopback interface.
func (p *Process) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(p.port)) }

// StartProcess fetches Kafka if need be, formats a new log directory and
// starts a broker there, on a free port. It returns when the broker takes
// connections.
func StartProcess(ctx context.Context) (*Process, error) { return StartProcessOn(ctx, 0) }

// StartProcessOn is StartProcess on a port; 0 is a free one.
func StartProcessOn(ctx context.Context, port int) (*Process, error) {
	return startProcess(ctx, port, (*Process).properties)
}

func startProcess(ctx context.Context, port int, properties func(*Process) string) (*Process, error) {
	p, err := newProcess(ctx, port)
	if err != nil {
		return nil, err
	}
	if err := p.format(ctx, properties(p)); err != nil {
		return nil, err
	}
	return p, p.run(ctx)
}

// newProcess is a broker that has a directory and ports, and nothing else yet.
func newProcess(ctx context.Context, port int) (*Process, error) {
	libs, err := fetch(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "flowstitch-kafka-")
	if err != nil {
		return nil, err
	}
	p := &Process{dir: dir, libs: libs, heap: "1g"}
	if p.port, p.ctrl, err = freePorts(); err != nil {
		return nil, err
	}
	if port != 0 {
		p.port = port
	}
	return p, nil
}

// format writes the configuration and makes the log directory that it names.
func (p *Process) format(ctx context.Context, properties string) error {
	if err := os.WriteFile(p.conf(), []byte(properties), 0o600); err != nil {
		return err
	}
	// Any 16 bytes in base64 are a cluster id.
	format := exec.CommandContext(ctx, "java", "-XX:TieredStopAtLevel=1", "-cp", p.libs, "kafka.tools.StorageTool",
		"format", "-t", "Zmxvd3N0aXRjaC10ZXN0MQ", "-c", p.conf())
	if out, err := format.CombinedOutput(); err != nil {
		return fmt.Errorf("formatting Kafka's log directory: %w: %s", err, out)
	}
	return nil
}

func (p *Process) conf() string { return filepath.Join(p.dir, "server.properties") }

func (p *Process) properties() string {
	ctrl := net.JoinHostPort("127.0.0.1", strconv.Itoa(p.ctrl))
	return strings.Join([]string{
		"process.roles=broker,controller",
		"node.id=1",
		"controller.quorum.voters=1@" + ctrl,
		"listeners=PLAINTEXT://" + p.Addr() + ",CONTROLLER://" + ctrl,
		"advertised.listeners=PLAINTEXT://" + p.Addr(),
		"controller.listener.names=CONTROLLER",
		"inter.broker.listener.name=PLAINTEXT",
		"log.dirs=" + filepath.Join(p.dir, "data"),
		"offsets.topic.replication.factor=1",
		"offsets.topic.num.partitions=4",
		"transaction.state.log.replication.factor=1",
		"transaction.state.log.min.isr=1",
		"transaction.state.log.num.partitions=4",
		"transaction.abort.timed.out.transaction.cleanup.interval.ms=1000",
		"share.coordinator.state.topic.replication.factor=1",
		"share.coordinator.state.topic.min.isr=1",
		"group.initial.rebalance.delay.ms=0",
		"group.min.session.timeout.ms=500",
		"auto.create.topics.enable=false",
		"",
	}, "\n")
}

// run starts the Java process and waits until it takes connections.
func (p *Process) run(ctx context.Context) error {
	p.cmd = exec.Command("sh", "-c", wrapper, "sh", p.dir,
		"java", "-Xms256m", "-Xmx"+p.heap, "-XX:+UseSerialGC", "-cp", p.libs, "kafka.Kafka", p.conf())
	// A group of its own: an interrupt at the keyboard is for the test, whose
	// end then ends the broker.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("starting Kafka: %w", err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return fmt.Errorf("starting Kafka: no process id: %w", err)
	}
	if p.pid, err = strconv.Atoi(strings.TrimSpace(line)); err != nil {
		return fmt.Errorf("starting Kafka: %w", err)
	}
	return p.await(ctx)
}

func (p *Process) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", p.Addr())
		if err == nil {
			return c.Close()
		}
		if syscall.Kill(p.pid, 0) != nil {
			log, _ := os.ReadFile(filepath.Join(p.dir, "out.log"))
			return fmt.Errorf("the broker ended while starting: %s", log[max(0, len(log)-2000):])
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the broker does not take connections at %s: %w", p.Addr(), ctx.Err())
		case <-tick.C:
		}
	}
}

// Kill ends the broker with SIGKILL and keeps its log directory.
func (p *Process) Kill() error {
	if err := syscall.Kill(p.pid, syscall.SIGKILL); err != nil {
		return err
	}
	return p.end("keep")
}

// Stop ends the broker in order and keeps its log directory.
func (p *Process) Stop() error { return p.end("stop") }

// Restart starts a broker that was killed or stopped, on the same port and
// log directory.
func (p *Process) Restart(ctx context.Context) error { return p.run(ctx) }

// Close ends the broker and removes its log directory, also of one that was
// killed or stopped, or has never run.
func (p *Process) Close() error {
	if p.cmd == nil || p.cmd.ProcessState != nil {
		return os.RemoveAll(p.dir)
	}
	return p.end("close")
}

func (p *Process) end(what string) error {
	_, _ = io.WriteString(p.stdin, what+"\n") // a wrapper that is gone already needs no word
	_ = p.stdin.Close()
	var exit *exec.ExitError
	if err := p.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		return err
	}
	return nil
}

func freePorts() (a, b int, err error) {
	var ports [2]int
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return 0, 0, err
		}
		defer func() { _ = l.Close() }() // both are held until both are known
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports[0], ports[1], nil
}

// fetch returns the class path of Kafka's jars, fetching them once.
func fetch(ctx context.Context) (string, error) {
	if _, err := exec.LookPath("java"); err != nil {
		return "", errors.New("no java on the PATH")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	root := filepath.Join(cache, "flowstitch", "kafka-"+Version)
	libs := filepath.Join(root, "libs")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", err
	}
	// Test binaries run side by side: one fetches, the others wait.
	lock, err := os.OpenFile(filepath.Join(root, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", err
	}
	if _, err := os.Stat(filepath.Join(libs, "kafka_2.13-"+Version+".jar")); err == nil {
		return filepath.Join(libs, "*"), nil
	}
	if _, err := exec.LookPath("mvn"); err != nil {
		return "", errors.New("no mvn on the PATH to fetch Kafka with")
	}
	file := filepath.Join(root, "pom.xml")
	if err := os.WriteFile(file, pom, 0o600); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	mvn := exec.CommandContext(ctx, "mvn", "-q", "-B", "-f", file,
		"org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies",
		"-DoutputDirectory="+libs, "-DincludeScope=runtime")
	if out, err := mvn.CombinedOutput(); err != nil {
		return "", fmt.Errorf("fetching Kafka %s with Maven: %w: %s", Version, err, out[:min(len(out), 500)])
	}
	return filepath.Join(libs, "*"), nil
}
