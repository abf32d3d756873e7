package main

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flowstitch/flowstitch/internal/alerttest"
	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/gen"
)

// runJSON runs the whole pipeline over a log and returns the alerts' lines.
func runJSON(t *testing.T, log string) [][]byte {
	t.Helper()
	var out, msg bytes.Buffer
	e := &env{stdin: strings.NewReader(""), stdout: &out, stderr: &msg}
	if status := execute(t.Context(), e, []string{"run", "-format", "json", log}); status != 0 {
		t.Fatalf("flowstitch run %s: status %d\n%s", log, status, msg.String())
	}
	return bytes.FieldsFunc(out.Bytes(), func(r rune) bool { return r == '\n' })
}

// final is the last statement of each finding that was not withdrawn.
func final(t *testing.T, lines [][]byte) map[alert.UID]*alert.Alert {
	t.Helper()
	out := map[alert.UID]*alert.Alert{}
	for _, l := range lines {
		a, err := alert.Parse(l)
		if err != nil {
			t.Fatalf("%v: %.200s", err, l)
		}
		if b := out[a.UID]; b == nil || a.Sequence > b.Sequence {
			out[a.UID] = a
		}
	}
	maps.DeleteFunc(out, func(_ alert.UID, a *alert.Alert) bool { return a.Verdict == alert.Withdrawn })
	return out
}

// facts are what two runs over the same records must agree on.
func facts(found map[alert.UID]*alert.Alert) (out []string) {
	for uid, a := range found {
		out = append(out, fmt.Sprintln(uid, a.Detector.ID, a.Entity.Value, a.Severity, a.Verdict, a.First, a.Last))
	}
	slices.Sort(out)
	return out
}

const example = "../../examples/incident.log.gz"

// TestIncident: the run of the README finds every attack of the example, where
// the truth says, and each alert is valid OCSF.
func TestIncident(t *testing.T) {
	lines := runJSON(t, example)
	found := final(t, lines)
	f, err := os.Open("../../examples/incident.truth.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	col := func(row []string, name string) string { return row[slices.Index(rows[0], name)] }
	for _, row := range rows[1:] {
		who := strings.Split(col(row, "attacker_ip")+";"+col(row, "victim_ip"), ";")
		if !told(found, col(row, "expect"), who) {
			t.Errorf("%s by %s was not found by %s", col(row, "kind"), col(row, "attacker_ip"), col(row, "expect"))
		}
	}
	t.Run("valid", func(t *testing.T) {
		valid := alerttest.OCSF(t)
		for _, l := range lines {
			if err := valid(l); err != nil {
				t.Errorf("%v: %.200s", err, l)
			}
		}
	})
	t.Run("twice", func(t *testing.T) {
		if d := cmp.Diff(facts(found), facts(final(t, runJSON(t, example)))); d != "" {
			t.Errorf("a second run over the same file found something else:\n%s", d)
		}
	})
	t.Run("shuffled", func(t *testing.T) {
		if d := cmp.Diff(facts(found), facts(final(t, runJSON(t, shuffled(t))))); d != "" {
			t.Errorf("the same records in another order gave something else:\n%s", d)
		}
	})
}

// shuffled is the example with each thousand lines, a minute and a half, in
// another order: well within the lateness.
func shuffled(t *testing.T) string {
	t.Helper()
	s, err := gen.NewStream(gen.Incident())
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := gen.Write(&b, s, gen.Lines{}); err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	var out []byte
	for block := range slices.Chunk(slices.Collect(bytes.Lines(b.Bytes())), 1000) {
		r.Shuffle(len(block), func(i, j int) { block[i], block[j] = block[j], block[i] })
		for _, l := range block {
			out = append(out, l...)
		}
	}
	path := filepath.Join(t.TempDir(), "shuffled.log")
	if err := os.WriteFile(path, out, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// told reports whether the detector said something of one of the addresses.
func told(found map[alert.UID]*alert.Alert, detector string, who []string) bool {
	for _, a := range found {
		if a.Detector.ID != detector {
			continue
		}
		names := []string{a.Entity.Value, a.Entity.Addr.String()}
		for _, p := range a.Peers {
			names = append(names, p.Addr.String())
		}
		for _, w := range who {
			if slices.ContainsFunc(names, func(n string) bool { return n == w || strings.HasPrefix(n, w+">") || strings.HasPrefix(n, w+":") }) {
				return true
			}
		}
	}
	return false
}

// TestOrdinaryTraffic: the same morning without the attacks raises nothing.
func TestOrdinaryTraffic(t *testing.T) {
	sc := gen.Incident()
	sc.Attacks = nil
	for uid, a := range final(t, runJSON(t, logOf(t, sc))) {
		t.Errorf("a false alarm: %v %s: %s", uid, a.Detector.ID, a.Sentence)
	}
}

func logOf(t *testing.T, sc gen.Scenario) string {
	t.Helper()
	s, err := gen.NewStream(sc)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "flows.log")
	if err := toFile(path, func(w io.Writer) error { _, err := gen.Write(w, s, gen.Lines{}); return err }); err != nil {
		t.Fatal(err)
	}
	return path
}
