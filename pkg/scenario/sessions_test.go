package scenario

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/session"
)

func scripts(t *testing.T) map[string]*Script {
	t.Helper()
	files, err := filepath.Glob("testdata/session/*.txt")
	if err != nil || len(files) < 20 {
		t.Fatalf("found %d scripts, %v", len(files), err)
	}
	all := map[string]*Script{}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		s, err := Parse(string(text))
		if err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		all[strings.TrimSuffix(filepath.Base(f), ".txt")] = s
	}
	return all
}

// TestSessionScripts runs every script as it is written.
func TestSessionScripts(t *testing.T) {
	for name, s := range scripts(t) {
		t.Run(name, func(t *testing.T) {
			if s.Title == "" {
				t.Error("the script has no title")
			}
			failures, err := s.Run(NewSessions())
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range failures {
				t.Error(f)
			}
		})
	}
}

// TestScriptsInOtherOrders runs every script whose order may vary with the
// records between two clocks reversed: the final facts are the same.
func TestScriptsInOtherOrders(t *testing.T) {
	for name, s := range scripts(t) {
		if s.Fixed {
			continue
		}
		t.Run(name, func(t *testing.T) {
			want, err := s.Feed(NewSessions())
			if err != nil {
				t.Fatal(err)
			}
			turned := *s
			turned.Steps = slices.Clone(s.Steps)
			turned.Steps = slices.DeleteFunc(turned.Steps, func(st Step) bool { return st.Op == OpExpect || st.Op == OpTick })
			for i := 0; i < len(turned.Steps); i++ {
				j := i
				for j < len(turned.Steps) && turned.Steps[j].Op == OpFlow {
					j++
				}
				slices.Reverse(turned.Steps[i:j])
				i = j
			}
			got, err := turned.Feed(NewSessions())
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(finals(want), finals(got)); d != "" {
				t.Errorf("reversed arrival changes final facts (-as written +reversed):\n%s", d)
			}
		})
	}
}

// finals leaves out what is provisional and the deltas against it.
func finals(facts []Fact) (list []string) {
	for _, f := range facts {
		if f.Provisional {
			continue
		}
		f.Fields = slices.DeleteFunc(slices.Clone(f.Fields), func(x Field) bool {
			return x.Name == "out-delta" || x.Name == "in-delta" || x.Name == "new"
		})
		list = append(list, f.String())
	}
	return list
}

// cutting is a target that goes through a snapshot before every step.
type cutting struct {
	*Sessions
	t *testing.T
}

func (c cutting) cut() {
	fresh := session.NewTable(c.Config)
	if err := fresh.Restore(c.Table().AppendSnapshot(nil)); err != nil {
		c.t.Fatal(err)
	}
	c.SetTable(fresh)
}

func (c cutting) Observe(r *flow.Record) error {
	c.cut()
	return c.Sessions.Observe(r)
}

func (c cutting) Advance(clock flow.Time) error {
	c.cut()
	return c.Sessions.Advance(clock)
}

func (c cutting) Tick(wall int64) error {
	c.cut()
	return c.Sessions.Tick(wall)
}

// TestScriptsThroughSnapshots: a table that is written and read back before
// every step does as one that is not.
func TestScriptsThroughSnapshots(t *testing.T) {
	for name, s := range scripts(t) {
		t.Run(name, func(t *testing.T) {
			failures, err := s.Run(cutting{NewSessions(), t})
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range failures {
				t.Error(f)
			}
		})
	}
}
