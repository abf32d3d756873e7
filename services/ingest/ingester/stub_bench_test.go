package ingester

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"

	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/google/pprof/profile"

	"github.com/flowstitch/flowstitch/pkg/kafkatest"
	"github.com/flowstitch/flowstitch/pkg/telemetry"
)

// stub is a transport of the AWS SDK that answers from memory: a stream of some
// shards that each hold so many pages of one subscription record.
type stub struct {
	shards, pages, perPage int
	tails                  map[string]string // of a shard's records, behind the sequence number

	mu sync.Mutex
	at map[string]int // pages given, by shard
}

func newStub(tb testing.TB, shards, pages, perPage, lines int) *stub {
	s := &stub{shards: shards, pages: pages, perPage: perPage, at: map[string]int{}, tails: map[string]string{}}
	for i := range shards {
		data := base64.StdEncoding.EncodeToString(envelope(tb, i, 1, lines))
		s.tails[fmt.Sprintf("shardId-%012d", i)] = fmt.Sprintf(`","PartitionKey":"k","ApproximateArrivalTimestamp":%d,"Data":"%s"}`, time.Now().Unix(), data)
	}
	return s
}

// Do implements the SDK's HTTP client.
func (s *stub) Do(r *http.Request) (*http.Response, error) {
	in, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	switch _, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), "."); op {
	case "DescribeStreamSummary":
		fmt.Fprintf(&out, `{"StreamDescriptionSummary":{"StreamName":"vpc","StreamARN":"arn","StreamStatus":"ACTIVE","RetentionPeriodHours":24,"StreamCreationTimestamp":1,"EnhancedMonitoring":[],"OpenShardCount":%d}}`, s.shards)
	case "ListShards":
		s.list(&out)
	case "GetShardIterator":
		id := between(in, `"ShardId":"`)
		fmt.Fprintf(&out, `{"ShardIterator":"%s"}`, id)
	case "GetRecords":
		s.records(&out, between(in, `"ShardIterator":"`))
	default:
		return nil, fmt.Errorf("the stub does not know %q", op)
	}
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/x-amz-json-1.1"}}, Body: io.NopCloser(&out), ContentLength: int64(out.Len()), Request: r}, nil
}

