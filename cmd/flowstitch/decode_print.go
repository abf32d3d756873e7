package main

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/segmentio/encoding/json"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/flowlog"
)

// printer prints what a decoder makes, as it comes. It implements flowlog.Sink.
type printer struct {
	out     *bufio.Writer
	json    bool
	rejects bool   // only these
	unlaid  string // the first reason for which a line has no layout
	files   bool   // there are several: say which
	row     []byte
}

const tableRow = "%-6s %-20s %4s %-8s %-9s %-5s %-39s %-39s %10s %13s %-5s %s\n"

func (p *printer) header() {
	if !p.json && !p.rejects {
		fmt.Fprintf(p.out, tableRow, "LINE", "START", "SEC", "ACTION", "DIRECTION", "PROTO",
			"SOURCE", "DESTINATION", "PACKETS", "BYTES", "FLAGS", "WHERE AND WHAT ELSE")
	}
}

// Record implements flowlog.Sink.
func (p *printer) Record(r *flow.Record) {
	switch {
	case p.rejects:
	case p.json:
		p.row = appendRecordJSON(p.row[:0], r)
		p.row = append(p.row, '\n')
		_, _ = p.out.Write(p.row) // the writer keeps its first error, and Flush returns it
	default:
		p.table(r)
	}
}

func (p *printer) table(r *flow.Record) {
	action, proto, flags := r.Action.String(), strconv.Itoa(int(r.Protocol)), "-"
	packets, size := strconv.FormatUint(r.Packets, 10), strconv.FormatUint(r.Bytes, 10)
	switch r.Kind {
	case flow.KindFlow:
	case flow.KindNoData:
		action = "NODATA"
	case flow.KindSkipData:
		action = "SKIPDATA"
	}
	if r.Kind != flow.KindFlow && !r.Src.Addr.IsValid() {
		proto, packets, size = "-", "-", "-"
	}
	if r.HasFlags {
		flags = flagNames(r.TCPFlags)
	}
	fmt.Fprintf(p.out, tableRow, place(&r.Origin, p.files), r.Start, strconv.FormatInt(int64(r.End-r.Start), 10),
		action, r.Direction, proto, endName(r.Src, r.PktSrc), endName(r.Dst, r.PktDst), packets, size, flags, others(r))
}

// place is where a record stands: the line, and the place in it if it holds
// several.
func place(o *flow.Origin, files bool) string {
	s := strconv.FormatInt(o.Line, 10)
	if o.Sub > 0 {
		s += "." + strconv.Itoa(int(o.Sub))
	}
	if files {
		s = o.Source + ":" + s
	}
	return s
}

// endName shows an endpoint, and behind "=" the packet's own address where it
// is another one.
func endName(e flow.Endpoint, pkt flow.Addr) string {
	s := e.String()
	if pkt.IsValid() && pkt != e.Addr {
		s += "=" + pkt.String()
	}
	return s
}

func flagNames(f uint8) string {
	if f == 0 {
		return "0"
	}
	var b []byte
	for _, n := range [...]struct {
		bit  uint8
		name byte
	}{{flow.SYN, 'S'}, {flow.ACK, 'A'}, {flow.FIN, 'F'}, {flow.RST, 'R'}} {
		if f&n.bit != 0 {
			b = append(b, n.name)
			f &^= n.bit
		}
	}
	if f != 0 {
		b = strconv.AppendUint(append(b, '+'), uint64(f), 10)
	}
	return string(b)
}

// others lists the text fields that a record has.
func others(r *flow.Record) string {
	var b strings.Builder
	b.WriteString(r.Point())
	for _, f := range [...]flow.Attr{
		{Name: "account-id", Value: r.AccountID}, {Name: "resource-id", Value: r.ResourceID}, {Name: "vpc-id", Value: r.VPCID},
		{Name: "subnet-id", Value: r.SubnetID}, {Name: "instance-id", Value: r.InstanceID}, {Name: "region", Value: r.Region},
		{Name: "pkt-src-aws-service", Value: r.SrcService}, {Name: "pkt-dst-aws-service", Value: r.DstService},
	} {
		if f.Value != "" {
			b.WriteString(" " + f.Name + "=" + f.Value)
		}
	}
	if r.Path != 0 {
		b.WriteString(" traffic-path=" + strconv.Itoa(int(r.Path)))
	}
	for _, a := range r.Attrs {
		b.WriteString(" " + a.Name + "=" + a.Value)
	}
	return b.String()
}

// Reject implements flowlog.Sink.
func (p *printer) Reject(r *flowlog.Reject) {
	if r.Class == flowlog.ClassLayout && p.unlaid == "" {
		p.unlaid = r.Reason
	}
	if !p.json {
		fmt.Fprintf(p.out, "%-6s REJECTED (%s) %s: %.200q\n", place(&r.Origin, p.files), r.Class, r.Reason, r.Raw)
		return
	}
	b, err := json.Marshal(struct {
		Line   int64  `json:"line"`
		Sub    int32  `json:"sub,omitempty"`
		Source string `json:"source"`
		Class  string `json:"rejected"`
		Reason string `json:"reason"`
		Field  string `json:"field,omitempty"`
		Column int    `json:"column,omitempty"`
		Raw    string `json:"raw"`
	}{r.Origin.Line, r.Origin.Sub, r.Origin.Source, r.Class.String(), r.Reason, r.Field, r.Column, string(r.Raw)})
	if err == nil {
		_, _ = p.out.Write(append(b, '\n')) // as above
	}
}

