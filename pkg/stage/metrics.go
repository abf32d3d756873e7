package stage

import (
	"errors"
	"maps"
	"math"
	"strconv"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// metrics is everything of a stage that moves. All names begin with
// flowstitch_stage_ and carry the labels service and stage.
type metrics struct {
	slots         prometheus.Gauge
	takeovers     *prometheus.CounterVec
	timeToLive    prometheus.Histogram
	committed     prometheus.Counter
	aborted       *prometheus.CounterVec
	commitSeconds prometheus.Histogram
	refused       prometheus.Counter
	ledgerBytes   prometheus.Counter
	ledgerRead    prometheus.Counter
	recordsOut    *prometheus.CounterVec
	bytesOut      *prometheus.CounterVec
	recordsIn     prometheus.Counter
	bytesIn       prometheus.Counter
	marksIn       prometheus.Counter
	poison        prometheus.Counter
	refolded      prometheus.Counter
	snapshots     prometheus.Counter
	snapshotBytes prometheus.Counter
	switched      prometheus.Counter
	gap           prometheus.Counter

	mu      sync.Mutex
	outs    map[string]*outCounter
	parts   map[int32]*partitionState
	perPart [6]*prometheus.Desc
}

// partitionState is what the gauges of an owned partition show.
type partitionState struct {
	position, end int64
	refold        int64 // records still to be refolded
	clock         flow.Time
	tickMS        int64
	behind        int
	oldest        int64 // wall milliseconds at which its oldest snapshot was written
}

type outCounter struct{ records, bytes prometheus.Counter }

func (m *metrics) register(st *Stage) error {
	labels := prometheus.Labels{"service": st.cfg.Service, "stage": st.cfg.Stage}
	var all []prometheus.Collector
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "flowstitch_stage_" + name, Help: help, ConstLabels: labels})
		all = append(all, c)
		return c
	}
	counters := func(name, help, label string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "flowstitch_stage_" + name, Help: help, ConstLabels: labels}, []string{label})
		all = append(all, c)
		return c
	}
	histogram := func(name, help string, from, factor float64, n int) prometheus.Histogram {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "flowstitch_stage_" + name, Help: help, ConstLabels: labels, Buckets: prometheus.ExponentialBuckets(from, factor, n),
		})
		all = append(all, h)
		return h
	}
	m.slots = prometheus.NewGauge(prometheus.GaugeOpts{Name: "flowstitch_stage_slots", Help: "Slots that this member owns.", ConstLabels: labels})
	all = append(all, m.slots, m)
	m.takeovers = counters("slots_dropped_total", "Slots dropped on an error, to be taken over again, by reason.", "reason")
	m.timeToLive = histogram("time_to_live_seconds", "From taking a slot to having refolded it.", 0.01, 2, 16)
	m.committed = counter("transactions_committed_total", "Transactions committed.")
	m.aborted = counters("transactions_aborted_total", "Transactions aborted, by reason.", "reason")
	m.commitSeconds = histogram("commit_seconds", "From the begin of a transaction to its commit.", 0.001, 2, 15)
	m.refused = counter("records_refused_total", "Records that the broker refused and that went to rejects.")
	m.ledgerBytes = counter("ledger_bytes_total", "Bytes written to the ledger, snapshots included.")
	m.ledgerRead = counter("ledger_read_bytes_total", "Bytes read from the ledger when taking slots over.")
	m.recordsOut = counters("records_out_total", "Records committed, marks included, by topic.", "topic")
	m.bytesOut = counters("bytes_out_total", "Key and value bytes committed, by topic.", "topic")
	m.recordsIn = counter("records_in_total", "Data records folded in, refolds apart.")
	m.bytesIn = counter("bytes_in_total", "Key and value bytes of records folded in, refolds apart.")
	m.marksIn = counter("marks_in_total", "Marks taken in, refolds apart.")
	m.poison = counter("poison_records_total", "Records that can not be folded and went to rejects.")
	m.refolded = counter("refolded_records_total", "Records and marks folded again after taking a slot.")
	m.snapshots = counter("snapshots_total", "Bucket snapshots written.")
	m.snapshotBytes = counter("snapshot_bytes_total", "Bytes of bucket snapshots written.")
	m.switched = counter("buckets_reconfigured_total", "Buckets handed to a new configuration.")
	m.gap = counter("input_gap_records_total", "Input offsets that the log no longer held when they were needed.")
	m.outs, m.parts = map[string]*outCounter{}, map[int32]*partitionState{}
	for i, d := range [6][2]string{
		{"lag_records", "Offsets between the position and the end of the committed log."},
		{"clock_seconds", "The clock of the partition, Unix seconds of event time; absent until there is one, +Inf when its sources have finished."},
		{"tick_milliseconds", "The latest wall time in the partition's marks, Unix milliseconds."},
		{"sources_behind", "Slots of the sources that hold the clock where it is, or have not spoken."},
		{"refold_records", "Offsets still to be refolded before the partition is live."},
		{"snapshot_oldest_milliseconds", "When the oldest snapshot of the partition was written, Unix milliseconds."},
	} {
		m.perPart[i] = prometheus.NewDesc("flowstitch_stage_"+d[0], d[1], []string{"partition"}, labels)
	}
	// A second stage of the same name in one process (a member that was stopped
	// and started again) takes the first one's place.
	for _, c := range all {
		var dup prometheus.AlreadyRegisteredError
		if err := st.cfg.Telemetry.Registry.Register(c); errors.As(err, &dup) {
			st.cfg.Telemetry.Registry.Unregister(dup.ExistingCollector)
			err = st.cfg.Telemetry.Registry.Register(c)
			if err != nil {
				return err
			}
		} else if err != nil {
			return err
		}
	}
	return nil
}

