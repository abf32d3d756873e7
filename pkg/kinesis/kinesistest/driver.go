package kinesistest

import (
	"context"
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/flowstitch/flowstitch/pkg/kinesis/kpl"
	"github.com/flowstitch/flowstitch/pkg/kinesis/wholebody"
)

// Driver puts numbered records into a stream and reshards it, through the AWS
// SDK, so that it drives the fake and any emulator alike.
//
// Records go into lanes. A lane is one hash key, so its records follow the
// lineage of the shards that own it: a reader that keeps the order of every
// lineage gives each lane's numbers in order, each once.
type Driver struct {
	// Put counts the records of each lane; the first has number 1.
	Put []int
	// Records counts the Kinesis records that were put.
	Records int
	// KPL packs runs of a lane's records into aggregates.
	KPL bool
	// Line writes one record.
	Line func(lane, number int) []byte

	t      testing.TB
	client *kinesis.Client
	rng    *rand.Rand
	stream string
}

// NewDriver drives one stream of the service at url.
func NewDriver(t testing.TB, url, stream string, lanes int, line func(lane, number int) []byte) *Driver {
	return &Driver{Put: make([]int, lanes), Line: line, t: t, stream: stream, rng: rand.New(rand.NewPCG(1, 2)),
		client: kinesis.New(kinesis.Options{
			Region: "us-east-1", BaseEndpoint: aws.String(url), Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
			HTTPClient: wholebody.Client(awshttp.NewBuildableClient()),
			Retryer:    aws.NopRetryer{}, // a put that is tried twice might be put twice
		})}
}

// Total is how many records were put.
func (d *Driver) Total() (n int) {
	for _, c := range d.Put {
		n += c
	}
	return n
}

// call bounds one call of the service.
func call() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 30*time.Second)
}

// Create makes the stream and waits until it can be used.
func (d *Driver) Create(shards int) {
	d.t.Helper()
	ctx, cancel := call()
	defer cancel()
	if _, err := d.client.CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: &d.stream, ShardCount: aws.Int32(int32(shards))}); err != nil {
		d.t.Fatal(err)
	}
	d.active()
}

// active waits until the stream can be used: emulators take a moment.
func (d *Driver) active() {
	d.t.Helper()
	ctx, cancel := call()
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		out, err := d.client.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: &d.stream})
		if err == nil && out.StreamDescriptionSummary.StreamStatus == types.StreamStatusActive {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			d.t.Fatalf("the stream %s does not become active: %v", d.stream, err)
		}
	}
}

// Feed puts n records into random lanes.
func (d *Driver) Feed(n int) {
	d.t.Helper()
	for n > 0 {
		var entries []types.PutRecordsRequestEntry
		for len(entries) < 100 && n > 0 {
			lane, size := d.rng.IntN(len(d.Put)), 1
			if d.KPL {
				size = min(n, 1+d.rng.IntN(5))
			}
			var lines [][]byte
			for range size {
				d.Put[lane]++
				lines = append(lines, d.Line(lane, d.Put[lane]))
			}
			data := lines[0]
			if size > 1 {
				data = kpl.Join("k", lines...)
			}
			entries = append(entries, types.PutRecordsRequestEntry{Data: data, PartitionKey: aws.String("k"), ExplicitHashKey: aws.String(d.hash(lane))})
			n -= size
		}
		d.put(entries)
	}
}

// Raw puts one record as it is into a lane, without a number.
func (d *Driver) Raw(lane int, data []byte) {
	d.t.Helper()
	d.put([]types.PutRecordsRequestEntry{{Data: data, PartitionKey: aws.String("k"), ExplicitHashKey: aws.String(d.hash(lane))}})
}

func (d *Driver) put(entries []types.PutRecordsRequestEntry) {
	d.t.Helper()
	ctx, cancel := call()
	defer cancel()
	out, err := d.client.PutRecords(ctx, &kinesis.PutRecordsInput{StreamName: &d.stream, Records: entries})
	if err != nil || aws.ToInt32(out.FailedRecordCount) > 0 {
		d.t.Fatalf("put: %v", err)
	}
	d.Records += len(entries)
}

// hash spreads lanes over the hash space.
func (d *Driver) hash(lane int) string {
	h := new(big.Int).Mul(hashSpace(), big.NewInt(int64(2*lane+1)))
	return h.Div(h, big.NewInt(int64(2*len(d.Put)))).String()
}

type openShard struct {
	id     string
	lo, hi *big.Int
}

// open lists the open shards in the order of their hash keys.
func (d *Driver) open() []openShard {
	d.t.Helper()
	ctx, cancel := call()
	defer cancel()
	var out []openShard
	in := &kinesis.ListShardsInput{StreamName: &d.stream}
	for {
		page, err := d.client.ListShards(ctx, in)
		if err != nil {
			d.t.Fatal(err)
		}
		for _, s := range page.Shards {
			if aws.ToString(s.SequenceNumberRange.EndingSequenceNumber) == "" {
				out = append(out, openShard{*s.ShardId, number(s.HashKeyRange.StartingHashKey), number(s.HashKeyRange.EndingHashKey)})
			}
		}
		if page.NextToken == nil {
			break
		}
		in = &kinesis.ListShardsInput{NextToken: page.NextToken}
	}
	slices.SortFunc(out, func(a, b openShard) int { return a.lo.Cmp(b.lo) })
	return out
}

func number(s *string) *big.Int {
	n, _ := new(big.Int).SetString(aws.ToString(s), 10)
	return n
}

// Split splits the i-th open shard in the middle of its range.
func (d *Driver) Split(i int) {
	d.t.Helper()
	s := d.open()[i]
	mid := new(big.Int).Add(s.lo, s.hi)
	mid.Add(mid, big.NewInt(1)).Rsh(mid, 1)
	ctx, cancel := call()
	defer cancel()
	if _, err := d.client.SplitShard(ctx, &kinesis.SplitShardInput{StreamName: &d.stream, ShardToSplit: &s.id, NewStartingHashKey: aws.String(mid.String())}); err != nil {
		d.t.Fatal(err)
	}
	d.active()
}

// Merge merges the i-th open shard with the next.
func (d *Driver) Merge(i int) {
	d.t.Helper()
	open := d.open()
	ctx, cancel := call()
	defer cancel()
	if _, err := d.client.MergeShards(ctx, &kinesis.MergeShardsInput{StreamName: &d.stream, ShardToMerge: &open[i].id, AdjacentShardToMerge: &open[i+1].id}); err != nil {
		d.t.Fatal(err)
	}
	d.active()
}

// Check reports in what the numbers that a reader gave for each lane differ
// from those that were put; nil if they are all there, once and in order.
func (d *Driver) Check(got map[int][]int) (wrong []string) {
	for lane, n := range d.Put {
		g := got[lane]
		if len(g) != n {
			wrong = append(wrong, fmt.Sprintf("lane %d: %d records of %d", lane, len(g), n))
		}
		for i := range g {
			if g[i] != i+1 {
				wrong = append(wrong, fmt.Sprintf("lane %d: record %d came out at place %d", lane, g[i], i+1))
				break
			}
		}
	}
	return wrong
}
