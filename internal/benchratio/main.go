// Command benchratio runs the project's benchmarks and prints each beside its
// baseline of the same run: a ratio means something on a shared and noisy
// machine, a figure of its own does not.
//
// A benchmark's baseline is the sibling sub-benchmark whose last name begins
// with "baseline"; one that runs its own baseline in turns with itself, which is
// what noise spares, reports the ratio as a metric "x-NAME". A benchmark that reports a metric "allocs-max" fails the run
// when it allocates more; -max "NAME=1.6" fails it when the ratio is above that.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sort"
	"strconv"
	"strings"
	"text/tabwriter"
)

// result is one line of `go test -bench`.
type result struct {
	pkg, name string
	metrics   map[string]float64 // by unit: "ns/op", "B/op", "allocs/op", ...
}

// group is the name without its last element, where siblings meet.
func (r *result) group() string {
	if i := strings.LastIndexByte(r.name, '/'); i >= 0 {
		return r.pkg + "." + r.name[:i]
	}
	return r.pkg + "."
}

func (r *result) isBaseline() bool {
	return strings.HasPrefix(r.name[strings.LastIndexByte(r.name, '/')+1:], "baseline")
}

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "benchratio:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	fs := flag.NewFlagSet("benchratio", flag.ContinueOnError)
	benchtime := fs.String("benchtime", "1s", "time for each benchmark")
	count := fs.Int("count", 1, "how often each runs; the fastest counts")
	pattern := fs.String("bench", ".", "which benchmarks")
	limits := limitFlag{}
	fs.Var(limits, "max", "`NAME=RATIO`: fail if a benchmark whose name contains NAME is above RATIO of its baseline; may be repeated")
	if err := fs.Parse(args); err != nil {
		return err
	}
	pkgs := fs.Args()
	if len(pkgs) == 0 {
		pkgs = []string{"./..."}
	}
	cmd := exec.Command("go", append([]string{
		"test", "-run", "^$", "-bench", *pattern, "-benchmem", "-benchtime", *benchtime, "-count", strconv.Itoa(*count),
	}, pkgs...)...)
	cmd.Stderr = os.Stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	results, err := parse(pipe)
	if err := errors.Join(err, cmd.Wait()); err != nil {
		return err
	}
	return report(out, results, limits)
}

type limitFlag map[string]float64

func (l limitFlag) String() string { return "" }

func (l limitFlag) Set(s string) error {
	name, ratio, ok := strings.Cut(s, "=")
	v, err := strconv.ParseFloat(ratio, 64)
	if !ok || err != nil {
		return fmt.Errorf("%q is not NAME=RATIO", s)
	}
	l[name] = v
	return nil
}

// parse reads the output of go test -bench and keeps the fastest run of each.
func parse(r io.Reader) ([]result, error) {
	var out []result
	index := map[string]int{}
	pkg := ""
	sc := bufio.NewScanner(r)
	for sc.Scan() {
		f := strings.Fields(sc.Text())
		if len(f) == 2 && f[0] == "pkg:" {
			pkg = f[1]
		}
		if len(f) < 4 || !strings.HasPrefix(f[0], "Benchmark") {
			continue
		}
		res := result{pkg: pkg, name: strings.TrimPrefix(f[0], "Benchmark"), metrics: map[string]float64{}}
		if i := strings.LastIndexByte(res.name, '-'); i > 0 {
			if _, err := strconv.Atoi(res.name[i+1:]); err == nil {
				res.name = res.name[:i]
			}
		}
		for i := 2; i+1 < len(f); i += 2 {
			v, err := strconv.ParseFloat(f[i], 64)
			if err != nil {
				return nil, fmt.Errorf("reading %q: %w", sc.Text(), err)
			}
			res.metrics[f[i+1]] = v
		}
		key := res.pkg + "." + res.name
		if i, ok := index[key]; !ok {
			index[key] = len(out)
			out = append(out, res)
		} else if res.metrics["ns/op"] < out[i].metrics["ns/op"] {
			out[i] = res
		}
	}
	return out, sc.Err()
}

// ratio returns how many times as long r takes as its baseline, and the name of
// a baseline of its own.
func (r *result) ratio(base map[string]result) (v float64, name string, ok bool) {
	for unit, v := range r.metrics {
		if name, ok := strings.CutPrefix(unit, "x-"); ok {
			return v, name, true
		}
	}
	b, ok := base[r.group()]
	if !ok || r.isBaseline() {
		return 0, "", false
	}
	return r.metrics["ns/op"] / b.metrics["ns/op"], "", true
}

// report prints a table and returns an error if a limit is broken.
func report(w io.Writer, results []result, limits limitFlag) error {
	base := map[string]result{}
	for _, r := range results {
		if r.isBaseline() {
			base[r.group()] = r
		}
	}
	sort.SliceStable(results, func(i, j int) bool { return results[i].pkg < results[j].pkg })
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "benchmark\tns/op\tB/op\tallocs/op\tof baseline\t")
	var errs []error
	used := map[string]bool{}
	for _, r := range results {
		ratio := "-"
		if v, name, ok := r.ratio(base); ok {
			ratio = strings.TrimSpace(fmt.Sprintf("%.2fx %s", v, name))
			for name, limit := range limits {
				if strings.Contains(r.name, name) {
					used[name] = true
					if v > limit {
						errs = append(errs, fmt.Errorf("%s is %.2fx of its baseline, above %.2fx", r.name, v, limit))
					}
				}
			}
		}
		if most, ok := r.metrics["allocs-max"]; ok && r.metrics["allocs/op"] > most {
			errs = append(errs, fmt.Errorf("%s allocates %v times, above %v", r.name, r.metrics["allocs/op"], most))
		}
		fmt.Fprintf(tw, "%s.%s\t%.4g\t%.0f\t%.0f\t%s\t\n", r.pkg[strings.LastIndexByte(r.pkg, '/')+1:], r.name,
			r.metrics["ns/op"], r.metrics["B/op"], r.metrics["allocs/op"], ratio)
	}
	for name := range limits {
		if !used[name] {
			errs = append(errs, fmt.Errorf("-max %s names no benchmark with a baseline", name))
		}
	}
	return errors.Join(append([]error{tw.Flush()}, errs...)...)
}
