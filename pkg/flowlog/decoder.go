package flowlog

import (
	"errors"
	"fmt"
	"strings"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// Config says what a [Decoder] may expect. The zero value infers everything.
type Config struct {
	// Format is the layout of lines that no log group's own layout covers, in
	// AWS's ${field} syntax; several alternatives are separated by "|". Empty
	// means: a header line says it, or it is inferred.
	Format string
	// Formats holds the layout per log group, in the same syntax. Two flow logs
	// that write to one log group share its streams, hence the alternatives.
	Formats map[string]string
	// MaxPayload caps what one payload may decompress to, and one JSON document
	// of a stream, in bytes. Default 64 MiB: a Kinesis record has 10 MiB at most,
	// and flow logs compress about 10:1.
	MaxPayload int64
	// MaxLine caps a text line of a stream, in bytes; a longer one is rejected in
	// pieces of that size. Default 1 MiB, the size of a CloudWatch event.
	MaxLine int
	// MaxInterval is the longest time in seconds from a record's start to its
	// end that is believed. AWS's own maximum is 600; the default is a day.
	MaxInterval int64
}

// Sink takes what a [Decoder] makes. What it is given aliases the decoder's
// buffers and is reused after the call; it may change the record.
type Sink interface {
	Record(*flow.Record)
	Reject(*Reject)
}

// Stats counts what went through a decoder. Nothing disappears: Lines is always
// Records and Headers and the rejects of all classes together.
type Stats struct {
	Payloads uint64 // calls of Payload, Stream and Parquet
	Bytes    uint64 // input, before decompression
	Inflated uint64 // bytes that decompression produced
	Lines    uint64 // lines, events and rows that were not blank
	Headers  uint64 // header lines
	Control  uint64 // CloudWatch control messages
	Records  uint64 // given to the sink: flows, NODATA and SKIPDATA
	NoData   uint64 // of these, NODATA
	SkipData uint64 // of these, SKIPDATA
	Extra    uint64 // records with fields beyond the layout
	Unknown  uint64 // names of fields that AWS does not define, each once
	Rejects  [classCount]uint64
}

// Rejected returns the number of rejects of all classes.
func (s *Stats) Rejected() (n uint64) {
	for _, v := range s.Rejects {
		n += v
	}
	return n
}

// Defaults of [Config].
const (
	DefaultMaxPayload  int64 = 64 << 20
	DefaultMaxLine           = 1 << 20
	DefaultMaxInterval int64 = 24 * 60 * 60
)

// Decoder turns bytes into records. It is not safe for concurrent use; use one
// for each goroutine.
type Decoder struct {
	cfg     Config
	forAll  []*Format            // Config.Format
	groups  map[string][]*Format // Config.Formats
	pins    map[string]*pin      // what was inferred, per source
	pinned  int                  // layouts in pins
	unknown map[string]uint64    // names that AWS does not define, and their values
	known   []*Format            // see knownFormats
	noted   []Choice             // layouts that were used without being pinned
	stats   Stats

	rec     flow.Record // reused for every line
	raw     []byte      // the line of rec
	rej     Reject
	scratch scratch
}

// New checks the configuration and returns a decoder. All that is wrong is
// reported at once.
func New(c Config) (*Decoder, error) {
	if c.MaxPayload == 0 {
		c.MaxPayload = DefaultMaxPayload
	}
	if c.MaxLine == 0 {
		c.MaxLine = DefaultMaxLine
	}
	if c.MaxInterval == 0 {
		c.MaxInterval = DefaultMaxInterval
	}
	d := &Decoder{
		cfg: c, groups: make(map[string][]*Format, len(c.Formats)),
		known: knownFormats(), pins: make(map[string]*pin), unknown: make(map[string]uint64),
	}
	var errs []error
	if c.MaxPayload < 0 || c.MaxLine < 0 || c.MaxInterval < 0 {
		errs = append(errs, errors.New("flowlog: max payload, line and interval can not be negative"))
	}
	var err error
	if d.forAll, err = alternatives(c.Format); err != nil {
		errs = append(errs, err)
	}
	for _, group := range sortedKeys(c.Formats) {
		list, err := alternatives(c.Formats[group])
		if err == nil && list == nil {
			err = errors.New("the format is empty")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("log group %s: %w", group, err))
		}
		d.groups[group] = list
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return d, nil
}

// alternatives reads the layouts of one configuration value.
func alternatives(s string) ([]*Format, error) {
	if strings.TrimSpace(s) == "" {
		return nil, nil
	}
	var out []*Format
	for part := range strings.SplitSeq(s, "|") {
		f, err := ParseFormat(part)
		if err != nil {
			return nil, err
		}
		// A missing time is allowed: CloudWatch's event carries it.
		if name := f.Lacks(); name != "" && name != "start" {
			return nil, fmt.Errorf("flowlog: the format %q has no %s, without which there is no session; create the flow log with that field", part, name)
		}
		out = append(out, f)
	}
	return out, nil
}

// Raw returns the line or JSON object that the record was read from, for a
// [Sink] that refuses it, during the call of the sink; nil for a row of Parquet,
// which has no bytes of its own.
func (d *Decoder) Raw() []byte { return d.raw }

// Stats returns the counts so far.
func (d *Decoder) Stats() Stats { return d.stats }

// UnknownField is a field that AWS does not define, and how often it had a value.
type UnknownField struct {
	Name   string
	Values uint64
}

// Unknown returns how many fields were met that AWS does not define.
func (d *Decoder) Unknown() int { return len(d.unknown) }

// UnknownFields returns the fields met that AWS does not define, by name.
func (d *Decoder) UnknownFields() []UnknownField {
	out := make([]UnknownField, 0, len(d.unknown))
	for _, name := range sortedKeys(d.unknown) {
		out = append(out, UnknownField{name, d.unknown[name]})
	}
	return out
}
