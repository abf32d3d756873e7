package siemtest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/flowstitch/flowstitch/internal/alerttest"
	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/kafkatest"
	"github.com/flowstitch/flowstitch/pkg/session"
)

const deploy = "../../deploy/siem"

// alerts are n findings, each created, updated and closed, with enough evidence
// that a consumer which cuts lines shows it.
func alerts(n int) []*alert.Alert {
	var out []*alert.Alert
	for i := range n {
		source := flow.AddrFrom4([4]byte{198, 51, 100, byte(i)})
		target := flow.Endpoint{Addr: flow.MustAddr("10.0.0.50"), Port: 22}
		a := alert.Alert{
			Detector: alert.Detector{ID: "brute-force", Name: "Password guessing", Version: "1", Method: alert.MethodBehavioral, Doc: "docs/alerts/brute-force.md"},
			Title:    "Password guessing on 10.0.0.50:22", Sentence: fmt.Sprintf("%v tried 420 logins in 10 min; “normal” is 3.\tÄ", source),
			Severity: alert.High, Confidence: 90, Entity: alert.AddressEntity(0, source, false, alert.RoleActor),
			Counts: []alert.Count{{Name: "logins", Unit: "sessions", Observed: 420, Baseline: 3, HasBaseline: true}},
			Time:   1_772_440_800, First: 1_772_440_800, Last: 1_772_441_400, Attacks: alert.AttacksOf("T1110.001"),
		}
		for p := range alert.MaxEvidence {
			a.Evidence = append(a.Evidence, alert.Evidence{
				Topic: "sessions", Offset: int64(p), Protocol: 6, Client: flow.Endpoint{Addr: source, Port: uint16(40_000 + p)},
				Server: target, Direction: session.Inbound, Outcome: session.OutcomeAnswered,
			})
		}
		a.UID = alert.NewUID(a.Detector.ID, a.Entity, a.First, 3600)
		for activity := alert.Create; activity <= alert.Close; activity++ {
			b := a
			b.Activity, b.Sequence, b.Verdict = activity, uint32(activity), alert.Confirmed
			out = append(out, &b)
		}
	}
	return out
}

// produce writes the alerts in one transaction, as detect does, after one that
// is aborted: a reader must see the former only.
func produce(t *testing.T, c *kafkatest.Cluster, topic string, list []*alert.Alert) map[string][]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.Addrs...), kgo.TransactionalID(topic), kgo.DefaultProduceTopic(topic))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if _, err := kadm.NewClient(cl).CreateTopic(ctx, 2, 1, map[string]*string{"cleanup.policy": kadm.StringPtr("delete")}, topic); err != nil {
		t.Fatal(err)
	}
	enc, want := alert.NewEncoder(alert.Options{}), map[string][]string{}
	for _, commit := range []kgo.TransactionEndTry{kgo.TryAbort, kgo.TryCommit} {
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for _, a := range list {
			r, err := enc.Record(a)
			if err != nil {
				t.Fatal(err)
			}
			k := &kgo.Record{Key: r.Key, Value: r.Value, Timestamp: time.UnixMilli(r.Timestamp)}
			for _, h := range r.Headers {
				k.Headers = append(k.Headers, kgo.RecordHeader{Key: h.Key, Value: []byte(h.Value)})
			}
			if !bool(commit) {
				k.Value = []byte(`{"aborted":true}`)
			} else {
				want[string(r.Key)] = append(want[string(r.Key)], string(r.Value))
			}
			if err := cl.ProduceSync(ctx, k).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		if err := cl.EndTransaction(ctx, commit); err != nil {
			t.Fatal(err)
		}
	}
	return want
}

// tool finds a program, or skips; with FLOWSTITCH_CI_STRICT=1 it must be there.
func tool(t *testing.T, name, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil && os.Getenv(kafkatest.EnvStrict) == "1" {
		t.Fatalf("%s is not installed: install Debian's %s", name, pkg)
	}
	if err != nil {
		t.Skipf("%s is not installed (Debian's %s)", name, pkg)
	}
	return path
}

func byKey(t *testing.T, lines []string) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	for _, l := range lines {
		a, err := alert.Parse([]byte(l))
		if err != nil {
			t.Fatalf("a line is no alert: %v: %.200s", err, l)
		}
		out[a.UID.String()] = append(out[a.UID.String()], l)
	}
	return out
}

