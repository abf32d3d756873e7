package config_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/flowstitch/flowstitch/pkg/config"
)

type sample struct {
	Name  string        `yaml:"name"`
	Every time.Duration `yaml:"every"`
	Part  part          `yaml:"part"`
}

type part struct {
	Count int `yaml:"count"`
}

func (p *part) Validate() error {
	var problems config.Problems
	problems.Check(p.Count > 0, "count: %d is not above 0", p.Count)
	problems.Check(p.Count < 10, "count: %d is not below 10", p.Count)
	return problems.Err()
}

func (s *sample) Validate() error {
	var problems config.Problems
	problems.Check(s.Name != "", "name: must be given")
	problems.Add("part", s.Part.Validate())
	return problems.Err()
}

func good() *sample { return &sample{Name: "x", Every: time.Minute, Part: part{Count: 1}} }

func TestParseOverDefaults(t *testing.T) {
	s := good()
	if err := config.Parse([]byte("every: 5m\npart: {count: 3}\n"), s); err != nil {
		t.Fatal(err)
	}
	if s.Name != "x" || s.Every != 5*time.Minute || s.Part.Count != 3 {
		t.Errorf("got %+v", s)
	}
	for _, empty := range []string{"", "  \n", "# only a comment\n"} {
		if err := config.Parse([]byte(empty), good()); err != nil {
			t.Errorf("%q: %v", empty, err)
		}
	}
}

func TestMistakesAreNamed(t *testing.T) {
	for in, wants := range map[string][]string{
		"evry: 5m\n":                      {"evry", "1"},                   // unknown key and its line
		"part:\n  count: 1\n  cuont: 2\n": {"cuont", "3"},                  // nested
		"every: soon\n":                   {"soon"},                        // not a duration
		"name: ''\npart: {count: 0}\n":    {"name: ", "part.count: 0"},     // every problem at once
		"name: [\n":                       {"1"},                           // no YAML at all
		"part: {count: 11}\n":             {"part.count: 11 is not below"}, // under its key
	} {
		err := config.Parse([]byte(in), good())
		if err == nil {
			t.Errorf("%q: no error", in)
			continue
		}
		for _, want := range wants {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q: %q does not mention %q", in, err, want)
			}
		}
	}
}

func TestDumpLoadsAgain(t *testing.T) {
	want := good()
	var b bytes.Buffer
	if err := config.Dump(&b, want); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	var got sample
	if err := config.Load(path, &got); err != nil || got != *want {
		t.Errorf("dumped\n%sloaded %+v, %v", b.String(), got, err)
	}
}

func TestMissingFile(t *testing.T) {
	err := config.Load(filepath.Join(t.TempDir(), "none.yaml"), good())
	if err == nil || !strings.Contains(err.Error(), "none.yaml") {
		t.Errorf("got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("name: x\nevery: 1s\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Fuzz(func(_ *testing.T, b []byte) { _ = config.Parse(b, good()) })
}

// TestNotText: a file that is no text is named as such and not shown.
func TestNotText(t *testing.T) {
	for _, b := range []string{"\x1f\x8b\x08", "a: \x00"} {
		c := sample{}
		if err := config.Parse([]byte(b), &c); err == nil || !strings.HasPrefix(err.Error(), "it is not text") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", b, err)
		}
	}
}
