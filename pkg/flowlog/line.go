package flowlog

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"net/netip"
	"unsafe"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// failure says why a line is no record. The zero failure means that it is one.
// It is a value without text, so that trying a layout costs no allocation; the
// words are made when a reject is.
type failure struct {
	class Class
	col   int // index of the column, -1 for the line as a whole
	what  what
	op    op
}

// what refines a class into the sentence of the reject.
type what uint8

const (
	whatNone what = iota
	whatFewer
	whatMore
	whatNotNumber
	whatTooBig
	whatNotAddress
	whatBadAction
	whatBadStatus
	whatBadDirection
	whatMissing
	whatNoStatus
	whatNoTime
	whatEarly
	whatLate
	whatBackwards
	whatTooLong
)

func (f failure) ok() bool { return f.class == ClassNone }

// maxExtra bounds the trailing fields beyond the layout that are kept.
const maxExtra = 32

// extraNames are the names under which they are kept.
var extraNames = [maxExtra]string{
	"extra-1", "extra-2", "extra-3", "extra-4", "extra-5", "extra-6", "extra-7", "extra-8",
	"extra-9", "extra-10", "extra-11", "extra-12", "extra-13", "extra-14", "extra-15", "extra-16",
	"extra-17", "extra-18", "extra-19", "extra-20", "extra-21", "extra-22", "extra-23", "extra-24",
	"extra-25", "extra-26", "extra-27", "extra-28", "extra-29", "extra-30", "extra-31", "extra-32",
}

// row is the decoding of one line: what has been seen so far.
type row struct {
	rec  *flow.Record
	seen uint32 // bit op: the field had a value
	// num holds the numbers until settle puts them into rec: a store by index is
	// cheaper than a jump for each.
	num [16]uint64
}

// parse reads the columns of line into w.rec, whose fields must be zero, and
// returns how many trailing fields there were beyond the layout. It is one pass
// over the bytes: numbers and IPv4 addresses are converted while their end is
// looked for. The three common kinds of value are read here, good ones at least,
// and field takes the rest: a call for each value costs as much as its bytes (1.8
// times a bare loop where this is 1.6).
func (f *Format) parse(line []byte, w *row) (extra int, fail failure) {
	i, n := 0, len(line)
	for c := range f.cols {
		for i < n && line[i] == ' ' {
			i++
		}
		col := &f.cols[c]
		if col.op >= opPackets {
			v, j := uint64(0), i
			if n-i >= 8 {
				v, j = leading((*[8]byte)(line[i:]), i)
			}
			for ; j < n && line[j]-'0' <= 9; j++ {
				v = v*10 + uint64(line[j]-'0')
			}
			if uint(j-i-1) < maxDigits && v <= col.max && (j == n || line[j] == ' ') {
				w.seen |= 1 << (col.op & 31)
				w.num[(col.op-opPackets)&15] = v
				i = j
				continue
			}
		}
		if i >= n {
			return 0, failure{class: ClassFields, col: c, what: whatFewer}
		}
		if line[i] == '-' && (i+1 == n || line[i+1] == ' ') {
			i++
			continue
		}
		if p := text(w.rec, col.op); p != nil {
			j := space(line, i)
			w.seen |= 1 << (col.op & 31)
			*p, i = unsafe.String(&line[i], j-i), j
			continue
		}
		if p := address(w.rec, col.op); p != nil {
			if j := ipv4(p, line, i); j > 0 {
				w.seen |= 1 << (col.op & 31)
				i = j
				continue
			}
		}
		if j := w.usual(col.op, line, i); j > 0 {
			w.seen |= 1 << (col.op & 31)
			i = j
			continue
		}
		var wh what
		if i, wh = w.field(col, line, i); wh != whatNone {
			return 0, failure{class: wh.class(), col: c, what: wh, op: col.op}
		}
	}
	w.settle()
	if i < n {
		extra = w.extras(line[i:])
	}
	return extra, failure{}
}

// maxDigits is the length of the largest number that is read, 2^63-1.
const maxDigits = 19

