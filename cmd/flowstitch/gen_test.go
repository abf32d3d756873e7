package main

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// genOut runs flowstitch gen and returns status, output and messages.
func genOut(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, msg bytes.Buffer
	e := &env{stdin: strings.NewReader(""), stdout: &out, stderr: &msg}
	status = execute(t.Context(), e, append([]string{"gen"}, args...))
	return status, out.String(), msg.String()
}

func TestGenIsDeterministicAndPrintable(t *testing.T) {
	dir := t.TempDir()
	file, truth := filepath.Join(dir, "a.log.gz"), filepath.Join(dir, "truth.csv")
	status, direct, msg := genOut(t, "-duration", "20m", "-truth", truth)
	if status != 0 || strings.Count(direct, "\n") < 1000 || !strings.Contains(msg, "1 attacks, seed 1") {
		t.Fatalf("status %d, %d bytes, %s", status, len(direct), msg)
	}
	rows, err := os.ReadFile(truth)
	if err != nil || !strings.Contains(string(rows), ",crafted-probe\n") {
		t.Errorf("the truth file: %v\n%s", err, rows)
	}

	// The printed scenario gives the same bytes, and so does a file.
	_, scenario, _ := genOut(t, "-duration", "20m", "-print")
	yaml := filepath.Join(dir, "s.yaml")
	if err := os.WriteFile(yaml, []byte(scenario), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, _, msg := genOut(t, "-scenario", yaml, "-o", file); status != 0 {
		t.Fatal(msg)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(z); err != nil || string(b) != direct {
		t.Errorf("the printed scenario gives other lines: %v, %d bytes, want %d", err, len(b), len(direct))
	}
	if _, other, _ := genOut(t, "-duration", "20m", "-seed", "2"); other == direct {
		t.Error("another seed gives the same lines")
	}
}

func TestGenFlags(t *testing.T) {
	_, out, _ := genOut(t, "-header", "-lines", "3", "-log-format", "${dstport} ${srcaddr} ${tcp-flags}")
	l := strings.Split(strings.TrimSpace(out), "\n")
	if len(l) != 4 || l[0] != "dstport srcaddr tcp-flags" || len(strings.Fields(l[1])) != 3 {
		t.Errorf("a custom format with a header: %q", l)
	}
	if _, out, _ := genOut(t, "-lines", "1", "-log-format", "v5"); len(strings.Fields(out)) != 29 {
		t.Errorf("v5: %q", out)
	}
	if _, out, _ := genOut(t, "-no-attacks", "-start", "2030-01-01T00:00:00Z", "-duration", "5m", "-rate", "0", "-interval", "10s"); !strings.Contains(out, " 18934560") {
		t.Errorf("-start: %.100q", out)
	}
	for _, bad := range [][]string{
		{"-nonsense"}, {"extra"}, {"-log-format", "v1"}, {"-log-format", "${}"}, {"-start", "yesterday"},
		{"-duration", "0s"}, {"-rate", "NaN"}, {"-interval", "1h"},
	} {
		if status, _, msg := genOut(t, bad...); status != 2 || !strings.HasPrefix(msg, "flowstitch gen: ") {
			t.Errorf("%q: status %d, %q", bad, status, msg)
		}
	}
	for _, bad := range [][]string{{"-scenario", "/nonexistent/x.yaml"}, {"-o", "/nonexistent/x.log"}} {
		if status, _, msg := genOut(t, bad...); status != 1 || !strings.Contains(msg, "nonexistent") {
			t.Errorf("%q: status %d, %q", bad, status, msg)
		}
	}
	if status, out, _ := genOut(t, "-help"); status != 0 || !strings.Contains(out, "Examples:") || !strings.Contains(out, "-scenario") {
		t.Errorf("help: status %d\n%s", status, out)
	}
}
