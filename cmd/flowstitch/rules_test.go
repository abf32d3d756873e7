package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// ask runs a command line as a shell would, from the project's root.
func ask(t *testing.T, args ...string) (status int, out, errs string) {
	t.Helper()
	t.Chdir("../..")
	var o, e bytes.Buffer
	status = execute(context.Background(), &env{stdin: strings.NewReader(""), stdout: &o, stderr: &e}, args)
	t.Chdir("cmd/flowstitch")
	return status, o.String(), e.String()
}

// TestShippedRules: the rules of examples are sound and each has a script,
// which passes.
func TestShippedRules(t *testing.T) {
	if status, out, errs := ask(t, "rules", "check", "examples/rules"); status != 0 || !strings.Contains(out, "26 rules are sound") {
		t.Errorf("check: %d %s%s", status, out, errs)
	}
	if status, out, errs := ask(t, "rules", "test", "examples/rules"); status != 0 {
		t.Errorf("test: %d %s%s", status, out, errs)
	}
	rules, err := loadRules([]string{"../../examples/rules"})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules {
		if _, err := os.Stat(filepath.Join("../../examples/rules/tests", r.Spec.ID+".scenario")); err != nil {
			t.Errorf("rule %s has no script: %v", r.Spec.ID, err)
		}
	}
}

func TestRulesTestFails(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"r.yaml":     "rules:\n- {id: r, title: x, match: server_port == 22, group_by: [client], window: 5m, severity: low}\n",
		"a.scenario": "set rules r.yaml\nflow 0s eni-1 tcp 203.0.113.9:1000 -> 10.0.0.1:22\nclock end\nexpect nothing\n",
		"b.scenario": "set rules gone.yaml\nclock end\n",
		"c.scenario": "nonsense\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	status, out, errs := ask(t, "rules", "test", dir)
	for _, want := range []string{"FAIL", "line 4", "alert rule r", "gone.yaml", "nonsense", "3 of 3 scripts failed"} {
		if !strings.Contains(out+errs, want) {
			t.Errorf("%d: %q is not in %s%s", status, want, out, errs)
		}
	}
}

func TestBacktest(t *testing.T) {
	dir := t.TempDir()
	stricter := filepath.Join(dir, "stricter.yaml")
	text := "rules:\n- {id: upload-large, title: 'x {{sum(bytes_out)}}', match: direction == \"outbound\", group_by: [client, server], window: 1h, having: 'sum(bytes_out) > \"100MB\"', severity: high}\n"
	if err := os.WriteFile(stricter, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	status, out, errs := ask(t, "rules", "backtest", "-rules", stricter, "-against", "examples/rules/data.yaml", "-examples", "1", "examples/incident.log.gz")
	for _, want := range []string{"added", "+ rule:upload-large", "- rule:one-way-outflow"} {
		if status != 0 || !strings.Contains(out, want) {
			t.Errorf("%d: %q is not in %s%s", status, want, out, errs)
		}
	}
	status, out, errs = ask(t, "rules", "backtest", "-rules", stricter, "-format", "json", "examples/incident.log.gz")
	if status != 0 || !strings.HasPrefix(out, `{`) || !strings.Contains(out, "rule:upload-large") {
		t.Errorf("%d: %.200s%s", status, out, errs)
	}
	if status, _, errs := ask(t, "rules", "backtest"); status != 2 || !strings.Contains(errs, "-rules") {
		t.Errorf("%d %s", status, errs)
	}
}

// TestRulesOfNothing: a file without rules is not sound, and one that is no text
// is not shown on the terminal.
func TestRulesOfNothing(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct{ text, want string }{
		"empty.yaml":  {"", "there is no rule in "},
		"binary.yaml": {"\x1f\x8b\x00\xff\x07", "it is not text"},
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		status, out, errs := ask(t, "rules", "check", path)
		if status == 0 || out != "" || !strings.Contains(errs, c.want) || strings.Count(errs, "\n") > 2 || strings.Contains(errs, "\xff") {
			t.Errorf("%s: status %d, %q, %q", name, status, out, errs)
		}
	}
}
