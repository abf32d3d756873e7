package detector

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/flowstitch/flowstitch/pkg/config"
	"github.com/flowstitch/flowstitch/pkg/detect"
)

// TestPages: every detector has a page under docs/alerts with the sections that
// a person needs, and the tuning that the page shows is one.
func TestPages(t *testing.T) {
	set := detect.DefaultSettings()
	for _, d := range detect.Detectors(&set) {
		spec := d.Spec()
		b, err := os.ReadFile(filepath.Join("..", "..", "..", spec.Doc))
		if err != nil {
			t.Errorf("%s has no page: %v", spec.ID, err)
			continue
		}
		page := string(b)
		for _, section := range []string{
			"## Why it exists", "## How it judges", "## Parameters", "## What it remembers, and the bound",
			"## False alarms, and how to tell", "## Tuning", "## When it speaks, and how loud", "ATT&CK: T", "## Scenarios that hold it",
		} {
			if section == "ATT&CK: T" && len(spec.Attacks) == 0 {
				continue
			}
			if !strings.Contains(page, section) {
				t.Errorf("%s says nothing under %q", spec.Doc, section)
			}
		}
		for _, a := range spec.Attacks {
			if !strings.Contains(page, a) {
				t.Errorf("%s does not name %s", spec.Doc, a)
			}
		}
		_, rest, found := strings.Cut(page, "```yaml\n")
		yaml, _, ended := strings.Cut(rest, "```")
		if !found || !ended {
			t.Errorf("%s shows no tuning", spec.Doc)
			continue
		}
		tuning := DefaultTuning()
		if err := config.Parse([]byte(yaml), &tuning); err != nil {
			t.Errorf("%s: %v", spec.Doc, err)
			continue
		}
		if _, err := tuning.settings(); err != nil {
			t.Errorf("%s: %v", spec.Doc, err)
		}
	}
}
