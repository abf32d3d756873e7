package sessionizer

import (
	"context"
	"os"
	"runtime/debug"
	gometrics "runtime/metrics"
	"time"
)

// What the collector may let the heap grow by before it runs: an eighth, and not
// less than 32 MiB. Go's own rule is to let it double, which is right for a heap of
// pointers, for its collector reads all of them each time. That of sessionize is
// tables without pointers, of which the collector reads nothing: running eight
// times as often costs little, and saves nearly the memory of a second table.
const (
	headroomShare = 8
	headroomLeast = 32 << 20
	headroomEvery = time.Second
)

// KeepHeadroom sets the collector's goal by the size of the live heap, until ctx
// ends: see headroomShare. It is for a process that does nothing else than
// sessionize, and for its whole life: an orderly hand-over begins when the service's
// own context ends, and is when most is allocated. The environment variable GOGC wins: then it does nothing.
func KeepHeadroom(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	now := gcPercent(liveAfterCollection())
	before := debug.SetGCPercent(now)
	go func() {
		tick := time.NewTicker(headroomEvery)
		defer tick.Stop()
		defer debug.SetGCPercent(before)
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			// Setting it stops the world, so only for a change that matters.
			if p := gcPercent(liveAfterCollection()); p > now+now/8 || p < now-now/8 {
				debug.SetGCPercent(p)
				now = p
			}
		}
	}()
}

// liveAfterCollection returns the bytes that the last collection found alive.
func liveAfterCollection() uint64 {
	s := []gometrics.Sample{{Name: "/gc/heap/live:bytes"}}
	gometrics.Read(s)
	return s[0].Value.Uint64()
}

// gcPercent is the percentage of growth for a live heap of so many bytes. It is
// never above Go's default.
func gcPercent(live uint64) int {
	room := max(live/headroomShare, headroomLeast)
	return int(min(100, room*100/max(live, 1)))
}
