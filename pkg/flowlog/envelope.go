package flowlog

import (
	"bytes"
	"strings"

	"github.com/segmentio/encoding/json"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// document is every JSON value that a payload may be, in one: which keys are
// there tells which.
type document struct {
	// A CloudWatch Logs subscription envelope.
	MessageType string  `json:"messageType"`
	LogGroup    string  `json:"logGroup"`
	LogStream   string  `json:"logStream"`
	LogEvents   []event `json:"logEvents"`
	// Firehose's wrapper; a text in OCSF too.
	Message json.RawMessage `json:"message"`
	// OCSF.
	ClassUID json.RawMessage `json:"class_uid"`
}

type event struct {
	Timestamp int64  `json:"timestamp"` // milliseconds since 1970
	Message   string `json:"message"`
}

// json takes the JSON value at the start of data and returns what follows it.
func (d *Decoder) json(s *source, data []byte) []byte {
	doc := d.scratch.top
	d.scratch.top = document{} // a document within uses one of its own
	clear(doc.LogEvents[:cap(doc.LogEvents)])
	doc = document{LogEvents: doc.LogEvents[:0]}
	rest, err := json.Parse(data, &doc, json.ZeroCopy|json.DontMatchCaseInsensitiveStructFields)
	if err != nil {
		line, rest := next(data)
		d.refuseWhole(s, line, ClassJSON, "the JSON is damaged or no flow log: "+err.Error())
		return rest
	}
	s.depth++
	d.document(s, &doc, data[:len(data)-len(rest)])
	s.depth--
	d.scratch.top = document{LogEvents: doc.LogEvents[:0]}
	return rest
}

func (d *Decoder) document(s *source, doc *document, raw []byte) {
	switch {
	case doc.MessageType == "CONTROL_MESSAGE":
		d.stats.Control++
	case doc.LogEvents != nil && doc.MessageType != "":
		d.envelope(s, doc)
	case len(doc.Message) > 0 && doc.Message[0] == '"':
		var text string
		if _, err := json.Parse(doc.Message, &text, json.ZeroCopy); err != nil {
			d.refuseWhole(s, raw, ClassJSON, "the message is no text: "+err.Error())
			return
		}
		d.documents(s, []byte(text))
	default:
		d.refuseWhole(s, raw, ClassJSON, "the JSON object is no flow log")
	}
}

// envelope takes the events of a CloudWatch Logs subscription.
func (d *Decoder) envelope(s *source, doc *document) {
	d.flush(s)
	in := *s
	in.origin.LogGroup, in.origin.LogStream = strings.TrimSpace(doc.LogGroup), doc.LogStream
	in.waiting, in.tried = nil, 0
	d.open(&in)
	for i := range doc.LogEvents {
		in.at = flow.Time(doc.LogEvents[i].Timestamp / 1000)
		d.documents(&in, bytesOf(doc.LogEvents[i].Message))
	}
	d.flush(&in)
	s.seen = in.seen
}

func bytesOf(s string) []byte { return bytes.Clone([]byte(s)) }
