package kinesistest

import (
	"encoding/base64"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"
)

// request holds the members of all the inputs that the fake reads.
type request struct {
	//nolint:revive // the names are those of the service
	StreamName, StreamARN, ShardId, ShardToSplit, ShardToMerge, AdjacentShardToMerge string
	NewStartingHashKey, ShardIterator, ShardIteratorType, StartingSequenceNumber     string
	NextToken, ConsumerName, ConsumerARN                                             string
	ShardCount, MaxResults, Limit                                                    int
	Timestamp                                                                        float64
	StartingPosition                                                                 struct {
		Type, SequenceNumber string
		Timestamp            float64
	}
	Records []struct {
		Data                          []byte
		PartitionKey, ExplicitHashKey string
	}
}

const arnPrefix = "arn:aws:kinesis:us-east-1:000000000000:stream/"

func (in *request) normalise() {
	if in.StreamName == "" {
		in.StreamName = strings.TrimPrefix(in.StreamARN, arnPrefix)
	}
	if in.NextToken != "" {
		in.StreamName, _, _ = strings.Cut(in.NextToken, "|")
	}
}

// faultShard names the shard that a call is about.
func (in *request) faultShard() string {
	if in.ShardIterator != "" {
		if it, good := parseIterator(in.ShardIterator); good {
			return it.shard
		}
	}
	return in.ShardId
}

// iterator positions are indexes into a shard's records.
type iterator struct {
	stream, shard string
	at, epoch     int
}

func (it iterator) String() string {
	return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%s|%s|%d|%d", it.stream, it.shard, it.at, it.epoch))
}

func parseIterator(s string) (it iterator, good bool) {
	raw, err := base64.StdEncoding.DecodeString(s)
	f := strings.Split(string(raw), "|")
	if err != nil || len(f) != 4 {
		return it, false
	}
	at, err1 := strconv.Atoi(f[2])
	epoch, err2 := strconv.Atoi(f[3])
	return iterator{f[0], f[1], at, epoch}, err1 == nil && err2 == nil
}

