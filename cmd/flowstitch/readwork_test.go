package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/flowlog"
	"github.com/flowstitch/flowstitch/pkg/session"
)

// generatedLog writes the beginning of the incident of examples/, with some IPv6.
func generatedLog(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "incident.log.gz")
	var errs bytes.Buffer
	e := &env{stdout: &bytes.Buffer{}, stderr: &errs}
	if code := execute(context.Background(), e, []string{"gen", "-o", path, "-ipv6", "20", "-lines", "30000"}); code != 0 {
		t.Fatal(errs.String())
	}
	return path
}

// readWith reads files with so many workers and returns what is printed.
func readWith(t testing.TB, o readFlags, workers int, files ...string) string {
	t.Helper()
	var out bytes.Buffer
	e := &env{stdout: &out, stdin: strings.NewReader(readInput)}
	cfg := session.Default()
	d, err := flowlog.New(flowlog.Config{})
	if err != nil {
		t.Fatal(err)
	}
	owners, err := flowlog.NewOwners(flowlog.OwnersConfig{})
	if err != nil {
		t.Fatal(err)
	}
	s := newStitcher(e, &o, &cfg, owners, workers)
	s.start()
	for _, f := range files {
		if err := decodeFile(context.Background(), e, d, f, s); err != nil {
			t.Fatal(err)
		}
	}
	s.end()
	if s.judge != nil {
		if err := printAlerts(s.out, s.judge.confirmed(), true, false); err != nil || s.judge.err != nil {
			t.Fatal(err, s.judge.err)
		}
	}
	if err := s.out.Flush(); err != nil {
		t.Fatal(err)
	}
	st, sessions := s.stats()
	return fmt.Sprintf("%s%d sessions, %v, %d gaps\n", out.String(), sessions, st.Verdicts, st.Gaps)
}

// The output is the same bytes however many workers there are: sessions, with
// what long ones tell on their way, and findings.
func TestReadWorkers(t *testing.T) {
	incident := generatedLog(t)
	for _, o := range []readFlags{{format: "csv", events: true}, {format: "json"}, {format: "table"}, {format: "json", alerts: true}} {
		files := []string{"-", incident, incident} // the second time all is late
		if o.alerts {
			files = files[:2]
		}
		want := readWith(t, o, 1, files...)
		if strings.Count(want, "\n") < 8 {
			t.Fatalf("%+v: only %q", o, want)
		}
		for _, workers := range []int{2, 5} {
			if got := readWith(t, o, workers, files...); got != want {
				a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
				for i := range a {
					if i >= len(b) || a[i] != b[i] {
						t.Fatalf("%+v with %d workers, line %d:\n%s\n%s", o, workers, i+1, a[i], b[min(i, len(b)-1)])
					}
				}
			}
		}
	}
}

// plainTable stitches without rounds and workers, as the reference.
type plainTable struct {
	s     *stitcher
	table *session.Table
	print *sessionPrinter
	lines []string
	n     int64
}

func (p *plainTable) emit(e *session.Event) {
	if e.Kind == session.KindClose || e.Kind == session.KindCorrect || e.Kind == session.KindGap {
		var b bytes.Buffer
		p.print.event(&b, e)
		p.lines = append(p.lines, b.String())
	}
}

func (p *plainTable) Record(r *flow.Record) {
	p.s.owners.Stamp(r)
	p.table.Observe(r, 0, p.n, p.emit)
	p.n++
	if p.s.newest = max(p.s.newest, r.End); p.s.newest.Add(-360) >= p.table.Clock().Add(clockStep) {
		p.table.Advance(p.s.newest.Add(-360), p.emit, nil)
	}
}

func (p *plainTable) Reject(*flowlog.Reject) {}

// What the workers print is what one table tells.
func TestReadIsOneTable(t *testing.T) {
	incident := generatedLog(t)
	owners, err := flowlog.NewOwners(flowlog.OwnersConfig{})
	if err != nil {
		t.Fatal(err)
	}
	d, err := flowlog.New(flowlog.Config{})
	if err != nil {
		t.Fatal(err)
	}
	p := &plainTable{s: &stitcher{owners: owners}, table: session.NewTable(session.Default()), print: newSessionPrinter("json")}
	f, err := os.Open(incident)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := d.Stream(f, flow.Origin{Source: incident}, p); err != nil {
		t.Fatal(err)
	}
	p.table.Advance(flow.MaxTime, p.emit, nil)
	got := strings.SplitAfter(readWith(t, readFlags{format: "json"}, 3, incident), "\n")
	got = got[:len(got)-2] // the line of counts
	slices.Sort(got)
	slices.Sort(p.lines)
	if !slices.Equal(got, p.lines) {
		t.Fatalf("%d lines and %d", len(got), len(p.lines))
	}
}

// A row is as sessionTableRow lays it out, whatever its cells hold.
func TestReadRow(t *testing.T) {
	p := newSessionPrinter("table")
	for _, e := range []session.Event{
		{}, {Kind: session.KindClose, Points: []session.Point{{}, {ID: "eni-2"}}, PointsMore: 3},
		{First: 1418530010, Last: 1418530070, Key: flow.Key{Protocol: 58}, Confidence: 90,
			Client: flow.Endpoint{Addr: flow.MustAddr("2001:db8:1111:2222:3333:4444:5555:6666"), Port: 65535},
			Server: flow.Endpoint{Addr: flow.MustAddr("10.0.0.1"), Port: 443},
			Out:    session.Traffic{Packets: 1 << 60, Bytes: 1 << 60, RejectPackets: 5, RejectBytes: 1 << 60}},
	} {
		size := func(accepted, rejected int64) string {
			if rejected > 0 {
				return fmt.Sprintf("%d(-%d)", accepted, rejected)
			}
			return fmt.Sprint(accepted)
		}
		ended := e.Reason.String()
		if e.Kind != session.KindClose {
			ended = e.Kind.String()
		}
		want := fmt.Sprintf(sessionTableRow, e.First.UTC().Format(time.RFC3339), fmt.Sprint(int64(e.Last-e.First)),
			protocolName(e.Key.Protocol), e.Client, e.Server, size(e.Out.Packets+e.In.Packets, e.Out.RejectPackets+e.In.RejectPackets),
			size(e.Out.Bytes, e.Out.RejectBytes), size(e.In.Bytes, e.In.RejectBytes), e.Outcome, ended, e.Direction,
			fmt.Sprintf("%s %d%%, %s", e.Evidence, e.Confidence, strings.Join(pointNames(&e), " ")))
		var b bytes.Buffer
		p.event(&b, &e)
		if b.String() != want {
			t.Errorf("%q\n%q", b.String(), want)
		}
	}
}

// BenchmarkRead measures the whole of read on a generated version 2 log: decoding,
// sessions, and either their lines or the detectors.
func BenchmarkRead(b *testing.B) {
	path := generatedLog(b)
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	for _, o := range []readFlags{{format: "table"}, {format: "json", alerts: true}} {
		b.Run(fmt.Sprintf("alerts=%v", o.alerts), func(b *testing.B) {
			b.SetBytes(info.Size())
			b.ReportAllocs()
			for b.Loop() {
				readWith(b, o, 2, path)
			}
		})
	}
}
