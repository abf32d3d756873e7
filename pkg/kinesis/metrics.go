package kinesis

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/flowstitch/flowstitch/pkg/kinesis/shard"
)

// metrics are what a consumer shows. All labels have few values: a stream's
// configured name, never a shard.
type metrics struct {
	records, userRecords, bytes, broken, repeated *prometheus.CounterVec // stream
	faults                                        *prometheus.CounterVec // stream, call, fault
	calls                                         *prometheus.CounterVec // stream, call
	gaps                                          *prometheus.CounterVec // stream
	shards, paused                                *prometheus.GaugeVec   // stream
	behind                                        *behind
	inFlight                                      prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	const ns = "flowstitch_ingest_kinesis_"
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: ns + name, Help: help}, append([]string{"stream"}, labels...))
		reg.MustRegister(v)
		return v
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: ns + name, Help: help}, []string{"stream"})
		reg.MustRegister(v)
		return v
	}
	m := &metrics{
		records:     counter("records_total", "Kinesis records read."),
		userRecords: counter("user_records_total", "User records handed over, aggregates taken apart."),
		bytes:       counter("read_bytes_total", "Bytes of Kinesis records read."),
		broken:      counter("broken_aggregates_total", "Records that begin like a KPL aggregate and are broken; each is a reject."),
		repeated:    counter("repeated_records_total", "Records that the service gave again and that were dropped."),
		calls:       counter("calls_total", "Calls of the service that succeeded.", "call"),
		faults:      counter("faults_total", "Calls of the service that failed; each is tried again.", "call", "fault"),
		gaps:        counter("coverage_gaps_total", "Stretches of time for which records are missing or late by policy."),
		shards:      gauge("reading_shards", "Shards that this process reads."),
		paused:      gauge("paused_shards", "Shards that wait because they are too far ahead of the slowest."),
		behind:      newBehind(gauge("behind_seconds", "How far the last read was behind the tip, of the shard of this process that is furthest behind.")),
		inFlight:    prometheus.NewGauge(prometheus.GaugeOpts{Name: ns + "in_flight_bytes", Help: "Bytes of records read and not yet handed over."}),
	}
	reg.MustRegister(m.inFlight)
	return m
}

// begin shows what is counted of a stream at 0: an alert on the first gap needs
// a value to rise from.
func (m *metrics) begin(stream string) {
	for _, v := range []*prometheus.CounterVec{m.records, m.userRecords, m.broken, m.repeated, m.gaps} {
		v.WithLabelValues(stream)
	}
	m.shards.WithLabelValues(stream)
	m.paused.WithLabelValues(stream)
}

// behind knows how far behind the tip each shard was read last, and shows the
// most of each stream: a label for each shard would have no bound.
type behind struct {
	gauge *prometheus.GaugeVec

	mu sync.Mutex
	by map[string]map[string]int64 // milliseconds, by incarnation and shard
}

func newBehind(gauge *prometheus.GaugeVec) *behind {
	return &behind{gauge: gauge, by: map[string]map[string]int64{}}
}

// set tells how many milliseconds a shard is behind.
func (b *behind) set(k shard.Key, millis int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.by[k.Stream] == nil {
		b.by[k.Stream] = map[string]int64{}
	}
	b.by[k.Stream][k.Shard] = millis
	b.show(k.Stream)
}

// drop forgets a shard that is not read any more.
func (b *behind) drop(k shard.Key) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.by[k.Stream], k.Shard)
	b.show(k.Stream)
}

func (b *behind) show(stream string) {
	var most int64
	for _, ms := range b.by[stream] {
		most = max(most, ms)
	}
	b.gauge.WithLabelValues(nameOf(stream)).Set(float64(most) / 1000)
}
