package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/segmentio/encoding/json"
)

const decodeInput = "2 123456789010 eni-1 10.0.0.5 203.0.113.9 51000 443 6 20 4249 1418530010 1418530070 ACCEPT OK\n" +
	"2 123456789010 eni-1 - - - - - - - 1418530010 1418530070 - NODATA\n" +
	"2 123456789010 eni-1 10.0.0.5 203.0.113.9 NaN 443 6 20 4249 1418530010 1418530070 ACCEPT OK\n"

func runDecodeTest(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	e := &env{stdin: strings.NewReader(decodeInput), stdout: &out, stderr: &errs}
	code = execute(context.Background(), e, append([]string{"decode"}, args...))
	return out.String(), errs.String(), code
}

func TestDecodeTable(t *testing.T) {
	out, errs, code := runDecodeTest(t, "-explain", "-")
	for _, want := range []string{"10.0.0.5:51000", "203.0.113.9:443", "NODATA", `REJECTED (value) srcport: "NaN" is not a number`} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	for _, want := range []string{"inferred", "${version} ${account-id}", "3 lines: 2 records (1 NODATA, 0 SKIPDATA), 0 headers, 1 rejected", "rejected for value: 1"} {
		if !strings.Contains(errs, want) {
			t.Errorf("no %q in\n%s", want, errs)
		}
	}
	if code != 0 {
		t.Errorf("status %d", code)
	}
}

func TestDecodeJSON(t *testing.T) {
	out, _, code := runDecodeTest(t, "-format", "json", "-")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if code != 0 || len(lines) != 3 {
		t.Fatalf("status %d: %s", code, out)
	}
	var first, last map[string]any
	if err := json.Unmarshal([]byte(lines[0]), &first); err != nil {
		t.Fatal(err)
	}
	if first["srcaddr"] != "10.0.0.5" || first["dstport"] != 443.0 || first["log-status"] != "OK" || first["line"] != 1.0 {
		t.Errorf("%v", first)
	}
	if err := json.Unmarshal([]byte(lines[2]), &last); err != nil {
		t.Fatal(err)
	}
	if last["rejected"] != "value" || last["field"] != "srcport" || last["column"] != 6.0 {
		t.Errorf("%v", last)
	}
}

func TestDecodeFilesAndMistakes(t *testing.T) {
	name := filepath.Join(t.TempDir(), "flows.log")
	if err := os.WriteFile(name, []byte(decodeInput), 0o600); err != nil {
		t.Fatal(err)
	}
	out, _, code := runDecodeTest(t, "-rejects", name, "-")
	if code != 0 || strings.Count(out, "REJECTED") != 2 || strings.Contains(out, "NODATA") {
		t.Errorf("status %d: %s", code, out)
	}
	for _, c := range []struct {
		want string
		code int
		args []string
	}{
		{"name at least one flow log", 2, nil},
		{"-format: it is table or json", 2, []string{"-format", "xml", "-"}},
		{"has no dstaddr", 2, []string{"-log-format", "${srcaddr}", "-"}},
		{"no such file", 1, []string{"nowhere.log"}},
	} {
		if _, errs, code := runDecodeTest(t, c.args...); code != c.code || !strings.Contains(errs, c.want) {
			t.Errorf("%q: status %d, %s", c.args, code, errs)
		}
	}
}
