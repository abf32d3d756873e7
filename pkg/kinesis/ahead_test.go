package kinesis

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/kinesis/kinesistest"
	"github.com/flowstitch/flowstitch/pkg/kinesis/shard"
)

// hours fills a stream with records of the hours before now, so many a quarter
// of an hour, in pages of ten.
func hours(srv *kinesistest.Server, p *kinesistest.Driver, shards, quarters, each int) {
	var mu sync.Mutex
	at := time.Now().Add(-time.Duration(quarters) * 15 * time.Minute)
	now := func() time.Time { mu.Lock(); defer mu.Unlock(); return at }
	srv.Clock(now)
	srv.RecordsPerCall(10)
	p.Line = func(lane, number int) []byte { return fmt.Appendf(nil, "%d %d %d", lane, number, now().Unix()) }
	p.Create(shards)
	for range quarters {
		p.Feed(each)
		mu.Lock()
		at = at.Add(15 * time.Minute)
		mu.Unlock()
	}
}

const slow = "shardId-000000000000"

// TestOneShardHoursBehindPausesTheRest: three shards come no further than the
// policy says ahead of a fourth that gives its first page only, whichever slot and pod they
// are in, and go on when it does.
func TestOneShardHoursBehindPausesTheRest(t *testing.T) {
	t.Parallel()
	for _, fanOut := range []string{"", "flowstitch"} {
		t.Run("fan-out "+fanOut, func(t *testing.T) {
			srv := kinesistest.Start(t)
			p := newDriver(t, srv.URL)
			hours(srv, p, 4, 6, 160)
			ids := []string{slow, "shardId-000000000001", "shardId-000000000002", "shardId-000000000003"}
			for _, id := range ids {
				srv.Hold("vpc", id, 10)
			}
			cfg := testConfig(srv.URL)
			cfg.Streams[0].FanOut = fanOut
			d := newDeployment(t, cfg, 4)
			a, b := d.join(0, 1), d.join(2, 3)
			d.wait("the first page of each", func() bool { return d.total() == 40 })
			for _, id := range ids[1:] {
				srv.Hold("vpc", id, -1)
			}
			paused := func() float64 { return a.sum(t, "paused_shards", "vpc") + b.sum(t, "paused_shards", "vpc") }
			d.wait("three paused shards", func() bool { return paused() == 3 })
			if total := d.count(); total > p.Total()/2 {
				t.Errorf("%d of %d records came out while one shard stands at the first hour", total, p.Total())
			}
			if reading := a.sum(t, "reading_shards", "vpc") + b.sum(t, "reading_shards", "vpc"); reading != 1 {
				t.Errorf("%v shards are being read", reading)
			}
			before := d.count()
			d.wait("the clock to be there", func() bool { return d.clock != flow.MinTime })
			d.mu.Lock()
			if behind := time.Since(d.clock.UTC()); behind < 80*time.Minute {
				t.Errorf("the clock is only %v behind: it does not wait for the shard", behind)
			}
			d.mu.Unlock()
			if now := d.count(); now != before {
				t.Errorf("%d records came out while three shards are paused and one gives nothing", now-before)
			}
			srv.Hold("vpc", slow, -1)
			d.check(p)
			d.wait("no paused shard", func() bool { return paused() == 0 })
			a.kill()
			b.kill()
			if n := paused() + a.sum(t, "reading_shards", "vpc") + b.sum(t, "reading_shards", "vpc"); n != 0 {
				t.Errorf("%v shards are still counted as read or paused", n)
			}
		})
	}
}

// TestAShardThatWasLeftBehindPausesTheRest: the others were read to their tips
// while the slot of this one was away for two hours.
func TestAShardThatWasLeftBehindPausesTheRest(t *testing.T) {
	srv := kinesistest.Start(t)
	p := newDriver(t, srv.URL)
	p.Create(3)
	d := newDeployment(t, testConfig(srv.URL), 3)
	pod := d.join(all(3)...)
	p.Feed(60)
	d.check(p)
	d.wait("a clock", func() bool { return d.clock != flow.MinTime })
	pod.kill()
	const id = "shardId-000000000001"
	d.clock = flow.MinTime // what is downstream has not heard of the others either
	for n := range d.ledger {
		for name, value := range d.ledger[n] {
			cp, err := shard.ParseCheckpoint(value)
			if err != nil {
				t.Fatal(err)
			}
			if cp.Shard == id {
				cp.Arrival -= (2 * time.Hour).Milliseconds()
				cp.Newest = cp.Newest.Add(-7200)
				d.ledger[n][name] = cp.Append(nil)
			}
		}
	}
	p.Feed(300)
	srv.Hold("vpc", id, 0)
	before := d.count()
	pod = d.join(all(3)...)
	d.wait("two paused shards", func() bool { return pod.sum(t, "paused_shards", "vpc") == 2 })
	if now := d.count(); now != before {
		t.Errorf("%d records of shards that are two hours ahead came out", now-before)
	}
	srv.Hold("vpc", id, -1)
	d.check(p)
	d.wait("no paused shard", func() bool { return pod.sum(t, "paused_shards", "vpc") == 0 })
}

// TestBehindTellsOfTheShardThatIsFurthestBehind: of a stream that is read to its
// tip but for one shard, that one is shown.
func TestBehindTellsOfTheShardThatIsFurthestBehind(t *testing.T) {
	srv := kinesistest.Start(t)
	p := newDriver(t, srv.URL)
	hours(srv, p, 2, 1, 40)
	srv.Hold("vpc", slow, 10)
	d := newDeployment(t, testConfig(srv.URL), 1)
	pod := d.join(0)
	d.wait("the other shard to be read", func() bool { return d.total() >= 20 })
	d.wait("a quarter of an hour behind", func() bool {
		behind := pod.sum(t, "behind_seconds", "vpc")
		return behind > 14*60 && behind < 16*60
	})
	srv.Hold("vpc", slow, -1)
	d.check(p)
	d.wait("nothing behind", func() bool { return pod.sum(t, "behind_seconds", "vpc") == 0 })
}
