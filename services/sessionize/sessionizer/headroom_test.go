package sessionizer

import (
	"context"
	"runtime"
	"runtime/debug"
	"testing"
	"testing/synctest"
	"time"
)

func TestGCPercent(t *testing.T) {
	for live, want := range map[uint64]int{0: 100, 4 << 20: 100, 32 << 20: 100, 64 << 20: 50, 256 << 20: 12, 4 << 30: 12} {
		if got := gcPercent(live); got != want {
			t.Errorf("%d bytes: %d %%, want %d", live, got, want)
		}
	}
}

// The goal follows the heap, and is given back at the end.
func TestKeepHeadroom(t *testing.T) {
	t.Setenv("GOGC", "")
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		KeepHeadroom(ctx)
		table := make([]byte, 128<<20)
		runtime.GC()
		<-time.After(2 * headroomEvery) // of fake time
		got := debug.SetGCPercent(100)
		runtime.KeepAlive(table)
		stop()
		synctest.Wait()
		if got < 12 || got > 25 {
			t.Errorf("%d %% with a live heap of 128 MiB", got)
		}
		if after := debug.SetGCPercent(100); after != 100 {
			t.Errorf("%d %% at the end", after)
		}
	})
}
