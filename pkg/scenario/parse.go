package scenario

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// Op is what a step does.
type Op uint8

// The steps of a script.
const (
	OpFlow   Op = iota + 1 // Step.Record arrives
	OpClock                // the clock moves to Step.Time
	OpTick                 // the wall clock reaches Step.Time
	OpExpect               // Step.Want is compared
)

// Mode is how an expectation looks for its fact.
type Mode uint8

// The modes of an expectation.
const (
	ModeNext    Mode = iota // the next fact
	ModeSome                // one of the facts so far; those before it are skipped
	ModeNo                  // none of the facts so far
	ModeNothing             // there is no fact
)

// Field is a named value of a fact or of an expectation.
type Field struct{ Name, Value string }

// Want is an expectation.
type Want struct {
	Mode    Mode
	Subject string
	Fields  []Field
}

// Setting is a set line: what the target is told before the first step.
type Setting struct {
	Line int
	Name string
	Args []string
}

// Step is one line that does something.
type Step struct {
	Line   int
	Op     Op
	Record flow.Record
	Time   flow.Time
	Want   Want
}

// Script is a parsed script.
type Script struct {
	Title    string
	Start    flow.Time
	Settings []Setting
	Steps    []Step
	ShowAll  bool // provisional facts count
	Fixed    bool // the order of arrival matters
}

// maxSteps bounds what a repeat may blow a script up to.
const maxSteps = 1 << 20

// defaultStart is a Monday morning, 2026-01-05T10:00:00Z.
const defaultStart flow.Time = 1767607200

type parser struct {
	s    Script
	line int
}

// Parse reads a script. An error names the line, what is wrong and what would
// be right.
func Parse(text string) (*Script, error) {
	p := parser{s: Script{Start: defaultStart}}
	for i, line := range strings.Split(text, "\n") {
		p.line = i + 1
		if err := p.parseLine(line); err != nil {
			return nil, fmt.Errorf("line %d: %w", p.line, err)
		}
	}
	return &p.s, nil
}

func (p *parser) parseLine(line string) error {
	if i := strings.IndexByte(line, '#'); i >= 0 && (i == 0 || line[i-1] == ' ' || line[i-1] == '\t') {
		line = line[:i]
	}
	w := strings.Fields(line)
	if len(w) == 0 {
		return nil
	}
	if w[0] == "title" {
		p.s.Title = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "title"))
		return nil
	}
	return p.words(w)
}

func (p *parser) words(w []string) error {
	if len(p.s.Steps) > maxSteps {
		return fmt.Errorf("the script has more than %d steps", maxSteps)
	}
	args := w[1:]
	switch w[0] {
	case "start", "set", "show", "order":
		return p.header(w[0], args)
	case "flow", "talk", "nodata", "skipdata":
		return p.records(w[0], args)
	case "again":
		for i := len(p.s.Steps) - 1; i >= 0; i-- {
			if p.s.Steps[i].Op == OpFlow {
				p.add(Step{Op: OpFlow, Record: p.s.Steps[i].Record})
				return nil
			}
		}
		return fmt.Errorf("again: there is no record before")
	case "repeat":
		return p.repeat(args)
	case "clock", "tick":
		return p.time(w[0], args)
	case "expect":
		return p.expect(args)
	}
	return fmt.Errorf("%q is no line of a script: use flow, talk, nodata, skipdata, again, repeat, clock, tick, expect, set, show, order, start or title", w[0])
}

func (p *parser) add(s Step) {
	s.Line = p.line
	p.s.Steps = append(p.s.Steps, s)
}

func (p *parser) header(word string, args []string) error {
	text := strings.Join(args, " ")
	switch word {
	case "start":
		at, err := time.Parse(time.RFC3339, text)
		if err != nil || len(p.s.Steps) > 0 {
			return fmt.Errorf("start: write a time like 2026-01-05T10:00:00Z, before the first step")
		}
		p.s.Start = flow.Time(at.Unix())
	case "set":
		if len(args) < 2 {
			return fmt.Errorf("set: write a name and a value")
		}
		p.s.Settings = append(p.s.Settings, Setting{Line: p.line, Name: args[0], Args: args[1:]})
	case "show":
		if text != "all" {
			return fmt.Errorf("show: the only choice is all")
		}
		p.s.ShowAll = true
	case "order":
		if text != "fixed" {
			return fmt.Errorf("order: the only choice is fixed")
		}
		p.s.Fixed = true
	}
	return nil
}

