package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/kafkatest"
	"github.com/flowstitch/flowstitch/pkg/session"
	"github.com/flowstitch/flowstitch/pkg/stage"
	"github.com/flowstitch/flowstitch/pkg/wire"
)

const incidentLog = "examples/incident.log.gz"

func TestQueryFiles(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"sums":        {[]string{"query", "-group-by", "client", "-sum", "bytes", "-count", "-quantile", "duration:0.95", "-top", "3", incidentLog}, []string{"CLIENT", "SUM(BYTES)", "P95(DURATION)", "more)"}},
		"flags after": {[]string{"query", incidentLog, "-filter", "server_port == 22 && failed", "-count", "-format", "json"}, []string{`{"count":6}`}},
		"flows":       {[]string{"query", "-of", "flows", "-filter", `action == "REJECT"`, "-count", "-format", "csv", incidentLog}, []string{"count\n"}},
		"list":        {[]string{"query", "-filter", "server_port == 22", "-select", "client,bytes", "-top", "2", incidentLog}, []string{"CLIENT", "BYTES", "(the first 2"}},
		"chart":       {[]string{"query", "-group-by", "service", "-every", "10m", "-sum", "bytes", "-chart", incidentLog}, []string{"█", "peak"}},
		"compare":     {[]string{"query", "-group-by", "service", "-count", "-from", "2026-03-02T09:00:00Z", "-to", "2026-03-02T10:00:00Z", "-compare", "1h", incidentLog}, []string{"COUNT BEFORE", "COUNT CHANGE"}},
		"fields":      {[]string{"fields", "-of", "flows", "port"}, []string{"dst_port", "e.g. dst_port == 23"}},
		"json fields": {[]string{"fields", "-format", "json", "direction"}, []string{`"values":["unknown","inbound"`}},
	} {
		status, out, errs := ask(t, c.args...)
		for _, w := range c.want {
			if status != 0 || !strings.Contains(out, w) {
				t.Errorf("%s: status %d, %q is not in\n%s%s", name, status, w, out, errs)
			}
		}
	}
}

func TestQueryMistakes(t *testing.T) {
	for want, args := range map[string][]string{
		"did you mean server_port":     {"query", "-filter", "serverport == 22", incidentLog},
		"-compare needs -from":         {"query", "-compare", "1h", "-count", incidentLog},
		"is no time":                   {"query", "-from", "yesterday", incidentLog},
		"is not after":                 {"query", "-from", "2026-03-02", "-to", "2026-03-01", incidentLog},
		"sessions, flows or alerts":    {"query", "-of", "packets", incidentLog},
		"-format: it is table, json":   {"query", "-format", "xml", incidentLog},
		"field:q":                      {"query", "-quantile", "duration", incidentLog},
		"what to watch":                {"tail"},
		"check, test, backtest or imp": {"rules"},
	} {
		if status, out, errs := ask(t, args...); status != 2 || !strings.Contains(errs, want) {
			t.Errorf("%v: status %d, %q is not in %s%s", args, status, want, out, errs)
		}
	}
}

// TestQueryStopped: an interrupted query prints what there is and says so.
func TestQueryStopped(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var out, errs bytes.Buffer
	t.Chdir("../..")
	status := execute(ctx, &env{stdin: strings.NewReader(""), stdout: &out, stderr: &errs}, []string{"query", "-count", incidentLog})
	if status != 1 || !strings.Contains(out.String(), "COUNT") || !strings.Contains(errs.String(), "PARTIAL") {
		t.Errorf("status %d: %s%s", status, out.String(), errs.String())
	}
}

// TestTopicsFromTheCommandLine asks a broker what a pipeline would have
// written to it.
func TestTopicsFromTheCommandLine(t *testing.T) {
	c := kafkatest.Embedded(t)
	names := stage.Topics{Prefix: "x."}
	cl, err := kgo.NewClient(c.Opts()...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if _, err := kadm.NewClient(cl).CreateTopics(ctx, 1, 1, nil, names.Name("sessions"), names.Name("flows"), names.Name("alerts")); err != nil {
		t.Fatal(err)
	}
	client, server := flow.Endpoint{Addr: flow.MustAddr("203.0.113.9"), Port: 4000}, flow.Endpoint{Addr: flow.MustAddr("10.0.0.5"), Port: 22}
	key, _ := flow.NewKey(0, 6, client, server)
	e := &session.Event{Kind: session.KindClose, ID: session.ID{1}, Key: key, Client: client, Server: server, First: 1772323200, Last: 1772323201, New: true, Opened: true}
	r := &flow.Record{Protocol: 6, Src: client, Dst: server, Packets: 1, Bytes: 40, Start: 1772323200, End: 1772323201, Action: flow.Reject}
	enc, err := alert.NewEncoder(alert.Options{}).Record(&alert.Alert{
		UID: alert.UID{1}, Sequence: 1, Activity: alert.Create, Verdict: alert.Confirmed, Detector: alert.Detector{ID: "port-scan", Name: "Port scan"},
		Title: "a scan", Sentence: "It scans.", Severity: alert.High, Entity: alert.AddressEntity(0, client.Addr, false, alert.RoleActor),
		Time: 1772323201, First: 1772323200, Last: 1772323201,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := cl.ProduceSync(ctx,
		&kgo.Record{Topic: names.Name("sessions"), Key: wire.AppendSessionKey(nil, e), Value: wire.AppendSession(nil, e)},
		&kgo.Record{Topic: names.Name("flows"), Key: wire.AppendFlowKey(nil, 0, r), Value: wire.AppendFlow(nil, r)},
		&kgo.Record{Topic: names.Name("alerts"), Key: enc.Key, Value: enc.Value},
	).FirstErr(); err != nil {
		t.Fatal(err)
	}
	broker := strings.Join(c.Addrs, ",")
	for want, args := range map[string][]string{
		"count\n1":                       {"query", "-count", "-format", "csv"},
		"203.0.113.9":                    {"query", "-of", "flows", "-filter", "dst_port == 22"},
		"close    203.0.113.9:4000 > 10": {"tail", "-from", "1h", "-n", "1", "-filter", "server_port == 22", "sessions"},
		`"action":"REJECT"`:              {"tail", "-from", "1h", "-n", "1", "-format", "json", "flows"},
		"a scan":                         {"tail", "-from", "2026-01-01", "-n", "1", "-filter", "severity >= 4", "alerts"},
	} {
		status, out, errs := ask(t, append([]string{args[0], "-brokers", broker, "-prefix", "x."}, args[1:]...)...)
		if status != 0 || !strings.Contains(out, want) {
			t.Errorf("%v: status %d, %q is not in %s%s", args, status, want, out, errs)
		}
	}
}

func TestImportSigma(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sigma.yml")
	text := "title: Telnet\nlogsource: {category: firewall}\ndetection: {sel: {dst_port: 23}, condition: sel}\nlevel: low\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	status, out, errs := ask(t, "rules", "import", path)
	if status != 0 || !strings.Contains(out, "server_port == 23") || !strings.Contains(errs, "1 rules imported, 0 not") {
		t.Errorf("status %d: %s%s", status, out, errs)
	}
}
