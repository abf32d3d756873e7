package service

import (
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
)

// MemoryLimitEnv names the environment variable with the container's memory
// limit in bytes, filled by the downward API.
const MemoryLimitEnv = "FLOWSTITCH_MEMORY_LIMIT"

// limitMemory hands 90 % of the container's limit to the Go runtime, so that
// the collector works harder before the kernel kills. GOMEMLIMIT wins.
func limitMemory(limit string) error {
	if limit == "" || os.Getenv("GOMEMLIMIT") != "" {
		return nil
	}
	n, err := strconv.ParseInt(limit, 10, 64)
	if err != nil || n <= 0 {
		return fmt.Errorf("%s: %q is not a number of bytes", MemoryLimitEnv, limit)
	}
	debug.SetMemoryLimit(n / 10 * 9)
	return nil
}

// gcPercent is how much the heap may grow between two collections, in percent of
// what lives: twice of Go's default. A collection also gives the memory above its
// goal back, to be faulted in again soon; both took 8 % of the time of flowstitch
// read, and take 5 % of that of the whole pipeline (docs/performance.md), for half
// as much memory again at most. The memory limit holds as before.
const gcPercent = 200

// RelaxCollector lets the collector run half as often as Go's default is, unless
// the environment variable GOGC says how often. It returns what undoes that. Main
// calls it for the services; it is exported for programs that run them in their
// own process.
func RelaxCollector() (undo func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	before := debug.SetGCPercent(gcPercent)
	return func() { debug.SetGCPercent(before) }
}
