// Package sigma turns Sigma rules (https://sigmahq.io) over network log
// sources into rules of Flowstitch: single detections, and the correlations
// event_count, value_count, value_sum, temporal and temporal_ordered over them,
// with their aliases, and conditions that count in the form before those.
//
// It guarantees that a rule which it makes means what the Sigma rule said, on
// sessions instead of log lines, and that whatever has no equal is told by name
// and left out as a whole: it never imports a rule with a condition missing.
package sigma

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/flowstitch/flowstitch/pkg/rule"
)

// Result is what an import made.
type Result struct {
	File    rule.File
	Notes   []string // what could not be carried over, and why
	Skipped int      // rules that were left out
}

// document is a Sigma rule: a detection, or a correlation of detections.
type document struct {
	Title       string         `yaml:"title"`
	ID          string         `yaml:"id"`
	Name        string         `yaml:"name"`
	Description string         `yaml:"description"`
	Level       string         `yaml:"level"`
	Tags        texts          `yaml:"tags"`
	False       texts          `yaml:"falsepositives"`
	Logsource   logsource      `yaml:"logsource"`
	Detection   map[string]any `yaml:"detection"`
	Correlation *correlation   `yaml:"correlation"`
}

// texts is a list that may be written as its only item.
type texts []string

// UnmarshalYAML implements yaml.InterfaceUnmarshaler.
func (l *texts) UnmarshalYAML(decode func(any) error) error {
	var list []string
	if err := decode(&list); err == nil {
		*l = list
		return nil
	}
	var one string
	if err := decode(&one); err != nil {
		return err
	}
	*l = texts{one}
	return nil
}

type logsource struct {
	Category string `yaml:"category"`
	Product  string `yaml:"product"`
	Service  string `yaml:"service"`
}

type correlation struct {
	Type      string `yaml:"type"`
	Rules     texts  `yaml:"rules"`
	GroupBy   texts  `yaml:"group-by"`
	Timespan  string `yaml:"timespan"`
	Condition any    `yaml:"condition"`
	Generate  bool   `yaml:"generate"`
	// Aliases name for each rule the field that stands for one of GroupBy.
	Aliases map[string]map[string]string `yaml:"aliases"`
}

// categories are the log sources whose events are network sessions.
var categories = []string{"firewall", "network_connection", "netflow", "vpcflow", "flow", "conn"}

// Import reads files of Sigma rules, each of one or several YAML documents.
// The error is for text that is no YAML; what has no equal is a note.
func Import(texts ...[]byte) (*Result, error) {
	var docs []*document
	for _, t := range texts {
		dec := yaml.NewDecoder(bytes.NewReader(t))
		for {
			d := &document{}
			err := dec.Decode(d)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, errors.New(strings.TrimSpace(yaml.FormatError(err, false, true)))
			}
			docs = append(docs, d)
		}
	}
	im := &importer{res: &Result{}, byName: map[string]*document{}, match: map[*document]string{}, counts: map[*document]*aggregation{}, used: map[*document]bool{}}
	im.lang, _ = rule.NewLanguage(rule.Sessions()) // of constants; it fails for no input
	for _, d := range docs {
		for _, name := range []string{d.Title, d.ID, d.Name} {
			if name != "" {
				im.byName[name] = d
			}
		}
		if d.Correlation == nil {
			im.detection(d)
		}
	}
	for _, d := range docs {
		if d.Correlation != nil {
			im.correlate(d)
		}
	}
	for _, d := range docs {
		if d.Correlation == nil && im.match[d] != "" && !im.used[d] {
			im.single(d)
		}
	}
	return im.res, nil
}

type importer struct {
	res    *Result
	lang   *rule.Language
	byName map[string]*document // by what a correlation may call them
	match  map[*document]string // filters of detections
	counts map[*document]*aggregation
	used   map[*document]bool // detections that only count for a correlation
}

func (im *importer) skip(d *document, format string, args ...any) {
	im.res.Skipped++
	im.res.Notes = append(im.res.Notes, fmt.Sprintf("%q is not imported: %s", d.Title, fmt.Sprintf(format, args...)))
}

