package flowlog

import (
	"bytes"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// maxDepth bounds documents within documents: gzip in gzip, JSON in JSON.
const maxDepth = 6

// scratch are the buffers that a decoder keeps between payloads.
type scratch struct {
	inflated []byte
	gz       inflater
}

// keepBuffer is how much of a buffer is kept between payloads.
const keepBuffer = 8 << 20

// Payload decodes one Kinesis record or one small file. Its first bytes decide
// what it is: gzip of any of the following, a CloudWatch Logs envelope,
// Firehose's {"message": ...}, flow logs that CloudWatch transformed to JSON
// (parseVPC, OCSF), or lines. It returns how many lines, events and documents
// there were: o.Sub counts on from there within a Kinesis record, and o.Line
// counts from 1.
func (d *Decoder) Payload(data []byte, o flow.Origin, sink Sink) int {
	d.stats.Payloads++
	d.stats.Bytes += uint64(len(data))
	s := source{origin: o, sink: sink, stable: true, base: o.Sub}
	d.open(&s)
	d.payload(&s, data)
	d.flush(&s)
	return int(s.seen)
}

func (d *Decoder) payload(s *source, data []byte) {
	if isGzip(data) {
		if s.depth >= maxDepth {
			d.refuseWhole(s, data, ClassCompress, "gzip within gzip within gzip is not unpacked further")
			return
		}
		d.gzip(s, data)
		return
	}
	d.documents(s, bytes.TrimPrefix(data, []byte("\ufeff")))
}

// documents takes lines and JSON values in any mixture.
func (d *Decoder) documents(s *source, data []byte) {
	feeds := bytes.IndexByte(data, '\r') < 0 // so that not every line is searched for it
	for len(data) > 0 {
		data = skipBlank(data)
		if len(data) > 0 && (data[0] == '{' || data[0] == '[') && s.depth < maxDepth {
			data = d.json(s, data)
			continue
		}
		var line []byte
		lf := -1
		if feeds {
			lf = bytes.IndexByte(data, '\n')
		}
		if lf >= 0 {
			line, data = data[:lf], data[lf+1:]
		} else {
			line, data = next(data)
		}
		d.step(s)
		d.line(s, line)
	}
}

// step sets the place of the line that comes next.
func (d *Decoder) step(s *source) {
	if s.file {
		s.origin.Sub = s.base + s.seen - s.mark
		return
	}
	s.origin.Sub = s.base + s.seen
	s.origin.Line = int64(s.seen) + 1
}

// refuseWhole rejects a piece of input that is not a line.
func (d *Decoder) refuseWhole(s *source, raw []byte, c Class, reason string) {
	d.flush(s)
	d.step(s)
	s.seen++
	d.stats.Lines++
	d.reject(s, Reject{Raw: raw, Class: c, Reason: reason})
}

func isGzip(b []byte) bool { return len(b) >= 2 && b[0] == 0x1f && b[1] == 0x8b }
