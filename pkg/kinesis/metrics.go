package kinesis

import "github.com/prometheus/client_golang/prometheus"

// metrics are what a consumer shows. All labels have few values: a stream's
// configured name, never a shard.
type metrics struct {
	records, userRecords, bytes, broken, repeated *prometheus.CounterVec // stream
	faults                                        *prometheus.CounterVec // stream, call, fault
	calls                                         *prometheus.CounterVec // stream, call
	gaps                                          *prometheus.CounterVec // stream
	shards, paused, behind                        *prometheus.GaugeVec   // stream
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
		behind:      gauge("behind_seconds", "How far the last read of the shard that was read last is behind the stream's tip."),
		inFlight:    prometheus.NewGauge(prometheus.GaugeOpts{Name: ns + "in_flight_bytes", Help: "Bytes of records read and not yet handed over."}),
	}
	reg.MustRegister(m.inFlight)
	return m
}
