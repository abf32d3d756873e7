package kinesistest

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/encoding/json"
)

// Throttler stands before a service that never throttles and does it in its
// place, as AWS says: so many reads a second and shard, which all readers share,
// and one subscription. Another reader that is not there takes the share of one call in others, so
// that a service which is too slow for its limit is throttled, too.
type Throttler struct {
	// URL is the endpoint, on the loopback interface.
	URL string

	reads   int
	refused atomic.Int64

	mu     sync.Mutex
	shards map[string]string      // iterators, by shard
	recent map[string][]time.Time // reads of the last second
	calls  int
}

// Throttle puts a Throttler before the service at target until the test ends.
func Throttle(t testing.TB, target string, reads int) *Throttler {
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	th := &Throttler{reads: reads, shards: map[string]string{}, recent: map[string][]time.Time{}}
	proxy := httputil.NewSingleHostReverseProxy(u)
	proxy.ModifyResponse = th.follow
	// A client that hangs up is its own affair.
	proxy.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { th.serve(proxy, w, r) }))
	t.Cleanup(srv.Close)
	th.URL = srv.URL
	return th
}

// Refused is how many reads were throttled.
func (th *Throttler) Refused() int { return int(th.refused.Load()) }

// others is how many calls there are to one that another reader was quicker with.
const others = 20

// shardHeader carries a call's shard from the request to its response.
const shardHeader = "X-Flowstitch-Test-Shard"

func (th *Throttler) serve(next http.Handler, w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	var in request
	_, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	limit := th.limit(op)
	if limit > 0 && json.Unmarshal(body, &in) == nil {
		shard := in.ShardId
		if op == "GetRecords" {
			shard = th.take(in.ShardIterator)
		}
		if !th.allow(op+shard, limit) {
			th.refused.Add(1)
			write(w, answer{fault: &Throttled, text: "rate exceeded for the shard"})
			return
		}
		if op == "SubscribeToShard" { // its answer has no end
			next.ServeHTTP(w, r)
			return
		}
		r.Header.Set(shardHeader, shard)
	}
	// An emulator may not outlive a request that breaks off. Without a Done of its
	// own the proxy would ask the connection whether the client is gone.
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	defer cancel()
	next.ServeHTTP(w, r.WithContext(ctx))
}

// limit is how often a second an operation may be called for a shard; 0 is as
// often as one likes.
func (th *Throttler) limit(op string) int {
	switch op {
	case "GetRecords", "GetShardIterator":
		return th.reads
	case "SubscribeToShard":
		return 1
	}
	return 0
}

// take returns the shard of an iterator, which is used once in general.
func (th *Throttler) take(iterator string) string {
	th.mu.Lock()
	defer th.mu.Unlock()
	return th.shards[iterator]
}

func (th *Throttler) allow(key string, limit int) bool {
	th.mu.Lock()
	defer th.mu.Unlock()
	now := time.Now()
	recent := th.recent[key]
	for len(recent) > 0 && now.Sub(recent[0]) > time.Second {
		recent = recent[1:]
	}
	th.calls++
	if len(recent) >= limit || th.calls%others == 0 {
		th.recent[key] = recent
		return false
	}
	th.recent[key] = append(recent, now)
	return true
}

// follow learns to which shard the iterator of an answer belongs.
func (th *Throttler) follow(r *http.Response) error {
	shard := r.Request.Header.Get(shardHeader)
	if shard == "" || r.StatusCode != http.StatusOK {
		return nil
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	var out struct{ ShardIterator, NextShardIterator string }
	if err := json.Unmarshal(body, &out); err != nil {
		return nil // the client will judge it
	}
	th.mu.Lock()
	defer th.mu.Unlock()
	for _, it := range []string{out.ShardIterator, out.NextShardIterator} {
		if it != "" {
			th.shards[it] = shard
		}
	}
	return nil
}
