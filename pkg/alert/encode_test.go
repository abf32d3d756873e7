package alert

import (
	"bytes"
	stdjson "encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/flowstitch/flowstitch/internal/alerttest"
)

var update = flag.Bool("update", false, "write the golden files again")

func encode(t testing.TB, o Options, a *Alert) []byte {
	t.Helper()
	b, err := NewEncoder(o).Append(nil, a)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestOneLine holds what every consumer needs: one object, one line, UTF-8,
// bounded, and the same bytes again.
func TestOneLine(t *testing.T) {
	for name, a := range samples() {
		for _, o := range []Options{{}, {Schema: OCSF15}, {Schema: OCSF11}, {Format: ECS}} {
			b := encode(t, o, a)
			if !utf8.Valid(b) || bytes.ContainsAny(b, "\n\r") || len(b) > MaxSize || b[0] != '{' {
				t.Errorf("%s, %v %v: %d bytes, not one line of UTF-8 below %d", name, o.Format, o.Schema, len(b), MaxSize)
			}
			if !stdjson.Valid(b) {
				t.Errorf("%s, %v: not JSON", name, o.Format)
			}
			if again := encode(t, o, a); !bytes.Equal(again, b) {
				t.Errorf("%s, %v: encoding twice gives two encodings", name, o.Format)
			}
		}
	}
}

// TestShrink: what is too large even within the bounds of its lists loses lists,
// the least telling first, counts what it lost and says so.
func TestShrink(t *testing.T) {
	a := *worst()
	a.bound()
	var lost []string
	for {
		had := []int{len(a.Context.Tags), len(a.Labels), len(a.Peers), len(a.Ports), len(a.Evidence), len(a.Counts)}
		if !a.shrink() {
			break
		}
		for i, now := range []int{len(a.Context.Tags), len(a.Labels), len(a.Peers), len(a.Ports), len(a.Evidence), len(a.Counts)} {
			if now < had[i] {
				lost = append(lost, []string{"tags", "labels", "peers", "ports", "evidence", "counts"}[i])
			}
		}
	}
	if d := cmp.Diff([]string{"tags", "labels", "peers", "ports", "evidence", "counts"}, slices.Compact(lost)); d != "" {
		t.Error(d)
	}
	w := worst()
	if a.PeersMore-w.PeersMore != int64(len(w.Peers)) || a.PortsMore != int64(len(w.Ports)) || a.EvidenceMore-w.EvidenceMore != int64(len(w.Evidence)) {
		t.Errorf("what was dropped is not counted: %d, %d, %d", a.PeersMore, a.PortsMore, a.EvidenceMore)
	}
	b := encode(t, Options{}, w)
	back, err := Parse(b)
	if err != nil || len(back.Peers) < fewPeers || !bytes.Contains(b, []byte(`"is_truncated":true`)) {
		t.Errorf("the worst alert takes %d bytes and names %d peers: %v", len(b), len(back.Peers), err)
	}
}

func TestActivityIsNeeded(t *testing.T) {
	if _, err := NewEncoder(Options{}).Append(nil, &Alert{}); err == nil {
		t.Error("an alert without an activity was encoded")
	}
}

func TestOCSFStrict(t *testing.T) {
	valid := alerttest.OCSF(t)
	for name, a := range samples() {
		if err := valid(encode(t, Options{}, a)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestOldSchemas: an older version gets no attribute, type or value that it does
// not have, and all that it requires.
func TestOldSchemas(t *testing.T) {
	for _, s := range []Schema{OCSF15, OCSF11} {
		valid := alerttest.Older(t, s.String())
		for name, a := range samples() {
			if err := valid(encode(t, Options{Schema: s}, a)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// TestECSFields: every field outside our own namespace is a field of ECS, of
// its type, an array where ECS wants one, and a value that it allows.
func TestECSFields(t *testing.T) {
	valid := alerttest.ECS(t)
	for name, a := range samples() {
		if err := valid(encode(t, Options{Format: ECS}, a)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestGolden(t *testing.T) {
	for _, name := range []string{"scan", "beacon", "gap"} {
		a := samples()[name]
		for file, got := range map[string][]byte{
			name + ".ocsf-1.8.0.json": pretty(t, encode(t, Options{Version: "1.2.3"}, a)),
			name + ".ocsf-1.1.0.json": pretty(t, encode(t, Options{Version: "1.2.3", Schema: OCSF11}, a)),
			name + ".ecs.json":        pretty(t, encode(t, Options{Version: "1.2.3", Format: ECS}, a)),
			name + ".txt":             AppendText(nil, a, false),
		} {
			path := filepath.Join("testdata", file)
			if *update {
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), string(got)); d != "" {
				t.Errorf("%s (go test ./pkg/alert -update):\n%s", path, d)
			}
		}
	}
}

func pretty(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := stdjson.Indent(&out, b, "", "  "); err != nil {
		t.Fatal(err)
	}
	out.WriteByte('\n')
	return out.Bytes()
}

func TestRecord(t *testing.T) {
	a := samples()["scan"]
	r, err := NewEncoder(Options{Source: "/flowstitch/staging"}).Record(a)
	if err != nil {
		t.Fatal(err)
	}
	if string(r.Key) != a.UID.String() || r.Timestamp != 1_772_440_079_000 || len(r.Value) == 0 {
		t.Errorf("key %q, timestamp %d", r.Key, r.Timestamp)
	}
	want := map[string]string{
		"content-type": "application/json", "ce_specversion": "1.0", "ce_source": "/flowstitch/staging",
		"ce_type": "io.flowstitch.finding.create", "ce_id": a.UID.String() + "-1", "ce_time": "2026-03-02T08:27:59Z",
		"ce_subject": "198.51.100.78", "ce_dataschema": "https://schema.ocsf.io/1.8.0/classes/detection_finding",
		"ce_partitionkey": a.UID.String(), "ce_severity": "Medium", "ce_verdict": "provisional",
	}
	got := map[string]string{}
	for _, h := range r.Headers {
		got[h.Key] = h.Value
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for name, a := range samples() {
		r, err := NewEncoder(Options{}).Record(a)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range r.Headers {
			if h.Value == "" || !utf8.ValidString(h.Value) || len(h.Value) > maxWord {
				t.Errorf("%s: header %s is %q", name, h.Key, h.Value)
			}
		}
	}
}

// TestParseShowsTheSame: what is printed from the topic is what would have been
// printed where the alert was raised.
func TestParseShowsTheSame(t *testing.T) {
	for _, name := range []string{"scan", "beacon", "icmp", "gap", "withdrawn"} {
		a := samples()[name]
		for _, o := range []Options{{}, {Schema: OCSF15}, {Schema: OCSF11}, {Format: ECS}} {
			back, err := Parse(encode(t, o, a))
			if err != nil {
				t.Fatal(err)
			}
			want := *a
			want.Detector.Doc = NewEncoder(o).doc(a)
			if d := cmp.Diff(string(AppendText(nil, &want, false)), string(AppendText(nil, back, false))); d != "" {
				t.Errorf("%s %v %v:\n%s", name, o.Format, o.Schema, d)
			}
			if back.UID != a.UID || back.Sequence != a.Sequence || back.Status() != a.Status() || back.Time != a.Time {
				t.Errorf("%s %v: %+v", name, o.Format, back)
			}
		}
	}
	for _, bad := range []string{"", "{}", "null", "[]", `{"class_uid":4001}`, `{"class_uid":2004}`, `{"ecs":{"version":"9"}}`, `{"class_uid":"x"}`} {
		if _, err := Parse([]byte(bad)); err == nil {
			t.Errorf("taken for an alert: %s", bad)
		}
	}
}

func TestTextIsSafe(t *testing.T) {
	b := string(AppendText(nil, userRule(), false))
	for _, r := range b {
		if r != '\n' && (r < ' ' || r == 0x7f) {
			t.Errorf("control character %q on a terminal: %q", r, b)
		}
	}
	if c := string(AppendText(nil, samples()["scan"], true)); !strings.Contains(c, "\x1b[1;33mMEDIUM\x1b[0m") {
		t.Errorf("no colour: %q", c)
	}
}

func TestNames(t *testing.T) {
	for in, want := range map[string]Schema{"": OCSF18, "1.8.0": OCSF18, "1.8": OCSF18, "1.5.0": OCSF15, "1.1": OCSF11} {
		if got, err := ParseSchema(in); err != nil || got != want {
			t.Errorf("ParseSchema(%q): %v, %v", in, got, err)
		}
	}
	if _, err := ParseSchema("2.0.0"); err == nil {
		t.Error("schema 2.0.0 was taken")
	}
	for in, want := range map[string]Format{"": OCSF, "ocsf": OCSF, "ECS": ECS} {
		if got, err := ParseFormat(in); err != nil || got != want {
			t.Errorf("ParseFormat(%q): %v, %v", in, got, err)
		}
	}
	if _, err := ParseFormat("cef"); err == nil {
		t.Error("format cef was taken")
	}
}

func FuzzParse(f *testing.F) {
	for name, a := range samples() {
		if name == "worst" { // too large to mutate with profit
			continue
		}
		for _, o := range []Options{{}, {Schema: OCSF11}, {Format: ECS}} {
			if b, err := NewEncoder(o).Append(nil, a); err == nil {
				f.Add(b)
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := Parse(b)
		if err != nil {
			return
		}
		AppendText(nil, a, true)
		if a.Activity < Create || a.Activity > Close {
			return
		}
		for _, o := range []Options{{}, {Format: ECS}} {
			out, err := NewEncoder(o).Append(nil, a)
			if err != nil || len(out) > MaxSize || bytes.ContainsAny(out, "\n\r") {
				t.Fatalf("%d bytes, %v", len(out), err)
			}
			if _, err := Parse(out); err != nil {
				t.Fatalf("our own encoding does not parse: %v", err)
			}
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	a := samples()["scan"]
	for name, o := range map[string]Options{"ocsf": {}, "ecs": {Format: ECS}} {
		b.Run(name, func(b *testing.B) {
			e := NewEncoder(o)
			buf, err := e.Append(nil, a)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(buf)))
			b.ReportAllocs()
			for b.Loop() {
				buf, _ = e.Append(buf[:0], a)
			}
		})
	}
}

// TestQuantity: numbers are as in the detectors' sentences, which say MB.
func TestQuantity(t *testing.T) {
	for _, c := range []struct {
		v    float64
		unit string
		want string
	}{
		{0, "bytes", "0 B"}, {640, "bytes", "640 B"}, {3091, "bytes", "3.1 kB"}, {174_000_000, "bytes", "174 MB"},
		{5e15, "bytes", "5.0 PB"}, {1234567, "sessions", "1,234,567"}, {-1234, "", "-1,234"}, {2.5, "", "2.5"},
	} {
		if got := quantity(c.v, c.unit); got != c.want {
			t.Errorf("%v %s is %q, want %q", c.v, c.unit, got, c.want)
		}
	}
}
