package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/flowstitch/flowstitch/internal/pipeline"
	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/flow"
)

// alertPrinter prints alerts as they come and remembers the last state of each
// finding for the summary.
type alertPrinter struct {
	w        io.Writer
	json     bool
	colour   bool
	findings map[alert.UID]*alert.Alert
	unread   int // records that are no alert
	buf      []byte
}

func newAlertPrinter(e *env, format string) *alertPrinter {
	return &alertPrinter{w: e.stdout, json: format == "json", colour: e.terminal, findings: map[alert.UID]*alert.Alert{}}
}

// print prints one record of the alerts topic. In the human form a finding is
// told when it is raised, when it grows more severe and when it is withdrawn.
func (p *alertPrinter) print(value []byte) {
	a, err := alert.Parse(value)
	if err != nil {
		p.unread++
		fmt.Fprintf(p.w, "%v\n", err)
		return
	}
	before := p.findings[a.UID]
	p.findings[a.UID] = a
	switch {
	case p.json:
		fmt.Fprintf(p.w, "%s\n", value)
	case before == nil || a.Severity > before.Severity || a.Verdict == alert.Withdrawn && before.Verdict != alert.Withdrawn:
		p.buf = alert.AppendText(p.buf[:0], a, p.colour)
		fmt.Fprintf(p.w, "%s\n", p.buf)
	}
}

// progress shows how far the run is: on a terminal a line that is drawn again,
// else one line every few seconds.
func (r *runner) progress() {
	every := 5 * time.Second
	if r.e.terminal {
		every = lookEvery
	}
	now := time.Now()
	if r.o.quiet || now.Sub(r.shown) < every {
		return
	}
	lines := sum(pipeline.Metrics(r.tel.Registry, "flowstitch_ingest_lines_total"))
	rate := (lines - r.lines) / now.Sub(r.shown).Seconds()
	if r.shown.IsZero() {
		rate = 0
	}
	newest := flow.Time(sum(pipeline.Metrics(r.tel.Registry, "flowstitch_ingest_newest_event_seconds")))
	at := "-"
	if newest > 0 {
		at = newest.UTC().Format("2006-01-02 15:04:05")
	}
	text := fmt.Sprintf("%s lines, %s/s, event time %s UTC, %d findings", count(lines), count(rate), at, len(r.alerts.findings))
	r.shown, r.lines = now, lines
	if r.e.terminal {
		fmt.Fprintf(r.e.stderr, "\r\x1b[K%s", text)
		r.drawn = true
		return
	}
	if lines > 0 {
		fmt.Fprintln(r.e.stderr, text)
	}
}

func (r *runner) clearProgress() {
	if r.drawn {
		fmt.Fprint(r.e.stderr, "\r\x1b[K")
		r.drawn = false
	}
}

// summary prints what the run has seen.
func (r *runner) summary(interrupted bool) {
	w := r.e.stderr
	fmt.Fprintln(w)
	if interrupted {
		fmt.Fprintln(w, "Interrupted: this is what was seen so far.")
	}
	reg := r.tel.Registry
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	byKind := by(pipeline.Metrics(reg, "flowstitch_ingest_records_total"), "kind")
	fmt.Fprintf(tw, "Flows\t%s\tin %s lines", count(byKind["flow"]), count(sum(pipeline.Metrics(reg, "flowstitch_ingest_lines_total"))))
	for _, kind := range []string{"nodata", "skipdata"} {
		if byKind[kind] > 0 {
			fmt.Fprintf(tw, ", %s %s", count(byKind[kind]), strings.ToUpper(kind))
		}
	}
	fmt.Fprintln(tw)
	events := by(pipeline.Metrics(reg, "flowstitch_sessionize_events_total"), "kind")
	fmt.Fprintf(tw, "Sessions\t%s\t\n", count(events["close"]))
	rejects := by(pipeline.Metrics(reg, "flowstitch_ingest_rejects_total"), "class")
	fmt.Fprintf(tw, "Rejected\t%s\t%s\n", count(total(rejects)), reasons(rejects))
	fmt.Fprintf(tw, "Findings\t%d\t%s\n", len(r.alerts.findings), withdrawn(r.alerts.findings))
	for _, line := range r.alerts.byDetector() {
		fmt.Fprintf(tw, "  %s\t%d\t%s\n", line.detector, line.n, line.worst)
	}
	fmt.Fprintf(tw, "Time\t%s\t\n", time.Since(r.began).Round(10*time.Millisecond))
	_ = tw.Flush() // standard error: there is nobody left to tell
}

// nothingDone is the error of a run that found no flow log in its input.
func (r *runner) nothingDone(interrupted bool) error {
	reg := r.tel.Registry
	records := sum(pipeline.Metrics(reg, "flowstitch_ingest_records_total"))
	rejects := by(pipeline.Metrics(reg, "flowstitch_ingest_rejects_total"), "class")
	if interrupted || records > 0 || len(r.o.files) == 0 {
		return nil
	}
	if total(rejects) == 0 {
		return fmt.Errorf("%s: no flow log record in it; is it the right file?", strings.Join(r.o.files, ", "))
	}
	return fmt.Errorf("%s: none of the %s lines could be read (%s); flowstitch decode -explain tells why", strings.Join(r.o.files, ", "), count(total(rejects)), reasons(rejects))
}

type detectorLine struct {
	detector string
	n        int
	worst    alert.Severity
}

// byDetector counts the findings that stand.
func (p *alertPrinter) byDetector() []detectorLine {
	lines := map[string]*detectorLine{}
	for _, a := range p.findings {
		if a.Verdict == alert.Withdrawn {
			continue
		}
		l := lines[a.Detector.ID]
		if l == nil {
			l = &detectorLine{detector: a.Detector.ID}
			lines[a.Detector.ID] = l
		}
		l.n++
		l.worst = max(l.worst, a.Severity)
	}
	out := make([]detectorLine, 0, len(lines))
	for _, name := range slices.Sorted(maps.Keys(lines)) {
		out = append(out, *lines[name])
	}
	return out
}

func withdrawn(findings map[alert.UID]*alert.Alert) string {
	n := 0
	for _, a := range findings {
		if a.Verdict == alert.Withdrawn {
			n++
		}
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d of them withdrawn by final data", n)
}

// reasons lists classes with their counts, most first.
func reasons(classes map[string]float64) string {
	names := slices.SortedFunc(maps.Keys(classes), func(a, b string) int {
		return cmp.Or(cmp.Compare(classes[b], classes[a]), cmp.Compare(a, b))
	})
	var parts []string
	for _, n := range names {
		if classes[n] > 0 {
			parts = append(parts, fmt.Sprintf("%s %s", count(classes[n]), n))
		}
	}
	return strings.Join(parts, ", ")
}