// detection makes the filter of a detection.
func (im *importer) detection(d *document) {
	src := d.Logsource
	if !slices.Contains(categories, src.Category) && !slices.Contains(categories, src.Service) {
		im.skip(d, "its log source (category %q, product %q, service %q) is no network traffic", src.Category, src.Product, src.Service)
		return
	}
	text, agg, err := filterOf(d.Detection)
	if err == nil {
		_, err = im.lang.Compile(text)
	}
	if err != nil {
		im.skip(d, "%v", err)
		return
	}
	im.match[d], im.counts[d] = text, agg
}

var notID = regexp.MustCompile(`[^a-z0-9]+`)

// base is what every rule takes over from its document.
func base(d *document) rule.Spec {
	s := rule.Spec{
		ID: strings.Trim(notID.ReplaceAllString(strings.ToLower(d.Title), "-"), "-"), Title: strings.NewReplacer("{{", "", "}}", "").Replace(d.Title),
		Description: d.Description, Severity: d.Level, FalseAlarm: strings.Join(d.False, "; "),
	}
	s.ID = strings.Trim(s.ID[:min(len(s.ID), 64)], "-")
	if s.Severity == "" {
		s.Severity = "medium"
	}
	for _, t := range d.Tags {
		if id, ok := strings.CutPrefix(strings.ToLower(t), "attack.t"); ok {
			s.Attack = append(s.Attack, "T"+id)
		}
	}
	return s
}

// add keeps a rule that compiles, under an id of its own.
func (im *importer) add(d *document, s rule.Spec) bool {
	id := s.ID
	for n := 2; slices.ContainsFunc(im.res.File.Rules, func(r rule.Spec) bool { return r.ID == s.ID }); n++ {
		s.ID = fmt.Sprintf("%s-%d", id[:min(len(id), 60)], n)
	}
	if len(s.GroupBy) > 0 || len(s.Sequence)+len(s.Together) > 0 {
		s.Title += ": {{group}}"
	}
	if _, err := rule.Compile(im.lang, &rule.File{Rules: []rule.Spec{s}}); err != nil {
		im.skip(d, "%v", err)
		return false
	}
	im.res.File.Rules = append(im.res.File.Rules, s)
	return true
}

// singleWindow is the window of a detection that no correlation uses: it
// fires for each pair of addresses at most once in it.
const singleWindow = 5 * time.Minute

func (im *importer) single(d *document) {
	s := base(d)
	s.Match, s.GroupBy, s.Window, s.Having = im.match[d], []string{"client", "server"}, singleWindow, "count >= 1"
	if agg := im.counts[d]; agg != nil {
		s.GroupBy, s.Window, s.Slide, s.Having = agg.by, agg.window, slideOf(agg.window), agg.having
	}
	im.add(d, s)
}

func (im *importer) correlate(d *document) {
	c := d.Correlation
	s := base(d)
	refs, err := im.referred(c)
	if err != nil {
		im.skip(d, "%v", err)
		return
	}
	span, err := timespan(c.Timespan)
	if err == nil {
		switch c.Type {
		case "event_count", "value_count", "value_sum":
			err = im.count(&s, c, refs, span)
		case "temporal", "temporal_ordered":
			err = im.steps(&s, c, refs, span)
		default:
			err = fmt.Errorf("the correlation type %q has no equal", c.Type)
		}
	}
	if err != nil {
		im.skip(d, "%v", err)
		return
	}
	if im.add(d, s) {
		for _, r := range refs {
			im.used[r.doc] = im.used[r.doc] || !c.Generate
		}
	}
}

// reference is a detection that a correlation names.
type reference struct {
	name string
	doc  *document
	by   []string // our fields that make it the same entity
}

// referred returns what a correlation is about, in its order.
func (im *importer) referred(c *correlation) (refs []reference, err error) {
	if len(c.Rules) == 0 {
		return nil, errors.New("it names no rules")
	}
	for _, n := range c.Rules {
		doc := im.byName[n]
		switch {
		case doc == nil:
			return nil, fmt.Errorf("it refers to %q, which is not there", n)
		case doc.Correlation != nil || im.counts[doc] != nil:
			return nil, fmt.Errorf("it refers to %q, which itself counts or correlates: that has no equal", n)
		case im.match[doc] == "":
			return nil, fmt.Errorf("it refers to %q, which was not imported", n)
		}
		ref := reference{name: n, doc: doc}
		for _, g := range c.GroupBy {
			said := g
			if alias, ok := c.Aliases[g]; ok {
				if said = alias[n]; said == "" {
					return nil, fmt.Errorf("the alias %q says nothing of %q", g, n)
				}
			}
			f, ok := fields[strings.ToLower(said)]
			if !ok || !single(f) {
				return nil, fmt.Errorf("sessions have no field for group-by %q", said)
			}
			ref.by = append(ref.by, f)
		}
		refs = append(refs, ref)
	}
	return refs, nil
}

