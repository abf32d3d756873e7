// Package sigma turns Sigma rules (https://sigmahq.io) over network log
// sources into rules of Flowstitch: single detections, and the correlations
// event_count, value_count, temporal and temporal_ordered over them.
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
	Tags        []string       `yaml:"tags"`
	False       []string       `yaml:"falsepositives"`
	Logsource   logsource      `yaml:"logsource"`
	Detection   map[string]any `yaml:"detection"`
	Correlation *correlation   `yaml:"correlation"`
}

type logsource struct {
	Category string `yaml:"category"`
	Product  string `yaml:"product"`
	Service  string `yaml:"service"`
}

type correlation struct {
	Type      string         `yaml:"type"`
	Rules     any            `yaml:"rules"`
	GroupBy   []string       `yaml:"group-by"`
	Timespan  string         `yaml:"timespan"`
	Condition map[string]any `yaml:"condition"`
	Generate  bool           `yaml:"generate"`
	Aliases   any            `yaml:"aliases"`
}

// categories are the log sources whose events are network sessions.
var categories = []string{"firewall", "network_connection", "netflow", "vpcflow", "flow"}

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
	im := &importer{res: &Result{}, match: map[string]string{}, used: map[string]bool{}}
	im.lang, _ = rule.NewLanguage(rule.Sessions()) // of constants; it fails for no input
	for _, d := range docs {
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
		if d.Correlation == nil && im.match[d.Name] != "" && !im.used[d.Name] {
			im.single(d)
		}
	}
	return im.res, nil
}

type importer struct {
	res   *Result
	lang  *rule.Language
	match map[string]string // filters of detections, by name
	used  map[string]bool   // detections that a correlation uses, and so raises alone
}

func (im *importer) skip(d *document, format string, args ...any) {
	im.res.Skipped++
	im.res.Notes = append(im.res.Notes, fmt.Sprintf("%q is not imported: %s", d.Title, fmt.Sprintf(format, args...)))
}

// detection makes the filter of a detection.
func (im *importer) detection(d *document) {
	if d.Name == "" {
		d.Name = d.ID
	}
	if d.Name == "" {
		d.Name = d.Title
	}
	src := d.Logsource
	if !slices.Contains(categories, src.Category) && !slices.Contains(categories, src.Service) {
		im.skip(d, "its log source (category %q, product %q, service %q) is no network traffic", src.Category, src.Product, src.Service)
		return
	}
	text, err := filterOf(d.Detection)
	if err == nil {
		_, err = im.lang.Compile(text)
	}
	if err != nil {
		im.skip(d, "%v", err)
		return
	}
	im.match[d.Name] = text
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

// add keeps a rule that compiles.
func (im *importer) add(d *document, s rule.Spec) {
	if _, err := rule.Compile(im.lang, &rule.File{Rules: []rule.Spec{s}}); err != nil {
		im.skip(d, "%v", err)
		return
	}
	im.res.File.Rules = append(im.res.File.Rules, s)
}

// singleWindow is the window of a detection that no correlation uses: it
// fires for each pair of addresses at most once in it.
const singleWindow = 5 * time.Minute

func (im *importer) single(d *document) {
	s := base(d)
	s.Match, s.GroupBy, s.Window, s.Having = im.match[d.Name], []string{"client", "server"}, singleWindow, "count >= 1"
	im.add(d, s)
}

func (im *importer) correlate(d *document) {
	c := d.Correlation
	var names []string
	switch r := c.Rules.(type) {
	case string:
		names = []string{r}
	case []any:
		for _, x := range r {
			names = append(names, fmt.Sprint(x))
		}
	}
	var filters []string
	for _, n := range names {
		if im.match[n] == "" {
			im.skip(d, "it refers to %q, which is not there or was not imported", n)
			return
		}
		filters = append(filters, im.match[n])
	}
	span, err := timespan(c.Timespan)
	if err != nil || len(filters) == 0 || c.Aliases != nil {
		im.skip(d, "it needs rules, a timespan (%v) and no aliases", err)
		return
	}
	var by []string
	for _, g := range c.GroupBy {
		f, ok := fields[strings.ToLower(g)]
		if !ok {
			im.skip(d, "sessions have no field for group-by %q", g)
			return
		}
		by = append(by, f)
	}
	s := base(d)
	switch c.Type {
	case "event_count", "value_count":
		s.Having, err = threshold(c)
		s.Match, s.GroupBy, s.Window, s.Slide = any1(filters), by, span, slideOf(span)
	case "temporal_ordered":
		s.Within = span
		for i, f := range filters {
			s.Sequence = append(s.Sequence, rule.Step{Name: names[i], Match: f, By: by})
		}
	case "temporal":
		if len(filters) != 1 {
			im.skip(d, "temporal without order over %d rules has no equal: temporal_ordered has, or one rule for each order", len(filters))
			return
		}
		s.Match, s.GroupBy, s.Window = filters[0], by, span
	default:
		err = fmt.Errorf("correlation type %q has no equal", c.Type)
	}
	if err != nil {
		im.skip(d, "%v", err)
		return
	}
	for _, n := range names {
		im.used[n] = im.used[n] || !c.Generate
	}
	im.add(d, s)
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

func any1(filters []string) string {
	if len(filters) == 1 {
		return filters[0]
	}
	return "(" + strings.Join(filters, ") || (") + ")"
}

var operators = []struct{ sigma, ours string }{{"gte", ">="}, {"gt", ">"}, {"lte", "<="}, {"lt", "<"}, {"eq", "=="}, {"neq", "!="}}

// threshold makes having of a correlation's condition.
func threshold(c *correlation) (string, error) {
	what := "count"
	if c.Type == "value_count" {
		name := fmt.Sprint(c.Condition["field"])
		f, ok := fields[strings.ToLower(name)]
		if !ok {
			return "", fmt.Errorf("sessions have no field for %q", name)
		}
		what = "distinct(" + f + ")"
	}
	var parts []string
	for _, o := range operators {
		if v, ok := c.Condition[o.sigma]; ok {
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
