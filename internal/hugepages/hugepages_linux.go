package hugepages

import (
	"bytes"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"syscall"
)

// ForHeap asks for huge pages for about the next n bytes that the heap grows by,
// and reports whether they were granted. It is for the beginning of main, and
// takes some 100 microseconds.
//
// Go has no setting for this. But it hands out the lowest addresses first and
// keeps those that it has: so memory is allocated, marked and given back unused.
// The mark belongs to the addresses and stays.
func ForHeap(n int) bool {
	if !wanted() {
		return false
	}
	if limit := debug.SetMemoryLimit(-1); limit != math.MaxInt64 {
		n = int(min(int64(n), limit/2)) // or the collector would run for it
	}
	b := make([]byte, max(n, 1<<21))
	err := syscall.Madvise(b, syscall.MADV_HUGEPAGE)
	runtime.KeepAlive(b)
	runtime.GC() // frees it; debug.FreeOSMemory would do so too, but took away half of the gain
	return err == nil
}

// wanted reports whether asking makes a difference, and address space may be
// taken freely: neither the process nor the machine has a bound on it.
func wanted() bool {
	thp, err := os.ReadFile("/sys/kernel/mm/transparent_hugepage/enabled")
	if err != nil || !bytes.Contains(thp, []byte("[madvise]")) {
		return false
	}
	strict, err := os.ReadFile("/proc/sys/vm/overcommit_memory")
	if err != nil || bytes.HasPrefix(strict, []byte("2")) {
		return false
	}
	var limit syscall.Rlimit
	return syscall.Getrlimit(syscall.RLIMIT_AS, &limit) == nil && limit.Cur == math.MaxUint64
}