// field reads one value that is not "-", starting at line[i], and returns where
// it ends.
func (w *row) field(c *column, line []byte, i int) (int, what) {
	switch {
	case c.op >= opPackets:
		v, j := number(line, i)
		if j == i || (j < len(line) && line[j] != ' ') {
			return i, whatNotNumber
		}
		if v > numMax[c.op] || j-i > maxDigits {
			return i, whatTooBig
		}
		w.seen |= 1 << c.op
		w.num[c.op-opPackets] = v
		return j, whatNone
	case c.op >= opSrcAddr && c.op <= opPktDst:
		p := address(w.rec, c.op)
		j := ipv4(p, line, i)
		if j == 0 {
			j = anyAddress(p, line, i)
		}
		if j < 0 {
			return i, whatNotAddress
		}
		w.seen |= 1 << c.op
		return j, whatNone
	}
	j := end(line, i)
	w.seen |= 1 << c.op
	return j, w.word(c, unsafe.String(&line[i], j-i))
}

// end returns the index of the space that ends the value at i.
func end(line []byte, i int) int {
	j := bytes.IndexByte(line[i:], ' ')
	if j < 0 {
		return len(line)
	}
	return i + j
}

// space is end for a value of some bytes, as most are: in words of eight, without
// a call.
func space(line []byte, i int) int {
	for ; len(line)-i >= 8; i += 8 {
		x := binary.LittleEndian.Uint64(line[i:]) ^ 0x2020202020202020
		if zero := (x - 0x0101010101010101) &^ x & 0x8080808080808080; zero != 0 {
			return i + bits.TrailingZeros64(zero)>>3
		}
	}
	for i < len(line) && line[i] != ' ' {
		i++
	}
	return i
}

// usual reads what nearly all records have for action and log-status, and returns
// where it ends, or 0 for another value or column.
func (w *row) usual(o op, line []byte, i int) int {
	rest := line[i:]
	switch {
	case o == opAction && len(rest) > 6 && string(rest[:7]) == "ACCEPT ":
		w.rec.Action = flow.Accept
		return i + 6
	case o == opStatus && len(rest) == 2 && string(rest) == "OK":
		return i + 2 // the kind of a flow is zero
	}
	return 0
}

// number reads decimal digits from i. The value is only right for up to 19
// digits, which every value below 2^63 fits.
func number(b []byte, i int) (v uint64, j int) {
	for j = i; j < len(b); j++ {
		c := b[j] - '0'
		if c > 9 {
			break
		}
		v = v*10 + uint64(c)
	}
	return v, j
}

// leading reads the digits that b begins with, eight at most, and returns where
// they end, counted from i. It finds the first byte that is none and adds up pairs
// of digits, then pairs of those, in one word: no branch depends on how many there
// are, which no processor can foresee.
func leading(b *[8]byte, i int) (v uint64, j int) {
	x := binary.LittleEndian.Uint64(b[:])
	// The high bit of each byte that is not from 0x30 to 0x39, up to the first one.
	other := ((x + 0x4646464646464646) | (x - 0x3030303030303030)) & 0x8080808080808080
	n := bits.TrailingZeros64(other) &^ 7
	x = x << (-n & 63) & 0x0f0f0f0f0f0f0f0f // with zeros before them; what there is without a digit does not matter
	x = x*10 + x>>8
	const mask = 0x000000ff000000ff
	x = (x&mask*(100+1000000<<32) + x>>16&mask*(1+10000<<32)) >> 32
	return x & 0xffffffff, i + n>>3
}

// settle puts the numbers into the record.
func (w *row) settle() {
	r, n := w.rec, &w.num
	at := func(o op) uint64 { return n[o-opPackets] }
	r.Packets, r.Bytes = at(opPackets), at(opBytes)
	r.Start, r.End = flow.Time(at(opStart)), flow.Time(at(opEnd))
	r.Src.Port, r.Dst.Port = uint16(at(opSrcPort)), uint16(at(opDstPort))
	r.Protocol, r.Version = uint8(at(opProtocol)), uint8(at(opVersion))
	r.TCPFlags, r.HasFlags = uint8(at(opFlags)), w.seen&(1<<opFlags) != 0
	r.Path = uint8(at(opPath))
}

// address returns where an address column goes, or nil for another column.
func address(r *flow.Record, o op) *flow.Addr {
	switch o {
	case opSrcAddr:
		return &r.Src.Addr
	case opDstAddr:
		return &r.Dst.Addr
	case opPktSrc:
		return &r.PktSrc
	case opPktDst:
		return &r.PktDst
	default:
		return nil
	}
}

