package wire

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// AppendFlowKey appends the Kafka key of a record on flows: the canonical
// 5-tuple of a flow, or the interface of a record that has no endpoints.
func AppendFlowKey(b []byte, scope uint16, r *flow.Record) []byte {
	if r.Kind != flow.KindFlow {
		return append(b, r.Point()...)
	}
	src, dst := r.Ends()
	k, _ := flow.NewKey(scope, r.Protocol, src, dst)
	return k.AppendTo(b)
}

// AppendFlow appends the value of a record on flows.
func AppendFlow(b []byte, r *flow.Record) []byte {
	src, dst := r.Ends()
	b = appendUint(b, 2, uint64(r.Kind))
	b = appendBool(b, 3, src.Compare(dst) > 0)
	b = appendSint(b, 4, int64(r.Start))
	b = appendSint(b, 5, int64(r.End-r.Start))
	b = appendUint(b, 6, r.Packets)
	b = appendUint(b, 7, r.Bytes)
	b = appendUint(b, 8, uint64(r.Action))
	if r.HasFlags {
		b = appendUint(b, 9, uint64(r.TCPFlags)+1)
	}
	b = appendUint(b, 10, uint64(r.Direction))
	b = appendUint(b, 11, uint64(r.Owned))
	b = appendUint(b, 12, uint64(r.Path))
	b = appendUint(b, 13, uint64(r.Version))
	if src.Addr != r.Src.Addr {
		b = appendAddr(b, 14, r.Src.Addr)
	}
	if dst.Addr != r.Dst.Addr {
		b = appendAddr(b, 15, r.Dst.Addr)
	}
	b = appendString(b, 16, r.InterfaceID)
	b = appendString(b, 17, r.AccountID)
	b = appendString(b, 18, r.ResourceID)
	b = appendString(b, 19, r.VPCID)
	b = appendString(b, 20, r.SubnetID)
	b = appendString(b, 21, r.InstanceID)
	b = appendString(b, 22, r.Region)
	b = appendString(b, 23, r.SrcService)
	b = appendString(b, 24, r.DstService)
	b = appendAttrs(b, 25, r.Attrs)
	return appendOrigin(b, 26, &r.Origin)
}

func appendOrigin(b []byte, n protowire.Number, o *flow.Origin) []byte {
	if *o == (flow.Origin{}) {
		return b
	}
	b, body := open(b, n)
	b = appendString(b, 1, o.Source)
	b = appendString(b, 2, o.Shard)
	b = appendString(b, 3, o.Sequence)
	b = appendString(b, 4, o.LogGroup)
	b = appendString(b, 5, o.LogStream)
	b = appendUint(b, 6, uint64(o.Sub))
	b = appendUint(b, 7, uint64(o.Line))
	return shut(b, body)
}

// ParseFlow reads a record of flows that is no mark into r, which is reset.
// The text of r aliases value. A record whose addresses were translated comes
// back with the true ones as PktSrc and PktDst.
func ParseFlow(key, value []byte, r *flow.Record) (scope uint16, err error) {
	r.Reset()
	var swapped bool
	m := fields{rest: value}
	for f := (field{}); m.next(&f); {
		if f.num <= 13 {
			swapped = parseFlowNumber(&f, r) || swapped
		} else if err := parseFlowText(&f, r); err != nil {
			return 0, err
		}
	}
	if m.err != nil {
		return 0, m.err
	}
	r.End += r.Start
	if r.Kind != flow.KindFlow {
		return 0, nil
	}
	k, err := flow.ParseKey(key)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	src, dst := k.A, k.B
	if swapped {
		src, dst = dst, src
	}
	r.Protocol = k.Protocol
	setEnd(&r.Src, &r.PktSrc, src)
	setEnd(&r.Dst, &r.PktDst, dst)
	return k.Scope, nil
}

// setEnd places the key's endpoint: outer.Addr is set already if the record
// had another plain address.
func setEnd(outer *flow.Endpoint, pkt *flow.Addr, end flow.Endpoint) {
	outer.Port = end.Port
	if outer.Addr.IsValid() {
		*pkt = end.Addr
		return
	}
	outer.Addr = end.Addr
}

func parseFlowNumber(f *field, r *flow.Record) (swapped bool) {
	switch f.num {
	case 2:
		r.Kind = flow.Kind(f.u)
	case 3:
		return f.bool()
	case 4:
		r.Start = flow.Time(f.sint())
	case 5:
		r.End = flow.Time(f.sint())
	case 6:
		r.Packets = f.u
	case 7:
		r.Bytes = f.u
	case 8:
		r.Action = flow.Action(f.u)
	case 9:
		r.TCPFlags, r.HasFlags = uint8(f.u-1), true
	case 10:
		r.Direction = flow.Direction(f.u)
	case 11:
		r.Owned = flow.Ownership(f.u)
	case 12:
		r.Path = uint8(f.u)
	case 13:
		r.Version = uint8(f.u)
	}
	return false
}

func parseFlowText(f *field, r *flow.Record) (err error) {
	switch f.num {
	case 14:
		r.Src.Addr, err = f.addr()
	case 15:
		r.Dst.Addr, err = f.addr()
	case 16:
		r.InterfaceID = f.text()
	case 17:
		r.AccountID = f.text()
	case 18:
		r.ResourceID = f.text()
	case 19:
		r.VPCID = f.text()
	case 20:
		r.SubnetID = f.text()
	case 21:
		r.InstanceID = f.text()
	case 22:
		r.Region = f.text()
	case 23:
		r.SrcService = f.text()
	case 24:
		r.DstService = f.text()
	case 25:
		var a flow.Attr
		if a, err = parseAttr(f.b); err == nil {
			r.Attrs = append(r.Attrs, a)
		}
	case 26:
		err = parseOrigin(f.b, &r.Origin)
	}
	return err
}

func parseOrigin(b []byte, o *flow.Origin) error {
	m := fields{rest: b}
	for f := (field{}); m.next(&f); {
		switch f.num {
		case 1:
			o.Source = f.text()
		case 2:
			o.Shard = f.text()
		case 3:
			o.Sequence = f.text()
		case 4:
			o.LogGroup = f.text()
		case 5:
			o.LogStream = f.text()
		case 6:
			o.Sub = int32(f.u)
		case 7:
			o.Line = int64(f.u)
		}
	}
	return m.err
}
