package rule

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml"

	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/flow"
)

// File is a file of rules.
type File struct {
	// Lists are names for many values: `client in admins`.
	Lists map[string][]string `yaml:"lists,omitempty"`
	Rules []Spec              `yaml:"rules"`
}

// Spec is one rule as users write it.
type Spec struct {
	ID          string `yaml:"id"`    // lower case, digits, hyphens; the detector is rule:<id>
	Title       string `yaml:"title"` // may hold {{client}}, {{count}}, {{distinct(server)}}, {{window}}
	Description string `yaml:"description,omitempty"`
	Disabled    bool   `yaml:"disabled,omitempty"`

	Match   string        `yaml:"match,omitempty"`    // a filter over sessions; empty matches all
	GroupBy []string      `yaml:"group_by,omitempty"` // fields, tags["x"], client/24
	Window  time.Duration `yaml:"window,omitempty"`   // whole seconds
	Slide   time.Duration `yaml:"slide,omitempty"`    // 0: windows follow one another
	Having  string        `yaml:"having,omitempty"`   // empty: count >= 1

	Sequence []Step        `yaml:"sequence,omitempty"` // instead of match, group_by, window, having: one after the other
	Together []Step        `yaml:"together,omitempty"` // the same in any order
	Within   time.Duration `yaml:"within,omitempty"`   // of steps, first to last

	Severity   string        `yaml:"severity"` // informational, low, medium, high, critical
	Confidence uint8         `yaml:"confidence,omitempty"`
	Attack     []string      `yaml:"attack,omitempty"` // ATT&CK techniques: T1110.001
	Cooldown   time.Duration `yaml:"cooldown,omitempty"`
	FalseAlarm string        `yaml:"false_alarm,omitempty"`
	Except     []Exception   `yaml:"except,omitempty"`
	MaxGroups  int           `yaml:"max_groups,omitempty"` // groups kept a window; default DefaultMaxGroups
}

// steps are those of a sequence or of things that come together; none for a
// threshold.
func (s *Spec) steps() []Step {
	if len(s.Together) > 0 {
		return s.Together
	}
	return s.Sequence
}

// Step is one step of a sequence, or one of the things that come together.
type Step struct {
	Name    string   `yaml:"name,omitempty"`
	Match   string   `yaml:"match"`
	By      []string `yaml:"by"` // what makes it the same entity: client in one step, server in another
	AtLeast int      `yaml:"at_least,omitempty"`
}

// Exception is traffic that a rule leaves out, and why.
type Exception struct {
	Match  string    `yaml:"match"`
	Reason string    `yaml:"reason"`
	Until  time.Time `yaml:"until,omitempty"` // sessions that start later are no exception any more
}

// Bounds of a rule.
const (
	MaxWindow        = 7 * 24 * time.Hour
	MaxPanes         = 120 // slides in a window
	DefaultMaxGroups = 10_000
	LimitMaxGroups   = 1_000_000
	MaxSteps         = 5
	MaxDims          = 4
)

// Rule is a compiled rule. It is immutable.
type Rule struct {
	Spec     Spec
	Severity alert.Severity

	match  []*Filter // one, or one a step
	except []exception
	dims   [][]Dim // group by, or by of each step
	having *having
	grows  bool // sessions are counted by identity: the match may come true late
	pane   int64
	window int64
	bucket int64 // width of the UID's bucket: one finding of a group in each
	title  []titlePart
	rows   layout
}

type exception struct {
	filter *Filter
	until  flow.Time
}

// Mistake is one mistake in a rule, with where it is.
type Mistake struct {
	Rule string // id, or its place where it has none
	Key  string // match, having, group_by, ...
	Err  error
}

// Error names the rule and the key before the mistake.
func (e *Mistake) Error() string { return fmt.Sprintf("rule %s: %s: %v", e.Rule, e.Key, e.Err) }

// Unwrap returns the mistake itself.
func (e *Mistake) Unwrap() error { return e.Err }

// Parse reads a file of rules and compiles those that are not disabled. The
// error joins every mistake that was found; the rules that are sound are
// returned beside it.
func Parse(l *Language, text []byte) ([]*Rule, error) {
	f, err := decodeFile(text)
	if err != nil {
		return nil, err
	}
	return Compile(l, f)
}

func decodeFile(text []byte) (*File, error) {
	if !utf8.Valid(text) || bytes.IndexByte(text, 0) >= 0 { // a fault's excerpt would go to the terminal
		return nil, errors.New("it is not text; is it the YAML file that was meant?")
	}
	var f File
	dec := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict())
	if err := dec.Decode(&f); err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.New(strings.TrimSpace(yaml.FormatError(err, false, true)))
	}
	return &f, nil
}

