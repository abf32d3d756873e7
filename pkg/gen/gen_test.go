package gen

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flowstitch/flowstitch/pkg/config"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/flowlog"
)

func stream(t testing.TB, sc Scenario) *Stream {
	t.Helper()
	s, err := NewStream(sc)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func text(t testing.TB, sc Scenario, o Lines) ([]byte, *Stream) {
	t.Helper()
	s := stream(t, sc)
	var b bytes.Buffer
	if _, err := Write(&b, s, o); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), s
}

// TestExample regenerates examples/ and compares: the example is what the
// command beside it writes. Regenerate with examples/incident.sh.
func TestExample(t *testing.T) {
	dir := filepath.Join("..", "..", "examples")
	f, err := os.Open(filepath.Join(dir, "incident.log.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(bufio.NewReader(f))
	if err != nil {
		t.Fatal(err)
	}
	want, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	got, s := text(t, Incident(), Lines{})
	if !bytes.Equal(got, want) {
		t.Errorf("examples/incident.log.gz is not what the generator writes (%d bytes, now %d): run examples/incident.sh", len(want), len(got))
	}
	var truth bytes.Buffer
	if err := WriteTruth(&truth, s.Truth()); err != nil {
		t.Fatal(err)
	}
	wantTruth, err := os.ReadFile(filepath.Join(dir, "incident.truth.csv"))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(wantTruth), truth.String()); d != "" {
		t.Errorf("examples/incident.truth.csv: run examples/incident.sh\n%s", d)
	}
}

// TestWithoutAttacks: what is left is the ordinary traffic, record by record.
func TestWithoutAttacks(t *testing.T) {
	sc := Incident()
	sc.Duration = 110 * time.Minute
	all, _ := text(t, sc, Lines{})
	sc.Attacks = nil
	quiet, _ := text(t, sc, Lines{})
	rest := bytes.SplitAfter(all, []byte("\n"))
	for _, line := range bytes.SplitAfter(quiet, []byte("\n")) {
		// An attacked interface that was idle is not idle any more.
		if bytes.HasSuffix(line, []byte("NODATA\n")) {
			continue
		}
		i := 0
		for i < len(rest) && !bytes.Equal(rest[i], line) {
			i++
		}
		if i == len(rest) {
			t.Fatalf("an ordinary line is missing, or in another order, when there are attacks: %s", line)
		}
		rest = rest[i+1:]
	}
}

// TestRecordsAddUp: cut into intervals and seen at several interfaces, the
// records of one interface and direction add up to the session, exactly.
func TestRecordsAddUp(t *testing.T) {
	sc := Incident()
	sc.Rate, sc.Duration = 0, time.Hour
	sc.Hosts = sc.Hosts[:3]
	for i := range sc.Hosts {
		sc.Hosts[i].Role = RoleIdle
	}
	sc.Attacks = []Attack{{
		Kind: KindExfiltration, At: time.Minute, For: 30 * time.Minute, Source: "bastion",
		Targets: []string{"192.0.2.45"}, Count: 3, Bytes: 12_345_678,
	}}
	s := stream(t, sc)
	var out, in Truth
	var r flow.Record
	for s.Next(&r) {
		if r.Kind != flow.KindFlow {
			continue
		}
		if r.Start > r.End || r.End-r.Start >= 60 || r.Packets == 0 || r.Bytes < 40*r.Packets {
			t.Errorf("impossible record: %+v", r)
		}
		d := &in
		if r.Direction == flow.Egress {
			d = &out
		}
		d.PacketsOut += r.Packets
		d.BytesOut += r.Bytes
	}
	w := s.Truth()[0]
	if out.PacketsOut != w.PacketsOut || out.BytesOut != w.BytesOut || in.PacketsOut != w.PacketsIn || in.BytesOut != w.BytesIn {
		t.Errorf("records say %d/%d out and %d/%d in, the truth %d/%d and %d/%d",
			out.PacketsOut, out.BytesOut, in.PacketsOut, in.BytesOut, w.PacketsOut, w.BytesOut, w.PacketsIn, w.BytesIn)
	}
}

// TestOrder: no record is delivered before its end, or later than an interval
// and the delay after it.
func TestOrder(t *testing.T) {
	for _, interval := range []time.Duration{time.Minute, 10 * time.Minute} {
		sc := Incident()
		sc.Interval = interval
		s := stream(t, sc)
		var r flow.Record
		var last flow.Time
		for s.Next(&r) {
			at := s.Delivered()
			if at <= r.End || at > r.End.Add(int64((interval+sc.Delay)/time.Second)+1) || at < last {
				t.Fatalf("interval %v: a record that ends at %v is delivered at %v, after one at %v", interval, r.End, at, last)
			}
			last = at
		}
	}
}

// TestEveryKind: each kind of attack leaves its mark, in IPv4 and IPv6.
func TestEveryKind(t *testing.T) {
	kinds := []Kind{
		KindProbeSweep, KindPortScan, KindHostSweep, KindSSHGuessing, KindBeacon, KindExfiltration,
		KindSurge, KindCallout, KindICMPErrors, KindExternalDNS, KindNewService, KindGap,
	}
	for _, k := range kinds {
		for _, six := range []bool{false, true} {
			sc := Incident()
			sc.Duration, sc.Rate = 10*time.Minute, 0.1
			a := Attack{Kind: k, At: time.Minute, Targets: []string{"alb-a", "alb-b"}, Source: "203.0.113.7"}
			if six {
				a.Source, a.Targets = "2001:db8:66::7", []string{"2001:db8:10::10", "2001:db8:11::10"}
			}
			if k.outward() {
				a.Source, a.Targets = "alb-a", []string{"192.0.2.1"}
				if six {
					a.Targets = []string{"2001:db8:77::1"}
				}
			}
			sc.Attacks = []Attack{a}
			b, s := text(t, sc, Lines{})
			truth := s.Truth()
			if len(truth) != 1 || truth[0].Flows == 0 || k.Expect() == "" {
				t.Errorf("%s, IPv6 %v: no trace in the truth", k, six)
				continue
			}
			for victim := range truth[0].victims {
				if victim.Is4() == six || !bytes.Contains(b, []byte(" "+victim.String()+" ")) {
					t.Errorf("%s, IPv6 %v: victim %v is not in the log or of the wrong version", k, six, victim)
				}
			}
		}
	}
}

// TestReadable: our own decoder takes every line, in several formats.
func TestReadable(t *testing.T) {
	sc := Incident()
	sc.Duration = 30 * time.Minute
	sc.Trim()
	for _, f := range []*flowlog.Format{flowlog.V2(), flowlog.UpTo(5), flowlog.UpTo(11)} {
		b, _ := text(t, sc, Lines{Format: f, Header: true})
		d, err := flowlog.New(flowlog.Config{})
		if err != nil {
			t.Fatal(err)
		}
		sink := &counter{}
		d.Payload(b, flow.Origin{Source: "gen"}, sink)
		if want := bytes.Count(b, []byte("\n")) - 1; sink.records != want || sink.rejects != 0 {
			t.Errorf("%d columns: %d of %d lines read, %d rejected", f.Len(), sink.records, want, sink.rejects)
		}
	}
}

type counter struct{ records, rejects int }

func (c *counter) Record(*flow.Record)    { c.records++ }
func (c *counter) Reject(*flowlog.Reject) { c.rejects++ }

func TestScenarioFile(t *testing.T) {
	sc := Incident()
	var b bytes.Buffer
	if err := config.Dump(&b, sc); err != nil {
		t.Fatal(err)
	}
	var back Scenario
	if err := config.Parse(b.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(sc, back); d != "" {
		t.Errorf("a dumped scenario reads back as another:\n%s", d)
	}
	for name, bad := range map[string]string{
		"unknown key":       "nonsense: 1",
		"unknown kind":      "attacks: [{kind: beacn, source: ws-1}]",
		"late attack":       "attacks: [{kind: port-scan, at: 3h, source: 192.0.2.1}]",
		"no such host":      "attacks: [{kind: port-scan, source: 192.0.2.1, targets: [nobody]}]",
		"beacon to nowhere": "attacks: [{kind: beacon, source: ws-1}]",
		"jitter":            "attacks: [{kind: beacon, source: ws-1, targets: [192.0.2.1], every: 10s, jitter: 6s}]",
		"two of a name":     "hosts: [{name: a, address: 10.0.0.1, role: web}, {name: a, address: 10.0.0.2, role: web}]",
		"role":              "hosts: [{name: a, address: 10.0.0.1, role: king}]",
		"interval":          "interval: 20m",
		"duration":          "duration: 0s",
	} {
		sc := Incident()
		sc.Attacks = nil
		if err := config.Parse([]byte(bad), &sc); err == nil {
			t.Errorf("%s: taken: %s", name, bad)
		}
	}
	sc = Incident()
	sc.Attacks = []Attack{{Kind: KindPortScan, Source: "2001:db8::9", Targets: []string{"bastion"}}}
	if _, err := NewStream(sc); err == nil {
		t.Error("an IPv6 scanner of a host without IPv6 was taken")
	}
}

// TestExampleScenario: examples/everything.yaml shows every kind of attack.
func TestExampleScenario(t *testing.T) {
	sc := Incident()
	if err := config.Load(filepath.Join("..", "..", "examples", "everything.yaml"), &sc); err != nil {
		t.Fatal(err)
	}
	_, s := text(t, sc, Lines{})
	got := map[Kind]bool{}
	for _, row := range s.Truth() {
		got[row.Kind] = true
	}
	if len(got) != 12 || len(s.Truth()) != len(sc.Attacks) {
		t.Errorf("%d kinds in %d rows of %d attacks", len(got), len(s.Truth()), len(sc.Attacks))
	}
}

func TestAllocations(t *testing.T) {
	s := stream(t, Incident())
	var r flow.Record
	for range 20_000 {
		s.Next(&r) // the calendars have grown
	}
	if n := testing.AllocsPerRun(1000, func() { s.Next(&r) }); n > 0.1 {
		t.Errorf("Stream.Next allocates %v times a record", n)
	}
	l, err := NewLoad(Balanced())
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(1000, func() { l.Next(&r) }); n != 0 {
		t.Errorf("Load.Next allocates %v times a record", n)
	}
}
