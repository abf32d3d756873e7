package bench

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/flowstitch/flowstitch/internal/pipeline"
	"github.com/flowstitch/flowstitch/pkg/gen"
	"github.com/flowstitch/flowstitch/pkg/kafkatest"
	"github.com/flowstitch/flowstitch/pkg/service"
)

// benchFlows is how many records one operation of BenchmarkPipeline has.
const benchFlows = 100_000

// BenchmarkPipeline is the whole pipeline beside what the same broker and the
// same client take to carry the records of flows once, without transactions.
func BenchmarkPipeline(b *testing.B) {
	brokers := kafkatest.Embedded(b).Addrs
	b.Run("three-services", func(b *testing.B) {
		n := 0
		for b.Loop() {
			n++
			cpu := processCPU()
			if _, err := Run(b.Context(), pipelineOptions(brokers, fmt.Sprintf("bench%d.", n), 4)); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric((processCPU()-cpu)/benchFlows*1e6, "CPU-s/million")
		}
	})
	b.Run("baseline-raw", func(b *testing.B) {
		for b.Loop() {
			cpu := processCPU()
			if err := carry(b.Context(), brokers, benchFlows); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric((processCPU()-cpu)/benchFlows*1e6, "CPU-s/million")
		}
	})
}

func pipelineOptions(brokers []string, prefix string, partitions int32) Options {
	common := service.DefaultCommon()
	common.Kafka.Brokers, common.Telemetry.Listen = brokers, ""
	p := &common.Pipeline
	p.Prefix, p.Deployment, p.Partitions, p.Slots = prefix, "bench", partitions, 4
	shape := gen.Balanced()
	shape.Sessions, shape.Sources = 5000, 2500
	shape.Rate = 2 * shape.Interfaces * shape.Sessions / 60
	return Options{Shape: shape, Flows: benchFlows, Pipeline: pipeline.Default(common), Broker: "embedded"}
}

// carry produces n records of the size of a flow's and reads them back.
func carry(ctx context.Context, brokers []string, n int) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	topic := fmt.Sprintf("raw%d", time.Now().UnixNano())
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.ProducerBatchCompression(kgo.Lz4Compression()))
	if err != nil {
		return err
	}
	defer cl.Close()
	if _, err := kadm.NewClient(cl).CreateTopic(ctx, 4, 1, nil, topic); err != nil {
		return err
	}
	var first error
	failed := func(_ *kgo.Record, err error) {
		if err != nil {
			first = err
		}
	}
	recs := make([]kgo.Record, n)
	for i := range recs {
		key := fmt.Appendf(nil, "%013d", i)
		recs[i] = kgo.Record{Topic: topic, Key: key, Value: append(make([]byte, 58), key...)}
		cl.Produce(ctx, &recs[i], failed)
	}
	if err := cl.Flush(ctx); err != nil || first != nil {
		return fmt.Errorf("producing: %w, %w", err, first)
	}
	for got := 0; got < n; {
		fs := cl.PollFetches(ctx)
		if err := fs.Err(); err != nil {
			return err
		}
		got += fs.NumRecords()
	}
	return nil
}

// TestRun holds the figures together on a small run: everything given arrives,
// and the shares are of one whole.
func TestRun(t *testing.T) {
	if testing.Short() {
		t.Skip("a run of some seconds")
	}
	o := pipelineOptions(kafkatest.Embedded(t).Addrs, "test.", 4)
	o.Flows = 20_000
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if r.Total.Flows != o.Flows || r.Total.CPUPerMillion <= 0 || r.Total.OurAllocPerFlow <= 0 || r.Total.StoredPerInByte <= 0 {
		t.Errorf("%+v", r.Total)
	}
	share := 0.0
	for _, s := range r.Stages {
		share += s.Share
	}
	if share < 0.99 || share > 1.01 {
		t.Errorf("the stages' shares add up to %.2f", share)
	}
	for _, topic := range r.Topics {
		if topic.Topic == "test.flowstitch.flows.v1" && topic.Records < float64(o.Flows) {
			t.Errorf("%.0f records on flows of %d", topic.Records, o.Flows)
		}
	}
}
