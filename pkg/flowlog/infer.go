package flowlog

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// Choice is a layout that a decoder reads a source with, and why.
type Choice struct {
	Source     string // log group, file or stream; "" for all
	Format     *Format
	Basis      string // "configured", "header" or "inferred"
	Confidence int    // percent
	Why        string
}

// pin is what was inferred for a source.
type pin struct {
	formats []*Format
	choices []Choice
}

// Bounds of what is remembered of sources.
const (
	maxPins    = 4096 // sources with an inferred layout
	maxLayouts = 8    // layouts of one source
	maxNoted   = 256  // choices that are not pinned, for Choices
)

// Choices lists the layouts in use: configured, read from headers, inferred.
func (d *Decoder) Choices() []Choice {
	var out []Choice
	for _, f := range d.forAll {
		out = append(out, Choice{Format: f, Basis: "configured", Confidence: 100, Why: "the configuration says so"})
	}
	for _, group := range sortedKeys(d.groups) {
		for _, f := range d.groups[group] {
			out = append(out, Choice{Source: group, Format: f, Basis: "configured", Confidence: 100, Why: "the configuration of the log group says so"})
		}
	}
	out = append(out, d.noted...)
	for _, key := range sortedKeys(d.pins) {
		out = append(out, d.pins[key].choices...)
	}
	return out
}

// note remembers a choice that is not pinned, for Choices.
func (d *Decoder) note(c Choice) {
	layout := c.Format.String()
	if len(d.noted) >= maxNoted || slices.ContainsFunc(d.noted, func(n Choice) bool {
		return n.Source == c.Source && n.Format.String() == layout
	}) {
		return
	}
	c.Source = strings.Clone(c.Source)
	d.noted = append(d.noted, c)
}

// pinKey names a source for inference. All streams of a log group have the
// group's flow logs, so they share it.
func pinKey(o *flow.Origin) string {
	if o.LogGroup != "" {
		return o.LogGroup
	}
	return o.Source
}

// settle looks for the layout of the lines that wait in s. Unless last, it only
// decides when more lines could not change the choice.
func (d *Decoder) settle(s *source, last bool) bool {
	rows := make([][][]byte, 0, len(s.waiting))
	for i := range s.waiting {
		rows = append(rows, split(s.waiting[i].line))
	}
	v := infer(d.known, rows)
	s.doubt = v.doubt
	if v.format == nil || (!last && !v.early) {
		return false
	}
	s.layouts, s.origins = []*Format{v.format}, basisInferred
	if v.sure {
		d.pin(s, v)
	} else {
		d.note(Choice{Source: pinKey(&s.origin), Format: v.format, Basis: "inferred", Confidence: v.confidence, Why: v.why})
	}
	return true
}

// another looks for a second layout in a source that has one already: two flow
// logs that write to one log group share its streams.
func (d *Decoder) another(s *source, line []byte) *Format {
	v := infer(d.known, [][][]byte{split(line)})
	if v.format == nil || !v.sure {
		return nil
	}
	for _, f := range s.layouts {
		if slices.Equal(f.Names(), v.format.Names()) {
			return nil
		}
	}
	d.pin(s, v)
	if len(s.layouts) < maxLayouts {
		s.layouts = append(slices.Clone(s.layouts), v.format)
	}
	return v.format
}

func (d *Decoder) pin(s *source, v verdict) {
	key := pinKey(&s.origin)
	p := d.pins[key]
	if p == nil {
		if len(d.pins) >= maxPins {
			return
		}
		key = cloneKey(&s.origin)
		p = &pin{}
		d.pins[key] = p
	}
	if len(p.formats) >= maxLayouts {
		return
	}
	d.pinned++
	p.formats = append(slices.Clone(p.formats), v.format)
	p.choices = append(p.choices, Choice{Source: key, Format: v.format, Basis: "inferred", Confidence: v.confidence, Why: v.why})
}

// verdict is the outcome of an inference.
type verdict struct {
	format     *Format
	sure       bool // good enough to be pinned
	early      bool // and more lines would not change it
	confidence int  // percent
	why, doubt string
}

// knownFormats returns the layouts that are tried by name: AWS's defaults, each
// version's full list, and the layouts of AWS's own examples, which people copy.
func knownFormats() []*Format {
	list := []*Format{V2()}
	for v := uint8(3); v <= 11; v++ {
		if f := UpTo(v); f.Len() != list[len(list)-1].Len() {
			list = append(list, f)
		}
	}
	list = append(list, TransitGateway())
	for _, s := range [...]string{
		"version vpc-id subnet-id instance-id interface-id account-id type srcaddr dstaddr srcport dstport pkt-srcaddr pkt-dstaddr protocol bytes packets start end action tcp-flags log-status",
		"version interface-id account-id vpc-id subnet-id instance-id srcaddr dstaddr srcport dstport protocol tcp-flags type pkt-srcaddr pkt-dstaddr action log-status",
		"version srcaddr dstaddr srcport dstport protocol start end type packets bytes account-id vpc-id subnet-id instance-id interface-id region az-id sublocation-type sublocation-id action tcp-flags pkt-srcaddr pkt-dstaddr pkt-src-aws-service pkt-dst-aws-service traffic-path flow-direction log-status",
		"instance-id interface-id srcaddr dstaddr pkt-srcaddr pkt-dstaddr",
		"version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action",
	} {
		if f, err := ParseFormat(s); err == nil {
			list = append(list, f)
		}
	}
	return list
}

