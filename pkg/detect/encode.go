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

// AppendObservation appends o as protobuf, see observation.proto.
func AppendObservation(b []byte, o *Observation) []byte {
	b = putMessage(b, 2, appendEntity(nil, o.Entity))
	b = putSint(b, 3, int64(o.Pane))
	if o.Early != nil {
		b = putMessage(b, 4, appendPart(nil, o.Early))
	}
	if o.Final != nil {
		b = putMessage(b, 5, appendPart(nil, o.Final))
	}
	return b
}

func appendEntity(b []byte, e Entity) []byte {
	b = putUint(b, 1, uint64(e.Kind))
	b = putUint(b, 2, uint64(e.Scope))
	b = putUint(b, 3, uint64(e.Protocol))
	b = putUint(b, 4, uint64(e.Port))
	if e.Addr.IsValid() {
		b = putBytes(b, 5, e.Addr.AppendTo(nil))
	}
	return putBytes(b, 6, e.Name)
}

func appendPart(b []byte, p *Part) []byte {
	p.settle()
	b = putBool(b, 1, p.Owned)
	b = putBytes(b, 2, appendCounts(nil, &p.Client))
	b = putBytes(b, 3, appendCounts(nil, &p.Server))
	if p.hasSet {
		b = putMessage(b, 4, appendSketch(nil, &p.Callers))
	}
	b = putUint(b, 5, uint64(p.Skipped))
	for i := range p.sets {
		if s := &p.sets[i]; len(s.rows) > 0 {
			b = putMessage(b, 6, appendFamily(nil, Family(i+1), s))
		}
	}
	return b
}

func appendFamily(b []byte, f Family, s *RowSet) []byte {
	b = putUint(b, 1, uint64(f))
	if !s.Exact() {
		b = protowire.AppendFixed64(protowire.AppendTag(b, 2, protowire.Fixed64Type), s.threshold)
	}
	var row []byte
	for _, r := range s.Rows() {
		row = appendRow(row[:0], r)
		b = putMessage(b, 3, row)
	}
	return b
}

func appendSketch(b []byte, s *window.Set) []byte { return putBytes(b, 1, s.AppendTo(nil)) }

func appendRow(b []byte, r *Row) []byte {
	if r.Key.Peer.IsValid() {
		b = putBytes(b, 1, r.Key.Peer.AppendTo(make([]byte, 0, 16)))
	}
	b = putUint(b, 2, uint64(r.Key.Port))
	b = putUint(b, 3, uint64(r.Key.Protocol))
	b = putBytes(b, 4, appendCounts(make([]byte, 0, 64), &r.Counts))
	if r.HasSet {
		b = putMessage(b, 5, appendSketch(nil, &r.Set))
	}
	if r.Sizes.N() > 0 {
		b = putBytes(b, 6, r.Sizes.AppendTo(nil))
	}
	if len(r.Beats) > 0 {
		b = putBytes(b, 7, appendBeats(nil, r.Beats))
	}
	if r.HasRef {
		b = putMessage(b, 8, appendRef(make([]byte, 0, 96), &r.Ref))
	}
	return putBool(b, 9, r.Ours)
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
