package flowlog

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// Stream decodes a text or gzip file, or standard input, of any size, line by
// line, in memory bounded by [Config.MaxLine] (by MaxPayload for a line that is
// a JSON document). A header line sets the layout of what follows it. Lines may
// be any that [Decoder.Payload] knows, and a JSON document may span lines.
//
// Every record and reject carries its line from 1 in Origin.Line, and its place
// within a line that holds several in Origin.Sub, so a reader that stopped may
// read again from the start and ignore what it has had. The error is the
// reader's, or tells damaged compression; what came before it was delivered.
func (d *Decoder) Stream(r io.Reader, o flow.Origin, sink Sink) error {
	d.stats.Payloads++
	in := bufio.NewReaderSize(&counter{r: r, n: &d.stats.Bytes}, 64<<10)
	var src io.Reader = in
	for range maxDepth {
		magic, err := in.Peek(4)
		if isGzip(magic) {
			zr, err := gzip.NewReader(in)
			if err != nil {
				return fmt.Errorf("flowlog: %s: the gzip header is damaged: %w", o.Source, err)
			}
			in = bufio.NewReaderSize(&counter{r: zr, n: &d.stats.Inflated}, 64<<10)
			src = in
			continue
		}
		if string(magic) == "PAR1" {
			return fmt.Errorf("flowlog: %s is a Parquet file, which can not be read as a stream; give it as a file", o.Source)
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("flowlog: %s: %w", o.Source, err)
		}
		break
	}
	s := source{origin: o, sink: sink, file: true, base: o.Sub}
	d.open(&s)
	err := d.stream(&s, &lines{r: src, max: d.cfg.MaxLine, maxJSON: int(d.cfg.MaxPayload)})
	d.flush(&s)
	if err != nil {
		return fmt.Errorf("flowlog: %s: after line %d: %w", o.Source, s.origin.Line, err)
	}
	return nil
}

// counter counts the bytes read through it.
type counter struct {
	r io.Reader
	n *uint64
}

// Read implements io.Reader.
func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	*c.n += uint64(n)
	return n, err
}

func (d *Decoder) stream(s *source, l *lines) error {
	var doc []byte // the start of a JSON document that spans lines
	var open brackets
	for first := true; ; first = false {
		line, ok := l.next()
		if !ok {
			break
		}
		if first {
			line = bytes.TrimPrefix(line, []byte("\ufeff"))
		}
		if doc != nil {
			if continues(doc, line) && len(doc)+len(line) < l.maxJSON {
				doc = append(append(doc, '\n'), line...)
				s.origin.Line++
				if open.feed(line) {
					d.documents(s, doc)
					doc = nil
				}
				continue
			}
			d.documents(s, doc) // damaged: it says so itself
		}
		doc, open = d.streamLine(s, l, line), brackets{}
		open.feed(doc)
	}
	if doc != nil {
		d.documents(s, doc)
	}
	return l.err
}

// streamLine takes the next line of a stream. When the line begins a JSON
// document that it does not end, it returns a copy to be continued.
func (d *Decoder) streamLine(s *source, l *lines, line []byte) (doc []byte) {
	s.origin.Line, s.mark = s.origin.Line+1, s.seen
	switch {
	case l.long:
		d.refuseWhole(s, line, ClassSize, fmt.Sprintf("a part of a line that is longer than %d bytes; raise max line if such lines are real", l.max))
		if !l.ended {
			s.origin.Line-- // its other parts are of the same line
		}
	case l.err != nil && l.partial:
		d.refuseWhole(s, line, ClassCompress, "the input ended in the middle of this line: "+l.err.Error())
	case isJSON(line) && !new(brackets).feed(line):
		return bytes.Clone(line)
	case isJSON(line):
		d.documents(s, line)
	default:
		d.step(s)
		d.line(s, line)
	}
	return nil
}

func isJSON(line []byte) bool {
	line = skipBlank(line)
	return len(line) > 0 && (line[0] == '{' || line[0] == '[')
}

// continues reports whether line can go on with a document that is not
// complete: it is indented, or begins as the inside of one does. A line that
// begins otherwise shows that the document was damaged.
func continues(doc, line []byte) bool {
	if len(line) == 0 {
		return true
	}
	switch line[0] {
	case ' ', '\t', '}', ']', '"', ',':
		return true
	case '{', '[':
		return doc[len(doc)-1] == '[' || doc[len(doc)-1] == ','
	}
	return false
}

// brackets counts the open braces and brackets of a text that comes in pieces.
type brackets struct {
	depth           int
	quoted, escaped bool
}

// feed goes on with the text, and reports whether all brackets are closed.
func (k *brackets) feed(b []byte) bool {
	for _, c := range b {
		switch {
		case k.escaped:
			k.escaped = false
		case k.quoted && c == '\\':
			k.escaped = true
		case c == '"':
			k.quoted = !k.quoted
		case k.quoted:
		case c == '{' || c == '[':
			k.depth++
		case c == '}' || c == ']':
			k.depth--
		}
	}
	return k.depth <= 0 && !k.quoted
}

// lines reads lines with LF, CR or CRLF at their end.
type lines struct {
	r            io.Reader
	buf          []byte
	lo, hi       int
	eof          bool
	err          error // of the reader, once all that it gave is used up
	max, maxJSON int
	long         bool // the line returned is a part of one that is too long
	ended        bool // its end was in it, or the input ended
	partial      bool // the input ended before its end
}

// next returns the next line; its bytes live until the call after.
func (l *lines) next() (line []byte, ok bool) {
	wasLong := l.long && !l.ended
	for seen := 0; ; { // of the line, without an end; scanned once only
		b := l.buf[l.lo:l.hi]
		limit := l.max
		if !wasLong && isJSON(b[:min(len(b), 64)]) {
			limit = max(l.max, l.maxJSON)
		}
		i, n := lineEnd(b[seen:], l.eof)
		i += seen
		switch {
		case n > 0 && i <= limit:
			l.lo += i + n
			l.long, l.ended = wasLong, true
			return b[:i], true
		case len(b) > limit:
			l.lo += limit
			l.long, l.ended = true, false
			return b[:limit], true
		case l.eof:
			l.lo = l.hi
			l.long, l.ended, l.partial = wasLong, true, true
			return b, len(b) > 0
		}
		seen = max(0, len(b)-1) // its last byte may be the CR of a CRLF
		l.fill()
	}
}

// lineEnd returns the length of the first line of b and of its end, or n 0. A
// CR at the end of b may be half of a CRLF, unless there is no more.
func lineEnd(b []byte, eof bool) (i, n int) {
	lf := bytes.IndexByte(b, '\n')
	seg := b
	if lf >= 0 {
		seg = b[:lf]
	}
	switch cr := bytes.IndexByte(seg, '\r'); {
	case cr < 0 && lf < 0:
		return 0, 0
	case cr < 0:
		return lf, 1
	case cr == lf-1:
		return cr, 2
	case cr == len(b)-1 && !eof:
		return 0, 0
	default:
		return cr, 1
	}
}

// fill reads more, making room first.
func (l *lines) fill() {
	if l.lo > 0 {
		l.hi = copy(l.buf, l.buf[l.lo:l.hi])
		l.lo = 0
	}
	if l.hi == len(l.buf) {
		l.buf = append(l.buf, make([]byte, max(64<<10, len(l.buf)))...)
	}
	n, err := l.r.Read(l.buf[l.hi:])
	l.hi += n
	if err != nil {
		l.eof = true
		if !errors.Is(err, io.EOF) {
			l.err = err
		}
	}
}
