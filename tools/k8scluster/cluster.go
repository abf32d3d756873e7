package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// cluster is a control plane of child processes on loopback.
type cluster struct {
	dir, kubeconfig string
	client          *kubernetes.Clientset
	children        []*child
	cancel          context.CancelFunc
}

// child is one process of the control plane.
type child struct {
	name, log string
	done      chan struct{}
	err       error // why it ended; read after done
}

// boot starts the control plane in dir and returns when the API server is
// ready. The cluster is to be stopped even where there is an error.
func boot(ctx context.Context, dir string) (*cluster, error) {
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c := &cluster{dir: dir, kubeconfig: filepath.Join(dir, "kubeconfig"), cancel: cancel}
	ports, err := freePorts(3)
	if err != nil {
		return c, err
	}
	if err := c.credentials(ports[2]); err != nil {
		return c, err
	}
	client, peer := fmt.Sprintf("http://127.0.0.1:%d", ports[0]), fmt.Sprintf("http://127.0.0.1:%d", ports[1])
	key := filepath.Join(dir, "sa.key")
	for _, p := range []struct {
		name string
		args []string
	}{
		{"etcd", []string{"--data-dir=" + filepath.Join(dir, "etcd"), "--listen-client-urls=" + client, "--advertise-client-urls=" + client,
			"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=default=" + peer, "--unsafe-no-fsync"}},
		{"kube-apiserver", []string{"--etcd-servers=" + client, "--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", ports[2]),
			"--cert-dir=" + filepath.Join(dir, "certs"), "--token-auth-file=" + filepath.Join(dir, "tokens.csv"), "--authorization-mode=RBAC",
			"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file=" + key, "--service-account-signing-key-file=" + key,
			"--service-cluster-ip-range=10.96.0.0/24", "--endpoint-reconciler-type=none", "--enable-priority-and-fairness=false"}},
		{"kube-controller-manager", []string{"--kubeconfig=" + c.kubeconfig, "--leader-elect=false", "--secure-port=0", "--service-account-private-key-file=" + key}},
		{"kube-scheduler", []string{"--kubeconfig=" + c.kubeconfig, "--leader-elect=false", "--secure-port=0"}},
	} {
		if err := c.start(inner, p.name, p.args); err != nil {
			return c, err
		}
		if p.name == "kube-apiserver" {
			if err := c.ready(ctx); err != nil {
				return c, err
			}
		}
	}
	return c, nil
}

// credentials writes the administrator's token, the key of service accounts
// and the kubeconfig that all share.
func (c *cluster) credentials(port int) error {
	secret := make([]byte, 16)
	if _, err := rand.Read(secret); err != nil {
		return err
	}
	token := hex.EncodeToString(secret)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	kubeconfig := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: "https://127.0.0.1:%d", insecure-skip-tls-verify: true}}]
users: [{name: admin, user: {token: %s}}]
contexts: [{name: test, context: {cluster: test, user: admin}}]
current-context: test
`, port, token)
	return errors.Join(
		os.WriteFile(filepath.Join(c.dir, "sa.key"), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600),
		os.WriteFile(filepath.Join(c.dir, "tokens.csv"), []byte(token+",admin,admin,system:masters\n"), 0o600),
		os.WriteFile(c.kubeconfig, []byte(kubeconfig), 0o600))
}

// start runs this executable as a component until the context ends.
func (c *cluster) start(ctx context.Context, name string, args []string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	p := &child{name: name, log: filepath.Join(c.dir, name+".log"), done: make(chan struct{})}
	out, err := os.Create(p.log)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self, append([]string{name}, args...)...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 3 * time.Second
	if err := cmd.Start(); err != nil {
		return errors.Join(err, out.Close())
	}
	go func() {
		p.err = errors.Join(cmd.Wait(), out.Close())
		close(p.done)
	}()
	c.children = append(c.children, p)
	return nil
}

// ready waits until the API server says so.
func (c *cluster) ready(ctx context.Context) error {
	cfg, err := clientcmd.BuildConfigFromFlags("", c.kubeconfig)
	if err != nil {
		return err
	}
	cfg.QPS, cfg.Burst = 200, 400
	if c.client, err = kubernetes.NewForConfig(cfg); err != nil {
		return err
	}
	return until(ctx, time.Minute, "the API server is ready", func() (bool, error) {
		for _, p := range c.children {
			select {
			case <-p.done:
				return false, fmt.Errorf("%s ended: %w", p.name, p.err)
			default:
			}
		}
		text, err := c.client.RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		return err == nil && string(text) == "ok", nil
	})
}

// stop ends the children and waits for them.
func (c *cluster) stop() {
	c.cancel()
	for _, p := range c.children {
		<-p.done
	}
}

// tails writes the last lines of each log, without the informative ones.
func (c *cluster) tails(w io.Writer) {
	for _, p := range c.children {
		text, err := os.ReadFile(p.log)
		if err != nil {
			continue
		}
		var lines []string
		for _, l := range strings.Split(string(text), "\n") {
			if l != "" && l[0] != 'I' && l[0] != '{' {
				lines = append(lines, l)
			}
		}
		fmt.Fprintf(w, "-- %s\n%s\n", p.name, strings.Join(lines[max(0, len(lines)-8):], "\n"))
	}
}

// kubectl runs kubectl against the cluster and returns what it prints. Its
// errors carry what it says.
func (c *cluster) kubectl(ctx context.Context, args ...string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, self, append([]string{"kubectl"}, args...)...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.kubeconfig)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// until asks again and again until ok, an error or the limit.
func until(ctx context.Context, limit time.Duration, what string, ok func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		done, err := ok()
		if done || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("waited in vain until %s: %w", what, ctx.Err())
		}
	}
}

// freePorts returns ports of loopback that nobody listens on.
func freePorts(n int) ([]int, error) {
	var out []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }()
		out = append(out, l.Addr().(*net.TCPAddr).Port)
	}
	return out, nil
}
