package detect

import (
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/session"
	"github.com/flowstitch/flowstitch/pkg/window"
)

// ErrObservation reports bytes that are no observation.
var ErrObservation = errors.New("detect: not an observation")

// each calls do for every field of a message; unknown fields are do's to skip.
func each(b []byte, do func(n num, v uint64, s []byte) error) error {
	for len(b) > 0 {
		n, t, l := protowire.ConsumeTag(b)
		if l < 0 {
			return ErrObservation
		}
		b = b[l:]
		var v uint64
		var s []byte
		switch t {
		case protowire.VarintType:
			v, l = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			v, l = protowire.ConsumeFixed64(b)
		case protowire.BytesType:
			s, l = protowire.ConsumeBytes(b)
		default:
			l = protowire.ConsumeFieldValue(n, t, b)
		}
		if l < 0 {
			return ErrObservation
		}
		b = b[l:]
		if err := do(num(n), v, s); err != nil {
			return err
		}
	}
	return nil
}

// fields walks over the fields of a message, as each does, without a call for
// each of them.
type fields struct {
	rest []byte
	n    num
	v    uint64 // of a number
	s    []byte // of bytes
	bad  bool
}

func (f *fields) next() bool {
	if len(f.rest) == 0 {
		return false
	}
	if b := f.rest; len(b) > 1 && b[0]&0x87 == 0 && b[1] < 0x80 { // a small number of a field below 16
		f.n, f.v, f.s, f.rest = num(b[0]>>3), uint64(b[1]), nil, b[2:]
		return f.n != 0 || f.fail()
	}
	n, t, l := protowire.ConsumeTag(f.rest)
	if l < 0 {
		return f.fail()
	}
	f.rest, f.n, f.v, f.s = f.rest[l:], num(n), 0, nil
	switch t {
	case protowire.VarintType:
		f.v, l = protowire.ConsumeVarint(f.rest)
	case protowire.Fixed64Type:
		f.v, l = protowire.ConsumeFixed64(f.rest)
	case protowire.BytesType:
		f.s, l = protowire.ConsumeBytes(f.rest)
	default:
		l = protowire.ConsumeFieldValue(n, t, f.rest)
	}
	if l < 0 {
		return f.fail()
	}
	f.rest = f.rest[l:]
	return true
}

func (f *fields) fail() bool {
	f.bad, f.rest = true, nil
	return false
}

func (f *fields) err() error {
	if f.bad {
		return ErrObservation
	}
	return nil
}

// ParseObservation reads what AppendObservation wrote; o shares no memory with b.
func ParseObservation(b []byte, o *Observation) error {
	return parseObservation(b, o, nil)
}

// Parser parses observation after observation into the same memory: its own,
// or that of the evaluator that it is for (see Evaluator.Parser).
type Parser struct {
	mem *memory
	o   Observation
}

// Parser returns a parser of observations for v to fold, which then takes what
// was parsed over instead of copying it.
func (v *Evaluator) Parser() *Parser { return &Parser{mem: &v.pool.mem} }

// Parse is ParseObservation; the result is valid until the next call.
func (p *Parser) Parse(b []byte) (*Observation, error) {
	if p.mem == nil {
		p.mem = &memory{}
	}
	p.mem.free(p.o.Early)
	p.mem.free(p.o.Final)
	err := parseObservation(b, &p.o, p.mem)
	return &p.o, err
}

func parseObservation(b []byte, o *Observation, m *memory) error {
	*o = Observation{}
	err := each(b, func(n num, v uint64, s []byte) (err error) {
		switch n {
		case 2:
			o.Entity, err = parseEntity(s)
		case 3:
			o.Pane = flow.Time(protowire.DecodeZigZag(v))
		case 4:
			o.Early, err = parsePart(s, m)
		case 5:
			o.Final, err = parsePart(s, m)
		}
		return err
	})
	if err != nil {
		return err
	}
	if !o.Entity.valid() {
		return ErrEntity
	}
	return nil
}

func parseAddr(s []byte) (flow.Addr, error) {
	switch len(s) {
	case 4:
		return flow.AddrFrom4([4]byte(s)), nil
	case 16:
		return flow.Addr(s), nil
	}
	return flow.Addr{}, fmt.Errorf("%w: an address of %d bytes", ErrObservation, len(s))
}

func parseEntity(b []byte) (e Entity, err error) {
	err = each(b, func(n num, v uint64, s []byte) (err error) {
		switch n {
		case 1:
			e.Kind = Kind(v)
		case 2:
			e.Scope = uint16(v)
		case 3:
			e.Protocol = uint8(v)
		case 4:
			e.Port = uint16(v)
		case 5:
			e.Addr, err = parseAddr(s)
		case 6:
			e.Name = string(s)
		}
		return err
	})
	return e, err
}

func parsePart(b []byte, m *memory) (*Part, error) {
	p := m.part()
	f := fields{rest: b}
	var err error
	for err == nil && f.next() {
		switch f.n {
		case 1:
			p.Owned = f.v != 0
		case 2:
			err = parseCounts(f.s, &p.Client)
		case 3:
			err = parseCounts(f.s, &p.Server)
		case 4:
			p.hasSet = true
			err = parseSketch(f.s, &p.Callers, m)
		case 5:
			p.Skipped = int64(f.v)
		case 6:
			err = p.parseFamily(f.s, m)
		case 7:
			p.place = m.place(f.s)
		}
	}
	if err != nil {
		return p, err
	}
	return p, f.err()
}

