package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/detect"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/query"
	"github.com/flowstitch/flowstitch/pkg/rule"
	"github.com/flowstitch/flowstitch/pkg/session"
)

// backtestFlags are the flags of rules backtest.
type backtestFlags struct {
	source         sourceFlags
	rules, against listFlag
	examples       int
	format         string
}

func rulesBacktest(ctx context.Context, e *env, args []string) error {
	set, b := newRulesFlags(e)
	files, err := parseMixed(set, args)
	if err != nil {
		return err
	}
	if len(b.rules) == 0 {
		return usagef("backtest needs -rules")
	}
	from, to, err := b.source.span(time.Now())
	if err != nil {
		return err
	}
	run := &backtest{from: from, to: to}
	if to == 0 {
		run.to = flow.MaxTime
	}
	if run.now, err = newSide(b.rules); err != nil {
		return err
	}
	if len(b.against) > 0 {
		if run.before, err = newSide(b.against); err != nil {
			return err
		}
	}
	src, err := b.source.open(e, "sessions", files, from, to)
	if err != nil {
		return err
	}
	if src.files != nil {
		src.files.Clock = run.advance
	} else {
		src.topics.Clock = run.advance
	}
	start := time.Now()
	stopped := src.run(ctx, run)
	if stopped != nil && !errors.Is(stopped, context.Canceled) {
		return stopped
	}
	run.advance(flow.MaxTime)
	if b.format == "json" {
		err = run.now.json(e)
	} else {
		err = run.report(e, b, time.Since(start))
	}
	if err == nil && stopped != nil {
		return errors.New("stopped before the end; the answer is partial")
	}
	return err
}

// side is one set of rules and what it found.
type side struct {
	rules  []*rule.Rule
	runner *rule.Runner
	last   map[alert.UID]alert.Alert
}

func newSide(paths []string) (*side, error) {
	rules, err := loadRules(paths)
	if err != nil {
		return nil, err
	}
	if len(rules) == 0 {
		return nil, fmt.Errorf("there is no rule in %s", strings.Join(paths, ", "))
	}
	s := &side{rules: rules, last: map[alert.UID]alert.Alert{}}
	s.runner = rule.NewRunner(rules, detect.DefaultSettings(), func(a *alert.Alert) { s.last[a.UID] = *a })
	return s, nil
}

// findings are the confirmed ones, by time.
func (s *side) findings() (list []*alert.Alert) {
	for _, a := range s.last {
		if a.Verdict == alert.Confirmed {
			list = append(list, &a)
		}
	}
	slices.SortFunc(list, func(a, b *alert.Alert) int {
		if a.First != b.First {
			return int(min(max(a.First-b.First, -1), 1))
		}
		return bytes.Compare(a.UID[:], b.UID[:])
	})
	return list
}

func (s *side) json(e *env) error {
	enc := alert.NewEncoder(alert.Options{})
	for _, a := range s.findings() {
		r, err := enc.Record(a)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(e.stdout, "%s\n", r.Value); err != nil {
			return err
		}
	}
	return nil
}

// backtest feeds both sides with the same sessions.
type backtest struct {
	from, to    flow.Time
	now, before *side
	events      int64 // final ones: how many provisional ones there are is a matter of pace
	clock       flow.Time
}

// Event implements query.Sink.
func (b *backtest) Event(e *session.Event, at query.Position) error {
	if e.First < b.from || e.First >= b.to {
		return nil
	}
	if e.Kind.Final() {
		b.events++
	}
	for _, s := range []*side{b.now, b.before} {
		if s != nil {
			s.runner.Event(e, at.Partition, at.Offset)
		}
	}
	return nil
}

// Flow implements query.Sink.
func (b *backtest) Flow(*flow.Record) error { return nil }

func (b *backtest) advance(clock flow.Time) {
	if clock <= b.clock {
		return
	}
	b.clock = clock
	for _, s := range []*side{b.now, b.before} {
		if s != nil {
			s.runner.Advance(clock)
		}
	}
}

func (b *backtest) report(e *env, f *backtestFlags, took time.Duration) error {
	found := b.now.findings()
	fmt.Fprintf(e.stdout, "%d session events, %d rules, %d alerts (%s)\n", b.events, len(b.now.rules), len(found), took.Round(time.Millisecond))
	for _, st := range b.now.runner.Stats() {
		if st.Evicted > 0 {
			fmt.Fprintf(e.stdout, "rule %s: %d groups were forgotten, there were more than its max_groups\n", st.ID, st.Evicted)
		}
	}
	if b.before == nil {
		return show(e, "", found, f.examples)
	}
	old := b.before.findings()
	fmt.Fprintf(e.stdout, "against %d rules with %d alerts: %d added, %d removed\n", len(b.before.rules), len(old),
		len(without(found, b.before.last)), len(without(old, b.now.last)))
	if err := show(e, "+ ", without(found, b.before.last), f.examples); err != nil {
		return err
	}
	return show(e, "- ", without(old, b.now.last), f.examples)
}

// without returns the findings that the other side did not confirm.
func without(list []*alert.Alert, other map[alert.UID]alert.Alert) (out []*alert.Alert) {
	for _, a := range list {
		if o, ok := other[a.UID]; !ok || o.Verdict != alert.Confirmed {
			out = append(out, a)
		}
	}
	return out
}

// show prints for each rule how many there are, and the first of them.
func show(e *env, mark string, list []*alert.Alert, examples int) error {
	count := map[string]int{}
	for _, a := range list {
		count[a.Detector.ID]++
	}
	var ids []string
	for id := range count {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b string) int {
		if count[a] != count[b] {
			return count[b] - count[a]
		}
		return strings.Compare(a, b)
	})
	for _, id := range ids {
		if _, err := fmt.Fprintf(e.stdout, "%s%s: %d\n", mark, id, count[id]); err != nil {
			return err
		}
		left := examples
		for _, a := range list {
			if a.Detector.ID == id && left > 0 {
				left--
				fmt.Fprintf(e.stdout, "%s    %s %s\n", mark, a.First, a.Title)
			}
		}
	}
	return nil
}
