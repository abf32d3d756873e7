package scenario

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// Fact is something that a target states: a session event, a reject, an alert.
// Provisional facts are only compared in a script that shows all.
type Fact struct {
	Subject     string
	Provisional bool
	Fields      []Field
}

// Get returns a field's value.
func (f *Fact) Get(name string) (string, bool) {
	for _, x := range f.Fields {
		if x.Name == name {
			return x.Value, true
		}
	}
	return "", false
}

// String is the fact as an expectation would be written.
func (f *Fact) String() string {
	var b strings.Builder
	b.WriteString(f.Subject)
	for _, x := range f.Fields {
		v := x.Value
		if strings.ContainsAny(v, " \t") || v == "" {
			v = strconv.Quote(v)
		}
		b.WriteString(" " + x.Name + " " + v)
	}
	return b.String()
}

// Target is what a script runs against: a session table, detectors, a rule.
type Target interface {
	// Set applies a set line, before Begin.
	Set(name string, args []string) error
	// Begin starts the run at the script's time zero, to which facts give
	// their times.
	Begin(start flow.Time) error
	Observe(r *flow.Record) error
	Advance(clock flow.Time) error
	// Tick tells the wall time in Unix milliseconds.
	Tick(wall int64) error
	// Facts returns what has been stated since the last call, in order.
	Facts() []Fact
}

// Failure is an expectation that did not hold, or facts that none expected.
type Failure struct {
	Line int
	Text string
}

func (f Failure) String() string { return fmt.Sprintf("line %d: %s", f.Line, f.Text) }

// Apply tells a target the settings and begins.
func (s *Script) Apply(t Target) error {
	for _, set := range s.Settings {
		if err := t.Set(set.Name, set.Args); err != nil {
			return fmt.Errorf("line %d: %w", set.Line, err)
		}
	}
	return t.Begin(s.Start)
}

// Run runs a script against a target and returns what did not hold. The error
// is the target's, with the line.
func (s *Script) Run(t Target) ([]Failure, error) {
	if err := s.Apply(t); err != nil {
		return nil, err
	}
	r := run{vars: map[string]string{}, all: s.ShowAll}
	for i := range s.Steps {
		step := &s.Steps[i]
		if step.Op == OpExpect {
			r.expect(step)
			continue
		}
		if step.Op != OpFlow {
			r.leftOver(step.Line)
		}
		if err := step.feed(t); err != nil {
			return r.failures, fmt.Errorf("line %d: %w", step.Line, err)
		}
		r.take(t.Facts())
	}
	if n := len(s.Steps); n > 0 {
		r.leftOver(s.Steps[n-1].Line)
	}
	return r.failures, nil
}

// Feed runs the steps without comparing anything and returns all facts, for
// metamorphic tests.
func (s *Script) Feed(t Target) (facts []Fact, err error) {
	if err := s.Apply(t); err != nil {
		return nil, err
	}
	for i := range s.Steps {
		if err := s.Steps[i].feed(t); err != nil {
			return facts, err
		}
		facts = append(facts, t.Facts()...)
	}
	return facts, nil
}

func (s *Step) feed(t Target) error {
	switch s.Op {
	case OpFlow:
		r := s.Record.Clone()
		return t.Observe(&r)
	case OpClock:
		return t.Advance(s.Time)
	case OpTick:
		return t.Tick(int64(s.Time) * 1000)
	default: // an expectation feeds nothing
		return nil
	}
}

type run struct {
	facts    []Fact
	vars     map[string]string
	failures []Failure
	all      bool
	loose    bool // since the last step only some facts were asked for
}

func (r *run) take(facts []Fact) {
	for _, f := range facts {
		if r.all || !f.Provisional {
			r.facts = append(r.facts, f)
		}
	}
}

func (r *run) fail(line int, format string, args ...any) {
	r.failures = append(r.failures, Failure{Line: line, Text: fmt.Sprintf(format, args...)})
}

// leftOver reports facts that no expectation has taken.
func (r *run) leftOver(line int) {
	for i := range r.facts {
		if !r.loose {
			r.fail(line, "not expected before this: %s", &r.facts[i])
		}
	}
	r.facts, r.loose = r.facts[:0], false
}

func (r *run) expect(s *Step) {
	w := &s.Want
	switch w.Mode {
	case ModeNothing:
		for i := range r.facts {
			r.fail(s.Line, "expected nothing, got: %s", &r.facts[i])
		}
		r.facts = r.facts[:0]
	case ModeNext:
		if len(r.facts) == 0 {
			r.fail(s.Line, "expected %s, got nothing", w.Subject)
			return
		}
		f := r.facts[0]
		r.facts = r.facts[1:]
		if why := r.compare(w, &f); why != "" {
			r.fail(s.Line, "%s\n  got: %s", why, &f)
		}
	case ModeSome, ModeNo:
		r.search(s, w)
	}
}

func (r *run) search(s *Step, w *Want) {
	nearest := ""
	r.loose = r.loose || w.Mode == ModeSome
	for i := range r.facts {
		why := r.compare(w, &r.facts[i])
		if why == "" && w.Mode == ModeSome {
			r.facts = append(r.facts[:i:i], r.facts[i+1:]...)
			return
		}
		if why == "" {
			r.fail(s.Line, "expected no %s, got: %s", w.Subject, &r.facts[i])
			return
		}
		if r.facts[i].Subject == w.Subject {
			nearest = "\n  " + why + "\n  got: " + r.facts[i].String()
		}
	}
	if w.Mode == ModeSome {
		r.fail(s.Line, "expected some %s like that among %d facts%s", w.Subject, len(r.facts), nearest)
	}
}

// compare returns "" where the fact is as wanted, else why not. Variables are
// bound only when all of it holds.
func (r *run) compare(w *Want, f *Fact) string {
	if w.Subject != f.Subject {
		return fmt.Sprintf("expected %s", w.Subject)
	}
	bind := map[string]string{}
	for _, x := range w.Fields {
		got, ok := f.Get(x.Name)
		if !ok {
			return fmt.Sprintf("%s has no field %s", f.Subject, x.Name)
		}
		if !r.equal(x.Value, got, bind) {
			return fmt.Sprintf("%s: expected %s, got %s", x.Name, x.Value, got)
		}
	}
	for k, v := range bind {
		r.vars[k] = v
	}
	return ""
}

func (r *run) equal(want, got string, bind map[string]string) bool {
	switch {
	case strings.HasPrefix(want, "!$"):
		v, ok := r.vars[want[1:]]
		return !ok || v != got
	case strings.HasPrefix(want, "$"):
		if v, ok := r.vars[want]; ok {
			return v == got
		}
		bind[want] = got
		return true
	case strings.HasPrefix(want, "~"):
		return strings.Contains(got, want[1:])
	}
	for _, op := range []string{">=", "<=", ">", "<"} {
		if !strings.HasPrefix(want, op) {
			continue
		}
		a, err1 := strconv.ParseFloat(got, 64)
		b, err2 := strconv.ParseFloat(want[len(op):], 64)
		if err1 != nil || err2 != nil {
			return false
		}
		return map[string]bool{">=": a >= b, "<=": a <= b, ">": a > b, "<": a < b}[op]
	}
	if want == got {
		return true
	}
	a, err1 := time.ParseDuration(want)
	b, err2 := time.ParseDuration(got)
	return err1 == nil && err2 == nil && a == b
}