// validate holds each line against the strict schema, where it is at hand.
func validate(t *testing.T, lines []string) {
	t.Helper()
	t.Run("schema", func(t *testing.T) {
		valid := alerttest.OCSF(t)
		for _, l := range lines {
			if err := valid([]byte(l)); err != nil {
				t.Error(err)
			}
		}
	})
}

func lines(b []byte) []string {
	return strings.FieldsFunc(string(b), func(r rune) bool { return r == '\n' })
}

func TestKcat(t *testing.T) {
	kcat := tool(t, "kcat", "kcat")
	c := kafkatest.Start(t)
	topic := kafkatest.Prefix(t) + "alerts.v1"
	want := produce(t, c, topic, alerts(40))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, filepath.Join(deploy, "kcat.sh"), c.Addrs[0], topic).Output()
	if err != nil {
		t.Fatalf("kcat.sh: %v", err)
	}
	got := lines(out)
	if d := cmp.Diff(want, byKey(t, got)); d != "" {
		t.Errorf("kcat did not print what was produced:\n%s", d)
	}
	validate(t, got)

	// The key, the timestamp and the CloudEvents headers, as kcat sees them.
	out, err = exec.CommandContext(ctx, kcat, "-C", "-q", "-e", "-o", "beginning", "-X", "isolation.level=read_committed",
		"-b", c.Addrs[0], "-t", topic, "-f", `%k %T %h\n`).Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lines(out) {
		f := strings.SplitN(l, " ", 3)
		if len(want[f[0]]) != 3 || f[1] != "1772440800000" || !strings.Contains(f[2], "ce_specversion=1.0,") ||
			!strings.Contains(f[2], "ce_id="+f[0]+"-") || !strings.Contains(f[2], "content-type=application/json,") {
			t.Errorf("key, timestamp, headers: %s", l)
		}
	}
}

func TestRsyslog(t *testing.T) {
	rsyslogd := tool(t, "rsyslogd", "rsyslog and rsyslog-kafka")
	c := kafkatest.Start(t)
	topic := kafkatest.Prefix(t) + "alerts.v1"
	want := produce(t, c, topic, alerts(40))
	raw, err := os.ReadFile(filepath.Join(deploy, "rsyslog.conf"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "alerts.json")
	conf := strings.NewReplacer("kafka:9092", c.Addrs[0], "flowstitch.alerts.v1", topic, "/var/log/flowstitch-alerts.json", file).Replace(string(raw))
	path := filepath.Join(dir, "rsyslog.conf")
	if err := os.WriteFile(path, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	var log bytes.Buffer
	cmd := exec.CommandContext(ctx, rsyslogd, "-n", "-f", path, "-i", filepath.Join(dir, "pid"))
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	got := await(ctx, t, file, 3*len(want))
	cancel()
	_ = cmd.Wait() // it was told to end
	if d := cmp.Diff(want, byKey(t, got)); d != "" {
		t.Errorf("rsyslog did not write what was produced: %s\n%s", log.String(), d)
	}
	validate(t, got)
}

// await reads the file until it has n lines or ctx ends.
func await(ctx context.Context, t *testing.T, path string, n int) []string {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		b, _ := os.ReadFile(path) // not there yet
		if got := lines(b); len(got) >= n && bytes.HasSuffix(b, []byte("\n")) {
			return got
		}
		select {
		case <-ctx.Done():
			t.Fatalf("only %d of %d lines came", bytes.Count(b, []byte("\n")), n)
		case <-tick.C:
		}
	}
}

// TestConfigurations: each file parses, names the topic, and reads committed
// records only (Data Prepper has no such option and says so in docs/siem.md).
func TestConfigurations(t *testing.T) {
	files, err := os.ReadDir(deploy)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(deploy, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		var doc any
		switch filepath.Ext(f.Name()) {
		case ".json":
			err = json.Unmarshal(b, &doc)
		case ".yml", ".yaml":
			err = yaml.UnmarshalWithOptions(b, &doc, yaml.Strict())
		}
		if err != nil {
			t.Errorf("%s: %v", f.Name(), err)
		}
		if f.Name() == "splunk-props.conf" {
			continue
		}
		flat := strings.ReplaceAll(string(b), `\\.`, ".")
		if !strings.Contains(flat, "flowstitch.alerts.v1") {
			t.Errorf("%s does not name the topic flowstitch.alerts.v1", f.Name())
		}
		// All of them spell it like librdkafka and the Java client.
		if !strings.Contains(flat, "read_committed") && f.Name() != "data-prepper.yaml" {
			t.Errorf("%s would read aborted transactions", f.Name())
		}
	}
}
