package flowlog

import (
	"bytes"
	"encoding/base64"
	"unsafe"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// document is any JSON object that a payload may be: which fields are there
// tells which. The values alias the payload.
type document struct {
	messageType, logGroup, logStream []byte // CloudWatch Logs subscription
	logEvents                        []byte
	events                           []byte // "aws logs filter-log-events"
	message                          []byte // Firehose's wrapper; a text in OCSF
	classUID                         []byte // OCSF
	awslogs                          []byte // CloudWatch Logs to Lambda, base64
}

func (doc *document) field(name string) *[]byte {
	switch name {
	case "messageType":
		return &doc.messageType
	case "logGroup":
		return &doc.logGroup
	case "logStream":
		return &doc.logStream
	case "logEvents":
		return &doc.logEvents
	case "events":
		return &doc.events
	case "message":
		return &doc.message
	case "class_uid":
		return &doc.classUID
	case "awslogs":
		return &doc.awslogs
	}
	return nil
}

// json takes the JSON value at the start of data and returns what follows it.
func (d *Decoder) json(s *source, data []byte) []byte {
	s.depth++
	defer func() { s.depth-- }()
	if data[0] == '{' {
		return d.object(s, data)
	}
	w := walk(data)
	for e, ok := w.element(); ok; e, ok = w.element() {
		d.documents(s, e)
	}
	if w.bad {
		return d.damaged(s, w.b)
	}
	return w.b
}

// damaged rejects a line of JSON that can not be read, and returns what follows.
func (d *Decoder) damaged(s *source, data []byte) []byte {
	line, rest := next(data)
	d.refuseWhole(s, line, ClassJSON, "the JSON is damaged, incomplete or nested too deep")
	return rest
}

// object finds out what the JSON object at the start of data is, and returns
// what follows it.
func (d *Decoder) object(s *source, data []byte) []byte {
	var doc document
	w := walk(data)
	done := false
	for name, ok := w.name(); ok; name, ok = w.name() {
		// AWS writes the events last, so they are read as they come, once; in
		// another order the whole object is looked at first.
		if string(name) == "logEvents" && is(w.b, '[') && doc.ready() {
			done = true
			w.b, ok = d.envelope(s, &doc, w.b)
		} else if p := doc.field(str(name)); p != nil {
			*p, ok = w.take()
		} else {
			_, ok = w.take()
		}
		if !ok {
			w.bad = true
			break
		}
	}
	switch {
	case w.bad && done:
		return d.damaged(s, w.b)
	case w.bad:
		return d.damaged(s, data)
	case !done:
		d.document(s, &doc, data[:len(data)-len(w.b)])
	}
	return w.b
}

// ready reports whether all that the events need is known.
func (doc *document) ready() bool {
	return string(doc.messageType) == `"DATA_MESSAGE"` && doc.logGroup != nil && doc.logStream != nil
}

// document takes an object by what it has.
func (d *Decoder) document(s *source, doc *document, raw []byte) {
	switch {
	case string(unquote(doc.messageType)) == "CONTROL_MESSAGE":
		d.stats.Control++
	case is(doc.logEvents, '['):
		d.envelope(s, doc, doc.logEvents)
	case is(doc.events, '['):
		d.envelope(s, doc, doc.events)
	case doc.classUID != nil:
		d.ocsf(s, raw)
	case is(doc.message, '"') || is(doc.message, '{'):
		d.documents(s, content(doc.message))
	case is(doc.awslogs, '{'):
		d.lambda(s, doc.awslogs, raw)
	default:
		d.flat(s, raw)
	}
}

// is reports whether a value is there and begins with c.
func is(v []byte, c byte) bool { return len(v) > 0 && v[0] == c }

// content returns what a message holds: the text of a string, an object as it is.
func content(v []byte) []byte {
	if v[0] == '"' {
		return unquote(v)
	}
	return v
}

// envelope takes the events of a CloudWatch Logs subscription, an array at the
// start of events, and returns what follows it, or where it is damaged. Each event
// is at least one line, of the log group and stream that the envelope names.
func (d *Decoder) envelope(s *source, doc *document, events []byte) (rest []byte, ok bool) {
	d.flush(s)
	in := *s
	in.waiting, in.tried = nil, 0
	if len(doc.logGroup) > 0 {
		in.origin.LogGroup = str(unquote(doc.logGroup))
		in.origin.LogStream = str(unquote(doc.logStream))
		d.open(&in)
	}
	w := walk(events)
	plain := bytes.IndexByte(events, '\\') < 0 && bytes.IndexByte(events, '\n') < 0 && bytes.IndexByte(events, '\r') < 0
	for w.more() {
		if plain {
			if rest, ok := d.plainEvent(&in, w.b); ok {
				w.b = rest
				continue
			}
		}
		if w.b[0] == '{' {
			if rest, ok := d.event(&in, w.b); ok {
				w.b = rest
				continue
			}
		}
		e, ok := w.take()
		if !ok {
			break
		}
		d.refuseWhole(&in, e, ClassJSON, "the log event has no message")
	}
	d.flush(&in)
	s.seen = in.seen
	return w.b, !w.bad
}

// What CloudWatch writes around the values of an event.
const (
	eventID      = `{"id":"`
	eventTime    = `","timestamp":`
	eventMessage = `,"message":"`
)

// plainEvent takes the log event at the start of data if it is written as
// CloudWatch does, in an envelope without escapes and line ends, and returns what
// follows it. It finds the values by their quotes and compares what is around
// them, which takes a fifth of walking the object.
func (d *Decoder) plainEvent(s *source, data []byte) (rest []byte, ok bool) {
	b, ok := bytes.CutPrefix(data, []byte(eventID))
	quote := bytes.IndexByte(b, '"')
	if !ok || quote < 0 {
		return nil, false
	}
	if b, ok = bytes.CutPrefix(b[quote:], []byte(eventTime)); !ok {
		return nil, false
	}
	millis, n := number(b, 0)
	if n < 1 || n > 18 {
		return nil, false
	}
	if b, ok = bytes.CutPrefix(b[n:], []byte(eventMessage)); !ok {
		return nil, false
	}
	quote = bytes.IndexByte(b, '"')
	if quote < 1 || quote+1 >= len(b) || b[quote+1] != '}' || b[0] < '0' || b[0] > '9' && b[0] < 'a' || b[0] > 'z' {
		return nil, false
	}
	s.at = flow.Time(millis / 1000)
	d.step(s)
	d.line(s, b[:quote])
	return b[quote+2:], true
}

// event takes the log event at the start of data and returns what follows it.
// It reports false, and has taken nothing, where there is no message.
func (d *Decoder) event(s *source, data []byte) (rest []byte, ok bool) {
	var message []byte
	s.at = 0
	w := walk(data)
	for name, value, ok := w.field(); ok; name, value, ok = w.field() {
		switch string(name) {
		case "message":
			message = value
		case "timestamp": // milliseconds since 1970
			if text := unquote(value); digits(text) {
				s.at = flow.Time(value64(text) / 1000)
			}
		case "logStreamName":
			s.origin.LogStream = str(unquote(value))
		}
	}
	if w.bad || !is(message, '"') && !is(message, '{') {
		return nil, false
	}
	text := content(message)
	if len(skipBlank(text)) == 0 {
		return nil, false
	}
	d.documents(s, text)
	return w.b, true
}

// lambda takes {"awslogs":{"data":"..."}}, the form in which a function gets an
// envelope: base64 of gzip.
func (d *Decoder) lambda(s *source, value, raw []byte) {
	w := walk(value)
	for name, data, ok := w.field(); ok; name, data, ok = w.field() {
		if string(name) != "data" {
			continue
		}
		text := unquote(data)
		out := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
		n, err := base64.StdEncoding.Decode(out, text)
		if err != nil {
			break
		}
		s.depth++
		d.payload(s, out[:n])
		s.depth--
		return
	}
	d.refuseWhole(s, raw, ClassJSON, "awslogs has no base64 data")
}

// str views bytes as text, for a record that aliases the payload.
func str(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
