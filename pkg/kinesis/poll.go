package kinesis

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
)

// once lets the SDK try a call once: a retry inside it would know nothing of
// the shard's pace and would not be counted.
func once(o *kinesis.Options) { o.Retryer = aws.NopRetryer{} }

// poll reads a shard by GetRecords until its end or until ctx ends.
func (r *reader) poll(ctx context.Context, pos position) {
	p := newPacer(&r.st.cfg, r.c.cfg.IdlePoll)
	var iterator *string
	for ctx.Err() == nil {
		begun := time.Now()
		if iterator == nil {
			if iterator = r.iterate(ctx, &pos, &p); iterator == nil {
				continue
			}
		}
		reserved, err := r.c.reserve(ctx, maxResponse)
		if err != nil {
			return
		}
		out, err := r.st.client.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: iterator}, once)
		if err != nil {
			r.c.release(reserved)
			if ctx.Err() != nil {
				return
			}
			if f := faultOf(err); f == faultIterator || f == faultArgument {
				iterator = nil
			}
			sleep(ctx, r.failed("GetRecords", err, &p))
			continue
		}
		r.c.metrics.calls.WithLabelValues(r.st.cfg.Name, "GetRecords").Inc()
		iterator = out.NextShardIterator
		behind := aws.ToInt64(out.MillisBehindLatest)
		page := r.fill(&pos, out.Records, reserved)
		page.at, page.tip, page.ended = begun.UnixMilli(), behind == 0, aws.ToString(iterator) == ""
		r.c.metrics.behind.set(r.key, behind)
		wait := p.read(page.size, behind > 0)
		last := page.ended
		if !r.hand(ctx, page) || last {
			return
		}
		sleep(ctx, wait-time.Since(begun))
	}
}

// iterate gets an iterator at the position; nil means that it failed and the
// failure has been waited out.
func (r *reader) iterate(ctx context.Context, pos *position, p *pacer) *string {
	kind, sequence, at := pos.request()
	name, arn := r.st.target()
	out, err := r.st.client.GetShardIterator(ctx, &kinesis.GetShardIteratorInput{
		StreamName: name, StreamARN: arn, ShardId: aws.String(r.key.Shard),
		ShardIteratorType: kind, StartingSequenceNumber: sequence, Timestamp: at,
	}, once)
	if err == nil {
		r.c.metrics.calls.WithLabelValues(r.st.cfg.Name, "GetShardIterator").Inc()
		return out.ShardIterator
	}
	if ctx.Err() != nil {
		return nil
	}
	r.refused(ctx, pos, err)
	sleep(ctx, r.failed("GetShardIterator", err, p))
	return nil
}

// refused handles a sequence number that the service does not take, because
// the record is long gone: what is left of the shard is read from its oldest
// record, less what was read already, and the slot is told.
func (r *reader) refused(ctx context.Context, pos *position, err error) {
	if sequence := pos.sequence; sequence == "" || pos.oldest || faultOf(err) != faultArgument {
		return
	}
	pos.oldest, pos.resume = true, ""
	r.c.log.Warn("the service refused the checkpoint's sequence number; reading from the oldest record", "stream", r.st.cfg.Name, "shard", r.key.Shard, "sequence", pos.sequence, "error", err)
	r.hand(ctx, &page{restarted: true})
}
