package kinesistest

import (
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
	"github.com/segmentio/encoding/json"
)

func consumerARN(stream, name string) string { return arnPrefix + stream + "/consumer/" + name + ":1" }

func (s *Server) registerConsumer(in *request) answer {
	if s.streams[in.StreamName] == nil {
		return refuse("ResourceNotFoundException", "there is no stream %q", in.StreamName)
	}
	arn := consumerARN(in.StreamName, in.ConsumerName)
	if _, twice := s.consume[arn]; twice {
		return refuse("ResourceInUseException", "the consumer exists")
	}
	s.consume[arn] = in.StreamName
	return ok(map[string]any{"Consumer": s.consumer(arn, in.ConsumerName)})
}

func (s *Server) consumer(arn, name string) map[string]any {
	return map[string]any{"ConsumerName": name, "ConsumerARN": arn, "ConsumerStatus": "ACTIVE", "ConsumerCreationTimestamp": seconds(s.now())}
}

func (s *Server) describeConsumer(in *request) answer {
	arn := consumerARN(in.StreamName, in.ConsumerName)
	if _, known := s.consume[arn]; !known {
		return refuse("ResourceNotFoundException", "there is no consumer %q", in.ConsumerName)
	}
	d := s.consumer(arn, in.ConsumerName)
	d["StreamARN"] = arnPrefix + in.StreamName
	return ok(map[string]any{"ConsumerDescription": d})
}

// subscription is one SubscribeToShard call under way.
type subscription struct {
	w     http.ResponseWriter
	enc   *eventstream.Encoder
	st    *stream
	sh    *shard
	at    int
	lease int
	until time.Time
	spoke time.Time // when the last event was sent
}

// heartbeat is after what time an event is sent that has nothing to tell. The
// service does so about every 5 s; tests do not like to wait.
const heartbeat = 200 * time.Millisecond

// open checks a subscription and takes the shard over from an older one, as
// the service does after 5 s.
func (s *Server) open(w http.ResponseWriter, in *request) (*subscription, answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls["SubscribeToShard"]++
	if s.fault != nil {
		if f := s.fault("SubscribeToShard", in.ShardId); f != nil {
			return nil, answer{fault: f, text: "as the test asked"}
		}
	}
	st := s.streams[s.consume[in.ConsumerARN]]
	if st == nil || st.shard(in.ShardId) == nil {
		return nil, refuse("ResourceNotFoundException", "no such consumer or shard")
	}
	sh := st.shard(in.ShardId)
	p := in.StartingPosition
	at, good := position(sh, p.Type, p.SequenceNumber, p.Timestamp)
	if !good {
		return nil, refuse("InvalidArgumentException", "the sequence number is not of this shard")
	}
	sh.lease++
	s.changed.Broadcast()
	return &subscription{w: w, enc: eventstream.NewEncoder(), st: st, sh: sh, at: at, lease: sh.lease, until: time.Now().Add(s.subLife)}, answer{}
}

func (s *Server) subscribe(w http.ResponseWriter, r *http.Request, in *request) {
	sub, a := s.open(w, in)
	if sub == nil {
		write(w, a)
		return
	}
	w.Header().Set("Content-Type", "application/vnd.amazon.eventstream")
	if sub.frame("initial-response", []byte("{}")) != nil {
		return
	}
	wake := time.AfterFunc(time.Until(sub.until), func() { s.locked(func() {}) })
	defer wake.Stop()
	go func() { // wake the wait below when the client hangs up
		<-r.Context().Done()
		s.locked(func() {})
	}()
	for first := true; ; first = false {
		body, last, over := s.nextEvent(sub, first, r.Context().Done())
		if over || sub.frame("SubscribeToShardEvent", body) != nil || last {
			return
		}
	}
}

// nextEvent waits for something to tell. The first event comes at once.
func (s *Server) nextEvent(sub *subscription, first bool, gone <-chan struct{}) (body []byte, last, over bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		select {
		case <-gone:
			return nil, false, true
		default:
		}
		ended := sub.sh.lastSeq != "" && sub.at >= len(sub.sh.records)
		if s.closed || sub.sh.lease != sub.lease || (!ended && !time.Now().Before(sub.until)) {
			return nil, false, true
		}
		if first || ended || sub.at < sub.sh.ready() || time.Since(sub.spoke) >= heartbeat {
			break
		}
		beat := time.AfterFunc(heartbeat, func() { s.locked(func() {}) })
		s.changed.Wait()
		beat.Stop()
	}
	sub.spoke = time.Now()
	recs, next := sub.sh.batch(sub.at, min(500, s.perCall))
	if recs == nil {
		recs = []any{}
	}
	sub.at = next
	out := map[string]any{"Records": recs, "MillisBehindLatest": s.behind(sub.sh, next)}
	seq := sub.sh.firstSeq
	if next > 0 {
		seq = sub.sh.records[next-1].seq
	}
	last = sub.sh.lastSeq != "" && next >= len(sub.sh.records)
	if last {
		out["ChildShards"] = sub.st.childShards(sub.sh.id)
	} else {
		out["ContinuationSequenceNumber"] = seq
	}
	body, err := json.Marshal(out)
	return body, last, err != nil
}

func (sub *subscription) frame(kind string, body []byte) error {
	var b strings.Builder
	m := eventstream.Message{Payload: body}
	m.Headers.Set(":message-type", eventstream.StringValue("event"))
	m.Headers.Set(":event-type", eventstream.StringValue(kind))
	m.Headers.Set(":content-type", eventstream.StringValue("application/x-amz-json-1.1"))
	if err := sub.enc.Encode(&b, m); err != nil {
		return err
	}
	if _, err := sub.w.Write([]byte(b.String())); err != nil {
		return err
	}
	sub.w.(http.Flusher).Flush()
	return nil
}
