package main

import (
	"strconv"

	dto "github.com/prometheus/client_model/go"

	"github.com/flowstitch/flowstitch/internal/pipeline"
)

// value is a counter's or gauge's value.
func value(m *dto.Metric) float64 {
	if c := m.GetCounter(); c != nil {
		return c.GetValue()
	}
	return m.GetGauge().GetValue()
}

func sum(list []*dto.Metric) (s float64) {
	for _, m := range list {
		s += value(m)
	}
	return s
}

// by sums metrics by one of their labels.
func by(list []*dto.Metric, label string) map[string]float64 {
	out := map[string]float64{}
	for _, m := range list {
		out[pipeline.Label(m, label)] += value(m)
	}
	return out
}

func total(m map[string]float64) (s float64) {
	for _, v := range m {
		s += v
	}
	return s
}

// count prints a whole number with its thousands apart: 1,234,567.
func count(v float64) string {
	s := strconv.FormatInt(int64(v), 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
