package sessionizer

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/flowstitch/flowstitch/pkg/session"
)

// metrics sum over the buckets of the process.
type metrics struct {
	verdicts [session.Invalid + 1]prometheus.Counter
	events   [session.KindGap + 1]prometheus.Counter
	evicted  prometheus.Counter

	open, retained, pending, points, bytes prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "flowstitch", Subsystem: "sessionize", Name: name, Help: help}
	}
	gauge := func(name, help string) prometheus.Gauge {
		return f.NewGauge(prometheus.GaugeOpts(opts(name, help)))
	}
	m := &metrics{
		evicted:  f.NewCounter(prometheus.CounterOpts(opts("evicted_total", "Sessions told early because a bucket was at its memory bound."))),
		open:     gauge("open_sessions", "Sessions that have begun, or are about to."),
		retained: gauge("retained_sessions", "Closed sessions kept for corrections."),
		pending:  gauge("pending_records", "Records that the clock has not passed."),
		points:   gauge("observation_points", "Observation points known, summed over buckets."),
		bytes:    gauge("table_bytes", "Memory of the tables, by their parts."),
	}
	records := f.NewCounterVec(prometheus.CounterOpts(opts("records_total", "Records of flows, by what became of them.")), []string{"verdict"})
	for v := range m.verdicts {
		m.verdicts[v] = records.WithLabelValues(session.Verdict(v).String())
	}
	events := f.NewCounterVec(prometheus.CounterOpts(opts("events_total", "Events made, by kind.")), []string{"kind"})
	for k := session.KindUpdate; k <= session.KindGap; k++ {
		m.events[k] = events.WithLabelValues(k.String())
	}
	return m
}

// count adds what has happened between two looks at a table.
func (m *metrics) count(before, now *session.Stats) {
	for v := range m.verdicts {
		m.verdicts[v].Add(float64(now.Verdicts[v] - before.Verdicts[v]))
	}
	for kind, n := range map[session.Kind]uint64{
		session.KindUpdate: now.Updates - before.Updates, session.KindProgress: now.Progress - before.Progress,
		session.KindClose: now.Closes - before.Closes, session.KindCorrect: now.Corrections - before.Corrections,
		session.KindGap: now.Gaps - before.Gaps,
	} {
		m.events[kind].Add(float64(n))
	}
	m.evicted.Add(float64(now.Evicted - before.Evicted))
}

// hold moves the gauges from what a table held to what it holds.
func (m *metrics) hold(before, now *session.Stats) {
	m.open.Add(float64(now.Open - before.Open))
	m.retained.Add(float64(now.Retained - before.Retained))
	m.pending.Add(float64(now.Pending - before.Pending))
	m.points.Add(float64(now.Points - before.Points))
	m.bytes.Add(float64(now.Bytes - before.Bytes))
}