func between(body []byte, before string) string {
	_, rest, _ := strings.Cut(string(body), before)
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

func (s *stub) list(out *bytes.Buffer) {
	all := new(big.Int).Lsh(big.NewInt(1), 128)
	part := func(i int) *big.Int {
		n := new(big.Int).Mul(all, big.NewInt(int64(i)))
		return n.Div(n, big.NewInt(int64(s.shards)))
	}
	out.WriteString(`{"Shards":[`)
	for i := range s.shards {
		if i > 0 {
			out.WriteByte(',')
		}
		last := part(i + 1)
		fmt.Fprintf(out, `{"ShardId":"shardId-%012d","SequenceNumberRange":{"StartingSequenceNumber":"49"},"HashKeyRange":{"StartingHashKey":"%d","EndingHashKey":"%d"}}`,
			i, part(i), last.Sub(last, big.NewInt(1)))
	}
	out.WriteString(`]}`)
}

func (s *stub) records(out *bytes.Buffer, id string) {
	s.mu.Lock()
	page := s.at[id]
	s.at[id]++
	s.mu.Unlock()
	behind := max(0, s.pages-page-1)
	out.WriteString(`{"Records":[`)
	for i := range s.perPage {
		if page >= s.pages {
			break
		}
		if i > 0 {
			out.WriteByte(',')
		}
		fmt.Fprintf(out, `{"SequenceNumber":"49%054d%s`, page*s.perPage+i, s.tails[id])
	}
	fmt.Fprintf(out, `],"MillisBehindLatest":%d,"NextShardIterator":"%s"}`, behind, id)
}

// Parts of the work, by whose frame is the innermost on a stack.
var parts = []struct{ frame, part string }{
	{"ingester.(*stub)", "stub"},
	{"flowlog.(*Owners)", "own"},
	{"flowstitch/pkg/flowlog.", "decode"},
	{"flowstitch/pkg/wire.", "key and encode"},
	{"ingester.(*batch)", "key and encode"},
	{"flowstitch/pkg/kinesis", "read"},
	{"aws-sdk-go-v2", "read"},
	{"smithy-go", "read"},
	{"franz-go/pkg/kfake", "broker"},
	{"flowstitch/pkg/stage.", "produce"},
	{"franz-go", "produce"},
}

// byPart adds a profile up.
func byPart(tb testing.TB, raw []byte, kind string) (sum map[string]float64, total float64) {
	p, err := profile.ParseData(raw)
	if err != nil {
		tb.Fatal(err)
	}
	at := 0
	for i, t := range p.SampleType {
		if t.Type == kind {
			at = i
		}
	}
	sum = map[string]float64{}
	for _, s := range p.Sample {
		v := float64(s.Value[at])
		total += v
		sum[partOf(s)] += v
	}
	return sum, total
}

func partOf(s *profile.Sample) string {
	for _, loc := range s.Location {
		for _, l := range loc.Line {
			for _, p := range parts {
				if strings.Contains(l.Function.Name, p.frame) {
					return p.part
				}
			}
		}
	}
	return "runtime"
}

func allocated(tb testing.TB) map[string]float64 {
	runtime.GC()
	var raw bytes.Buffer
	if err := pprof.Lookup("allocs").WriteTo(&raw, 0); err != nil {
		tb.Fatal(err)
	}
	sum, _ := byPart(tb, raw.Bytes(), "alloc_space")
	return sum
}

// BenchmarkStub is ingest from a stub transport under the AWS SDK through decode,
// key and transactions to kfake, which is in the process: two million lines in
// subscription records of 500. What the stub and the broker do is not in the
// shares, nor in the bytes that are allocated for each record.
func BenchmarkStub(b *testing.B) {
	const shards, pages, perPage, lines = 8, 50, 10, 500
	b.Setenv("AWS_ACCESS_KEY_ID", "test")
	b.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	b.Setenv("AWS_CA_BUNDLE", "") // it would want a transport that it can set up
	c := kafkatest.Embedded(b)
	before := allocated(b)
	var cpu bytes.Buffer
	profiling := pprof.StartCPUProfile(&cpu) == nil // not with -cpuprofile
	records := 0
	for b.Loop() {
		cfg := podConfig(c.Addrs, kafkatest.Prefix(b), "http://stub.invalid")
		cfg.Pipeline.CommitInterval = Default().Pipeline.CommitInterval
		cfg.Kinesis.Streams[0].ReadsPerSecond, cfg.Kinesis.Streams[0].BytesPerSecond = 1000, 1<<40
		tel := telemetry.Quiet()
		ctx, cancel := context.WithCancel(b.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- run(ctx, cfg, tel, awsconfig.WithHTTPClient(newStub(b, shards, pages, perPage, lines)), awsconfig.WithRegion("us-east-1"))
		}()
		tick := time.NewTicker(20 * time.Millisecond)
		for n := 0.0; n < shards*pages*perPage*lines; n = family(b, tel.Registry, "flowstitch_stage_records_out_total", "flows") {
			select {
			case <-tick.C:
			case err := <-ended:
				b.Fatal(err)
			}
		}
		tick.Stop()
		cancel()
		if err := <-ended; err != nil {
			b.Fatal(err)
		}
		records += shards * pages * perPage * lines
	}
	n := float64(records)
	b.ReportMetric(n/b.Elapsed().Seconds(), "records/s")
	own := 0.0
	for part, bytes := range allocated(b) {
		if part != "stub" && part != "broker" {
			own += bytes - before[part]
		}
	}
	b.ReportMetric(own/n, "B/record")
	if !profiling {
		return
	}
	pprof.StopCPUProfile()
	share, all := byPart(b, cpu.Bytes(), "cpu")
	after := allocated(b)
	all -= share["stub"] + share["broker"]
	b.ReportMetric(100*share["decode"]/all, "%decode")
	b.ReportMetric(all/1e9/n*1e6, "CPU-s/Mrecords")
	for part, ns := range share {
		b.Logf("%-15s %5.1f %% of the CPU, %6.1f ns a record, %6.1f B", part, 100*ns/all, ns/n, (after[part]-before[part])/n)
	}
}
