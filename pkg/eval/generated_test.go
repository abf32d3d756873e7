package eval

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/flowstitch/flowstitch/internal/alerttest/encoded"
	"github.com/flowstitch/flowstitch/pkg/detect"
)

// shortSeeds are the variations of every test run, allSeeds those of make eval.
// No threshold was chosen by what either shows.
const shortSeeds, allSeeds = 2, 30

// TestGenerated holds, on generated traffic with seeds that nothing was tuned
// on, that every attack is found and that nothing else is accused.
func TestGenerated(t *testing.T) {
	write := os.Getenv("FLOWSTITCH_EVAL_WRITE") == "1"
	seeds := shortSeeds
	if write {
		seeds = allSeeds
	}
	set, valid := detect.DefaultSettings(), encoded.Validator(t)
	var quiet, attacked tally
	for seed := 1; seed <= seeds; seed++ {
		for _, attacks := range []bool{false, true} {
			g, err := Generate(Vary(uint64(seed), attacks), &set)
			if err != nil {
				t.Fatal(err)
			}
			t.Log(g.Row())
			validate(t, g.Row(), g.Pipeline.Statements, valid)
			checkPlace(t, g)
			for _, s := range g.False {
				t.Logf("false: %s %s: %s", s.Severity, s.Detector.ID, s.Sentence)
			}
			if attacks {
				attacked.add(g)
			} else {
				quiet.add(g)
			}
		}
	}
	text := quiet.text("without attacks") + attacked.text("with attacks")
	t.Log("\n" + text)
	if float64(attacked.found) < 0.95*float64(attacked.attacks) {
		t.Errorf("found %d of %d attacks", attacked.found, attacked.attacks)
	}
	// One finding above Informational in ten quiet days of four hours is what a
	// person may be asked to look at in vain.
	if n := quiet.falses + attacked.falses; n > max(1, (quiet.n+attacked.n)/10) {
		t.Errorf("%d false findings in %d scenarios", n, quiet.n+attacked.n)
	}
	if write {
		writeSection(t, generatedMarker, GeneratedHeader+"\n"+quiet.rows+attacked.rows+"\n"+text)
	}
}

// checkPlace holds that alerts say where they are, as far as the format tells:
// from version 3 the VPC, from version 4 the region.
func checkPlace(t *testing.T, g *Generated) {
	n := &g.Scenario.Network
	for i := range g.Pipeline.Statements {
		s := &g.Pipeline.Statements[i]
		if c := &s.Context; g.Version >= 4 && c.InterfaceID != "" && s.Detector.ID != "coverage-gap" && (c.VPCID != n.VPC || c.Region != n.Region) ||
			g.Version < 4 && c.Region != "" {
			t.Errorf("%s: version %d: %s is at %+v", g.Row(), g.Version, s.Sentence, *c)
		}
	}
}

// tally sums variations up.
type tally struct {
	n, attacks, found, falses int
	missed                    map[string]int
	rows                      string
}

func (s *tally) add(g *Generated) {
	s.n++
	s.attacks += len(g.Found) + len(g.Missed)
	s.found += len(g.Found)
	s.falses += len(g.False)
	for _, m := range g.Missed {
		if s.missed == nil {
			s.missed = map[string]int{}
		}
		s.missed[m]++
	}
	s.rows += g.Row() + "\n"
}

func (s *tally) text(what string) string {
	var list []string
	for kind, n := range s.missed {
		list = append(list, fmt.Sprintf("%s %d times", kind, n))
	}
	slices.Sort(list)
	out := fmt.Sprintf("%d scenarios %s: %d false findings above Informational", s.n, what, s.falses)
	if s.attacks > 0 {
		out += fmt.Sprintf(", %d of %d attacks found", s.found, s.attacks)
	}
	if len(list) > 0 {
		out += " (missed: " + strings.Join(list, ", ") + ")"
	}
	return out + ".\n"
}

// writeSection replaces what stands between a marker and the next heading or
// marker of docs/evaluation.md.
func writeSection(t *testing.T, from, body string) {
	path := filepath.Join("..", "..", "docs", "evaluation.md")
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, found := strings.Cut(string(old), from)
	if !found {
		t.Fatalf("%s has no line %q", path, from)
	}
	tail := ""
	if i := strings.Index(rest, "\n## "); i >= 0 {
		tail = rest[i:]
	}
	if err := os.WriteFile(path, []byte(head+from+"\n"+body+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}

// generatedMarker begins the table of generated scenarios in docs/evaluation.md.
const generatedMarker = "<!-- generated scenarios, written by make eval -->\n"
