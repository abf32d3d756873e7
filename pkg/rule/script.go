package rule

import (
	"fmt"
	"strconv"
	"time"

	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/detect"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/scenario"
	"github.com/flowstitch/flowstitch/pkg/session"
)

// Script is the target of users' scenario scripts: the flows of a script become
// sessions, the sessions are given to rules, and what the rules say are the
// facts. A script names its rules with `set rules FILE`.
//
// A fact is an alert in its last state (provisional ones when the script shows
// all), with the fields rule, entity, title, severity, verdict, from and to
// (of the window), and each number of having by its name: count,
// distinct_server, sum_bytes.
type Script struct {
	// Load returns the rules of a file that a script names.
	Load func(name string) ([]*Rule, error)

	sessions *scenario.Sessions
	rules    []*Rule
	runner   *Runner
	start    flow.Time
	active   int64
	offset   int64
	facts    []scenario.Fact
}

var _ scenario.Target = (*Script)(nil)

// NewScript returns a target whose scripts name rules that load knows.
func NewScript(load func(name string) ([]*Rule, error)) *Script {
	s := &Script{Load: load, sessions: scenario.NewSessions()}
	s.sessions.Hook = s.event
	return s
}

// Set implements scenario.Target.
func (s *Script) Set(name string, args []string) error {
	if name != "rules" {
		return s.sessions.Set(name, args)
	}
	for _, a := range args {
		rules, err := s.Load(a)
		if err != nil {
			return err
		}
		s.rules = append(s.rules, rules...)
	}
	return nil
}

// Begin implements scenario.Target.
func (s *Script) Begin(start flow.Time) error {
	if len(s.rules) == 0 {
		return fmt.Errorf("the script names no rules: set rules FILE")
	}
	s.start, s.active = start, s.sessions.Config.Active
	s.runner = NewRunner(s.rules, detect.DefaultSettings(), s.alert)
	return s.sessions.Begin(start)
}

func (s *Script) event(e *session.Event) {
	s.offset++
	s.runner.Event(e, 0, s.offset)
}

// Observe implements scenario.Target.
func (s *Script) Observe(r *flow.Record) error { return s.sessions.Observe(r) }

// Advance implements scenario.Target. The clock of what comes after sessions
// lies the active timeout behind, as in the pipeline.
func (s *Script) Advance(clock flow.Time) error {
	err := s.sessions.Advance(clock)
	s.runner.Advance(clock.Add(-s.active))
	s.sessions.Facts() // sessions are not what a rule's script is about
	return err
}

// Tick implements scenario.Target.
func (s *Script) Tick(wall int64) error {
	err := s.sessions.Tick(wall)
	s.runner.Tick(wall)
	s.sessions.Facts()
	return err
}

// Facts implements scenario.Target.
func (s *Script) Facts() []scenario.Fact {
	f := s.facts
	s.facts = nil
	return f
}

func (s *Script) alert(a *alert.Alert) {
	provisional := a.Verdict == alert.Provisional
	if !provisional && a.Activity != alert.Close {
		return
	}
	f := scenario.Fact{Subject: "alert", Provisional: provisional}
	add := func(name, value string) { f.Fields = append(f.Fields, scenario.Field{Name: name, Value: value}) }
	since := func(t flow.Time) string { return (time.Duration(t-s.start) * time.Second).String() }
	add("rule", a.Detector.Name)
	add("entity", a.Entity.Value)
	add("severity", severities[max(a.Severity, 1)-1])
	add("verdict", a.Verdict.String())
	for _, c := range a.Counts {
		add(c.Name, strconv.FormatFloat(c.Observed, 'f', -1, 64))
	}
	add("from", since(a.Window.Start))
	add("to", since(a.Window.End))
	add("title", a.Title)
	s.facts = append(s.facts, f)
}
