package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/segmentio/encoding/json"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/session"
)

// Both directions at two interfaces, a refused probe, a silent interval, a
// gap, a repeat and a line that is none.
const readInput = `2 123456789010 eni-1 10.0.0.5 10.0.1.9 51000 443 6 20 4249 1418530010 1418530040 ACCEPT OK
2 123456789010 eni-1 10.0.1.9 10.0.0.5 443 51000 6 18 90000 1418530010 1418530040 ACCEPT OK
2 123456789010 eni-2 10.0.0.5 10.0.1.9 51000 443 6 20 4249 1418530010 1418530040 ACCEPT OK
2 123456789010 eni-2 10.0.1.9 10.0.0.5 443 51000 6 18 90000 1418530010 1418530040 ACCEPT OK
2 123456789010 eni-1 10.0.0.5 10.0.1.9 51000 443 6 20 4249 1418530010 1418530040 ACCEPT OK
2 123456789010 eni-1 203.0.113.9 10.0.0.5 40000 23 6 1 40 1418530020 1418530020 REJECT OK
2 123456789010 eni-1 - - - - - - - 1418530070 1418530129 - NODATA
2 123456789010 eni-1 - - - - - - - 1418530130 1418530189 - SKIPDATA
2 123456789010 eni-1 10.0.0.5 203.0.113.9 NaN 443 6 20 4249 1418530010 1418530070 ACCEPT OK
`

func runReadTest(args ...string) (stdout, stderr string, code int) {
	var out, errs bytes.Buffer
	e := &env{stdin: strings.NewReader(readInput), stdout: &out, stderr: &errs}
	code = execute(context.Background(), e, append([]string{"read"}, args...))
	return out.String(), errs.String(), code
}

func TestReadTable(t *testing.T) {
	out, errs, code := runReadTest("-")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if code != 0 || len(lines) != 4 {
		t.Fatalf("status %d\n%s%s", code, out, errs)
	}
	for _, want := range []string{"10.0.0.5:51000", "10.0.1.9:443", "answered", "eni-1 eni-2", "38 ", "rejected", "gap: AWS skipped records of eni-1"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	want := "2 sessions of 8 records; 1 silent intervals, 1 gaps, 1 repeats, 0 late, 1 rejected"
	if !strings.Contains(errs, want) || !strings.Contains(errs, "line 9") {
		t.Errorf("summary: %s", errs)
	}
}

func TestReadFormatsAgree(t *testing.T) {
	out, _, code := runReadTest("-format", "csv", "-quiet", "-own", "10.0.0.0/8", "-")
	rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	if code != 0 || err != nil || len(rows) != 4 {
		t.Fatalf("status %d, %v\n%s", code, err, out)
	}
	k, _ := flow.NewKey(0, 6, flow.Endpoint{Addr: flow.MustAddr("10.0.0.5"), Port: 51000}, flow.Endpoint{Addr: flow.MustAddr("10.0.1.9"), Port: 443})
	id := session.IDOf(k, 1418530010).String()
	js, errs, code := runReadTest("-format", "json", "-quiet", "-own", "10.0.0.0/8", "-")
	if code != 0 || errs != "" {
		t.Fatalf("status %d: %s", code, errs)
	}
	found := false
	for i, line := range strings.Split(strings.TrimSpace(js), "\n") {
		var v map[string]any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatal(err)
		}
		if v["kind"] != rows[i+1][0] || v["kind"] == "close" && (v["id"] != rows[i+1][1] || v["outcome"] != rows[i+1][15]) {
			t.Errorf("JSON %s\nCSV %v", line, rows[i+1])
		}
		if v["id"] == id {
			found = true
			if v["bytes_in"] != 90000.0 || v["direction"] != "lateral" || v["client"] != "10.0.0.5" {
				t.Errorf("%s", line)
			}
		}
	}
	if !found {
		t.Errorf("no session %s in\n%s", id, js)
	}
}

func TestReadMistakes(t *testing.T) {
	for _, args := range [][]string{{}, {"-format", "xml", "-"}, {"-own", "10", "-"}, {"-idle-tcp", "0s", "-"}} {
		if _, errs, code := runReadTest(args...); code != 2 || errs == "" {
			t.Errorf("%v: status %d, %q", args, code, errs)
		}
	}
	if _, _, code := runReadTest(filepath.Join(t.TempDir(), "none")); code != 1 {
		t.Errorf("status %d for a file that is not there", code)
	}
}

// A file of which nothing can be read is an error and nothing else: no header, no
// summary, and no success where every line was rejected.
func TestReadNothing(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	bad, damaged := write("bad.log", "these are\nno flows\n"), write("x.parquet", "PAR1 and nothing else")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"read", filepath.Join(dir, "none")}, "no such file"}, {[]string{"read", damaged}, "x.parquet"},
		{[]string{"read", "-alerts", damaged}, "x.parquet"}, {[]string{"read", "-format", "csv", filepath.Join(dir, "none")}, "no such file"},
		{[]string{"decode", filepath.Join(dir, "none")}, "no such file"}, {[]string{"decode", "-explain", damaged}, "x.parquet"},
	} {
		var out, errs bytes.Buffer
		code := execute(context.Background(), &env{stdout: &out, stderr: &errs}, c.args)
		if code != 1 || out.Len() > 0 || strings.Count(errs.String(), "\n") != 1 || !strings.Contains(errs.String(), c.want) {
			t.Errorf("%v: status %d\n%s%s", c.args, code, out.String(), errs.String())
		}
	}
	for _, args := range [][]string{{"read", bad}, {"read", "-alerts", bad}, {"decode", bad}, {"decode", "-rejects", bad}} {
		var out, errs bytes.Buffer
		code := execute(context.Background(), &env{stdout: &out, stderr: &errs}, args)
		if code != 1 || !strings.Contains(errs.String(), "no line could be read, all 2 were rejected") {
			t.Errorf("%v: status %d\n%s%s", args, code, out.String(), errs.String())
		}
	}
}

// TestReadLabelled reads every file of the labelled data, in every format.
func TestReadLabelled(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "..", "..", "shared", "data", "labelled", "*.log.gz"))
	if err != nil || len(files) == 0 {
		t.Skip("no labelled data beside the project (../shared/data/labelled)")
	}
	for i, f := range files {
		out, errs, code := runReadTest("-format", []string{"table", "json", "csv"}[i%3], f)
		if code != 0 || strings.Count(out, "\n") < 10 || !strings.Contains(errs, " 0 late, 0 rejected") {
			t.Errorf("%s: status %d, %d lines, %s", f, code, strings.Count(out, "\n"), errs)
		}
	}
}
