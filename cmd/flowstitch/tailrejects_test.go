package main

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/kafkatest"
	"github.com/flowstitch/flowstitch/pkg/stage"
	"github.com/flowstitch/flowstitch/pkg/wire"
)

// TestTailRejects: rejects are shown with the reason, and with -format raw they
// come out as they went in, the parts of a large one joined.
func TestTailRejects(t *testing.T) {
	c := kafkatest.Embedded(t)
	cl, err := kgo.NewClient(c.Opts()...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	topic := (&stage.Topics{Prefix: "p."}).Name(stage.RejectsTopic)
	if _, err := kadm.NewClient(cl).CreateTopic(t.Context(), 1, 1, nil, topic); err != nil {
		t.Fatal(err)
	}
	put := func(r wire.Reject, raw string) {
		out := &kgo.Record{Topic: topic, Value: []byte(raw), Key: r.Key()}
		for _, h := range r.Headers() {
			out.Headers = append(out.Headers, kgo.RecordHeader{Key: h.Key, Value: []byte(h.Value)})
		}
		if err := cl.ProduceSync(t.Context(), out).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	at := flow.Origin{Source: "a.log", Line: 7}
	put(wire.Reject{Stage: "ingest", Class: "format", Reason: "this is no port", Field: "dstport", Column: 7, Origin: at}, "2 bad\tline")
	put(wire.Reject{Stage: "ingest", Class: "format", Reason: "too long", Part: 1, Parts: 2, Origin: at}, "first half,")
	put(wire.Reject{Stage: "ingest", Class: "format", Reason: "too long", Part: 2, Parts: 2, Origin: at}, "second half")
	config := filepath.Join(t.TempDir(), "topics.yaml")
	if err := os.WriteFile(config, []byte("kafka:\n  brokers: ["+strings.Join(c.Addrs, ", ")+"]\npipeline:\n  prefix: p.\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct {
		args, out string
		status    int
	}{
		{"-format raw -n 2", "2 bad\tline\nfirst half,second half\n", 0},
		{"-n 1", `ingest format: this is no port (field dstport, column 7) from a.log line 7: "2 bad\tline"`, 0},
		{"-n 1 -format json", `"Reason":"this is no port"`, 0},
		{"-filter true", "no -filter", 2},
	} {
		var out, msg bytes.Buffer
		args := append([]string{"tail", "-config", config, "-from", "1h", "rejects"}, strings.Fields(want.args)...)
		status := execute(t.Context(), &env{stdin: strings.NewReader(""), stdout: &out, stderr: &msg}, args)
		if got := out.String() + msg.String(); status != want.status || !strings.Contains(got, want.out) {
			t.Errorf("%s: status %d, %q; want %d with %q", want.args, status, got, want.status, want.out)
		}
	}
}

// TestUnreachable: whoever names a broker that is not there is told so, at once.
func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{"tail alerts", "query -group-by client -from 1h", "bench"} {
		var msg bytes.Buffer
		status := execute(t.Context(), &env{stdin: strings.NewReader(""), stdout: &msg, stderr: &msg}, append(strings.Fields(args), "-brokers", free))
		if status != 1 || !strings.Contains(msg.String(), "there is no Kafka at "+free+"; name the pipeline's with -brokers") {
			t.Errorf("%s: status %d: %s", args, status, &msg)
		}
	}
}
