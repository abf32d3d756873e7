package siemtest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flowstitch/flowstitch/pkg/kafkatest"
)

// envSplunk names a directory with libs, the jars of org.apache.kafka:connect-runtime,
// and plugins, where a folder holds the jar of Splunk Connect for Kafka.
// docs/siem.md says how to fill them.
const envSplunk = "FLOWSTITCH_SPLUNK_CONNECT"

// hecEvent is one event as Splunk's HTTP Event Collector takes it.
type hecEvent struct {
	Time       float64 `json:"time"`
	Event      string  `json:"event"`
	Index      string  `json:"index"`
	Source     string  `json:"source"`
	Sourcetype string  `json:"sourcetype"`
}

// checkEvent is what the connector writes to each index when it starts, to see
// whether it may.
const checkEvent = "Splunk HEC Configuration Check"

// collector is an HTTP Event Collector that acknowledges everything.
type collector struct {
	mu     sync.Mutex
	events []hecEvent
	posts  int
	wrong  []string
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case r.Header.Get("Authorization") != "Splunk secret-token":
		c.wrong = append(c.wrong, fmt.Sprintf("%s without the token: %q", r.URL, r.Header.Get("Authorization")))
		w.WriteHeader(http.StatusForbidden)
	case strings.HasSuffix(r.URL.Path, "/ack"):
		var ask struct {
			Acks []int `json:"acks"`
		}
		if err := json.NewDecoder(r.Body).Decode(&ask); err != nil {
			c.wrong = append(c.wrong, err.Error())
		}
		yes := map[string]bool{}
		for _, n := range ask.Acks {
			yes[fmt.Sprint(n)] = true
		}
		c.answer(w, map[string]any{"acks": yes})
	case r.Method == http.MethodPost:
		d := json.NewDecoder(r.Body)
		for {
			var e hecEvent
			if err := d.Decode(&e); err == io.EOF {
				break
			} else if err != nil {
				c.wrong = append(c.wrong, err.Error())
				break
			}
			if e.Event != checkEvent {
				c.events = append(c.events, e)
			}
		}
		c.posts++
		c.answer(w, map[string]any{"text": "Success", "code": 0, "ackId": c.posts})
	default: // health
		c.answer(w, map[string]any{"text": "HEC is healthy", "code": 17})
	}
}

func (c *collector) answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		c.wrong = append(c.wrong, err.Error())
	}
}

func (c *collector) got() []hecEvent {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]hecEvent(nil), c.events...)
}

// TestSplunkConnect runs Kafka Connect with Splunk's sink as deploy/siem
// configures it, against a collector of the test's own.
func TestSplunkConnect(t *testing.T) {
	jars := os.Getenv(envSplunk)
	if jars == "" {
		t.Skipf("%s does not name a directory with Splunk Connect for Kafka and Kafka Connect (docs/siem.md)", envSplunk)
	}
	java := tool(t, "java", "default-jre-headless")
	c := kafkatest.Start(t)
	topic := kafkatest.Prefix(t) + "alerts.v1"
	want := produce(t, c, topic, alerts(20))
	hec := &collector{}
	server := httptest.NewServer(hec)
	defer server.Close()
	dir := t.TempDir()
	worker := filepath.Join(dir, "worker.properties")
	settings := strings.Join([]string{
		"bootstrap.servers=" + strings.Join(c.Addrs, ","), "offset.storage.file.filename=" + filepath.Join(dir, "offsets"),
		"key.converter=org.apache.kafka.connect.storage.StringConverter", "value.converter=org.apache.kafka.connect.storage.StringConverter",
		"config.providers=env", "config.providers.env.class=org.apache.kafka.common.config.provider.EnvVarConfigProvider",
		"listeners=HTTP://127.0.0.1:0", "plugin.path=" + filepath.Join(jars, "plugins"), "offset.flush.interval.ms=1000",
	}, "\n")
	if err := os.WriteFile(worker, []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	connector := splunkConnector(t, dir, topic, server.URL)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	out, err := os.Create(filepath.Join(dir, "connect.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.CommandContext(ctx, java, "-Xmx512m", "-cp", filepath.Join(jars, "libs", "*"), "org.apache.kafka.connect.cli.ConnectStandalone", worker, connector)
	cmd.Env = append(os.Environ(), "SPLUNK_HEC_TOKEN=secret-token")
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = out, out, 10*time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	got := hec.await(ctx, t, 3*len(want), out.Name())
	cancel()
	_ = cmd.Wait() // it was told to end
	checkSplunk(t, want, got, hec.wrong)
}

// splunkConnector writes the shipped configuration with the test's addresses.
func splunkConnector(t *testing.T, dir, topic, uri string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(deploy, "splunk-connect.json"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer("flowstitch.alerts.v1", topic, "flowstitch.alerts.splunk-dlq", topic+"-dlq", "https://splunk:8088", uri).Replace(string(raw))
	var conf struct {
		Name   string            `json:"name"`
		Config map[string]string `json:"config"`
	}
	if err := json.Unmarshal([]byte(text), &conf); err != nil {
		t.Fatal(err)
	}
	// The test has one broker only.
	conf.Config["errors.deadletterqueue.topic.replication.factor"] = "1"
	path := filepath.Join(dir, "connector.json")
	b, err := json.Marshal(conf)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (c *collector) await(ctx context.Context, t *testing.T, n int, log string) []hecEvent {
	t.Helper()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		if got := c.got(); len(got) >= n {
			return got
		}
		select {
		case <-ctx.Done():
			b, _ := os.ReadFile(log)
			t.Fatalf("only %d of %d events came\n%s", len(c.got()), n, b[max(0, len(b)-6000):])
		case <-tick.C:
		}
	}
}

func checkSplunk(t *testing.T, want map[string][]string, got []hecEvent, wrong []string) {
	t.Helper()
	var text []string
	for _, e := range got {
		text = append(text, e.Event)
		if e.Time != 1_772_440_800 || e.Index != "security" || e.Source != "flowstitch" || e.Sourcetype != "flowstitch:ocsf:2004" {
			t.Errorf("time %v, index %s, source %s, sourcetype %s", e.Time, e.Index, e.Source, e.Sourcetype)
		}
	}
	if d := cmp.Diff(want, byKey(t, text)); d != "" {
		t.Errorf("Splunk did not get what was produced:\n%.2000s", d)
	}
	for _, w := range wrong {
		t.Error(w)
	}
	validate(t, text)
}
