// Package tracing shows the way of single records through the topics as
// OpenTelemetry traces: a span for each produce and each fetch of a record that
// was drawn, linked over the topics by its headers.
//
// It guarantees that a record that was not drawn costs no header and is the same
// bytes as without tracing, and that no key and no value of a record becomes an
// attribute: who talks to whom stays in Kafka.
package tracing

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/plugin/kotel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Start returns the options that make a Kafka client trace the given share of its
// records (0 to 1), and what flushes and ends the export. Where to is told by the
// standard environment, OTEL_EXPORTER_OTLP_ENDPOINT and its like, OTLP over HTTP.
func Start(ctx context.Context, service string, share float64) ([]kgo.Opt, func(context.Context) error, error) {
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("tracing: %w", err)
	}
	opts, stop := export(exporter, service, share)
	return opts, stop, nil
}

// export is Start for any exporter.
func export(exporter sdk.SpanExporter, service string, share float64) ([]kgo.Opt, func(context.Context) error) {
	provider := sdk.NewTracerProvider(sdk.WithBatcher(exporter),
		sdk.WithSampler(sdk.ParentBased(sdk.TraceIDRatioBased(share))),
		sdk.WithResource(resource.NewSchemaless(attribute.String("service.name", "flowstitch-"+service))))
	tracer := kotel.NewTracer(kotel.TracerProvider(provider), kotel.TracerPropagator(drawn{propagation.TraceContext{}}),
		kotel.KeyFormatter(func(*kgo.Record) (string, error) { return "", errNoKey }))
	hooks := kotel.NewKotel(kotel.WithTracer(tracer)).Hooks()
	return []kgo.Opt{kgo.WithHooks(hooks...)}, func(ctx context.Context) error {
		if err := provider.Shutdown(ctx); err != nil {
			return fmt.Errorf("tracing: %w", err)
		}
		return nil
	}
}

// errNoKey keeps keys out of attributes.
var errNoKey = errors.New("keys hold addresses")

// drawn writes headers for drawn records only.
type drawn struct{ propagation.TraceContext }

// Inject implements propagation.TextMapPropagator.
func (d drawn) Inject(ctx context.Context, c propagation.TextMapCarrier) {
	if trace.SpanContextFromContext(ctx).IsSampled() {
		d.TraceContext.Inject(ctx, c)
	}
}
