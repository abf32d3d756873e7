package kinesis

import (
	"context"
	"math/big"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"go.uber.org/goleak"

	"github.com/flowstitch/flowstitch/pkg/kinesis/kinesistest"
	"github.com/flowstitch/flowstitch/pkg/kinesis/shard"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreTopFunction("net/http.(*persistConn).writeLoop"),
		goleak.IgnoreTopFunction("internal/poll.runtime_pollWait"))
}

func bigOf(h shard.Hash) *big.Int { return new(big.Int).SetBytes(h[:]) }

// open lists the open shards in the order of their hash keys.
func (p *producer) open() []openShard {
	var out []openShard
	in := &kinesis.ListShardsInput{StreamName: aws.String("vpc")}
	for {
		page, err := p.client.ListShards(context.Background(), in)
		if err != nil {
			p.t.Fatal(err)
		}
		for _, s := range page.Shards {
			if aws.ToString(s.SequenceNumberRange.EndingSequenceNumber) == "" {
				lo, _ := new(big.Int).SetString(*s.HashKeyRange.StartingHashKey, 10)
				hi, _ := new(big.Int).SetString(*s.HashKeyRange.EndingHashKey, 10)
				out = append(out, openShard{*s.ShardId, lo, hi})
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

type openShard struct {
	id     string
	lo, hi *big.Int
}

func (p *producer) split(i int) {
	s := p.open()[i]
	mid := new(big.Int).Add(s.lo, s.hi)
	mid.Rsh(mid, 1)
	_, err := p.client.SplitShard(context.Background(), &kinesis.SplitShardInput{StreamName: aws.String("vpc"), ShardToSplit: &s.id, NewStartingHashKey: aws.String(mid.String())})
	if err != nil {
		p.t.Fatal(err)
	}
	p.active()
}

func (p *producer) merge(i int) {
	open := p.open()
	_, err := p.client.MergeShards(context.Background(), &kinesis.MergeShardsInput{StreamName: aws.String("vpc"), ShardToMerge: &open[i].id, AdjacentShardToMerge: &open[i+1].id})
	if err != nil {
		p.t.Fatal(err)
	}
	p.active()
}

func TestReadsEveryRecordOnceInOrder(t *testing.T) {
	srv := kinesistest.Start(t)
	srv.PageSize(5)
	p := newProducer(t, srv.URL, 40)
	p.create(16)
	p.kpl = true
	d := newDeployment(t, testConfig(srv.URL), 6)
	d.join(all(6)...)
	p.put(2000)
	d.check(p)
	if srv.Calls("ListShards") < 4 {
		t.Error("only a part of the pages was listed")
	}
}

func TestSplitsAndMergesWhileRunning(t *testing.T) {
	srv := kinesistest.Start(t)
	p := newProducer(t, srv.URL, 40)
	p.create(16)
	d := newDeployment(t, testConfig(srv.URL), 6)
	d.join(0, 2, 4)
	d.join(1, 3, 5)
	for i := range 8 {
		p.put(200)
		if i%2 == 0 {
			p.split(i)
		} else {
			p.merge(i)
		}
		p.put(200)
	}
	d.check(p)
}

func TestSplitsAndMergesTwiceWhileStopped(t *testing.T) {
	srv := kinesistest.Start(t)
	p := newProducer(t, srv.URL, 40)
	p.create(16)
	d := newDeployment(t, testConfig(srv.URL), 6)
	pod := d.join(all(6)...)
	p.put(500)
	d.wait("some records", func() bool { return d.total() > 100 })
	pod.kill()
	for range 2 {
		p.put(300)
		p.split(3)
		p.put(300)
		p.merge(3)
		p.split(7)
		p.put(300)
		p.merge(9)
	}
	p.put(300)
	d.join(all(6)...)
	d.check(p)
}

func TestCrashesBetweenProduceAndCommit(t *testing.T) {
	srv := kinesistest.Start(t)
	p := newProducer(t, srv.URL, 40)
	p.create(16)
	p.kpl = true
	d := newDeployment(t, testConfig(srv.URL), 6)
	var mu sync.Mutex
	rng, crashes := rand.New(rand.NewPCG(7, 7)), 0
	d.crash = func() bool {
		mu.Lock()
		defer mu.Unlock()
		if rng.IntN(6) == 0 {
			crashes++
			return true
		}
		return false
	}
	d.join(all(6)...)
	for i := range 6 {
		p.put(500)
		p.split(i * 2)
	}
	d.check(p)
	d.wait("50 crashes", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return crashes >= 50
	})
	d.check(p)
}