// infer chooses a layout for a sample of lines, split into values. A layout
// must fit by the shape of every value, never by their number alone. First come
// the layouts that are known by name, then those that begin like AWS's default
// and go on, then what can be worked out of the values. Where two fit, the
// verdict is a doubt; order.go says how pairs of one shape are told apart.
func infer(known []*Format, rows [][][]byte) verdict {
	byName, fits := inferKnown(known, rows)
	if byName.format != nil && 2*fits >= len(rows) {
		return byName
	}
	if byName.format == nil && byName.doubt != "" {
		return byName
	}
	if v := longer(rows); v.format != nil || v.doubt != "" {
		return v
	}
	worked := puzzle(rows)
	if worked.format == nil && byName.format != nil {
		return byName
	}
	return worked
}

// candidate is how a known layout does on a sample.
type candidate struct {
	format *Format
	fits   int        // lines whose shapes fit
	full   [][][]byte // of these, the lines with packets
	counts int        // against it: of fitting shapes, with values that can not be
}

// against reports whether the layout is refuted: damaged lines are few.
func (c *candidate) against() bool { return 10*c.counts > c.fits }

// inferKnown chooses among the known layouts, and returns how many lines fit.
func inferKnown(known []*Format, rows [][][]byte) (v verdict, fits int) {
	var best candidate
	var rivals []string
	for _, f := range known {
		c := candidate{format: f}
		for _, row := range rows {
			switch f.fits(row) {
			case fitsFull:
				c.full = append(c.full, row)
				c.fits++
			case fitsShape:
				c.fits++
			case fitsAgainst:
				c.counts++
			case fitsNot:
			}
		}
		switch {
		case c.fits == 0 || c.fits < best.fits || c.against():
		case c.fits == best.fits:
			rivals = append(rivals, f.String())
		default:
			best, rivals = c, []string{f.String()}
		}
	}
	switch {
	case len(rivals) == 0:
		return verdict{}, 0
	case len(rivals) > 1:
		return verdict{doubt: fmt.Sprintf("%d known layouts fit, for example %q and %q", len(rivals), rivals[0], rivals[1])}, best.fits
	}
	return best.verdict(len(rows)), best.fits
}

// patience is how many lines a documented layout waits for proof that its pairs,
// start and end too, are in the documented order, where more lines could tell.
const patience = 32

// timed reports whether a line tells start from end, if there are both.
func (c *candidate) timed() bool {
	start, end := c.format.column(opStart), c.format.column(opEnd)
	return start < 0 || end < 0 || slices.ContainsFunc(c.full, func(r [][]byte) bool { return !bytes.Equal(r[start], r[end]) })
}

// verdict is the choice of a known layout by a sample of n lines.
func (c *candidate) verdict(n int) verdict {
	full := len(c.full)
	names, proved, why, _ := orient(c.format.Names(), c.full, true)
	f, err := newFormat(names)
	if err != nil {
		return verdict{doubt: err.Error()}
	}
	telling := !proved && (f.hasOp(opFlags) || f.hasOp(opDirection)) || !c.timed()
	return verdict{
		format: f, sure: full > 0, early: full >= 3 && (!telling || full >= patience), confidence: confidence(full),
		why: fmt.Sprintf("%d of %d lines have the shapes of this known layout of %d fields in every value, %d of them with packets%s", c.fits, n, f.Len(), full, why),
	}
}

// confidence grows with the number of lines that could have contradicted.
func confidence(full int) int {
	switch {
	case full == 0:
		return 60
	case full < 3:
		return 90
	}
	return 99
}

// fitting says how a line suits a layout.
type fitting uint8

const (
	fitsNot     fitting = iota
	fitsShape           // every value has the shape of its field
	fitsFull            // and there are packets, so a wrong order of numbers would have shown
	fitsAgainst         // the shapes fit, but no flow has these values
)

// fits reports whether all values of a line have the shapes of the layout's
// fields, and what its numbers say.
func (f *Format) fits(row [][]byte) fitting {
	if len(row) != f.Len() {
		return fitsNot
	}
	for i := range row {
		if !shaped(f.cols[i].name, row[i]) {
			return fitsNot
		}
	}
	if s := f.column(opStart); s >= 0 {
		if e := f.column(opEnd); e >= 0 && value64(row[s]) > value64(row[e]) {
			return fitsAgainst
		}
	}
	full := fitsShape
	p, b := f.column(opPackets), f.column(opBytes)
	if p < 0 || b < 0 {
		if f.hasOp(opSrcPort) && row[f.column(opSrcPort)][0] != '-' {
			full = fitsFull
		}
		return full
	}
	if row[p][0] == '-' || row[b][0] == '-' {
		return fitsShape
	}
	// A count of bytes that the packets can not have counts against the layout
	// if the other way round it could be: then the two columns are exchanged.
	packets, size := value64(row[p]), value64(row[b])
	switch {
	case plausible(packets, size):
		return fitsFull
	case plausible(size, packets):
		return fitsAgainst
	}
	return fitsShape
}

// plausible reports whether so many packets can have so many bytes: an IP
// packet has 20 to 65,535 (RFC 791).
func plausible(packets, bytes uint64) bool {
	return bytes >= 20*packets && bytes <= 65535*packets
}

// split cuts a line into its values.
func split(line []byte) (out [][]byte) {
	for i := 0; i < len(line) && len(out) <= maxColumns; {
		if line[i] == ' ' {
			i++
			continue
		}
		j := end(line, i)
		out = append(out, line[i:j])
		i = j
	}
	return out
}

func value64(b []byte) uint64 {
	v, _ := number(b, 0)
	return v
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func cloneKey(o *flow.Origin) string { return strings.Clone(pinKey(o)) }