// appendRecordJSON appends a record as one JSON object, under AWS's own field
// names. What the record does not have is left out.
func appendRecordJSON(b []byte, r *flow.Record) []byte {
	b = append(b, `{"line":`...)
	b = strconv.AppendInt(b, r.Origin.Line, 10)
	text := func(name, v string) {
		if v != "" && v != "-" {
			b = append(b, ',')
			b, _ = json.Append(b, name, 0)
			b = append(b, ':')
			b, _ = json.Append(b, v, 0)
		}
	}
	number := func(name string, v uint64) {
		b = append(append(append(b, `,"`...), name...), `":`...)
		b = strconv.AppendUint(b, v, 10)
	}
	text("source", r.Origin.Source)
	text("log-group", r.Origin.LogGroup)
	text("log-stream", r.Origin.LogStream)
	text("log-status", [...]string{"OK", "NODATA", "SKIPDATA"}[r.Kind])
	if r.Version != 0 {
		number("version", uint64(r.Version))
	}
	text("account-id", r.AccountID)
	text("interface-id", r.InterfaceID)
	text("srcaddr", r.Src.Addr.String())
	text("dstaddr", r.Dst.Addr.String())
	if r.Kind == flow.KindFlow || r.Src.Addr.IsValid() {
		number("srcport", uint64(r.Src.Port))
		number("dstport", uint64(r.Dst.Port))
		number("protocol", uint64(r.Protocol))
		number("packets", r.Packets)
		number("bytes", r.Bytes)
	}
	number("start", uint64(r.Start))
	number("end", uint64(r.End))
	text("action", r.Action.String())
	if r.HasFlags {
		number("tcp-flags", uint64(r.TCPFlags))
	}
	text("flow-direction", r.Direction.String())
	if r.Path != 0 {
		number("traffic-path", uint64(r.Path))
	}
	for _, f := range [...]flow.Attr{
		{Name: "pkt-srcaddr", Value: r.PktSrc.String()}, {Name: "pkt-dstaddr", Value: r.PktDst.String()},
		{Name: "resource-id", Value: r.ResourceID}, {Name: "vpc-id", Value: r.VPCID}, {Name: "subnet-id", Value: r.SubnetID},
		{Name: "instance-id", Value: r.InstanceID}, {Name: "region", Value: r.Region},
		{Name: "pkt-src-aws-service", Value: r.SrcService}, {Name: "pkt-dst-aws-service", Value: r.DstService},
	} {
		text(f.Name, f.Value)
	}
	for _, a := range r.Attrs {
		text(a.Name, a.Value)
	}
	return append(b, '}')
}

// explain says how the input was read.
func explain(w io.Writer, d *flowlog.Decoder, unlaid string) {
	choices, s := d.Choices(), d.Stats()
	switch {
	case len(choices) > 0:
	case s.Records > 0:
		fmt.Fprintln(w, "\nNo layout was needed: what was read names its fields itself.")
	case s.Lines == 0:
		fmt.Fprintln(w, "\nThere was no line.")
	case unlaid != "":
		fmt.Fprintf(w, "\nNo layout: %s\n", unlaid)
	default:
		fmt.Fprintln(w, "\nNo layout: no line had a header or the shape of a known one. Give -log-format.")
	}
	for _, c := range choices {
		source := c.Source
		if source == "" {
			source = "all sources"
		}
		fmt.Fprintf(w, "\n%s: %s, %d %% sure: %s\n  %s\n", source, c.Basis, c.Confidence, c.Why, c.Format)
		if name := c.Format.Lacks(); name != "" {
			fmt.Fprintf(w, "  It has no %s, so its lines alone can not become sessions.\n", name)
		}
	}
	fmt.Fprintf(w, "\n%d bytes, %d lines: %d records (%d NODATA, %d SKIPDATA), %d headers, %d rejected; %d control messages\n",
		s.Bytes, s.Lines, s.Records, s.NoData, s.SkipData, s.Headers, s.Rejected(), s.Control)
	for _, c := range flowlog.Classes() {
		if n := s.Rejects[c]; n > 0 {
			fmt.Fprintf(w, "  rejected for %s: %d\n", c, n)
		}
	}
	if s.Extra > 0 {
		fmt.Fprintf(w, "  records with fields beyond the layout: %d\n", s.Extra)
	}
	for _, u := range d.UnknownFields() {
		fmt.Fprintf(w, "  unknown field %s: %d values\n", u.Name, u.Values)
	}
}