func (s *Server) createStream(in *request) answer {
	if s.streams[in.StreamName] != nil {
		return refuse("ResourceInUseException", "the stream exists")
	}
	st := &stream{name: in.StreamName, created: s.now(), retain: 24 * time.Hour}
	n := big.NewInt(int64(max(in.ShardCount, 1)))
	for i := range max(in.ShardCount, 1) {
		lo := new(big.Int).Div(new(big.Int).Mul(hashSpace(), big.NewInt(int64(i))), n)
		hi := new(big.Int).Div(new(big.Int).Mul(hashSpace(), big.NewInt(int64(i+1))), n)
		st.add(nil, lo, hi.Sub(hi, big.NewInt(1)))
	}
	s.streams[in.StreamName] = st
	return ok(struct{}{})
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

func (s *Server) summary(st *stream) answer {
	open := 0
	for _, sh := range st.shards {
		if sh.lastSeq == "" {
			open++
		}
	}
	return ok(map[string]any{"StreamDescriptionSummary": map[string]any{
		"StreamName": st.name, "StreamARN": arnPrefix + st.name, "StreamStatus": "ACTIVE", "EncryptionType": "NONE",
		"RetentionPeriodHours": int(st.retain / time.Hour), "StreamCreationTimestamp": seconds(st.created),
		"EnhancedMonitoring": []any{}, "OpenShardCount": open,
	}})
}

func (s *Server) listShards(st *stream, in *request) answer {
	from := 0
	if in.NextToken != "" {
		_, at, _ := strings.Cut(in.NextToken, "|")
		n, err := strconv.Atoi(at)
		if err != nil {
			return refuse("ExpiredNextTokenException", "the token has expired")
		}
		from = n
	}
	out := map[string]any{}
	var page []any
	i := from
	for ; i < len(st.shards) && len(page) < s.page; i++ {
		if st.shards[i].id != "" {
			page = append(page, describe(st.shards[i]))
		}
	}
	if i < len(st.shards) {
		out["NextToken"] = fmt.Sprintf("%s|%d", st.name, i)
	}
	out["Shards"] = page
	return ok(out)
}

func describe(sh *shard) map[string]any {
	seqs := map[string]any{"StartingSequenceNumber": sh.firstSeq}
	if sh.lastSeq != "" {
		seqs["EndingSequenceNumber"] = sh.lastSeq
	}
	d := map[string]any{"ShardId": sh.id, "SequenceNumberRange": seqs,
		"HashKeyRange": map[string]string{"StartingHashKey": sh.lo.String(), "EndingHashKey": sh.hi.String()}}
	if len(sh.parents) > 0 {
		d["ParentShardId"] = sh.parents[0]
	}
	if len(sh.parents) > 1 {
		d["AdjacentParentShardId"] = sh.parents[1]
	}
	return d
}

// position turns a starting position into an index.
func position(sh *shard, kind, seq string, ts float64) (int, bool) {
	switch kind {
	case "TRIM_HORIZON":
		return sh.trimmed, true
	case "LATEST":
		return len(sh.records), true
	case "AT_TIMESTAMP":
		return sh.atTime(time.UnixMilli(int64(ts * 1000))), true
	case "AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER":
		good := seq >= sh.firstSeq && (sh.lastSeq == "" || seq <= sh.lastSeq)
		return sh.after(seq, kind == "AT_SEQUENCE_NUMBER"), good
	}
	return 0, false
}

func (s *Server) iterator(st *stream, in *request) answer {
	sh := st.shard(in.ShardId)
	if sh == nil || in.ShardId == "" {
		return refuse("ResourceNotFoundException", "there is no shard %q", in.ShardId)
	}
	at, good := position(sh, in.ShardIteratorType, in.StartingSequenceNumber, in.Timestamp)
	if !good {
		return refuse("InvalidArgumentException", "the sequence number is not of this shard")
	}
	return ok(map[string]string{"ShardIterator": iterator{st.name, sh.id, at, s.epoch}.String()})
}

// maxBytes is what a call returns at most.
const maxBytes = 10 << 20

// batch returns the records from an index on, and the index behind them.
func (sh *shard) batch(at, limit int) (out []any, next int) {
	size := 0
	for at = max(at, sh.trimmed); at < sh.ready() && len(out) < limit && size < maxBytes; at++ {
		r := sh.records[at]
		size += len(r.data)
		out = append(out, map[string]any{"SequenceNumber": r.seq, "PartitionKey": r.key, "Data": r.data, "ApproximateArrivalTimestamp": seconds(r.arrival)})
	}
	return out, at
}

func (s *Server) behind(sh *shard, at int) int64 {
	if at >= len(sh.records) {
		return 0
	}
	return max(1, s.now().Sub(sh.records[at].arrival).Milliseconds())
}

func (s *Server) getRecords(in *request) answer {
	it, good := parseIterator(in.ShardIterator)
	st := s.streams[it.stream]
	if !good || st == nil || st.shard(it.shard) == nil {
		return refuse("InvalidArgumentException", "not an iterator of this service")
	}
	if it.epoch != s.epoch {
		return answer{fault: &Expired, text: "the iterator has expired"}
	}
	sh := st.shard(it.shard)
	limit := s.perCall
	if in.Limit > 0 {
		limit = min(limit, in.Limit)
	}
	recs, next := sh.batch(it.at, limit)
	if recs == nil {
		recs = []any{}
	}
	out := map[string]any{"Records": recs, "MillisBehindLatest": s.behind(sh, next)}
	if sh.lastSeq != "" && next >= len(sh.records) {
		out["ChildShards"] = st.childShards(sh.id)
	} else {
		it.at = next
		out["NextShardIterator"] = it.String()
	}
	return ok(out)
}

func (st *stream) childShards(id string) (out []any) {
	for _, c := range st.children(id) {
		out = append(out, map[string]any{"ShardId": c.id, "ParentShards": c.parents,
			"HashKeyRange": map[string]string{"StartingHashKey": c.lo.String(), "EndingHashKey": c.hi.String()}})
	}
	return out
}

func (s *Server) putRecords(st *stream, in *request) answer {
	var out []any
	for _, r := range in.Records {
		sh := st.route(r.PartitionKey, r.ExplicitHashKey)
		if sh == nil {
			return refuse("InvalidArgumentException", "no open shard takes the record")
		}
		seq := st.put(sh, r.PartitionKey, r.Data, s.now())
		out = append(out, map[string]any{"ShardId": sh.id, "SequenceNumber": seq})
	}
	return ok(map[string]any{"FailedRecordCount": 0, "Records": out})
}

func (s *Server) splitShard(st *stream, in *request) answer {
	sh := st.shard(in.ShardToSplit)
	at, good := new(big.Int).SetString(in.NewStartingHashKey, 10)
	if sh == nil || sh.lastSeq != "" || !good || at.Cmp(sh.lo) <= 0 || at.Cmp(sh.hi) > 0 {
		return refuse("InvalidArgumentException", "the shard cannot be split there")
	}
	st.split(sh, at)
	return ok(struct{}{})
}

func (s *Server) mergeShards(st *stream, in *request) answer {
	a, b := st.shard(in.ShardToMerge), st.shard(in.AdjacentShardToMerge)
	if a == nil || b == nil || a.lastSeq != "" || b.lastSeq != "" || !adjacent(a, b) {
		return refuse("InvalidArgumentException", "the shards cannot be merged")
	}
	st.merge(a, b)
	return ok(struct{}{})
}

func adjacent(a, b *shard) bool {
	return slices.ContainsFunc([][2]*shard{{a, b}, {b, a}}, func(p [2]*shard) bool {
		return new(big.Int).Add(p[0].hi, big.NewInt(1)).Cmp(p[1].lo) == 0
	})
}
