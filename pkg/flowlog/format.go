package flowlog

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// Format is the layout of a flow log: which field stands in which column. It
// is immutable and may be shared.
type Format struct {
	cols    []column
	has     uint32 // bit op: the layout has that field
	strange bool   // a name is unknown
	version uint8  // what AWS writes as version: the highest among the fields
}

type column struct {
	op   op
	name string
	// known is false for a name that is in no list of AWS's.
	known bool
	max   uint64 // of a number
}

// maxColumns bounds a layout: AWS has 54 fields, transit gateways 36.
const maxColumns = 256

// ParseFormat reads a layout in AWS's own syntax, "${version} ${srcaddr} ...",
// as DescribeFlowLogs returns it, or as bare names, as header lines have it.
// Names that AWS does not define are allowed and their values are kept as
// attributes; a name twice is an error.
func ParseFormat(s string) (*Format, error) {
	tokens := strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' || r == '\n' || r == '\r' })
	if len(tokens) == 0 {
		return nil, fmt.Errorf("flowlog: the format is empty; give AWS's LogFormat, for example %q", "${version} ${srcaddr} ...")
	}
	if len(tokens) > maxColumns {
		return nil, fmt.Errorf("flowlog: the format has %d fields; at most %d are read", len(tokens), maxColumns)
	}
	list := make([]string, len(tokens))
	for i, t := range tokens {
		name := t
		if strings.HasPrefix(t, "${") && strings.HasSuffix(t, "}") {
			name = t[2 : len(t)-1]
		}
		if !fieldName(name) {
			return nil, fmt.Errorf("flowlog: field %d of the format, %q, is no field name; write ${name} with lower-case letters, digits and hyphens", i+1, t)
		}
		list[i] = name
	}
	return newFormat(list)
}

func newFormat(list []string) (*Format, error) {
	f := &Format{cols: make([]column, 0, len(list))}
	for i, name := range list {
		name = strings.ReplaceAll(name, "_", "-")
		for j := range f.cols {
			if f.cols[j].name == name {
				return nil, fmt.Errorf("flowlog: the format names %s twice, as fields %d and %d", name, j+1, i+1)
			}
		}
		s, known := lookup(name)
		if known && s.op != opAttr && f.has&(1<<s.op) != 0 {
			return nil, fmt.Errorf("flowlog: field %d of the format, %s, means the same as an earlier one", i+1, name)
		}
		f.add(column{op: s.op, name: strings.Clone(name), known: known}, s.version)
	}
	return f, nil
}

func (f *Format) add(c column, version uint8) {
	c.max = numMax[c.op]
	f.cols = append(f.cols, c)
	f.strange = f.strange || !c.known
	if c.op != opAttr {
		f.has |= 1 << c.op
	}
	f.version = max(f.version, version)
}

// fieldName reports whether s could be the name of a field.
func fieldName(s string) bool {
	letter := false
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z':
			letter = true
		case c >= '0' && c <= '9' || c == '-' || c == '_':
		default:
			return false
		}
	}
	return letter && len(s) <= 64 && s[0] >= 'a' && s[0] <= 'z'
}

func fromSpecs(specs []spec) *Format {
	f := &Format{}
	for _, s := range specs {
		f.add(column{op: s.op, name: s.name, known: true}, s.version)
	}
	return f
}

// V2 returns AWS's default format: the 14 fields of version 2.
func V2() *Format { return UpTo(2) }

// UpTo returns the format of all VPC fields up to a version, in AWS's order:
// 14 fields for 2, 29 for 5, 54 for 11.
func UpTo(version uint8) *Format {
	n := 0
	for n < len(vpcFields) && vpcFields[n].version <= version {
		n++
	}
	return fromSpecs(vpcFields[:n])
}

// TransitGateway returns the default format of transit gateway flow logs.
func TransitGateway() *Format { return fromSpecs(tgwFields[:]) }

// Names returns the names of the fields, in the order of the columns.
func (f *Format) Names() []string {
	out := make([]string, len(f.cols))
	for i := range f.cols {
		out[i] = f.cols[i].name
	}
	return out
}

// Len is the number of columns.
func (f *Format) Len() int { return len(f.cols) }

