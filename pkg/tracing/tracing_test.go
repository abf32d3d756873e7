package tracing

import (
	"context"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/goleak"

	"github.com/flowstitch/flowstitch/pkg/kafkatest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, kafkatest.Leaks()...) }

// TestTraces: a drawn record has a span where it is produced and one where it is
// fetched, of one trace; neither tells its key. One that is not drawn is as it was.
func TestTraces(t *testing.T) {
	for _, share := range []float64{1, 0} {
		exporter := tracetest.NewInMemoryExporter()
		got := roundTrip(t, exporter, share)
		spans := exporter.GetSpans()
		if share == 0 {
			if len(spans) != 0 || len(got.Headers) != 0 {
				t.Errorf("nothing was drawn, but there are %d spans and headers %v", len(spans), got.Headers)
			}
			continue
		}
		if len(spans) != 2 || spans[0].SpanContext.TraceID() != spans[1].SpanContext.TraceID() {
			t.Fatalf("%d spans: %v", len(spans), spans)
		}
		names := spans[0].Name + ", " + spans[1].Name
		if !strings.Contains(names, "publish") || !strings.Contains(names, "receive") {
			t.Errorf("spans %s", names)
		}
		for _, s := range spans {
			for _, a := range s.Attributes {
				if strings.Contains(a.Value.String(), "10.0.0.1") {
					t.Errorf("%s tells %s=%s", s.Name, a.Key, a.Value.String())
				}
			}
		}
	}
}

// roundTrip produces a record and fetches it, and ends the export.
func roundTrip(t *testing.T, exporter *tracetest.InMemoryExporter, share float64) *kgo.Record {
	t.Helper()
	c := kafkatest.Embedded(t)
	opts, stop := export(keep{exporter}, "ingest", share)
	cl, err := kgo.NewClient(append(append(c.Opts(), opts...), kgo.ConsumeTopics("flows"))...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if _, err := kadm.NewClient(cl).CreateTopic(t.Context(), 1, 1, nil, "flows"); err != nil {
		t.Fatal(err)
	}
	if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "flows", Key: []byte("10.0.0.1"), Value: []byte("flow")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	fetches := cl.PollFetches(t.Context())
	if err := fetches.Err0(); err != nil || fetches.NumRecords() != 1 {
		t.Fatalf("%d records: %v", fetches.NumRecords(), err)
	}
	if err := stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	return fetches.Records()[0]
}

// keep keeps the spans when the export ends, which empties the exporter.
type keep struct{ *tracetest.InMemoryExporter }

// Shutdown implements trace.SpanExporter.
func (keep) Shutdown(context.Context) error { return nil }
