package ingester

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/flowstitch/flowstitch/pkg/flowlog"
)

// metrics are the counters of one ingest process. Each counts what has been
// handed to a transaction; a transaction that fails is read and counted again.
//
// The balance: lines = records + rejects + headers. A broken aggregate and a gap
// in a stream count as a line.
type metrics struct {
	lines, bytes, headers, control prometheus.Counter
	unknown                        prometheus.Counter
	records                        *prometheus.CounterVec
	rejects                        *prometheus.CounterVec
	newest                         atomic.Int64 // latest End, Unix seconds
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	counter := func(name, help string) prometheus.Counter {
		return f.NewCounter(prometheus.CounterOpts{Namespace: "flowstitch", Subsystem: "ingest", Name: name, Help: help})
	}
	m := &metrics{
		lines:   counter("lines_total", "Lines, events and rows read, blank ones apart."),
		bytes:   counter("input_bytes_total", "Bytes read, before decompression."),
		headers: counter("headers_total", "Header lines read."),
		control: counter("control_messages_total", "CloudWatch Logs control messages skipped."),
		unknown: counter("unknown_fields_total", "Names of fields that AWS does not define, each counted once by a slot's or file's reader. Their values are kept as text."),
		records: f.NewCounterVec(prometheus.CounterOpts{
			Namespace: "flowstitch", Subsystem: "ingest", Name: "records_total",
			Help: "Records written to flows, by kind: flow, nodata, skipdata.",
		}, []string{"kind"}),
		rejects: f.NewCounterVec(prometheus.CounterOpts{
			Namespace: "flowstitch", Subsystem: "ingest", Name: "rejects_total",
			Help: "Inputs written to rejects with their raw bytes, by class of reason.",
		}, []string{"class"}),
	}
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "flowstitch", Subsystem: "ingest", Name: "newest_event_seconds",
		Help: "Latest end of a record so far, Unix seconds of event time.",
	}, func() float64 { return float64(m.newest.Load()) })
	for _, kind := range []string{"flow", "nodata", "skipdata"} {
		m.records.WithLabelValues(kind)
	}
	for _, c := range flowlog.Classes() {
		m.rejects.WithLabelValues(c.String())
	}
	return m
}

// count adds what a batch holds.
func (m *metrics) count(b *batch) {
	m.lines.Add(float64(b.read.Lines))
	m.bytes.Add(float64(b.read.Bytes))
	m.headers.Add(float64(b.read.Headers))
	m.control.Add(float64(b.read.Control))
	m.unknown.Add(float64(b.read.Unknown))
	m.records.WithLabelValues("flow").Add(float64(b.flows))
	m.records.WithLabelValues("nodata").Add(float64(b.nodata))
	m.records.WithLabelValues("skipdata").Add(float64(b.skipdata))
	for c, n := range b.classes {
		if n > 0 {
			m.rejects.WithLabelValues(flowlog.Class(c).String()).Add(float64(n))
		}
	}
	for {
		old := m.newest.Load()
		if int64(b.newest) <= old || m.newest.CompareAndSwap(old, int64(b.newest)) {
			return
		}
	}
}