// count makes a threshold of an event_count, value_count or value_sum.
func (im *importer) count(s *rule.Spec, c *correlation, refs []reference, span time.Duration) (err error) {
	var filters []string
	for _, r := range refs {
		if !slices.Equal(r.by, refs[0].by) {
			return fmt.Errorf("its aliases mean %v in %s and %v in %s: sessions that are counted together have one group", refs[0].by, refs[0].name, r.by, r.name)
		}
		filters = append(filters, im.match[r.doc])
	}
	s.Having, err = threshold(c)
	s.Match, s.GroupBy, s.Window, s.Slide = anyOf(filters), refs[0].by, span, slideOf(span)
	return err
}

// everybody groups all sessions together, apart from overlapping networks,
// which are never mixed.
const everybody = "scope"

// steps makes steps of a temporal correlation, with or without order. A single
// rule is a count of one.
func (im *importer) steps(s *rule.Spec, c *correlation, refs []reference, span time.Duration) error {
	if all, ok := c.Condition.(map[string]any); c.Condition != nil && (!ok || len(all) != 1 || fmt.Sprint(all["gte"]) != fmt.Sprint(len(refs))) {
		return errors.New("a condition over the rules of a temporal correlation has no equal, unless it asks for all of them")
	}
	if len(refs) == 1 {
		s.Match, s.GroupBy, s.Window = im.match[refs[0].doc], refs[0].by, span
		return nil
	}
	var steps []rule.Step
	for _, r := range refs {
		if len(r.by) == 0 {
			r.by = []string{everybody}
		}
		steps = append(steps, rule.Step{Name: r.name, Match: im.match[r.doc], By: r.by})
	}
	if s.Within = span; c.Type == "temporal" {
		s.Together = steps
	} else {
		s.Sequence = steps
	}
	return nil
}

// slideOf lets windows overlap as Sigma's do, which begin anywhere: twelve
// steps a window, of whole seconds.
func slideOf(span time.Duration) time.Duration {
	for n := 12; n > 1; n-- {
		if step := span / time.Duration(n); step*time.Duration(n) == span && step%time.Second == 0 {
			return step
		}
	}
	return 0
}

func anyOf(filters []string) string {
	if len(filters) == 1 {
		return filters[0]
	}
	return "(" + strings.Join(filters, ") || (") + ")"
}

var operators = []struct{ sigma, ours string }{{"gte", ">="}, {"gt", ">"}, {"lte", "<="}, {"lt", "<"}, {"eq", "=="}, {"neq", "!="}}

// threshold makes having of a correlation's condition.
func threshold(c *correlation) (string, error) {
	condition, ok := c.Condition.(map[string]any)
	if !ok {
		return "", errors.New("it has no condition to compare with")
	}
	what := "count"
	if c.Type != "event_count" {
		name := fmt.Sprint(condition["field"])
		f, ok := fields[strings.ToLower(name)]
		if !ok || !single(f) {
			return "", fmt.Errorf("sessions have no field for %q", name)
		}
		what = map[string]string{"value_count": "distinct", "value_sum": "sum"}[c.Type] + "(" + f + ")"
	}
	var parts []string
	for _, o := range operators {
		if v, ok := condition[o.sigma]; ok {
			parts = append(parts, fmt.Sprintf("%s %s %v", what, o.ours, v))
		}
	}
	if len(parts) == 0 {
		return "", errors.New("its condition compares with nothing")
	}
	return strings.Join(parts, " && "), nil
}

var spanShape = regexp.MustCompile(`^([0-9]+)([smhd])$`)

func timespan(s string) (time.Duration, error) {
	m := spanShape.FindStringSubmatch(s)
	if m == nil {
		return 0, fmt.Errorf("%q is no timespan such as 5m", s)
	}
	if m[2] == "d" {
		d, err := time.ParseDuration(m[1] + "h")
		return 24 * d, err
	}
	return time.ParseDuration(s)
}