func (p *parser) time(word string, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("%s: write one time", word)
	}
	step := Step{Op: OpClock}
	if word == "tick" {
		step.Op = OpTick
	}
	if word == "clock" && args[0] == "end" {
		step.Time = flow.MaxTime
	} else {
		d, err := seconds(args[0])
		if err != nil {
			return err
		}
		step.Time = p.s.Start + flow.Time(d)
	}
	p.add(step)
	return nil
}

// seconds reads a duration of whole seconds.
func seconds(s string) (int64, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d%time.Second != 0 {
		return 0, fmt.Errorf("%q is no time in whole seconds, like 90s or 1m30s", s)
	}
	return int64(d / time.Second), nil
}

func (p *parser) expect(args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("expect: write what, or nothing")
	}
	w := Want{}
	switch {
	case args[0] == "nothing":
		w.Mode = ModeNothing
	case args[0] == "some" && len(args) > 1:
		w.Mode, args = ModeSome, args[1:]
	case args[0] == "no" && len(args) > 1:
		w.Mode, args = ModeNo, args[1:]
	}
	w.Subject = args[0]
	fields, err := pairs(args[1:])
	if err != nil {
		return err
	}
	w.Fields = fields
	p.add(Step{Op: OpExpect, Want: w})
	return nil
}

// pairs reads NAME VALUE pairs; a value in quotes may hold spaces.
func pairs(args []string) (fields []Field, err error) {
	for i := 0; i < len(args); {
		name := args[i]
		if i++; i == len(args) {
			return nil, fmt.Errorf("%s has no value: expectations are pairs of name and value", name)
		}
		value := args[i]
		i++
		if strings.HasPrefix(strings.TrimPrefix(value, "~"), `"`) {
			for !strings.HasSuffix(value, `"`) || strings.Count(value, `"`) < 2 {
				if i == len(args) {
					return nil, fmt.Errorf("the quote in the value of %s is not closed", name)
				}
				value += " " + args[i]
				i++
			}
			value = strings.ReplaceAll(value, `"`, "")
		}
		fields = append(fields, Field{Name: name, Value: value})
	}
	return fields, nil
}

// repeat reads COUNT every STEP LINE.
func (p *parser) repeat(args []string) error {
	if len(args) < 5 || args[1] != "every" || (args[3] != "flow" && args[3] != "talk") {
		return fmt.Errorf("repeat: write a count, every, a step, and a flow or talk line")
	}
	count, err := strconv.Atoi(args[0])
	if err != nil || count < 1 || count > maxSteps {
		return fmt.Errorf("repeat: %q is no count from 1 to %d", args[0], maxSteps)
	}
	step, err := seconds(args[2])
	if err != nil {
		return err
	}
	at, err := seconds(args[4])
	if err != nil {
		return err
	}
	for n := range int64(count) {
		line, err := expandAll(args[3:], n)
		if err != nil {
			return err
		}
		line[1] = strconv.FormatInt(at+n*step, 10) + "s"
		if err := p.words(line); err != nil {
			return err
		}
	}
	return nil
}

func expandAll(words []string, n int64) (line []string, err error) {
	for _, w := range words {
		if w, err = expand(w, n); err != nil {
			return nil, err
		}
		line = append(line, w)
	}
	return line, nil
}

// expand replaces {BASE+STEP} by BASE + n*STEP.
func expand(s string, n int64) (string, error) {
	for {
		i := strings.IndexByte(s, '{')
		if i < 0 {
			return s, nil
		}
		j := strings.IndexByte(s[i:], '}')
		if j < 0 {
			return "", fmt.Errorf("%q: the brace is not closed", s)
		}
		base, step, ok := strings.Cut(s[i+1:i+j], "+")
		b, err1 := strconv.ParseInt(base, 10, 64)
		d, err2 := strconv.ParseInt(step, 10, 64)
		if !ok || err1 != nil || err2 != nil {
			return "", fmt.Errorf("%q: write {40000+1}, a first number and a step", s)
		}
		s = s[:i] + strconv.FormatInt(b+n*d, 10) + s[i+j+1:]
	}
}