// Compile compiles the rules of a file; see Parse.
func Compile(l *Language, f *File) ([]*Rule, error) {
	var rules []*Rule
	var errs []error
	for name := range f.Lists {
		if l.schema.Field(name) != nil || !listName.MatchString(name) {
			errs = append(errs, fmt.Errorf("list %s: a list is named by letters, digits and _, and not like a field", name))
		}
	}
	seen := make(map[string]bool)
	for i := range f.Rules {
		s := f.Rules[i]
		if seen[s.ID] {
			errs = append(errs, &Mistake{s.ID, "id", errors.New("there are two rules of this id")})
			continue
		}
		seen[s.ID] = true
		r, problems := compileRule(l, s, f.Lists, i)
		errs = append(errs, problems...)
		if len(problems) == 0 && !s.Disabled {
			rules = append(rules, r)
		}
	}
	return rules, errors.Join(errs...)
}

var (
	listName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	idShape  = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,63}$`)
)

type ruleCompiler struct {
	lang  *Language
	lists map[string][]string
	rule  *Rule
	name  string
	errs  []error
}

func (c *ruleCompiler) check(ok bool, key, format string, args ...any) bool {
	if !ok {
		c.errs = append(c.errs, &Mistake{c.name, key, fmt.Errorf(format, args...)})
	}
	return ok
}

func (c *ruleCompiler) add(key string, err error) {
	if err != nil {
		c.errs = append(c.errs, &Mistake{c.name, key, err})
	}
}

func compileRule(l *Language, s Spec, lists map[string][]string, place int) (*Rule, []error) {
	s.Sequence, s.Together = slices.Clone(s.Sequence), slices.Clone(s.Together) // defaults are filled in below
	c := &ruleCompiler{lang: l, lists: lists, rule: &Rule{Spec: s}, name: s.ID}
	if c.name == "" {
		c.name = fmt.Sprintf("number %d", place+1)
	}
	c.check(idShape.MatchString(s.ID), "id", "%q must be lower case letters, digits and hyphens, at most 64", s.ID)
	c.rule.Severity = c.severity(s.Severity)
	c.check(s.Confidence <= 100, "confidence", "%d is above 100 percent", s.Confidence)
	for _, a := range s.Attack {
		c.check(attackShape.MatchString(a), "attack", "%q is not an ATT&CK technique such as T1110.001", a)
	}
	c.check(s.MaxGroups >= 0 && s.MaxGroups <= LimitMaxGroups, "max_groups", "%d is not between 1 and %d", s.MaxGroups, LimitMaxGroups)
	if s.MaxGroups == 0 {
		c.rule.Spec.MaxGroups = DefaultMaxGroups
	}
	c.exceptions()
	switch {
	case len(s.Sequence) > 0:
		c.check(len(s.Together) == 0, "together", "a rule has steps in their order (sequence) or in any (together), not both")
		c.steps("sequence")
	case len(s.Together) > 0:
		c.steps("together")
	default:
		c.threshold()
	}
	if c.rule.having != nil {
		c.titleTemplate()
		var ok bool
		c.rule.rows, ok = c.rule.plan(l.schema)
		c.check(ok, "having", "distinct, min and max together may look at %d fields; a match on what grows takes the place of one", maxColumns)
	}
	c.cooldown()
	return c.rule, c.errs
}

var attackShape = regexp.MustCompile(`^T[0-9]{4}(\.[0-9]{3})?$`)

var severities = []string{"informational", "low", "medium", "high", "critical", "fatal"}

func (c *ruleCompiler) severity(s string) alert.Severity {
	for i, name := range severities {
		if name == s {
			return alert.Severity(i + 1)
		}
	}
	c.check(false, "severity", "%q is not one of %s", s, strings.Join(severities, ", "))
	return alert.Low
}

func (c *ruleCompiler) filter(key, text string) *Filter {
	f, err := c.lang.CompileWith(text, c.lists)
	c.add(key, err)
	return f
}

func (c *ruleCompiler) dimensions(key string, texts []string) []Dim {
	c.check(len(texts) <= MaxDims, key, "%d things to group by are more than %d", len(texts), MaxDims)
	var dims []Dim
	for _, t := range texts {
		d, err := c.lang.Dim(t)
		c.add(key, err)
		dims = append(dims, d)
	}
	return dims
}

// seconds checks that a duration is whole seconds within bounds.
func (c *ruleCompiler) seconds(key string, d, lo, hi time.Duration) int64 {
	c.check(d >= lo && d <= hi && d%time.Second == 0, key, "%s is not whole seconds between %s and %s", d, lo, hi)
	return int64(d / time.Second)
}

func (c *ruleCompiler) exceptions() {
	for _, e := range c.rule.Spec.Except {
		c.check(e.Reason != "", "except", "say the reason of the exception %q", e.Match)
		c.check(e.Match != "", "except", "an exception without match would leave out everything")
		x := exception{filter: c.filter("except", e.Match), until: flow.MaxTime}
		if !e.Until.IsZero() {
			x.until = flow.Time(e.Until.Unix())
		}
		c.rule.except = append(c.rule.except, x)
	}
}

func (c *ruleCompiler) threshold() {
	r, s := c.rule, &c.rule.Spec
	c.check(s.Within == 0, "within", "only a sequence has it; a threshold has a window")
	f := c.filter("match", s.Match)
	r.match = []*Filter{f}
	r.grows = f != nil && f.Grows()
	r.dims = [][]Dim{c.dimensions("group_by", s.GroupBy)}
	r.window = c.seconds("window", s.Window, time.Second, MaxWindow)
	r.pane = r.window
	if s.Slide != 0 {
		r.pane = c.seconds("slide", s.Slide, time.Second, s.Window)
		c.check(r.pane > 0 && r.window%r.pane == 0, "slide", "the window %s is not a multiple of %s", s.Window, s.Slide)
		c.check(r.pane > 0 && r.window/r.pane <= MaxPanes, "slide", "%s fits more than %d times into %s", s.Slide, MaxPanes, s.Window)
	}
	text := s.Having
	if text == "" {
		text = "count >= 1"
	}
	h, err := c.lang.compileHaving(text)
	c.add("having", err)
	r.having = h
}

// steps compiles a sequence, or what comes together.
func (c *ruleCompiler) steps(key string) {
	r, s := c.rule, &c.rule.Spec
	steps := s.steps()
	c.check(s.Match == "" && len(s.GroupBy) == 0 && s.Window == 0 && s.Slide == 0 && s.Having == "", key,
		"it has steps and within; match, group_by, window, slide and having belong to a threshold")
	c.check(len(steps) >= 2 && len(steps) <= MaxSteps, key, "%d steps are not 2 to %d", len(steps), MaxSteps)
	r.pane = c.seconds("within", s.Within, time.Second, 24*time.Hour)
	r.window = r.pane
	for i := range steps {
		st := &steps[i]
		c.check(st.Match != "", key, "step %d has no match", i+1)
		c.check(len(st.By) > 0, key, "step %d does not say by what it is the same entity: by: [client]", i+1)
		c.check(len(st.By) == len(steps[0].By), key, "step %d has another number of things in `by` than step 1", i+1)
		c.check(st.AtLeast >= 0 && st.AtLeast <= keepTimes, key, "step %d: at_least %d is not between 1 and %d", i+1, st.AtLeast, keepTimes)
		st.AtLeast = max(st.AtLeast, 1)
		f := c.filter(key, st.Match)
		r.match = append(r.match, f)
		r.grows = r.grows || (f != nil && f.Grows())
		r.dims = append(r.dims, c.dimensions(key, st.By))
	}
	r.having = &having{text: key, aggs: []*aggregate{{kind: aggCount, text: "count", unit: "sessions"}}}
}

// cooldown sets the width of a finding's bucket: within one, whatever fires
// for a group is one finding, told once and updated.
func (c *ruleCompiler) cooldown() {
	r := c.rule
	r.bucket = max(r.window, 1)
	if r.Spec.Cooldown != 0 {
		r.bucket = max(r.bucket, c.seconds("cooldown", r.Spec.Cooldown, time.Second, MaxWindow))
	}
	if r.pane > 0 && r.bucket%r.pane != 0 {
		r.bucket += r.pane - r.bucket%r.pane
	}
}

// excepted reports whether an exception takes a session out.
func (r *Rule) excepted(row *Row) bool {
	for _, x := range r.except {
		if row.Session.First < x.until && x.filter.Match(row) {
			return true
		}
	}
	return false
}

// Cost returns the upper bound of asking the rule about one session, in
// cel-go's units, and how many parts of its filters are left to cel-go.
func (r *Rule) Cost() (cost uint64, slow int) {
	for _, f := range r.match {
		cost += f.Cost()
		slow += f.Slow()
	}
	for _, x := range r.except {
		cost += x.filter.Cost()
		slow += x.filter.Slow()
	}
	return cost, slow
}

// Marshal writes the file as YAML that Parse reads.
func (f *File) Marshal() ([]byte, error) {
	b, err := yaml.MarshalWithOptions(f, yaml.UseLiteralStyleIfMultiline(true))
	if err != nil {
		return nil, err
	}
	return append(bytes.TrimRight(b, "\n"), '\n'), nil
}
