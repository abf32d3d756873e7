package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/segmentio/encoding/json"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/flowstitch/flowstitch/pkg/wire"
)

// reject shows one record of the rejects topic: why, where it came from and the
// raw bytes, or with -format raw nothing but these, which can be ingested again.
func (t *tailer) reject(r *kgo.Record) error {
	headers := make([]wire.Header, len(r.Headers))
	for i, h := range r.Headers {
		headers[i] = wire.Header{Key: h.Key, Value: string(h.Value)}
	}
	why := wire.ParseReject(headers)
	switch t.flags.format {
	case "raw":
		t.buf = append(t.buf, r.Value...)
		if why.Part < why.Parts {
			_, err := t.env.stdout.Write(t.buf) // the rest follows, in the same partition
			return err
		}
	case "json":
		var err error
		if t.buf, err = json.Append(t.buf, rejected{Reject: why, Raw: r.Value}, 0); err != nil {
			return err
		}
	default:
		t.buf = append(t.buf, rejectLine(&why, r)...)
	}
	return t.line()
}

// rejected is a reject in JSON; raw bytes are base64, as JSON has it.
type rejected struct {
	wire.Reject
	Raw []byte
}

// shownRaw is how many raw bytes a line of text shows.
const shownRaw = 200

func rejectLine(why *wire.Reject, r *kgo.Record) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s: %s", r.Timestamp.UTC().Format("2006-01-02T15:04:05Z"), why.Stage, why.Class, why.Reason)
	if why.Field != "" {
		fmt.Fprintf(&b, " (field %s, column %d)", why.Field, why.Column)
	}
	switch {
	case why.Topic != "":
		fmt.Fprintf(&b, " from %s partition %d offset %d", why.Topic, why.Partition, why.Offset)
	case why.Origin.Line != 0:
		fmt.Fprintf(&b, " from %s line %d", why.Origin.Source, why.Origin.Line)
	default:
		fmt.Fprintf(&b, " from %s %s %s", why.Origin.Source, why.Origin.Shard, why.Origin.Sequence)
	}
	raw := r.Value[:min(len(r.Value), shownRaw)]
	fmt.Fprintf(&b, ": %s", strconv.QuoteToGraphic(string(raw)))
	if len(raw) < len(r.Value) {
		fmt.Fprintf(&b, " and %d bytes more", len(r.Value)-len(raw))
	}
	return b.String()
}
