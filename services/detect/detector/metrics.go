package detector

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/detect"
	"github.com/flowstitch/flowstitch/pkg/rule"
)

// metrics sum over the buckets of the process. Counters begin with the process:
// what a refold repeats is counted as it is folded.
type metrics struct {
	events, observations, early, shed, relieved, lateEvents, allowedEvents prometheus.Counter
	judged, lateObservations, evicted, expired, allowed                    prometheus.Counter
	alerts                                                                 *prometheus.CounterVec
	sums, entities                                                         prometheus.Gauge
	ruleEvicted                                                            *prometheus.CounterVec
	ruleGroups                                                             *prometheus.GaugeVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "flowstitch", Subsystem: "detect", Name: name, Help: help}
	}
	counter := func(name, help string) prometheus.Counter {
		return f.NewCounter(prometheus.CounterOpts(opts(name, help)))
	}
	return &metrics{
		events:           counter("session_events_total", "Session events that combine has added up."),
		observations:     counter("observations_total", "Final observations that combine has sent."),
		early:            counter("early_observations_total", "Provisional observations that combine has sent."),
		shed:             counter("shed_clients_total", "Clients of a flooded address that only its sample and sketch know."),
		relieved:         counter("relieved_total", "Times a bucket of combine sent its sums early because it was at its bound of entities."),
		lateEvents:       counter("late_events_total", "Session events counted into a later pane because their own had passed."),
		allowedEvents:    counter("allowed_events_total", "Session events that an exception took out."),
		judged:           counter("observations_judged_total", "Observations that evaluate has taken."),
		lateObservations: counter("late_observations_total", "Observations counted into a later pane because their own had passed."),
		evicted:          counter("evicted_entities_total", "Entities forgotten because a bucket of evaluate was at its bound."),
		expired:          counter("expired_entities_total", "Entities forgotten because they were not seen for long."),
		allowed:          counter("allowed_findings_total", "Findings that an exception took back, each time they were raised."),
		alerts: f.NewCounterVec(prometheus.CounterOpts(opts("alerts_total", "Statements about findings.")),
			[]string{"detector", "activity", "verdict", "severity"}),
		ruleEvicted: f.NewCounterVec(prometheus.CounterOpts(opts("rule_evicted_groups_total", "Groups of a rule forgotten because there were more than its max_groups.")),
			[]string{"rule"}),
		ruleGroups: f.NewGaugeVec(prometheus.GaugeOpts(opts("rule_groups", "Groups of a rule that evaluate remembers.")), []string{"rule"}),
		sums:       f.NewGauge(prometheus.GaugeOpts(opts("open_sums", "Sums of an entity and pane that combine holds."))),
		entities:   f.NewGauge(prometheus.GaugeOpts(opts("entities", "Entities that evaluate remembers."))),
	}
}

// countCombine adds what has happened between two looks at a combiner.
func (m *metrics) countCombine(before, now detect.CombineStats) {
	m.events.Add(float64(now.Events - before.Events))
	m.observations.Add(float64(now.Observations - before.Observations))
	m.early.Add(float64(now.Early - before.Early))
	m.shed.Add(float64(now.Shed - before.Shed))
	m.relieved.Add(float64(now.Relieved - before.Relieved))
	m.lateEvents.Add(float64(now.Late - before.Late))
	m.allowedEvents.Add(float64(now.Allowed - before.Allowed))
}

// countEvaluate adds what has happened between two looks at an evaluator.
func (m *metrics) countEvaluate(before, now detect.EvaluateStats) {
	m.judged.Add(float64(now.Observations - before.Observations))
	m.lateObservations.Add(float64(now.Late - before.Late))
	m.evicted.Add(float64(now.Evicted - before.Evicted))
	m.expired.Add(float64(now.Expired - before.Expired))
	m.allowed.Add(float64(now.Allowed - before.Allowed))
}

// countRules adds what has happened between two looks at a judge; before is
// empty at the first. Both are by the rules' ids.
func (m *metrics) countRules(before, now []rule.Stats) {
	for i, s := range now {
		var old rule.Stats
		if i < len(before) {
			old = before[i]
		}
		m.ruleEvicted.WithLabelValues(s.ID).Add(float64(s.Evicted - old.Evicted))
		m.ruleGroups.WithLabelValues(s.ID).Add(float64(s.Groups - old.Groups))
	}
}

func (m *metrics) said(a *alert.Alert) {
	m.alerts.WithLabelValues(a.Detector.ID, a.Activity.String(), a.Verdict.String(), a.Severity.String()).Inc()
}