// out returns the counters of a topic.
func (m *metrics) out(topic string) *outCounter {
	m.mu.Lock()
	defer m.mu.Unlock()
	o := m.outs[topic]
	if o == nil {
		o = &outCounter{m.recordsOut.WithLabelValues(topic), m.bytesOut.WithLabelValues(topic)}
		m.outs[topic] = o
	}
	return o
}

// produced counts the records of a transaction that is committed. Records of a
// topic mostly follow each other: they are added up before a counter is touched.
func (m *metrics) produced(tx *Tx) {
	topic, n, size := "", 0, 0
	for i := range tx.recs.n {
		r := tx.recs.at(i)
		if r.Topic != topic {
			m.countOut(topic, n, size)
			topic, n, size = r.Topic, 0, 0
		}
		n, size = n+1, size+len(r.Key)+len(r.Value)
	}
	m.countOut(topic, n, size)
}

func (m *metrics) countOut(topic string, records, bytes int) {
	if records == 0 {
		return
	}
	o := m.out(topic)
	o.records.Add(float64(records))
	o.bytes.Add(float64(bytes))
}

// folded adds up what a partition took in since before.
func (m *metrics) folded(now, before *partitionStats) {
	add := func(c prometheus.Counter, n uint64) {
		if n > 0 {
			c.Add(float64(n))
		}
	}
	add(m.refolded, now.refolded-before.refolded)
	add(m.recordsIn, now.records-before.records)
	add(m.marksIn, now.marks-before.marks)
	add(m.bytesIn, now.bytes-before.bytes)
	add(m.poison, now.poison-before.poison)
}

// show replaces what the gauges of a partition show; nil takes them away.
func (m *metrics) show(p int32, s *partitionState) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s == nil {
		delete(m.parts, p)
		return
	}
	m.parts[p] = s
}

// positions are the positions of the owned partitions that are live.
func (m *metrics) positions() map[int32]int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[int32]int64{}
	for p, s := range m.parts {
		if s.refold == 0 {
			out[p] = s.position
		}
	}
	return out
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range m.perPart {
		ch <- d
	}
}

// Collect implements prometheus.Collector: the gauges of the partitions.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	m.mu.Lock()
	parts := maps.Clone(m.parts)
	m.mu.Unlock()
	for p, s := range parts {
		label := strconv.Itoa(int(p))
		put := func(i int, v float64) {
			ch <- prometheus.MustNewConstMetric(m.perPart[i], prometheus.GaugeValue, v, label)
		}
		put(0, float64(max(0, s.end-s.position)))
		switch s.clock {
		case flow.MinTime:
		case flow.MaxTime:
			put(1, math.Inf(1))
		default:
			put(1, float64(s.clock))
		}
		put(2, float64(s.tickMS))
		put(3, float64(s.behind))
		put(4, float64(s.refold))
		put(5, float64(s.oldest))
	}
}
