package hugepages

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/flowstitch/flowstitch/internal/race"
)

// resident returns the process's memory and how much of it is in huge pages, in
// KiB.
func resident(t *testing.T) (all, huge int) {
	t.Helper()
	b, err := os.ReadFile("/proc/self/smaps_rollup")
	if err != nil {
		t.Skip("this kernel does not tell: ", err)
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		switch n, _ := strconv.Atoi(f[1]); f[0] {
		case "Rss:":
			all = n
		case "AnonHugePages:":
			huge = n
		}
	}
	return all, huge
}

// TestForHeap: asking takes no memory, and what is allocated afterwards lies in
// huge pages.
func TestForHeap(t *testing.T) {
	if !wanted() {
		t.Skip("this machine gives huge pages to all or to none, or has a bound on address space")
	}
	before, _ := resident(t)
	if !ForHeap(256 << 20) {
		t.Fatal("the kernel refused")
	}
	asked, _ := resident(t)
	if asked-before > 16<<10 {
		t.Errorf("asking took %d KiB", asked-before)
	}
	var chunks []*[4096]byte
	for range 64 << 20 / 4096 {
		c := new([4096]byte)
		c[0] = 1
		chunks = append(chunks, c)
	}
	all, huge := resident(t)
	if huge < 16<<10 {
		t.Skipf("of %d KiB only %d are in huge pages: the machine's memory may be in pieces", all, huge)
	}
	if len(chunks) == 0 || !race.Enabled && all-asked > 160<<10 { // the race detector keeps shadows of all memory
		t.Errorf("64 MiB took %d KiB", all-asked)
	}
}
