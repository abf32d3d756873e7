package kinesistest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/flowstitch/flowstitch/pkg/kafkatest"
)

// Versions of the emulators, from npm.
const (
	KinesaliteVersion   = "3.3.3"
	KinesisLocalVersion = "0.6.2"
)

// Kinesalite starts the emulator of that name until the test ends and returns
// its URL. It skips the test unless [kafkatest.EnvReal] is 1 and there are node
// and npm, or [kafkatest.EnvStrict] is 1, which makes a missing one a failure.
func Kinesalite(t testing.TB) string {
	dir := emulators(t)
	const script = `
const server = require('kinesalite')({createStreamMs: 20, updateStreamMs: 20, deleteStreamMs: 20, shardLimit: 1000})
server.listen(0, '127.0.0.1', () => console.log('http://127.0.0.1:' + server.address().port))
process.stdin.resume().on('end', () => process.exit(0))`
	return run(t, dir, nil, "node", "-e", script)
}

// KinesisLocal starts kinesis-local (kinesis-mock) until the test ends and
// returns its URL, or skips like [Kinesalite].
func KinesisLocal(t testing.TB) string {
	dir := emulators(t)
	tls, plain := freePort(t), freePort(t)
	// It binds all interfaces and has no option for that, so listening is bound
	// to loopback before it begins.
	const script = `
const net = require('net'), listen = net.Server.prototype.listen, port = Number(process.env.KINESIS_MOCK_PLAIN_PORT)
net.Server.prototype.listen = function (...a) {
  if (a[0] && typeof a[0] === 'object') a[0].host = '127.0.0.1'
  else if (typeof a[1] === 'string') a[1] = '127.0.0.1'
  else a.splice(1, 0, '127.0.0.1')
  this.once('listening', () => { if (this.address().port === port) console.log('http://127.0.0.1:' + port) })
  return listen.apply(this, a)
}
process.stdin.resume().on('end', () => process.exit(0))
require('./main.js')`
	env := []string{"KINESIS_MOCK_TLS_PORT=" + tls, "KINESIS_MOCK_PLAIN_PORT=" + plain, "SHARD_LIMIT=1000", "LOG_LEVEL=ERROR",
		"CREATE_STREAM_DURATION=20ms", "SPLIT_SHARD_DURATION=20ms", "MERGE_SHARDS_DURATION=20ms", "DELETE_STREAM_DURATION=20ms",
		"REGISTER_STREAM_CONSUMER_DURATION=20ms"}
	return run(t, filepath.Join(dir, "node_modules", "kinesis-local"), env, "node", "-e", script)
}

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }() // the port is what was wanted of it
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// run starts an emulator and returns the URL that it prints when it listens.
func run(t testing.TB, dir string, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	in, err1 := cmd.StdinPipe() // closed with this process, however it ends: then the emulator ends too
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines, ended := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(ended)
		for sc := bufio.NewScanner(out); sc.Scan(); {
			if strings.HasPrefix(sc.Text(), "http://") {
				lines <- sc.Text()
			}
		}
	}()
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Process.Kill() // it may have ended by itself
		<-ended
		_ = cmd.Wait() // it says that the process was killed
	})
	select {
	case url := <-lines:
		return url
	case <-ended:
		t.Fatalf("%s did not start in %s", name, dir)
	case <-time.After(60 * time.Second):
		t.Fatalf("%s in %s did not listen within a minute", name, dir)
	}
	return ""
}

// emulators returns the folder that they are installed in.
func emulators(t testing.TB) string {
	t.Helper()
	strict := os.Getenv(kafkatest.EnvStrict) == "1"
	if !strict && os.Getenv(kafkatest.EnvReal) != "1" {
		t.Skipf("%s=1 asks for the Kinesis emulators", kafkatest.EnvReal)
	}
	dir, err := install(t.Context())
	switch {
	case err == nil:
	case strict:
		t.Fatalf("the Kinesis emulators are needed: %v", err)
	default:
		t.Skipf("no Kinesis emulator: %v", err)
	}
	return dir
}

// install fetches the emulators once into the user's cache folder.
func install(ctx context.Context) (string, error) {
	if _, err := exec.LookPath("node"); err != nil {
		return "", errors.New("no node on the PATH")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "flowstitch", "kinesis-emulators-"+KinesaliteVersion+"-"+KinesisLocalVersion)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	// Test binaries run side by side: one installs, the others wait.
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", err
	}
	done := filepath.Join(dir, "installed")
	if _, err := os.Stat(done); err == nil {
		return dir, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	npm := exec.CommandContext(ctx, "npm", "install", "--prefix", dir, "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error",
		"kinesalite@"+KinesaliteVersion, "kinesis-local@"+KinesisLocalVersion)
	if out, err := npm.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm can not install the emulators: %w: %s", err, out[:min(len(out), 500)])
	}
	return dir, os.WriteFile(done, nil, 0o600)
}
