package gen

import (
	"io"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/flowlog"
)

// Lines says how records become text.
type Lines struct {
	Format *flowlog.Format // nil is AWS's default, version 2
	Header bool            // begin with the names of the fields, as S3 objects do
	Max    int64           // stop after so many lines; 0 is no bound
}

// writeSize is how many bytes are collected for one write.
const writeSize = 64 << 10

// Write writes what is left of the stream as lines and returns how many, the
// header apart. It stops at the first error of w. It does not look at a clock:
// pacing is the business of w.
func Write(w io.Writer, s *Stream, o Lines) (lines int64, err error) {
	f := o.Format
	if f == nil {
		f = flowlog.V2()
	}
	b := make([]byte, 0, writeSize+4096)
	if o.Header {
		b = append(f.AppendHeader(b), '\n')
	}
	var r flow.Record
	for (o.Max == 0 || lines < o.Max) && s.Next(&r) {
		b = append(f.AppendLine(b, &r), '\n')
		lines++
		if len(b) >= writeSize {
			if _, err = w.Write(b); err != nil {
				return lines, err
			}
			b = b[:0]
		}
	}
	_, err = w.Write(b)
	return lines, err
}
