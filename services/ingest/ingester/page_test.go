package ingester

import (
	"os"
	"regexp"
	"testing"

	"github.com/flowstitch/flowstitch/pkg/config"
)

// TestPageConfiguresIngest loads every configuration that the page shows.
func TestPageConfiguresIngest(t *testing.T) {
	b, err := os.ReadFile("../../../docs/connect-your-vpc.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(b, -1)
	if len(blocks) != 2 {
		t.Fatalf("%d configurations on the page", len(blocks))
	}
	for _, m := range blocks {
		cfg := Default()
		if err := config.Parse(m[1], &cfg); err != nil {
			t.Error(err)
		}
	}
}
