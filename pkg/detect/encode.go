package detect

import (
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/window"
)

// Observation is what travels from a combiner to the evaluator that owns the
// entity: early and final sums of one pane.
type Observation struct {
	Entity Entity
	Pane   flow.Time // its start
	Early  *Part     // nil: nothing
	Final  *Part     // nil: nothing
}

// num is a field number. It is a type of its own because protowire's looks like
// an enumeration.
type num int32

func putUint(b []byte, n num, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, protowire.Number(n), protowire.VarintType), v)
}

func putSint(b []byte, n num, v int64) []byte { return putUint(b, n, protowire.EncodeZigZag(v)) }

func putBool(b []byte, n num, v bool) []byte {
	if v {
		return putUint(b, n, 1)
	}
	return b
}

func putBytes[T ~string | ~[]byte](b []byte, n num, v T) []byte {
	if len(v) == 0 {
		return b
	}
	return putMessage(b, n, v)
}

// putMessage is putBytes that also writes what is empty.
func putMessage[T ~string | ~[]byte](b []byte, n num, v T) []byte {
	b = protowire.AppendTag(b, protowire.Number(n), protowire.BytesType)
	return append(protowire.AppendVarint(b, uint64(len(v))), v...)
}

// openMessage starts a nested message, which is written in place, and returns
// where its body begins. closeMessage fills in its length: a body of 128 bytes
// or more is moved to make room for a longer one.
func openMessage(b []byte, n num) (out []byte, body int) {
	b = append(protowire.AppendTag(b, protowire.Number(n), protowire.BytesType), 0)
	return b, len(b)
}

func closeMessage(b []byte, body int) []byte {
	n := len(b) - body
	if n < 0x80 {
		b[body-1] = byte(n)
		return b
	}
	var length [10]byte // the longest varint
	l := protowire.AppendVarint(length[:0], uint64(n))
	b = append(b, l[1:]...) // room
	copy(b[body+len(l)-1:], b[body:body+n])
	copy(b[body-1:], l)
	return b
}

// closeFilled is closeMessage that leaves out what is empty.
func closeFilled(b []byte, n num, body int) []byte {
	if len(b) == body {
		return b[:body-1-protowire.SizeTag(protowire.Number(n))]
	}
	return closeMessage(b, body)
}

// AppendObservation appends o as protobuf, see observation.proto.
func AppendObservation(b []byte, o *Observation) []byte {
	b, body := openMessage(b, 2)
	b = closeMessage(appendEntity(b, o.Entity), body)
	b = putSint(b, 3, int64(o.Pane))
	if o.Early != nil {
		b, body = openMessage(b, 4)
		b = closeMessage(appendPart(b, o.Early), body)
	}
	if o.Final != nil {
		b, body = openMessage(b, 5)
		b = closeMessage(appendPart(b, o.Final), body)
	}
	return b
}

func appendEntity(b []byte, e Entity) []byte {
	b = putUint(b, 1, uint64(e.Kind))
	b = putUint(b, 2, uint64(e.Scope))
	b = putUint(b, 3, uint64(e.Protocol))
	b = putUint(b, 4, uint64(e.Port))
	b = putAddr(b, 5, e.Addr)
	return putBytes(b, 6, e.Name)
}

func putAddr(b []byte, n num, a flow.Addr) []byte {
	if !a.IsValid() {
		return b
	}
	b, body := openMessage(b, n)
	return closeMessage(a.AppendTo(b), body)
}

func appendPart(b []byte, p *Part) []byte {
	p.settle()
	b = putBool(b, 1, p.Owned)
	b = putCounts(b, 2, &p.Client)
	b = putCounts(b, 3, &p.Server)
	if p.hasSet {
		b = putSketch(b, 4, &p.Callers)
	}
	b = putUint(b, 5, uint64(p.Skipped))
	b = putBytes(b, 7, p.place)
	for i, s := range p.sets {
		if s.Len() > 0 {
			var body int
			b, body = openMessage(b, 6)
			b = closeMessage(appendFamily(b, Family(i+1), s), body)
		}
	}
	return b
}

