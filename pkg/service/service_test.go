package service

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/flowstitch/flowstitch/pkg/config"
	"github.com/flowstitch/flowstitch/pkg/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type conf struct {
	Name      string           `yaml:"name"`
	Telemetry telemetry.Config `yaml:"telemetry"`
}

func (c *conf) Validate() error {
	var p config.Problems
	p.Check(c.Name != "", "name: must be given")
	p.Add("telemetry", c.Telemetry.Validate())
	return p.Err()
}

func (c *conf) Shown() telemetry.Config { return c.Telemetry }

func def() conf {
	c := conf{Name: "x", Telemetry: telemetry.Default()}
	c.Telemetry.Listen = "127.0.0.1:0"
	return c
}

func TestFlags(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(bad, []byte("titel: y\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	never := func(context.Context, conf, *telemetry.Telemetry) error { t.Error("the service ran"); return nil }
	for _, c := range []struct {
		args         []string
		code         int
		stdout, errs string
	}{
		{[]string{"-check"}, ExitOK, "configuration is good", ""},
		{[]string{"-dump"}, ExitOK, "name: x", ""},
		{[]string{"-version"}, ExitOK, "test devel", ""},
		{[]string{"-help"}, ExitOK, "  test -config test.yaml -check\n", ""},
		{[]string{"-nope"}, ExitUsage, "", "test: flag provided but not defined: -nope; see test -help\n"},
		{[]string{"x.yaml"}, ExitUsage, "", `no arguments, but there is "x.yaml"`},
		{[]string{"-config", bad}, ExitUsage, "", "titel"},
		{[]string{"-config", bad + ".none"}, ExitUsage, "", "no such file"},
	} {
		var out, errs bytes.Buffer
		if code := runArgs("test", def(), never, c.args, &out, &errs); code != c.code || !strings.Contains(out.String(), c.stdout) || !strings.Contains(errs.String(), c.errs) {
			t.Errorf("%v: status %d\nstdout %q\nstderr %q", c.args, code, out.String(), errs.String())
		}
	}
}

func TestRun(t *testing.T) {
	for want, result := range map[int]error{ExitOK: nil, ExitFailed: errors.New("the broker refused")} {
		var out, errs bytes.Buffer
		run := func(_ context.Context, c conf, _ *telemetry.Telemetry) error { return result }
		if code := runArgs("test", def(), run, nil, &out, &errs); code != want {
			t.Errorf("%v: status %d, %s", result, code, errs.String())
		}
		if result != nil && !strings.Contains(errs.String(), "test: the broker refused") {
			t.Errorf("stderr %q", errs.String())
		}
	}
}

func TestMemoryLimit(t *testing.T) {
	old := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(old)
	t.Setenv("GOMEMLIMIT", "")
	if err := limitMemory("1000000000"); err != nil {
		t.Fatal(err)
	}
	if got := debug.SetMemoryLimit(-1); got != 900000000 {
		t.Errorf("limit %d", got)
	}
	if err := limitMemory("much"); err == nil {
		t.Error("no error")
	}
	if err := limitMemory(""); err != nil {
		t.Error(err)
	}
}

func TestRelaxCollector(t *testing.T) {
	percent := func() int {
		p := debug.SetGCPercent(100)
		debug.SetGCPercent(p)
		return p
	}
	before := percent()
	t.Setenv("GOGC", "")
	undo := RelaxCollector()
	if got := percent(); got != gcPercent {
		t.Errorf("the heap may grow by %d percent, want %d", got, gcPercent)
	}
	if undo(); percent() != before {
		t.Errorf("%d percent afterwards, %d before", percent(), before)
	}
	t.Setenv("GOGC", "100")
	defer RelaxCollector()()
	if got := percent(); got != before {
		t.Errorf("%d percent, although GOGC is set", got)
	}
}
