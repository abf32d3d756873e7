package flowlog

import (
	"fmt"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// Class is the kind of reason why something was rejected: a metric label with
// few values. The sentence is in [Reject].
type Class uint8

// The classes of reject.
const (
	ClassNone     Class = iota // not rejected
	ClassFields                // too few or too many fields for the layout
	ClassValue                 // a value that its field can not have
	ClassRange                 // a number that overflows its field
	ClassMissing               // a field without which there is no record
	ClassTime                  // a time that is not believed, or start after end
	ClassLayout                // no layout is known, or more than one fits
	ClassJSON                  // damaged JSON, or JSON that is no flow log
	ClassCompress              // damaged gzip
	ClassSize                  // over a limit: a decompression bomb, an endless line
	ClassParquet               // a damaged Parquet file
	classCount
)

var classNames = [classCount]string{
	"none", "fields", "value", "range", "missing", "time", "layout", "json", "compress", "size", "parquet",
}

// String returns the metric label.
func (c Class) String() string {
	if c < classCount {
		return classNames[c]
	}
	return "invalid"
}

// Classes returns all classes of reject, for declaring metric labels.
func Classes() []Class {
	out := make([]Class, 0, classCount-1)
	for c := ClassFields; c < classCount; c++ {
		out = append(out, c)
	}
	return out
}

// Reject is input that could not be read. Raw aliases the decoder's input and
// lives until the call of the sink returns.
type Reject struct {
	Raw    []byte
	Class  Class
	Reason string // one sentence: what is wrong, where, what to do
	Field  string // the name of the field, or ""
	Column int    // its column, from 1, or 0
	Origin flow.Origin
}

func (w what) class() Class {
	switch w {
	case whatNone:
		return ClassNone
	case whatFewer, whatMore:
		return ClassFields
	case whatTooBig:
		return ClassRange
	case whatMissing, whatNoStatus, whatNoTime:
		return ClassMissing
	case whatEarly, whatLate, whatBackwards, whatTooLong:
		return ClassTime
	default:
		return ClassValue
	}
}

// explain makes the sentence of a failure. raw is the line as the layout read it.
func (fail failure) explain(f *Format, raw []byte, r *flow.Record) (reason, field string) {
	field = fail.field(f)
	value := token(raw, fail.col)
	switch fail.what {
	case whatFewer:
		return fmt.Sprintf("the line has %d fields and the layout has %d: %s is missing", fail.col, f.Len(), field), field
	case whatMore:
		return fmt.Sprintf("the line has far more fields than the layout, which has %d", f.Len()), ""
	case whatNotNumber:
		return fmt.Sprintf("%s: %q is not a number", field, value), field
	case whatTooBig:
		return fmt.Sprintf("%s: %s is more than the field can hold (%d)", field, value, numMax[fail.op]), field
	case whatNotAddress:
		return fmt.Sprintf("%s: %q is not an IP address", field, value), field
	case whatBadAction:
		return fmt.Sprintf("%s: %q is neither ACCEPT nor REJECT", field, value), field
	case whatBadStatus:
		return fmt.Sprintf("%s: %q is none of OK, NODATA, SKIPDATA", field, value), field
	case whatBadDirection:
		return fmt.Sprintf("%s: %q is neither ingress nor egress", field, value), field
	case whatMissing:
		if fail.col < 0 {
			return fmt.Sprintf("the layout has no %s, without which there is no session; add ${%s} to the flow log's format", field, field), field
		}
		return fmt.Sprintf("%s is missing in a record of packets", field), field
	case whatNoStatus:
		return "the record has no packets, and without log-status it can not be told whether there were none or AWS skipped them; add ${log-status} to the flow log's format", "log-status"
	case whatNoTime:
		return "the record has no time: neither start nor end, and no event time around it; add ${start} to the flow log's format", field
	default:
		return fail.explainTime(r), field
	}
}

func (fail failure) explainTime(r *flow.Record) string {
	switch fail.what {
	case whatEarly:
		return fmt.Sprintf("start: %d is %s, before any VPC existed (%s)", r.Start, r.Start, MinTime)
	case whatLate:
		t, name := r.Start, "start"
		if fail.op == opEnd {
			t, name = r.End, "end"
		}
		return fmt.Sprintf("%s: %d is beyond %s in seconds since 1970; milliseconds are not read", name, t, MaxTime)
	case whatBackwards:
		return fmt.Sprintf("end: %d is before start, %d", r.End, r.Start)
	case whatTooLong:
		return fmt.Sprintf("end: the interval of %d s from start is longer than any aggregation interval", r.End-r.Start)
	default:
		return "the line could not be read"
	}
}

// field names the field of a failure.
func (fail failure) field(f *Format) string {
	if fail.col >= 0 && fail.col < len(f.cols) {
		return f.cols[fail.col].name
	}
	for i := range vpcFields {
		if vpcFields[i].op == fail.op && fail.op != opAttr {
			return vpcFields[i].name
		}
	}
	return ""
}

// token returns the n-th value of a line, from 0.
func token(line []byte, n int) []byte {
	for i := 0; i < len(line); {
		if line[i] == ' ' {
			i++
			continue
		}
		j := end(line, i)
		if n == 0 {
			return line[i:min(j, i+80)]
		}
		n--
		i = j
	}
	return nil
}
