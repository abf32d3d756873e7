package kinesistest

import (
	"fmt"
	"io"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/encoding/json"
)

// Fault is an error that the fake answers with.
type Fault struct {
	Status int    // 400 or 500
	Code   string // for example ProvisionedThroughputExceededException
}

// Faults that readers meet.
var (
	Throttled    = Fault{400, "ProvisionedThroughputExceededException"}
	Expired      = Fault{400, "ExpiredIteratorException"}
	ExpiredToken = Fault{400, "ExpiredTokenException"}
	Internal     = Fault{500, "InternalFailureException"}
	Denied       = Fault{400, "AccessDeniedException"}
)

// Server is the fake. All its methods may be called at any time.
type Server struct {
	// URL is the endpoint, on the loopback interface.
	URL string

	mu      sync.Mutex
	changed *sync.Cond
	streams map[string]*stream
	epoch   int // iterators of an earlier epoch have expired
	fault   func(op, shard string) *Fault
	page    int
	perCall int // records
	calls   map[string]int
	signed  map[string]bool // access key and region, as in "AK/eu-west-1"
	now     func() time.Time
	closed  bool
	consume map[string]string // consumer ARN -> stream
	subLife time.Duration
	http    *httptest.Server
}

// Start runs a fake until the test ends.
func Start(t testing.TB) *Server {
	s := &Server{streams: map[string]*stream{}, page: 1000, perCall: 10_000, calls: map[string]int{}, signed: map[string]bool{}, now: time.Now,
		consume: map[string]string{}, subLife: 5 * time.Minute}
	s.changed = sync.NewCond(&s.mu)
	s.http = httptest.NewServer(s)
	s.URL = s.http.URL
	t.Cleanup(func() {
		s.mu.Lock()
		s.closed = true
		s.changed.Broadcast()
		s.mu.Unlock()
		s.http.Close()
	})
	return s
}

// Fail sets what every call is answered with: nil for an ordinary answer. The
// function is given the operation and the shard, "" where there is none.
func (s *Server) Fail(f func(op, shard string) *Fault) { s.locked(func() { s.fault = f }) }

// ExpireIterators makes every iterator that was handed out invalid.
func (s *Server) ExpireIterators() { s.locked(func() { s.epoch++ }) }

// PageSize sets how many shards a page of ListShards holds at most.
func (s *Server) PageSize(n int) { s.locked(func() { s.page = n }) }

// RecordsPerCall sets how many records one read or one event of a subscription
// gives at most; AWS's is 10,000.
func (s *Server) RecordsPerCall(n int) { s.locked(func() { s.perCall = n }) }

// Hold lets a shard give its first n records only, as if the rest were slow to
// come: calls are answered and say that there is more. Below 0 lets go.
func (s *Server) Hold(name, id string, n int) {
	s.locked(func() { s.streams[name].shard(id).held = n })
}

// SubscriptionLife sets after what time a subscription ends; AWS's is 5 min.
func (s *Server) SubscriptionLife(d time.Duration) { s.locked(func() { s.subLife = d }) }

// Calls returns how often an operation was called.
func (s *Server) Calls(op string) (n int) {
	s.locked(func() { n = s.calls[op] })
	return n
}

// Signed returns by whom, and for which region, calls were signed: an access key
// and a region each, as in "AK/eu-west-1".
func (s *Server) Signed() (by []string) {
	s.locked(func() { by = slices.Sorted(maps.Keys(s.signed)) })
	return by
}

// Clock replaces the clock that stamps arrivals.
func (s *Server) Clock(now func() time.Time) { s.locked(func() { s.now = now }) }

// Trim removes the oldest n records of a shard, as retention does.
func (s *Server) Trim(name, id string, n int) {
	s.locked(func() { s.streams[name].shard(id).trimmed += n })
}

// Drop removes closed shards from the listing, as retention does in the end.
func (s *Server) Drop(name string, ids ...string) {
	s.locked(func() {
		st := s.streams[name]
		for _, id := range ids {
			*st.shard(id) = shard{id: "", held: -1, lo: new(big.Int), hi: new(big.Int)}
		}
	})
}

// SetRetention sets a stream's retention as the service tells it.
func (s *Server) SetRetention(name string, d time.Duration) {
	s.locked(func() { s.streams[name].retain = d })
}

// Delete deletes a stream.
func (s *Server) Delete(name string) { s.locked(func() { delete(s.streams, name) }) }

func (s *Server) locked(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	s.changed.Broadcast()
}

// answer is what an operation gives: a value to encode, or a fault.
type answer struct {
	value any
	fault *Fault
	text  string
}

func ok(v any) answer { return answer{value: v} }

func refuse(code, format string, args ...any) answer {
	return answer{fault: &Fault{400, code}, text: fmt.Sprintf(format, args...)}
}

// credential finds who signed a call: access key, date, region, service.
var credential = regexp.MustCompile(`Credential=([^/]+)/\d+/([^/]+)/kinesis/`)

// ServeHTTP answers one call.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	op := r.Header.Get("X-Amz-Target")
	op = op[strings.LastIndexByte(op, '.')+1:]
	var in request
	body, err := io.ReadAll(r.Body)
	if err != nil || json.Unmarshal(body, &in) != nil {
		write(w, refuse("SerializationException", "the body is not JSON"))
		return
	}
	in.normalise()
	if m := credential.FindStringSubmatch(r.Header.Get("Authorization")); m != nil {
		s.locked(func() { s.signed[m[1]+"/"+m[2]] = true })
	}
	if op == "SubscribeToShard" {
		s.subscribe(w, r, &in)
		return
	}
	s.mu.Lock()
	a := s.dispatch(op, &in)
	s.changed.Broadcast()
	s.mu.Unlock()
	write(w, a)
}

func (s *Server) dispatch(op string, in *request) answer {
	s.calls[op]++
	if s.fault != nil {
		if f := s.fault(op, in.faultShard()); f != nil {
			return answer{fault: f, text: "as the test asked"}
		}
	}
	switch op {
	case "CreateStream":
		return s.createStream(in)
	case "RegisterStreamConsumer":
		return s.registerConsumer(in)
	case "DescribeStreamConsumer":
		return s.describeConsumer(in)
	case "GetRecords":
		return s.getRecords(in)
	}
	st := s.streams[in.StreamName]
	if st == nil {
		return refuse("ResourceNotFoundException", "there is no stream %q", in.StreamName)
	}
	switch op {
	case "DescribeStreamSummary":
		return s.summary(st)
	case "ListShards":
		return s.listShards(st, in)
	case "GetShardIterator":
		return s.iterator(st, in)
	case "PutRecords":
		return s.putRecords(st, in)
	case "SplitShard":
		return s.splitShard(st, in)
	case "MergeShards":
		return s.mergeShards(st, in)
	}
	return refuse("UnknownOperationException", "the fake does not know %q", op)
}

func write(w http.ResponseWriter, a answer) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	if a.fault != nil {
		w.WriteHeader(a.fault.Status)
		a.value = map[string]string{"__type": a.fault.Code, "message": a.text}
	}
	b, err := json.Marshal(a.value)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	// A client that hung up is its own affair.
	_, _ = w.Write(b)
}