func parseSketch(b []byte, s *window.Set, m *memory) error {
	f := fields{rest: b}
	for f.next() {
		if f.n != 1 {
			continue
		}
		r := m.read(f.s)
		s.Read(r)
		if err := r.Close(); err != nil {
			return err
		}
	}
	return f.err()
}

func (p *Part) parseFamily(b []byte, m *memory) error {
	set := m.set()
	family, err := set.parse(b, m)
	if err != nil || family == 0 || family > families {
		if m != nil {
			m.freeSet(set)
		}
		return err // a family of a newer version is skipped
	}
	if len(set.rows) > 2*maxRows {
		return fmt.Errorf("%w: too many rows", ErrObservation)
	}
	p.sets[family-1] = set
	return nil
}

func (s *RowSet) parse(b []byte, m *memory) (family Family, err error) {
	f := fields{rest: b}
	for f.next() {
		switch f.n {
		case 1:
			family = Family(min(f.v, families+1))
		case 2:
			s.threshold = f.v
		case 3:
			r := m.row(RowKey{})
			if err := parseRow(f.s, r, m); err != nil {
				return family, err
			}
			s.add(r)
			if !s.sorted {
				return family, fmt.Errorf("%w: rows out of order", ErrObservation)
			}
		}
	}
	return family, f.err()
}

func parseRow(b []byte, r *Row, m *memory) (err error) {
	f := fields{rest: b}
	for err == nil && f.next() {
		switch f.n {
		case 1:
			r.Key.Peer, err = parseAddr(f.s)
		case 2:
			r.Key.Port = uint16(f.v)
		case 3:
			r.Key.Protocol = uint8(f.v)
		case 4:
			err = parseCounts(f.s, &r.Counts)
		case 5, 6, 7:
			err = parseDetails(f.n, f.s, r.details(m), m)
		case 8:
			x := m.evidence()
			err = parseRef(f.s, &x.Ref)
			r.refer(x, m)
		case 9:
			r.Ours = f.v != 0
		}
	}
	if err != nil {
		return err
	}
	return f.err()
}

func parseDetails(n num, s []byte, d *details, m *memory) (err error) {
	switch n {
	case 5:
		d.hasSet = true
		err = parseSketch(s, &d.set, m)
	case 6:
		w := m.read(s)
		d.sizes.Read(w)
		err = w.Close()
	case 7:
		d.beats, err = parseBeats(s, d.beats[:0], m)
	}
	return err
}

func parseBeats(b []byte, out []Beat, m *memory) ([]Beat, error) {
	r := m.read(b)
	n := r.Len()
	if n > rowBeats {
		return nil, fmt.Errorf("%w: too many beats", ErrObservation)
	}
	last := int64(0)
	for range n {
		last += r.Varint()
		out = append(out, Beat{flow.Time(last), r.Varint()})
	}
	slices.SortStableFunc(out, func(a, b Beat) int {
		if a.Start != b.Start {
			return int(min(max(a.Start-b.Start, -1), 1))
		}
		return int(min(max(a.Bytes-b.Bytes, -1), 1))
	})
	return out, r.Close()
}

func parseCounts(b []byte, c *Counts) error {
	plain := [...]*int64{&c.Sessions, &c.Answered, &c.Failed, &c.Rejected, &c.Bare, &c.Errors, &c.Halfopen}
	signed := [...]*int64{&c.PacketsOut, &c.BytesOut, &c.PacketsIn, &c.BytesIn}
	f := fields{rest: b}
	for f.next() {
		switch {
		case f.n <= 7:
			*plain[f.n-1] = int64(f.v)
		case f.n <= 11:
			*signed[f.n-8] = protowire.DecodeZigZag(f.v)
		case f.n == 12:
			c.First = flow.Time(protowire.DecodeZigZag(f.v))
		case f.n == 13:
			c.Last = flow.Time(protowire.DecodeZigZag(f.v))
		}
	}
	return f.err()
}

func parseRef(b []byte, r *Ref) error {
	signed := [...]*int64{&r.PacketsOut, &r.BytesOut, &r.PacketsIn, &r.BytesIn, &r.RejectedOut}
	f := fields{rest: b}
	for f.next() {
		switch f.n {
		case 1:
			r.Partition = int32(f.v)
		case 2:
			r.Offset = int64(f.v)
		case 3:
			if len(f.s) != len(r.Session) {
				return fmt.Errorf("%w: a session id of %d bytes", ErrObservation, len(f.s))
			}
			r.Session = session.ID(f.s)
		case 4:
			r.Client = uint16(f.v)
		case 5:
			r.Server = uint16(f.v)
		case 12:
			r.First = flow.Time(protowire.DecodeZigZag(f.v))
		case 13:
			r.Last = flow.Time(protowire.DecodeZigZag(f.v))
		case 14, 15, 16, 17, 18:
			*signed[f.n-14] = protowire.DecodeZigZag(f.v)
		default:
			parseRefSmall(r, f.n, f.v)
		}
	}
	return f.err()
}

func parseRefSmall(r *Ref, n num, v uint64) {
	switch n {
	case 6:
		r.Protocol = uint8(v)
	case 7:
		r.Provisional = v != 0
	case 8:
		r.Initiator = session.Evidence(v)
	case 9:
		r.Confidence = uint8(v)
	case 10:
		r.Direction = session.Direction(v)
	case 11:
		r.Outcome = session.Outcome(v)
	case 19:
		r.FlagsBoth = int64(v & 0xffff)
	}
}