func appendFamily(b []byte, f Family, s *RowSet) []byte {
	b = putUint(b, 1, uint64(f))
	if !s.Exact() {
		b = protowire.AppendFixed64(protowire.AppendTag(b, 2, protowire.Fixed64Type), s.threshold)
	}
	for _, r := range s.Rows() {
		var body int
		b, body = openMessage(b, 3)
		b = closeMessage(appendRow(b, r), body)
	}
	return b
}

func putSketch(b []byte, n num, s *window.Set) []byte {
	b, outer := openMessage(b, n)
	b, body := openMessage(b, 1)
	return closeMessage(closeMessage(s.AppendTo(b), body), outer)
}

func appendRow(b []byte, r *Row) []byte {
	b = putAddr(b, 1, r.Key.Peer)
	b = putUint(b, 2, uint64(r.Key.Port))
	b = putUint(b, 3, uint64(r.Key.Protocol))
	b = putCounts(b, 4, &r.Counts)
	if r.more != nil {
		b = appendDetails(b, r.more)
	}
	if r.ref != nil {
		var body int
		b, body = openMessage(b, 8)
		b = closeMessage(appendRef(b, &r.ref.Ref), body)
	}
	return putBool(b, 9, r.Ours)
}

func appendDetails(b []byte, d *details) []byte {
	if d.hasSet {
		b = putSketch(b, 5, &d.set)
	}
	var body int
	if d.sizes.N() > 0 {
		b, body = openMessage(b, 6)
		b = closeMessage(d.sizes.AppendTo(b), body)
	}
	if len(d.beats) > 0 {
		b, body = openMessage(b, 7)
		b = closeMessage(appendBeats(b, d.beats), body)
	}
	return b
}

func putCounts(b []byte, n num, c *Counts) []byte {
	b, body := openMessage(b, n)
	return closeFilled(appendCounts(b, c), n, body)
}

func appendBeats(b []byte, beats []Beat) []byte {
	b = window.AppendUint(b, uint64(len(beats)))
	last := int64(0)
	for _, x := range beats {
		b = window.AppendInt(window.AppendInt(b, int64(x.Start)-last), x.Bytes)
		last = int64(x.Start)
	}
	return b
}

func appendCounts(b []byte, c *Counts) []byte {
	for i, v := range [...]int64{c.Sessions, c.Answered, c.Failed, c.Rejected, c.Bare, c.Errors, c.Halfopen} {
		b = putUint(b, num(i+1), uint64(v))
	}
	for i, v := range [...]int64{c.PacketsOut, c.BytesOut, c.PacketsIn, c.BytesIn, int64(c.First), int64(c.Last)} {
		b = putSint(b, num(i+8), v)
	}
	return b
}

func appendRef(b []byte, r *Ref) []byte {
	b = putUint(b, 1, uint64(uint32(r.Partition)))
	b = putUint(b, 2, uint64(r.Offset))
	b = putBytes(b, 3, r.Session[:])
	b = putUint(b, 4, uint64(r.Client))
	b = putUint(b, 5, uint64(r.Server))
	b = putUint(b, 6, uint64(r.Protocol))
	b = putBool(b, 7, r.Provisional)
	b = putUint(b, 8, uint64(r.Initiator))
	b = putUint(b, 9, uint64(r.Confidence))
	b = putUint(b, 10, uint64(r.Direction))
	b = putUint(b, 11, uint64(r.Outcome))
	for i, v := range [...]int64{
		int64(r.First), int64(r.Last), r.PacketsOut, r.BytesOut, r.PacketsIn, r.BytesIn, r.RejectedOut,
	} {
		b = putSint(b, num(i+12), v)
	}
	return putUint(b, 19, uint64(r.FlagsBoth&math.MaxUint16))
}
