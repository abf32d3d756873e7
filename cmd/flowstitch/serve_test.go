package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/flowstitch/flowstitch/internal/alerttest"
	"github.com/flowstitch/flowstitch/pkg/kafkatest"
)

// watched is a writer that tells when something was said.
type watched struct {
	mu   sync.Mutex
	text bytes.Buffer
	want *regexp.Regexp
	said chan string // the first group of the first match
}

func (w *watched) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, err := w.text.Write(b)
	if m := w.want.FindSubmatch(w.text.Bytes()); m != nil && w.said != nil {
		w.said <- string(m[1])
		close(w.said)
		w.said = nil
	}
	return n, err
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// TestServeToKcat: a run that is kept open is a Kafka that kcat, a program of
// other people, reads; each line is one valid OCSF finding, and they are the
// lines that the run prints itself. Then Ctrl-C ends the run with its summary.
func TestServeToKcat(t *testing.T) {
	kcat, err := exec.LookPath("kcat")
	if err != nil && os.Getenv(kafkatest.EnvStrict) == "1" {
		t.Fatal("kcat is not installed: install Debian's kcat")
	}
	if err != nil {
		t.Skip("kcat is not installed (Debian's kcat)")
	}
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	said := make(chan string, 1)
	var out bytes.Buffer
	msg := &watched{want: regexp.MustCompile(`The broker stays at (\S+);`), said: said}
	ended := make(chan int, 1)
	go func() {
		e := &env{stdin: strings.NewReader(""), stdout: &out, stderr: msg}
		ended <- execute(ctx, e, []string{"run", "-serve", "127.0.0.1:0", "-format", "json", example})
	}()
	var addr string
	select {
	case addr = <-said:
	case status := <-ended:
		t.Fatalf("the run ended with status %d\n%s", status, msg)
	case <-time.After(2 * time.Minute):
		t.Fatalf("the run did not finish the file\n%s", msg)
	}
	limit, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	read, err := exec.CommandContext(limit, kcat, "-C", "-q", "-e", "-o", "beginning", "-b", addr,
		"-X", "isolation.level=read_committed", "-t", "flowstitch.alerts.v1").Output()
	if err != nil {
		t.Fatalf("kcat: %v", err)
	}
	interrupt()
	if status := <-ended; status != 0 || !strings.Contains(msg.String(), "Findings") || strings.Contains(msg.String(), "so far") {
		t.Errorf("the run that had judged everything when it was told to end: status %d\n%s", status, msg)
	}
	printed := map[string]int{}
	for l := range strings.Lines(out.String()) {
		printed[l]++
	}
	lines := 0
	for l := range strings.Lines(string(read)) {
		if lines++; printed[l] == 0 {
			t.Errorf("kcat shows a line that the run did not print, or prints it twice: %.200s", l)
		}
		printed[l]--
	}
	if lines == 0 || lines > strings.Count(out.String(), "\n") {
		t.Errorf("kcat read %d lines, the run printed %d", lines, strings.Count(out.String(), "\n"))
	}
	t.Run("valid", func(t *testing.T) {
		valid := alerttest.OCSF(t)
		for l := range bytes.Lines(read) {
			if err := valid(bytes.TrimSpace(l)); err != nil {
				t.Errorf("%v: %.200s", err, l)
			}
		}
	})
}

// TestNoBroker: a command without its broker says so and ends.
func TestNoBroker(t *testing.T) {
	for _, args := range [][]string{
		{"tail", "-brokers", "127.0.0.1:1", "alerts"},
		{"query", "-brokers", "127.0.0.1:1", "-count"},
		{"topics", "list", "-brokers", "127.0.0.1:1", "-prefix", "x.", "-timeout", "5s"},
	} {
		var out, msg bytes.Buffer
		e := &env{stdin: strings.NewReader(""), stdout: &out, stderr: &msg}
		if status := execute(t.Context(), e, args); status != 1 || !strings.Contains(msg.String(), "127.0.0.1:1: connect: connection refused") || out.Len() > 0 {
			t.Errorf("%v: status %d\n%s%s", args, status, out.String(), msg.String())
		}
	}
}
