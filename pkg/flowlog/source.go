package flowlog

import (
	"bytes"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// source is where the lines at hand come from and how they are read: one
// payload, one envelope in it, or one stream.
type source struct {
	origin  flow.Origin
	layouts []*Format
	origins basis
	at      flow.Time // of the event that carries the line, or 0
	sink    Sink
	depth   int // of documents within documents
	// stable says that lines stay where they are until the source is finished,
	// so that those that wait for a layout need no copy.
	stable  bool
	waiting []waiting
	tried   int    // how many were waiting when a layout was last looked for
	doubt   string // why no layout was chosen
	base    int32  // Sub of the first line
	file    bool   // lines are counted by the stream, Sub within a line
	mark    int32  // seen at the start of the line of a stream
	seen    int32  // lines so far, blank ones apart
}

// basis is what the choice of a layout rests on.
type basis uint8

const (
	basisNone basis = iota
	basisConfig
	basisHeader
	basisInferred
)

// waiting is a line that was met before its layout was known.
type waiting struct {
	line, raw []byte
	origin    flow.Origin
	at        flow.Time
}

// maxWaiting bounds the sample that a layout is inferred from. What tells the
// order of a pair, such as a refused attempt, is rare in some logs.
const maxWaiting = 1024

// open prepares s for lines from o: the configured layout of its log group,
// else the one for all, else what was pinned for it.
func (d *Decoder) open(s *source) {
	s.layouts, s.origins = nil, basisNone
	if list := d.groups[s.origin.LogGroup]; list != nil && s.origin.LogGroup != "" {
		s.layouts, s.origins = list, basisConfig
		return
	}
	if d.forAll != nil {
		s.layouts, s.origins = d.forAll, basisConfig
		return
	}
	if p := d.pins[pinKey(&s.origin)]; p != nil {
		s.layouts, s.origins = p.formats, basisInferred
	}
}

// line takes one line of s without its line end. Blank lines carry nothing.
func (d *Decoder) line(s *source, line []byte) {
	line = trim(line)
	if len(line) == 0 {
		return
	}
	d.stats.Lines++
	s.seen++
	if len(s.waiting) == 0 && len(s.layouts) > 0 {
		if d.try(s, s.layouts[0], line, len(s.layouts) == 1 && s.origins != basisInferred).ok() {
			return
		}
	}
	d.slow(s, line)
}

// try decodes line with f and delivers it. A line with more fields than the
// layout is only taken where extra allows it.
func (d *Decoder) try(s *source, f *Format, line []byte, extra bool) failure {
	r := &d.rec
	r.Reset()
	w := row{rec: r}
	n, fail := f.parse(line, &w)
	if fail.ok() && n > 0 && (!extra || n > maxExtra) {
		fail = failure{class: ClassFields, col: f.Len(), what: whatMore}
	}
	if !fail.ok() {
		return fail
	}
	if !w.whole(d.cfg.MaxInterval) {
		if fail = w.check(f, s.at, d.cfg.MaxInterval); !fail.ok() {
			return fail
		}
	}
	if n > 0 {
		d.stats.Extra++
	}
	d.raw = line
	d.deliver(s, f)
	return failure{}
}

// deliver gives the decoded record to the sink.
func (d *Decoder) deliver(s *source, f *Format) {
	r := &d.rec
	r.Origin = s.origin
	d.stats.Records++
	switch r.Kind {
	case flow.KindFlow:
	case flow.KindNoData:
		d.stats.NoData++
	case flow.KindSkipData:
		d.stats.SkipData++
	}
	if f.strange {
		for i := range f.cols {
			if !f.cols[i].known {
				d.count(f.cols[i].name, []byte(r.Attr(f.cols[i].name)))
			}
		}
	}
	s.sink.Record(r)
}

// slow takes a line that the first layout does not read: one that is wrapped,
// a header, of another layout, or damaged.
func (d *Decoder) slow(s *source, line []byte) {
	plain, at, stream := unprefix(detab(line))
	saved := *s
	if at != 0 && s.at == 0 {
		s.at = at
	}
	if stream != "" && s.origin.LogStream == "" {
		s.origin.LogStream = stream
	}
	if len(plain) == 0 {
		plain = line
	}
	if plain[0] == '{' && s.depth < maxDepth {
		d.stats.Lines-- // the document counts its own
		s.seen--
		d.documents(s, plain)
	} else {
		d.plain(s, plain, line)
	}
	s.at, s.origin.LogStream = saved.at, saved.origin.LogStream
}

// plain takes a line without tabs and prefix; raw is the line as it came.
func (d *Decoder) plain(s *source, line, raw []byte) {
	if f := header(line); f != nil {
		d.flush(s)
		d.stats.Headers++
		s.layouts, s.origins = []*Format{f}, basisHeader
		d.note(Choice{Source: pinKey(&s.origin), Format: f, Basis: "header", Confidence: 100, Why: "the header line names the fields"})
		return
	}
	if len(s.layouts) == 0 || len(s.waiting) > 0 {
		d.wait(s, line, raw)
		return
	}
	f, fail := d.exactly(s, line)
	if fail.ok() {
		return
	}
	if s.origins != basisConfig {
		if g := d.another(s, line); g != nil && d.try(s, g, line, false).ok() {
			return
		}
	}
	for _, g := range s.layouts {
		now := d.try(s, g, line, true)
		if now.ok() {
			return
		}
		if g == f {
			fail = now
		}
	}
	if s.origins != basisConfig {
		f, fail = d.better(s, line, f, fail)
	}
	d.refuse(s, f, fail, line, raw)
}

// exactly tries all layouts of s without trailing fields. If none reads the line
// it returns the failure of one that has as many fields, or else of the first.
func (d *Decoder) exactly(s *source, line []byte) (*Format, failure) {
	f, fail := s.layouts[0], failure{}
	for i, g := range s.layouts {
		now := d.try(s, g, line, false)
		if now.ok() {
			return g, now
		}
		if i == 0 || (fail.class == ClassFields && now.class != ClassFields) {
			f, fail = g, now
		}
	}
	return f, fail
}

// better looks for the reason why a line of an inferred source is refused: when
// it has nearly the shape of a known layout, what is wrong under that one tells
// more than that it is not of the layout of the lines before.
func (d *Decoder) better(s *source, line []byte, f *Format, fail failure) (*Format, failure) {
	g := nearest(d.known, split(line))
	if g == nil {
		return f, fail
	}
	d.rec.Reset()
	w := row{rec: &d.rec}
	_, now := g.parse(line, &w)
	if now.ok() {
		now = w.check(g, s.at, d.cfg.MaxInterval)
	}
	if now.ok() {
		return f, fail
	}
	return g, now
}

// refuse makes the reject of a line that f could not read. It decodes the line
// once more, for the values that the reason names.
func (d *Decoder) refuse(s *source, f *Format, fail failure, line, raw []byte) {
	d.rec.Reset()
	w := row{rec: &d.rec}
	if _, again := f.parse(line, &w); again.ok() {
		w.check(f, s.at, d.cfg.MaxInterval)
	}
	reason, field := fail.explain(f, line, &d.rec)
	d.reject(s, Reject{Raw: raw, Class: fail.class, Reason: reason, Field: field, Column: fail.col + 1})
}

// reject counts and delivers a reject.
func (d *Decoder) reject(s *source, r Reject) {
	d.stats.Rejects[r.Class]++
	r.Origin = s.origin
	d.rej = r
	s.sink.Reject(&d.rej)
	d.rej = Reject{}
}

// wait keeps a line until a layout is known, and looks for one each time the
// sample has doubled.
func (d *Decoder) wait(s *source, line, raw []byte) {
	if !s.stable {
		line, raw = bytes.Clone(line), bytes.Clone(raw)
	}
	s.waiting = append(s.waiting, waiting{line: line, raw: raw, origin: s.origin, at: s.at})
	if n := len(s.waiting); n >= maxWaiting {
		d.flush(s)
	} else if n >= 2*s.tried {
		s.tried = n
		if d.settle(s, false) {
			d.drain(s)
		}
	}
}

// flush decides the layout of the lines that wait, as well as can be, and
// decodes or rejects them.
func (d *Decoder) flush(s *source) {
	if len(s.waiting) == 0 {
		return
	}
	d.settle(s, true)
	d.drain(s)
}

// drain decodes what waited with the layouts of s.
func (d *Decoder) drain(s *source) {
	list, saved := s.waiting, *s
	s.waiting, s.tried = nil, 0
	for i := range list {
		s.origin, s.at = list[i].origin, list[i].at
		if len(s.layouts) > 0 {
			d.plain(s, list[i].line, list[i].raw)
			continue
		}
		d.unlaid(s, &list[i])
	}
	s.origin, s.at, s.waiting = saved.origin, saved.at, list[:0]
	if s.origins == basisInferred && d.pins[pinKey(&s.origin)] == nil {
		s.layouts, s.origins = nil, basisNone // good for these lines, not for more
	}
}

// unlaid rejects a line whose layout is not known. When it has nearly the shape
// of a known one, what is wrong under that is the better reason.
func (d *Decoder) unlaid(s *source, l *waiting) {
	if f, fail := d.better(s, l.line, nil, failure{}); f != nil {
		d.refuse(s, f, fail, l.line, l.raw)
		return
	}
	reason := "the line has the shape of no known flow log layout"
	if s.doubt != "" {
		reason = "the layout of the line is not known: " + s.doubt
	}
	reason += "; if it is a flow log's, give that log's LogFormat: logs.format in ingest's configuration, -log-format on the command line"
	d.reject(s, Reject{Raw: l.raw, Class: ClassLayout, Reason: reason})
}
