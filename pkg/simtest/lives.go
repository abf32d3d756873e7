package simtest

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Lives gathers from the logs of processes how long slots took to be live.
type Lives struct {
	mu    sync.Mutex
	times []time.Duration
	last  []string
}

var tookRE = regexp.MustCompile(`msg="slot live".*took=(\S+)`)

// tailLines is how many of the last lines are kept, at least.
const tailLines = 200

// Line takes in a line of process i's log.
func (l *Lives) Line(i int, line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if m := tookRE.FindStringSubmatch(line); m != nil {
		if d, err := time.ParseDuration(m[1]); err == nil {
			l.times = append(l.times, d)
		}
	}
	if l.last = append(l.last, strconv.Itoa(i)+" "+line); len(l.last) > 2*tailLines {
		l.last = slices.Delete(l.last, 0, tailLines)
	}
}

// Tail is the last lines of all processes.
func (l *Lives) Tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.last, "\n")
}

// String is the distribution of the times to live.
func (l *Lives) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.times) == 0 {
		return "no slot went live"
	}
	slices.Sort(l.times)
	return fmt.Sprintf("time to live of %d takings: median %v, p99 %v, max %v", len(l.times),
		l.times[len(l.times)/2], l.times[len(l.times)*99/100], l.times[len(l.times)-1])
}