// String returns the layout in AWS's ${field} syntax.
func (f *Format) String() string {
	var b strings.Builder
	for i := range f.cols {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString("${" + f.cols[i].name + "}")
	}
	return b.String()
}

// Unknown returns the names in the layout that AWS does not define.
func (f *Format) Unknown() []string {
	var out []string
	for i := range f.cols {
		if !f.cols[i].known {
			out = append(out, f.cols[i].name)
		}
	}
	return out
}

func (f *Format) hasOp(o op) bool { return f.has&(1<<o) != 0 }

// Lacks says which field the layout would need for its lines to become
// records, or "": both addresses, ports, protocol and a time. The time may come
// from the CloudWatch event that carried the line, so it is asked for last.
func (f *Format) Lacks() string {
	switch {
	case !f.hasOp(opSrcAddr) && !f.hasOp(opPktSrc):
		return "srcaddr"
	case !f.hasOp(opDstAddr) && !f.hasOp(opPktDst):
		return "dstaddr"
	case !f.hasOp(opProtocol):
		return "protocol"
	case !f.hasOp(opSrcPort):
		return "srcport"
	case !f.hasOp(opDstPort):
		return "dstport"
	case !f.hasOp(opStart) && !f.hasOp(opEnd):
		return "start"
	}
	return ""
}

// AppendHeader appends the header line of an S3 object, without a line end.
func (f *Format) AppendHeader(dst []byte) []byte {
	for i := range f.cols {
		if i > 0 {
			dst = append(dst, ' ')
		}
		dst = append(dst, f.cols[i].name...)
	}
	return dst
}

// AppendLine appends r as a line of this format, without a line end: the
// inverse of decoding. What r does not have is "-". A version of 0 becomes the
// version that AWS writes for the format.
func (f *Format) AppendLine(dst []byte, r *flow.Record) []byte {
	// Quiet and skipped intervals carry no packet, so no 5-tuple and no counts.
	empty := r.Kind != flow.KindFlow && !r.Src.Addr.IsValid() && !r.Dst.Addr.IsValid()
	for i := range f.cols {
		if i > 0 {
			dst = append(dst, ' ')
		}
		dst = f.appendField(dst, &f.cols[i], r, empty)
	}
	return dst
}

func (f *Format) appendField(dst []byte, c *column, r *flow.Record, empty bool) []byte {
	if c.op == opAttr {
		return appendText(dst, r.Attr(c.name))
	}
	if p := text(r, c.op); p != nil {
		return appendText(dst, *p)
	}
	if p := address(r, c.op); p != nil {
		if !p.IsValid() {
			return append(dst, '-')
		}
		return p.IP().AppendTo(dst)
	}
	switch c.op {
	case opAction:
		return append(dst, r.Action.String()...)
	case opDirection:
		return append(dst, r.Direction.String()...)
	case opStatus:
		return append(dst, statusName(r.Kind)...)
	default:
		return f.appendNumber(dst, c.op, r, empty)
	}
}

func appendText(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, '-')
	}
	return append(dst, s...)
}

func statusName(k flow.Kind) string {
	switch k {
	case flow.KindNoData:
		return "NODATA"
	case flow.KindSkipData:
		return "SKIPDATA"
	default:
		return "OK"
	}
}

func (f *Format) appendNumber(dst []byte, o op, r *flow.Record, empty bool) []byte {
	var v uint64
	absent := false
	switch o {
	case opVersion:
		v = uint64(r.Version)
		if v == 0 {
			v = uint64(f.version)
		}
	case opStart:
		v = uint64(r.Start)
	case opEnd:
		v = uint64(r.End)
	case opFlags:
		v, absent = uint64(r.TCPFlags), !r.HasFlags
	case opPath:
		v, absent = uint64(r.Path), r.Path == 0
	default:
		v, absent = tuple(r, o), empty
	}
	if absent {
		return append(dst, '-')
	}
	return strconv.AppendUint(dst, v, 10)
}

// tuple returns a number that belongs to the packets of a flow.
func tuple(r *flow.Record, o op) uint64 {
	switch o {
	case opSrcPort:
		return uint64(r.Src.Port)
	case opDstPort:
		return uint64(r.Dst.Port)
	case opProtocol:
		return uint64(r.Protocol)
	case opPackets:
		return r.Packets
	case opBytes:
		return r.Bytes
	default:
		return 0
	}
}
