package main

import (
	"strings"
	"testing"
)

const sample = `goos: linux
pkg: example.org/flowlog
BenchmarkLine/v2-2         	 1000	       200.0 ns/op	       0 B/op	       0 allocs/op
BenchmarkLine/v2-2         	 1000	       180.0 ns/op	       0 B/op	       0 allocs/op
BenchmarkLine/baseline-2   	 1000	       100.0 ns/op	       0 B/op	       0 allocs/op
BenchmarkTurns-2         	 1000	       300.0 ns/op	 1.940 x-bare	       0 B/op	       0 allocs/op
BenchmarkHot-2             	 1000	       10 ns/op	 0 allocs-max	       8 B/op	       1 allocs/op
`

func TestReport(t *testing.T) {
	results, err := parse(strings.NewReader(sample))
	if err != nil || len(results) != 4 {
		t.Fatalf("%v, %v", results, err)
	}
	for _, c := range []struct {
		limits limitFlag
		want   []string
	}{
		{limitFlag{"Line/v2": 2}, []string{"Hot allocates 1 times"}},
		{limitFlag{"Line/v2": 1.5}, []string{"v2 is 1.80x of its baseline"}},
		{limitFlag{"Nothing": 1}, []string{"Nothing names no benchmark"}},
	} {
		var b strings.Builder
		err := report(&b, results, c.limits)
		if !strings.Contains(b.String(), "1.80x") || !strings.Contains(b.String(), "1.94x bare") {
			t.Errorf("no ratio in\n%s", b.String())
		}
		for _, w := range c.want {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%v: %v does not say %q", c.limits, err, w)
			}
		}
	}
}
