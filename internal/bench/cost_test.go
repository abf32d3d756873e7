package bench

import (
	"fmt"
	"strings"
	"testing"

	"github.com/flowstitch/flowstitch/pkg/detect"
	"github.com/flowstitch/flowstitch/pkg/kafkatest"
	"github.com/flowstitch/flowstitch/pkg/rule"
)

// BenchmarkRules is what users' rules that match nothing cost: the processor
// time of combine with them over that without any, in turns.
func BenchmarkRules(b *testing.B) {
	trafficLog()
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			rules := strangeRules(b, n)
			taps := func() []detect.Tap {
				return []detect.Tap{rule.NewTap(rules, detect.DefaultSettings().Pane)}
			}
			var with, without float64
			out := &observations{}
			for b.Loop() {
				without += cpuTime(func() { combineTraffic(b, out, noTaps) })
				with += cpuTime(func() { combineTraffic(b, out, taps) })
			}
			b.ReportMetric(with/without, "x-no-rules")
		})
	}
}

// strangeRules are n different rules for networks and ports that the traffic
// does not have.
func strangeRules(b *testing.B, n int) []*rule.Rule {
	b.Helper()
	schema, err := rule.NewLanguage(rule.Sessions())
	if err != nil {
		b.Fatal(err)
	}
	var text strings.Builder
	text.WriteString("rules:\n")
	for i := range n {
		match := fmt.Sprintf(`server_port == %d && proto == \"tcp\" && failed`, 20_000+i)
		if i%2 == 1 {
			match = fmt.Sprintf(`client in \"192.0.%d.0/28\" && bytes_out > %d`, i%256, 1000*i)
		}
		fmt.Fprintf(&text, "- {id: r%d, title: \"{{client}} {{count}}\", match: \"%s\", group_by: [client], window: 5m, having: count >= 5, severity: low}\n", i, match)
	}
	rules, err := rule.Parse(schema, []byte(text.String()))
	if err != nil {
		b.Fatal(err)
	}
	return rules
}

// cpuTime is the processor time of this process while f runs, in seconds.
func cpuTime(f func()) float64 {
	began := processCPU()
	f()
	return processCPU() - began
}

// BenchmarkIdlePartitions is the whole pipeline with 64 partitions, of which four
// endless sessions leave 60 without data, over that with 4, in turns: the
// processor time of a second of a run, since partitions cost by the second.
func BenchmarkIdlePartitions(b *testing.B) {
	brokers := kafkatest.Embedded(b).Addrs
	var few, many float64
	for n := 0; b.Loop(); n++ {
		for _, partitions := range []int32{4, 64} {
			o := pipelineOptions(brokers, fmt.Sprintf("idle%d.%d.", n, partitions), partitions)
			o.Flows, o.Rate = 40_000, 8000 // five seconds
			o.Shape.Sessions, o.Shape.Sources, o.Shape.Intervals, o.Shape.Rate = 4, 4, 1<<20, 1
			cpu := cpuTime(func() {
				if _, err := Run(b.Context(), o); err != nil {
					b.Fatal(err)
				}
			})
			if partitions == 4 {
				few += cpu
			} else {
				many += cpu
			}
		}
	}
	b.ReportMetric(many/few, "x-4-partitions")
}
