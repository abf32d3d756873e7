package kinesis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/flowstitch/flowstitch/pkg/kinesis/shard"
)

// stream is one configured stream and its client.
type stream struct {
	cfg    Stream
	client *kinesis.Client
	forget func() // the credentials
	poke   chan struct{}
	// consumer is the fan-out consumer of the newest incarnation of the stream.
	consumer atomic.Pointer[consumer]
}

// consumer is a registered enhanced fan-out consumer.
type consumer struct{ incarnation, arn string }

// target names the stream in a call, by ARN or by name.
func (s *stream) target() (name, arn *string) {
	if strings.HasPrefix(s.cfg.Stream, "arn:") {
		return nil, aws.String(s.cfg.Stream)
	}
	return aws.String(s.cfg.Stream), nil
}

// list returns a complete listing: which incarnation of the stream it is, and
// every page of ListShards. Half a listing would let a child start without its
// parents, so an error on any page gives none.
func (s *stream) list(ctx context.Context) (*shard.Listing, string, error) {
	name, arn := s.target()
	sum, err := s.client.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: name, StreamARN: arn})
	if err != nil {
		return nil, "", fmt.Errorf("describing stream %s: %w", s.cfg.Name, err)
	}
	d := sum.StreamDescriptionSummary
	if d == nil || d.StreamCreationTimestamp == nil {
		return nil, "", fmt.Errorf("describing stream %s: the service did not say when it was created", s.cfg.Name)
	}
	in := &kinesis.ListShardsInput{StreamName: name, StreamARN: arn}
	var shards []shard.Shard
	for {
		out, err := s.client.ListShards(ctx, in)
		if err != nil {
			return nil, "", fmt.Errorf("listing the shards of %s: %w", s.cfg.Name, err)
		}
		for i := range out.Shards {
			sh, err := convert(&out.Shards[i])
			if err != nil {
				return nil, "", fmt.Errorf("listing the shards of %s: %w", s.cfg.Name, err)
			}
			shards = append(shards, sh)
		}
		if aws.ToString(out.NextToken) == "" {
			break
		}
		in = &kinesis.ListShardsInput{NextToken: out.NextToken}
	}
	retention := int64(aws.ToInt32(d.RetentionPeriodHours)) * time.Hour.Milliseconds()
	l, err := shard.NewListing(s.cfg.Name, shard.IncarnationOf(s.cfg.Name, d.StreamCreationTimestamp.UnixMilli()), retention, shards)
	return l, aws.ToString(d.StreamARN), err
}

func convert(in *types.Shard) (out shard.Shard, err error) {
	out.ID = aws.ToString(in.ShardId)
	for _, p := range []*string{in.ParentShardId, in.AdjacentParentShardId} {
		if id := aws.ToString(p); id != "" {
			out.Parents = append(out.Parents, id)
		}
	}
	if in.HashKeyRange == nil {
		return out, fmt.Errorf("shard %s has no range of hash keys", out.ID)
	}
	if out.Lo, err = shard.ParseHash(aws.ToString(in.HashKeyRange.StartingHashKey)); err != nil {
		return out, err
	}
	if out.Hi, err = shard.ParseHash(aws.ToString(in.HashKeyRange.EndingHashKey)); err != nil {
		return out, err
	}
	out.Closed = in.SequenceNumberRange != nil && aws.ToString(in.SequenceNumberRange.EndingSequenceNumber) != ""
	return out, nil
}

// register finds or registers the fan-out consumer and waits until it can be
// used.
func (s *stream) register(ctx context.Context, arn, incarnation string) error {
	have := s.consumer.Load()
	if s.cfg.FanOut == "" || (have != nil && have.incarnation == incarnation) {
		return nil
	}
	d, err := s.client.DescribeStreamConsumer(ctx, &kinesis.DescribeStreamConsumerInput{StreamARN: aws.String(arn), ConsumerName: aws.String(s.cfg.FanOut)})
	if err != nil {
		if faultOf(err) != faultGone {
			return fmt.Errorf("looking for the fan-out consumer %s: %w", s.cfg.FanOut, err)
		}
		_, err = s.client.RegisterStreamConsumer(ctx, &kinesis.RegisterStreamConsumerInput{StreamARN: aws.String(arn), ConsumerName: aws.String(s.cfg.FanOut)})
		if err != nil && faultOf(err) != faultBusy { // another pod was first
			return fmt.Errorf("registering the fan-out consumer %s: %w", s.cfg.FanOut, err)
		}
		return errNotYet
	}
	if d.ConsumerDescription.ConsumerStatus != types.ConsumerStatusActive {
		return errNotYet
	}
	s.consumer.Store(&consumer{incarnation, aws.ToString(d.ConsumerDescription.ConsumerARN)})
	return nil
}

// errNotYet asks for another try soon.
var errNotYet = errors.New("the fan-out consumer is not active yet")
