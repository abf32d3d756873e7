package eval

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/flowstitch/flowstitch/pkg/detect"
)

// Result is the evaluation of one log.
type Result struct {
	Name     string // "sdt011_internet_24h.v2"
	Records  int
	Events   int
	Obs      int
	Scores   []Score
	Pipeline *Pipeline
	Truth    []Truth
}

// Run evaluates every log in a directory: NAME.v2.log.gz beside NAME.truth.csv.
func Run(dir string, set *detect.Settings) ([]Result, error) {
	logs, err := filepath.Glob(filepath.Join(dir, "*.log.gz"))
	if err != nil || len(logs) == 0 {
		return nil, errors.Join(err, fmt.Errorf("%s holds no *.log.gz: give the directory of labelled logs with -data", dir))
	}
	slices.Sort(logs)
	var out []Result
	for _, path := range logs {
		r, err := runOne(path, set)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Base(path), err)
		}
		out = append(out, *r)
	}
	return out, nil
}

func runOne(path string, set *detect.Settings) (*Result, error) {
	in, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	list, err := ReadLog(in, filepath.Base(path))
	if err = errors.Join(err, in.Close()); err != nil {
		return nil, err
	}
	name := strings.TrimSuffix(filepath.Base(path), ".log.gz")
	p := NewPipeline(set)
	for i := range list {
		p.Record(&list[i])
	}
	if err := p.Finish(); err != nil {
		return nil, err
	}
	stem := name
	if i := strings.LastIndexByte(name, '.'); i > 0 {
		stem = name[:i]
	}
	in, err = os.Open(filepath.Join(filepath.Dir(path), stem+".truth.csv"))
	if err != nil {
		return nil, err
	}
	truth, err := ReadTruth(in)
	if err = errors.Join(err, in.Close()); err != nil {
		return nil, err
	}
	return &Result{
		Name: name, Records: p.Records, Events: p.Events, Obs: p.Obs, Pipeline: p, Truth: truth, Scores: Judge(truth, p.Statements),
	}, nil
}

// Table writes results as a Markdown table.
func Table(results []Result) string {
	var b strings.Builder
	b.WriteString(Header + "\n")
	for i := range results {
		for j := range results[i].Scores {
			b.WriteString(results[i].Scores[j].Row(results[i].Name) + "\n")
		}
	}
	return b.String()
}

// Slow writes, as a Markdown table, when vertical scanners were named, when they
// were told apart from those who knock once, and when they had a finding of
// their own: all of them, and those that send a probe in 5 to 30 minutes.
func Slow(results []Result) string {
	var b strings.Builder
	b.WriteString("| set | vertical scanners | | named | singled out | finding of its own |\n|---|---|---:|---:|---:|---:|\n")
	for i := range results {
		r := &results[i]
		for _, group := range []struct {
			name     string
			from, to int64 // seconds between probes
		}{{"all", 0, math.MaxInt64}, {"a probe in 5 to 30 min", 300, 1800}} {
			var list []Truth
			for _, t := range r.Truth {
				if gap := int64(t.End-t.Start) / max(t.Flows, 1); strings.HasPrefix(t.Kind, "port_scan_vertical") && gap >= group.from && gap <= group.to {
					list = append(list, t)
				}
			}
			if len(list) == 0 {
				continue
			}
			fmt.Fprintf(&b, "| %s | %s | %d |", r.Name, group.name, len(list))
			for _, is := range []func(*Truth, *Statement) bool{func(t *Truth, s *Statement) bool { return mentions(s, t) }, singledOut, own} {
				d := measure(list, r.Pipeline.Statements, is)
				fmt.Fprintf(&b, " %d, %d min |", d.Found, d.Median/60)
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}

// Volumes writes how much went through each part, as a Markdown table.
func Volumes(results []Result) string {
	var b strings.Builder
	b.WriteString("| set | records | session events | observations | alert records |\n|---|---:|---:|---:|---:|\n")
	for i := range results {
		r := &results[i]
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d |\n", r.Name, r.Records, r.Events, r.Obs, len(r.Pipeline.Statements))
	}
	return b.String()
}
