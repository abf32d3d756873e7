package wire

import (
	"strconv"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// Reject says why input went to the rejects topic and where it came from. The
// record's value is the raw bytes; all this is in its headers.
type Reject struct {
	Stage  string // who rejected it: "ingest", "sessionize", ...
	Class  string // kind of reason, few values: a metric label
	Reason string // one sentence
	Field  string // of a flow log line, or ""
	Column int    // of that field, from 1, or 0
	Part   int    // of Parts, from 1, where the raw bytes were split over records
	Parts  int
	Origin flow.Origin
	// Topic, Partition and Offset locate a record of one of our own topics.
	Topic     string
	Partition int32
	Offset    int64
}

// Header is one record header: small UTF-8 text.
type Header struct{ Key, Value string }

// Headers returns the headers of r, empty ones left out.
func (r *Reject) Headers() []Header {
	h := make([]Header, 0, 16)
	add := func(key, value string) {
		if value != "" {
			h = append(h, Header{key, value})
		}
	}
	number := func(key string, n int64) {
		if n != 0 {
			add(key, strconv.FormatInt(n, 10))
		}
	}
	add("stage", r.Stage)
	add("class", r.Class)
	add("reason", r.Reason)
	add("field", r.Field)
	number("column", int64(r.Column))
	if r.Parts > 1 {
		number("part", int64(r.Part))
		number("parts", int64(r.Parts))
	}
	add("source", r.Origin.Source)
	add("shard", r.Origin.Shard)
	add("sequence", r.Origin.Sequence)
	number("sub", int64(r.Origin.Sub))
	add("log_group", r.Origin.LogGroup)
	add("log_stream", r.Origin.LogStream)
	number("line", r.Origin.Line)
	if r.Topic != "" {
		add("topic", r.Topic)
		add("partition", strconv.FormatInt(int64(r.Partition), 10))
		add("offset", strconv.FormatInt(r.Offset, 10))
	}
	return h
}

// ParseReject reads the headers of a record of the rejects topic. What it does
// not know is skipped.
func ParseReject(headers []Header) (r Reject) {
	texts := map[string]*string{
		"stage": &r.Stage, "class": &r.Class, "reason": &r.Reason, "field": &r.Field, "topic": &r.Topic,
		"source": &r.Origin.Source, "shard": &r.Origin.Shard, "sequence": &r.Origin.Sequence,
		"log_group": &r.Origin.LogGroup, "log_stream": &r.Origin.LogStream,
	}
	for _, h := range headers {
		if s, ok := texts[h.Key]; ok {
			*s = h.Value
			continue
		}
		n, err := strconv.ParseInt(h.Value, 10, 64)
		if err != nil {
			continue
		}
		switch h.Key {
		case "column":
			r.Column = int(n)
		case "part":
			r.Part = int(n)
		case "parts":
			r.Parts = int(n)
		case "sub":
			r.Origin.Sub = int32(n)
		case "line":
			r.Origin.Line = n
		case "partition":
			r.Partition = int32(n)
		case "offset":
			r.Offset = n
		}
	}
	return r
}

// Key returns the Kafka key of a reject: its position at the source, so that
// what came from one place lies together.
func (r *Reject) Key() []byte {
	if r.Topic != "" {
		return []byte(r.Topic + "/" + strconv.FormatInt(int64(r.Partition), 10))
	}
	return []byte(r.Origin.Source + "/" + r.Origin.Shard)
}
