package ingester

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/flowlog"
	"github.com/flowstitch/flowstitch/pkg/stage"
	"github.com/flowstitch/flowstitch/pkg/wire"
)

// fakeTx is a transaction of at most max records.
type fakeTx struct {
	max    int
	out    []stage.Output
	ledger map[string][]byte
}

func (t *fakeTx) Emit(o stage.Output) {
	o.Key, o.Value = bytes.Clone(o.Key), bytes.Clone(o.Value)
	t.out = append(t.out, o)
}
func (t *fakeTx) Full() bool { return len(t.out) >= t.max }
func (t *fakeTx) Ledger(name string, value []byte) {
	t.ledger[name] = bytes.Clone(value)
}

func flowLine(i int, start int64) string {
	return fmt.Sprintf("2 123456789010 eni-1235b8ca123456789 10.0.0.1 10.0.%d.%d 40000 443 6 10 840 %d %d ACCEPT OK", i/250, i%250+2, start, start+10)
}

func write(t *testing.T, name string, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	var b bytes.Buffer
	var w io.Writer = &b
	if strings.HasSuffix(name, ".gz") {
		zw := gzip.NewWriter(&b)
		defer zw.Close()
		w = zw
	}
	if _, err := io.WriteString(w, strings.Join(lines, "\n")+"\n"); err != nil {
		t.Fatal(err)
	}
	if c, ok := w.(io.Closer); ok {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// rig is a file feed that is committed transaction by transaction.
type rig struct {
	t      *testing.T
	in     *ingest
	feed   *fileFeed
	ledger map[string][]byte
	out    []stage.Output
	clocks []flow.Time
	reg    *prometheus.Registry
}

func newRig(t *testing.T, files ...string) *rig {
	t.Helper()
	r := &rig{t: t, ledger: map[string][]byte{}, reg: prometheus.NewRegistry()}
	cfg := Default()
	cfg.Files = files
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	r.in = &ingest{cfg: cfg, metrics: newMetrics(r.reg)}
	r.restore()
	return r
}

func (r *rig) restore() {
	r.feed = newFileFeed(r.in.cfg.Files, r.in.cfg.Logs.latenessSeconds(), r.in.open, r.in.metrics.count)
	var ledger []stage.LedgerRecord
	for name, v := range r.ledger {
		ledger = append(ledger, stage.LedgerRecord{Name: name, Value: v})
	}
	if err := r.feed.restore(r.t.Context(), ledger); err != nil {
		r.t.Fatal(err)
	}
}

// commit fills and commits one transaction of at most so many records.
func (r *rig) commit(most int) {
	tx := r.fill(most)
	r.out = append(r.out, tx.out...)
	for k, v := range tx.ledger {
		r.ledger[k] = v
	}
	t, idle := r.feed.clock()
	if idle {
		r.t.Error("a feed with files is not idle")
	}
	r.clocks = append(r.clocks, t)
}

func (r *rig) fill(most int) *fakeTx {
	tx := &fakeTx{max: most, ledger: map[string][]byte{}}
	if err := r.feed.fill(r.t.Context(), tx); err != nil {
		r.t.Fatal(err)
	}
	return tx
}

func (r *rig) toEnd(most int) {
	for {
		r.commit(most)
		if t, _ := r.feed.clock(); t == flow.MaxTime {
			r.feed.close()
			return
		}
	}
}

func starts(t *testing.T, out []stage.Output) (s []flow.Time) {
	t.Helper()
	var r flow.Record
	for _, o := range out {
		if o.Topic != topicFlows {
			continue
		}
		if _, err := wire.ParseFlow(o.Key, o.Value, &r); err != nil {
			t.Fatal(err)
		}
		s = append(s, r.Start)
	}
	return s
}

func manyLines(n int, start, step int64) (lines []string) {
	for i := range n {
		lines = append(lines, flowLine(i, start+int64(i)*step))
	}
	return lines
}

// TestFilesMerge reads two files of the same two hours: the clock never passes
// a record that is still to come.
func TestFilesMerge(t *testing.T) {
	const n = 5000
	r := newRig(t, write(t, "a.log", manyLines(n, 1700000000, 1)...), write(t, "b.log.gz", manyLines(n, 1700000000, 1)...))
	clock := flow.MinTime
	for clock < flow.MaxTime {
		before := len(r.out)
		r.commit(batchItems)
		for _, s := range starts(t, r.out[before:]) {
			if s+10 < clock {
				t.Fatalf("a record that ends at %v came after the clock %v", s+10, clock)
			}
		}
		clock = r.clocks[len(r.clocks)-1]
	}
	r.feed.close()
	if len(r.out) != 2*n {
		t.Errorf("%d records of %d", len(r.out), 2*n)
	}
	if mid := r.clocks[len(r.clocks)/2]; mid < 1700000000+n/4 || mid > 1700000000+n {
		t.Errorf("half way the clock is %v: the files were read one after the other", mid)
	}
}

// TestResume crashes between any two transactions and after a fill that was
// not committed: the records are those of a run without crashes.
func TestResume(t *testing.T) {
	lines := manyLines(3000, 1700000000, 1)
	lines[1234] = "no flow log line at all"
	path := write(t, "c.log.gz", lines...)
	want := newRig(t, path)
	want.toEnd(batchItems)

	r := newRig(t, path)
	for i := 0; ; i++ {
		r.commit(batchItems)
		if t, _ := r.feed.clock(); t == flow.MaxTime {
			break
		}
		if i%2 == 1 {
			r.fill(batchItems) // lost with the crash
		}
		r.feed.close()
		r.restore()
	}
	r.feed.close()
	if !slices.EqualFunc(want.out, r.out, func(a, b stage.Output) bool {
		return a.Topic == b.Topic && bytes.Equal(a.Key, b.Key) && bytes.Equal(a.Value, b.Value)
	}) {
		t.Errorf("%d records with crashes, %d without, or others", len(r.out), len(want.out))
	}
	rejects := 0
	for _, o := range r.out {
		if o.Topic == topicRejects {
			rejects++
			if string(o.Value) != "no flow log line at all" {
				t.Errorf("the reject holds %q", o.Value)
			}
		}
	}
	if rejects != 1 {
		t.Errorf("%d rejects", rejects)
	}
}

func TestLargeRejectsAreSplit(t *testing.T) {
	raw := strings.Repeat("x ", maxRaw) // longer than a line may be: cut by the decoder, then by us
	r := newRig(t, write(t, "e.log", flowLine(1, 1700000000), raw, flowLine(2, 1700000001)))
	r.toEnd(1000)
	size := 0
	for _, o := range r.out {
		if len(o.Key)+len(o.Value) > stage.MaxRecord {
			t.Errorf("a record of %d bytes", len(o.Value))
		}
		if o.Topic == topicRejects {
			size += len(o.Value)
		}
	}
	if size < len(raw)-10 || size > len(raw) {
		t.Errorf("%d bytes of %d are in rejects", size, len(raw))
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]string{filepath.Join(dir, "none.log"): "no such file", dir: "is a directory"} {
		in := &ingest{cfg: Default(), metrics: newMetrics(prometheus.NewRegistry())}
		f := newFileFeed([]string{path}, 60, in.open, in.metrics.count)
		if err := f.restore(context.Background(), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestStdinIsReadOnce: what was read before a slot is taken over again is gone,
// and to go on behind it would lose it without a word.
func TestStdinIsReadOnce(t *testing.T) {
	in := &ingest{cfg: Default(), metrics: newMetrics(prometheus.NewRegistry()), stdin: strings.NewReader(""), fatal: make(chan error, 1)}
	if _, err := in.open(stdinName); err != nil {
		t.Fatal(err)
	}
	if _, err := in.open(stdinName); err == nil || !strings.Contains(err.Error(), "second time") {
		t.Errorf("the second time: %v", err)
	}
	if err := <-in.fatal; err == nil {
		t.Error("the service was not told to end")
	}
}

// TestSlowPipe: what a pipe has given is handed over while the pipe waits, however
// little it is.
func TestSlowPipe(t *testing.T) {
	in, out := io.Pipe()
	r := &rig{t: t, in: &ingest{cfg: Default(), metrics: newMetrics(prometheus.NewRegistry()), stdin: in}}
	r.in.cfg.Files = []string{stdinName}
	if err := r.in.cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	r.restore()
	defer r.feed.close()
	// Without a header line, the first lines are kept to infer the layout from.
	if _, err := out.Write(append(flowlog.V2().AppendHeader(nil), '\n')); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if _, err := io.WriteString(out, flowLine(i, 1_700_000_000)+"\n"); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for got := 0; got < 3; {
		b, ok := r.feed.files[0].next(ctx)
		if b == nil {
			t.Fatalf("%d of 3 lines handed over while the pipe is open (ended %v)", got, !ok)
		}
		got += b.flows
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestConfig(t *testing.T) {
	c := Default()
	c.Files = []string{"a.log", "./a.log"}
	c.Logs.Format, c.Logs.Interval = "${version} ${nope}", 0
	c.Networks.Own = []string{"10.0.0.0/33"}
	c.Networks.Scopes = []Scope{{ID: 0, Name: "lab"}}
	err := c.Validate()
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"named twice", "logs.format", "logs.interval", "networks.own", `"lab" needs an id`, "lists no prefixes", "neither accounts nor vpcs"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v\ndoes not mention %q", err, want)
		}
	}
}

func TestScopes(t *testing.T) {
	n := Networks{Scopes: []Scope{{ID: 7, Name: "lab", Prefixes: []string{"10.0.0.0/8"}, VPCs: []string{"vpc-lab"}}}}
	scopes, err := n.scopes()
	if err != nil {
		t.Fatal(err)
	}
	r := flow.Record{Src: flow.Endpoint{Addr: flow.MustAddr("10.0.0.1")}, Dst: flow.Endpoint{Addr: flow.MustAddr("192.0.2.1")}}
	for vpc, want := range map[string]uint16{"vpc-lab": 7, "vpc-prod": 0} {
		if r.VPCID = vpc; scopes.Of(&r) != want {
			t.Errorf("%s is in scope %d", vpc, scopes.Of(&r))
		}
	}
}

// TestDamagedFile: a gzip file that was cut short is read to where it breaks,
// once; the rest is one reject, and the pipeline goes on to its end.
func TestDamagedFile(t *testing.T) {
	whole := write(t, "whole.log.gz", manyLines(5000, 1700000000, 1)...)
	b, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Clone(b)
	copy(changed[len(b)/2:], "\xff\xff\xff\xff")
	for name, data := range map[string][]byte{
		"cut": b[:len(b)/2], "cut in the trailer": b[:len(b)-4], "header only": b[:6], "changed": changed,
		"no Parquet":              []byte("PAR1\x00\x00\x00 and no footer"),
		"a footer of a gigabyte":  []byte("PAR1\x00\x00\x00garbagePAR1"),
		"a footer of other bytes": []byte("PAR1\x00\x00\x00garbage\x05\x00\x00\x00PAR1"),
	} {
		path := filepath.Join(t.TempDir(), "damaged.log.gz")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		r := newRig(t, path)
		r.toEnd(batchItems)
		flows, rejects := 0, 0
		for _, o := range r.out {
			if o.Topic == stage.RejectsTopic {
				rejects++
			} else {
				flows++
			}
		}
		if rejects < 1 || rejects > 2 && name != "changed" || flows > 5000 || name == "cut" && flows < 1000 {
			t.Errorf("%s: %d flows, %d rejects; each line before the damage once, the damage a reject", name, flows, rejects)
		}
	}
}
