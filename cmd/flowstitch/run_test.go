package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func tryRun(ctx context.Context, stdin io.Reader, args ...string) (status int, stdout, stderr string) {
	var out, msg bytes.Buffer
	e := &env{stdin: stdin, stdout: &out, stderr: &msg}
	status = execute(ctx, e, append([]string{"run"}, args...))
	return status, out.String(), msg.String()
}

const goodLine = "2 123456789010 eni-1235b8ca123456789 10.0.0.1 10.0.0.2 40000 443 6 10 840 1700000000 1700000010 ACCEPT OK\n"

// TestRunMistakes: each mistake gets one clear sentence, and the status is not
// zero only where nothing could be done.
func TestRunMistakes(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "notes.txt")
	empty := filepath.Join(dir, "empty.log")
	for path, content := range map[string]string{text: "dear diary\ntoday\n", empty: ""} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		args   []string
		status int
		say    string
	}{
		{nil, 2, "name at least one flow log"},
		{[]string{"-format", "xml", text}, 2, `"xml" for flag -format: it is text or json`},
		{[]string{"-nope", text}, 2, "-nope"},
		{[]string{"-log-format", "${version} ${nonsense}", text}, 2, "format"},
		{[]string{"-own", "10.0.0.0/40", text}, 2, "not a prefix"},
		{[]string{"-serve", "0.0.0.0:9092", text}, 2, "not a loopback address"},
		{[]string{"-config", filepath.Join(dir, "none.yaml"), text}, 2, "none.yaml"},
		{[]string{text, text}, 2, "named twice"},
		{[]string{filepath.Join(dir, "missing.log")}, 1, "missing.log: no such file"},
		{[]string{dir}, 1, "is a directory"},
		{[]string{text}, 1, "none of the 2 lines could be read"},
		{[]string{empty}, 1, "no flow log record in it"},
	} {
		status, stdout, stderr := tryRun(t.Context(), strings.NewReader(""), c.args...)
		if c.status == 2 && (stdout != "" || strings.Count(stderr, "\n") != 1) {
			t.Errorf("run %v: more than a sentence on standard error\n%s%s", c.args, stdout, stderr)
		}
		if status != c.status || !strings.Contains(stderr, c.say) {
			t.Errorf("run %v: status %d, want %d with %q\n%s", c.args, status, c.status, c.say, stderr)
		}
		if strings.Contains(stderr, "goroutine") || strings.Contains(stderr, "panic") {
			t.Errorf("run %v: a stack trace\n%s", c.args, stderr)
		}
	}
}

// TestRunUnreadableLine: a line that can not be read is told with its place,
// and the rest is done.
func TestRunUnreadableLine(t *testing.T) {
	in := goodLine + strings.Replace(goodLine, "40000", "99999", 1) + goodLine
	status, _, stderr := tryRun(t.Context(), strings.NewReader(in), "-")
	for _, want := range []string{"rejected -:2: srcport: 99999", "Flows 2 in 3 lines", "Rejected 1 1 range", "Sessions 1"} {
		if status != 0 || !strings.Contains(strings.Join(strings.Fields(stderr), " "), want) {
			t.Errorf("status %d, no %q in\n%s", status, want, stderr)
		}
	}
}

// blocking is an input that says something, tells so, and then nothing more.
type blocking struct {
	r    io.Reader
	told func()
	end  <-chan struct{}
}

func (b *blocking) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err == io.EOF {
		b.told()
		<-b.end
	}
	return n, err
}

// TestRunInterrupted: Ctrl-C ends a run with the summary so far and status 0.
func TestRunInterrupted(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	end := make(chan struct{})
	defer close(end)
	in := &blocking{r: strings.NewReader(strings.Repeat(goodLine, 2000)), told: interrupt, end: end}
	status, _, stderr := tryRun(ctx, in, "-")
	if status != 0 || !strings.Contains(stderr, "Interrupted: this is what was seen so far.") || !strings.Contains(stderr, "Flows") {
		t.Errorf("status %d\n%s", status, stderr)
	}
}

func TestHelp(t *testing.T) {
	var out, msg bytes.Buffer
	e := &env{stdin: strings.NewReader(""), stdout: &out, stderr: &msg}
	if execute(t.Context(), e, []string{"--help"}) != 0 || !strings.Contains(out.String(), "Commands:") {
		t.Errorf("help:\n%s%s", out.String(), msg.String())
	}
	for _, c := range commands() {
		out.Reset()
		if status := execute(t.Context(), e, []string{c.name, "-help"}); status != 0 || !strings.Contains(out.String(), "Usage:  flowstitch "+c.name) || !strings.Contains(out.String(), "Examples:") {
			t.Errorf("flowstitch %s -help: status %d, and it lacks a usage line or examples\n%s", c.name, status, out.String())
		}
	}
}
