package session_test

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/flowlog"
	"github.com/flowstitch/flowstitch/pkg/session"
)

// labelled finds a folder of the test data, next to the project's root.
func labelled(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
	data := filepath.Join(dir, "..", "shared", "data", "labelled")
	if _, err := os.Stat(data); err != nil {
		t.Skip("no labelled data beside the project (../shared/data/labelled)")
	}
	return data
}

// reader stitches a file.
type reader struct {
	table  *session.Table
	owners *flowlog.Owners
	emit   session.Emit
	newest flow.Time
	n      int64
}

func (r *reader) Record(rec *flow.Record) {
	r.owners.Stamp(rec)
	r.table.Observe(rec, 0, r.n, r.emit)
	r.n++
	if rec.End > r.newest {
		r.newest = rec.End
		r.table.Advance(r.newest.Add(-360), r.emit, nil)
	}
}

func (r *reader) Reject(*flowlog.Reject) {}

func stitch(t *testing.T, path string, emit session.Emit) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zr, err := gzip.NewReader(bufio.NewReader(f))
	if err != nil {
		t.Fatal(err)
	}
	d, err := flowlog.New(flowlog.Config{})
	if err != nil {
		t.Fatal(err)
	}
	owners, err := flowlog.NewOwners(flowlog.OwnersConfig{})
	if err != nil {
		t.Fatal(err)
	}
	r := &reader{table: session.NewTable(session.Default()), owners: owners, emit: emit}
	if err := d.Stream(zr, flow.Origin{Source: filepath.Base(path)}, r); err != nil {
		t.Fatal(err)
	}
	r.table.Advance(flow.MaxTime, emit, nil)
}

// agreement counts decisions without flags against the truth of the flags.
type agreement struct{ right, all int }

func (a agreement) share() float64 { return 100 * float64(a.right) / float64(max(a.all, 1)) }

// TestInitiatorAgainstFlags decides who started each session of the labelled
// data without flags and compares with what the flags of the same session say.
func TestInitiatorAgainstFlags(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(labelled(t), "*.v3.log.gz"))
	if err != nil || len(files) == 0 {
		t.Fatal("no labelled files", err)
	}
	var overall agreement
	by := map[session.Evidence]*agreement{}
	for _, v3 := range files {
		truth := map[session.ID]flow.Endpoint{}
		stitch(t, v3, func(e *session.Event) {
			if e.Kind == session.KindClose && e.Evidence == session.EvidenceFlags {
				truth[e.ID] = e.Client
			}
		})
		var here agreement
		missed := len(truth)
		stitch(t, strings.Replace(v3, ".v3.", ".v2.", 1), func(e *session.Event) {
			client, known := truth[e.ID]
			if e.Kind != session.KindClose || !known {
				return
			}
			missed--
			if by[e.Evidence] == nil {
				by[e.Evidence] = &agreement{}
			}
			a := by[e.Evidence]
			a.all++
			if e.Client == client {
				a.right++
			}
			if e.Evidence == session.EvidenceNone {
				return
			}
			here.all++
			overall.all++
			if e.Client == client {
				here.right++
				overall.right++
			} else if here.all-here.right < 5 && testing.Verbose() {
				t.Logf("  wrong: %v -> %v, %v %d%%, out %+v in %+v", e.Client, e.Server, e.Evidence, e.Confidence, e.Out, e.In)
			}
		})
		t.Logf("%-32s %6.2f %% of %d; %d sessions only with flags", filepath.Base(v3), here.share(), here.all, missed)
	}
	for e := session.EvidenceNone; e <= session.EvidenceFlags; e++ {
		if a := by[e]; a != nil {
			t.Logf("evidence %-10s %6.2f %% of %d", e, a.share(), a.all)
		}
	}
	t.Logf("overall %.3f %% of %d sessions with evidence other than flags", overall.share(), overall.all)
	if overall.share() < 99 {
		t.Errorf("%.2f %% agree with the flags, at least 99 %% wanted", overall.share())
	}
}