// anyAddress reads an address in any spelling at i and returns where it ends, or
// -1. The IPv6 address :: is no address of an endpoint.
func anyAddress(p *flow.Addr, line []byte, i int) int {
	j := end(line, i)
	ip, err := netip.ParseAddr(unsafe.String(&line[i], j-i))
	if err != nil || ip.Zone() != "" || ip.IsUnspecified() && ip.Is6() {
		return -1
	}
	*p = flow.AddrFrom(ip)
	return j
}

// ipv4 reads a dotted quad at i, up to a space or the end, and returns where it
// ends, or 0 when it is none. A leading zero is refused: some readers take it
// for octal, so its meaning is in doubt. Masking the index with 15 spares the
// bounds checks; a quad and the space behind it never have more than 16 bytes.
func ipv4(p *flow.Addr, b []byte, i int) int {
	var last [16]byte // of a line that ends within 16 bytes, padded with spaces
	q := &last
	if len(b)-i >= 16 {
		q = (*[16]byte)(b[i:])
	} else {
		last[copy(last[:], b[i:])] = ' '
	}
	j, quad := 0, uint32(0)
	for k := range 4 {
		c := uint32(q[j&15] - '0')
		if c > 9 {
			return 0
		}
		j++
		if e := uint32(q[j&15] - '0'); e <= 9 && c != 0 {
			c = c*10 + e
			j++
			if e = uint32(q[j&15] - '0'); e <= 9 {
				c = c*10 + e
				j++
			}
		}
		if c > 255 || (k < 3 && q[j&15] != '.') {
			return 0
		}
		quad = quad<<8 | c
		j++
	}
	if j--; j > 15 || q[j&15] != ' ' {
		return 0
	}
	// ::ffff:a.b.c.d, in two stores: a literal is built byte by byte and copied.
	binary.BigEndian.PutUint64(p[:8], 0)
	binary.BigEndian.PutUint64(p[8:], 0xffff<<32|uint64(quad))
	return i + j
}

// text returns where a text column goes, or nil for another column.
func text(r *flow.Record, o op) *string {
	switch o {
	case opAccount:
		return &r.AccountID
	case opInterface:
		return &r.InterfaceID
	case opResource:
		return &r.ResourceID
	case opVPC:
		return &r.VPCID
	case opSubnet:
		return &r.SubnetID
	case opInstance:
		return &r.InstanceID
	case opRegion:
		return &r.Region
	case opSrcService:
		return &r.SrcService
	case opDstService:
		return &r.DstService
	default:
		return nil
	}
}

// word stores a value that is neither a number nor an address.
func (w *row) word(c *column, s string) what {
	switch c.op {
	case opAttr:
		w.rec.Attrs = append(w.rec.Attrs, flow.Attr{Name: c.name, Value: s})
	case opAction:
		return w.action(s)
	case opStatus:
		return w.status(s)
	case opDirection:
		return w.direction(s)
	default:
		*text(w.rec, c.op) = s
	}
	return whatNone
}

func (w *row) action(s string) what {
	switch s {
	case "ACCEPT":
		w.rec.Action = flow.Accept
	case "REJECT":
		w.rec.Action = flow.Reject
	default:
		return whatBadAction
	}
	return whatNone
}

func (w *row) status(s string) what {
	switch s {
	case "OK":
		w.rec.Kind = flow.KindFlow
	case "NODATA":
		w.rec.Kind = flow.KindNoData
	case "SKIPDATA":
		w.rec.Kind = flow.KindSkipData
	default:
		return whatBadStatus
	}
	return whatNone
}

func (w *row) direction(s string) what {
	switch s {
	case "ingress":
		w.rec.Direction = flow.Ingress
	case "egress":
		w.rec.Direction = flow.Egress
	default:
		return whatBadDirection
	}
	return whatNone
}

// extras keeps what stands behind the last column and counts it.
func (w *row) extras(rest []byte) (n int) {
	for i := 0; i < len(rest); {
		if rest[i] == ' ' {
			i++
			continue
		}
		j := end(rest, i)
		if n < maxExtra {
			w.rec.Attrs = append(w.rec.Attrs, flow.Attr{Name: extraNames[n], Value: unsafe.String(&rest[i], j-i)})
		}
		n++
		i = j
	}
	return n
}
