package ingester

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/flowstitch/flowstitch/pkg/flowlog"
	"github.com/flowstitch/flowstitch/pkg/kinesis"
)

// TestBalance reads the metrics: lines = records + rejects + headers, from a
// file and from a stream.
func TestBalance(t *testing.T) {
	lines := append([]string{"version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status"}, manyLines(100, 1700000000, 1)...)
	lines = append(lines, "2 123456789010 eni-1 - - - - - - - 1700000000 1700000060 - NODATA",
		"2 123456789010 eni-1 - - - - - - - 1700000000 1700000060 - SKIPDATA", "2 x")
	r := newRig(t, write(t, "d.log", lines...))
	r.toEnd(1000)
	want := func(name, label string, want float64) {
		t.Helper()
		if got := metric(t, r.reg, name, label); got != want {
			t.Errorf("%s{%s}: %v, want %v", name, label, got, want)
		}
	}
	want("lines_total", "", 104)
	want("headers_total", "", 1)
	want("records_total", `"flow"`, 100)
	want("records_total", `"nodata"`, 1)
	want("records_total", `"skipdata"`, 1)
	want("rejects_total", `"fields"`, 1)
	want("rejects_total", "", 1)
	want("control_messages_total", "", 0)
	want("newest_event_seconds", "", 1700000109)
	size := len(strings.Join(lines, "\n")) + 1
	want("input_bytes_total", "", float64(size))

	f := learner(t)
	f.report = r.in.metrics.count
	control := []byte(`{"messageType":"CONTROL_MESSAGE","owner":"CloudwatchLogs","logGroup":"","logStream":"","subscriptionFilters":[],"logEvents":[{"id":"","timestamp":1700000000000,"message":"CWL CONTROL MESSAGE: Checking health of destination Kinesis stream."}]}`)
	broken := []byte("no aggregate")
	f.decode(&kinesis.Delivery{Data: control, Arrival: 1_700_000_400_000})
	f.decode(&kinesis.Delivery{Data: broken, Broken: true, Arrival: 1_700_000_400_000})
	f.flush(&fakeTx{max: 100, ledger: map[string][]byte{}})
	want("control_messages_total", "", 1)
	want("rejects_total", `"compress"`, 1)
	want("lines_total", "", 105)
	want("input_bytes_total", "", float64(size+len(control)))
	want("unknown_fields_total", "", 0)
	for range 2 {
		f.decode(&kinesis.Delivery{Data: []byte("srcaddr dstaddr srcport dstport protocol start end colour\n10.0.0.1 10.0.0.2 40000 443 6 1700000000 1700000010 red\n"), Arrival: 1_700_000_400_000})
	}
	f.flush(&fakeTx{max: 100, ledger: map[string][]byte{}})
	want("unknown_fields_total", "", 1)
}

// TestEveryMetricIsRead: each metric and each class of rejects is there from the
// start, and a test of this package names it.
func TestEveryMetricIsRead(t *testing.T) {
	reg := prometheus.NewRegistry()
	newMetrics(reg)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
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
	for _, f := range families {
		name := strings.TrimPrefix(f.GetName(), "flowstitch_ingest_")
		if !strings.Contains(text.String(), fmt.Sprintf("(%q,", name)) && !strings.Contains(text.String(), fmt.Sprintf(", %q,", name)) {
			t.Errorf("no test reads %s", f.GetName())
		}
	}
	if n := len(families); n != 8 {
		t.Errorf("%d metrics are there from the start", n)
	}
	for _, c := range flowlog.Classes() {
		if !strings.Contains(fmt.Sprint(families), c.String()) {
			t.Errorf("there is no count of rejects of class %s", c)
		}
	}
}
