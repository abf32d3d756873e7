package kinesis

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/schemas"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go/transport/http/protocol/awsjson"
)

// maxEvent bounds what one event of a subscription holds: a record of 10 MiB.
const maxEvent = maxResponse

// ownProtocol gives a subscription a decoder of its own. The SDK's client has
// one buffer for the event streams of all its calls (smithy-go v1.28.8,
// internal/eventstream), so two subscriptions at a time would read each
// other's events; the race detector found it.
func ownProtocol(o *kinesis.Options) { o.Protocol = awsjson.New11(schemas.Kinesis_20131202) }

// listen reads a shard by enhanced fan-out until its end or until ctx ends. A
// subscription lives for 5 minutes and is then renewed where it stopped.
func (r *reader) listen(ctx context.Context, pos position) {
	p := newPacer(&r.st.cfg, r.c.cfg.IdlePoll)
	for ctx.Err() == nil {
		begun := time.Now()
		ended, err := r.subscription(ctx, &pos)
		switch {
		case ended || ctx.Err() != nil:
			return
		case err != nil:
			r.refused(ctx, &pos, err)
			sleep(ctx, r.failed("SubscribeToShard", err, &p))
		default: // one call a second and shard is allowed
			p.failures = 0
			sleep(ctx, time.Second-time.Since(begun))
		}
	}
}

// subscription is one SubscribeToShard call: it hands over pages until the
// subscription or the shard ends.
func (r *reader) subscription(ctx context.Context, pos *position) (ended bool, err error) {
	kind, sequence, at := pos.request()
	arn := ""
	if c := r.st.consumer.Load(); c != nil {
		arn = c.arn
	}
	out, err := r.st.client.SubscribeToShard(ctx, &kinesis.SubscribeToShardInput{
		ConsumerARN: aws.String(arn), ShardId: aws.String(r.key.Shard),
		StartingPosition: &types.StartingPosition{Type: kind, SequenceNumber: sequence, Timestamp: at},
	}, once, ownProtocol)
	if err != nil {
		return false, err
	}
	r.c.metrics.calls.WithLabelValues(r.st.cfg.Name, "SubscribeToShard").Inc()
	events := out.GetStream()
	defer func() { _ = events.Close() }() // whatever it says, the next call subscribes again
	for {
		event, since, open := next(ctx, events.Events())
		if !open {
			return false, events.Err()
		}
		e, ok := event.(*types.SubscribeToShardEventStreamMemberSubscribeToShardEvent)
		if !ok {
			continue
		}
		// The event is in memory already; until it has its share of the budget
		// no other is taken from the connection.
		reserved, err := r.c.reserve(ctx, maxEvent)
		if err != nil {
			return false, err
		}
		page := r.fill(pos, e.Value.Records, reserved)
		if next := aws.ToString(e.Value.ContinuationSequenceNumber); next != "" {
			pos.resume = next
		}
		behind := aws.ToInt64(e.Value.MillisBehindLatest)
		page.tip, page.at = behind == 0 && !since.IsZero(), since.UnixMilli()
		page.ended = e.Value.ContinuationSequenceNumber == nil || len(e.Value.ChildShards) > 0
		r.c.metrics.behind.set(r.key, behind)
		ended = page.ended
		if !r.hand(ctx, page) || ended {
			return ended, nil
		}
	}
}

// next returns the next event and since when it was waited for. The time is
// zero if the event lay there already: then it may be old, and that it says
// "nothing more" says nothing of now.
func next(ctx context.Context, events <-chan types.SubscribeToShardEventStream) (e types.SubscribeToShardEventStream, since time.Time, open bool) {
	select {
	case e, open = <-events:
		return e, time.Time{}, open
	default:
	}
	since = time.Now()
	select {
	case e, open = <-events:
		return e, since, open
	case <-ctx.Done():
		return nil, since, false
	}
}
