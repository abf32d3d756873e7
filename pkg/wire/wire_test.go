package wire_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"pgregory.net/rapid"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/session"
	"github.com/flowstitch/flowstitch/pkg/wire"
)

func TestMarkRoundTrip(t *testing.T) {
	for _, m := range []wire.Mark{
		{},
		{Deployment: "prod", Layout: 3, Slot: 7, Slots: 24, Watermark: 1700000000, WallMS: 1700000000123},
		{Slots: 1, Watermark: flow.MaxTime},
		{Slots: 24, Slot: 23, Watermark: flow.MinTime, Idle: true},
		{Deployment: strings.Repeat("x", 300), Slots: 1},
	} {
		b := wire.AppendMark(nil, &m)
		var got wire.Mark
		if err := wire.ParseMark(b, &got); err != nil || got != m || !wire.IsMark(b) {
			t.Errorf("%+v came back as %+v (IsMark %v, error %v)", m, got, wire.IsMark(b), err)
		}
	}
}

// TestFlowRoundTrip draws every field of a record. What may differ after the
// round trip is only what the wire does not tell apart: see ParseFlow.
func TestFlowRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawRecord(t)
		scope := rapid.Uint16().Draw(t, "scope")
		key := wire.AppendFlowKey(nil, scope, &want)
		value := wire.AppendFlow(nil, &want)
		if wire.IsMark(value) {
			t.Fatal("a flow looks like a mark")
		}
		var got flow.Record
		gotScope, err := wire.ParseFlow(key, value, &got)
		if err != nil {
			t.Fatal(err)
		}
		if want.Kind != flow.KindFlow {
			scope = 0
		}
		if gotScope != scope {
			t.Fatalf("scope %d came back as %d", scope, gotScope)
		}
		if diff := cmp.Diff(normal(want), normal(got)); diff != "" {
			t.Fatalf("(-want +got)\n%s", diff)
		}
	})
}

// normal drops what the wire does not tell apart: pkt- addresses that equal the
// plain ones, the endpoints of a record without, an empty list against none.
func normal(r flow.Record) flow.Record {
	if r.Kind != flow.KindFlow {
		r.Src, r.Dst, r.PktSrc, r.PktDst, r.Protocol = flow.Endpoint{}, flow.Endpoint{}, flow.Addr{}, flow.Addr{}, 0
	}
	if r.PktSrc == r.Src.Addr {
		r.PktSrc = flow.Addr{}
	}
	if r.PktDst == r.Dst.Addr {
		r.PktDst = flow.Addr{}
	}
	if len(r.Attrs) == 0 {
		r.Attrs = nil
	}
	return r
}

func drawRecord(t *rapid.T) (r flow.Record) {
	fill(t, reflect.ValueOf(&r).Elem(), "r")
	r.Kind = flow.Kind(rapid.IntRange(0, 2).Draw(t, "kind"))
	r.Src.Addr, r.Dst.Addr = drawAddr(t), drawAddr(t)
	if r.PktSrc = (flow.Addr{}); rapid.Bool().Draw(t, "pktsrc") {
		r.PktSrc = drawAddr(t)
	}
	if r.PktDst = (flow.Addr{}); rapid.Bool().Draw(t, "pktdst") {
		r.PktDst = drawAddr(t)
	}
	if !r.HasFlags {
		r.TCPFlags = 0
	}
	r.Origin.Sub = max(r.Origin.Sub, 0)
	return r
}

func drawAddr(t *rapid.T) flow.Addr {
	b := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "addr")
	b[15] |= 1 // never the zero address
	if rapid.Bool().Draw(t, "v4") {
		return flow.AddrFrom4([4]byte(b[12:]))
	}
	return flow.Addr(b)
}

// fill draws a value for every field, so that a field added to a struct and
// forgotten in a codec fails the round trip.
func fill(t *rapid.T, v reflect.Value, label string) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i), label+"."+v.Type().Field(i).Name)
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(t, v.Index(i), label)
		}
	case reflect.Slice:
		n := rapid.IntRange(0, 3).Draw(t, label)
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(t, v.Index(i), label)
		}
	case reflect.String:
		v.SetString(rapid.StringN(0, 8, 200).Draw(t, label))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, label))
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(rapid.Uint64().Draw(t, label) >> (64 - v.Type().Bits()))
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(rapid.Int64().Draw(t, label) >> (65 - v.Type().Bits()))
	}
}

func TestSessionRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawEvent(t)
		var got session.Event
		value := wire.AppendSession(nil, &want)
		if wire.IsMark(value) {
			t.Fatal("an event looks like a mark")
		}
		if err := wire.ParseSession(wire.AppendSessionKey(nil, &want), value, &got); err != nil {
			t.Fatal(err)
		}
		for i := range got.Points {
			if len(got.Points[i].Tags) == 0 {
				got.Points[i].Tags = nil
			}
		}
		if len(got.Points) == 0 {
			got.Points = nil
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("(-want +got)\n%s", diff)
		}
	})
}

func drawEvent(t *rapid.T) (e session.Event) {
	if rapid.IntRange(0, 9).Draw(t, "gap") == 0 {
		e.Kind, e.Gap = session.KindGap, new(session.Gap)
		fill(t, reflect.ValueOf(e.Gap).Elem(), "gap")
		return tidy(e)
	}
	fill(t, reflect.ValueOf(&e).Elem(), "e")
	e.Kind = session.Kind(rapid.IntRange(1, 4).Draw(t, "kind"))
	src := flow.Endpoint{Addr: drawAddr(t), Port: e.Client.Port}
	dst := flow.Endpoint{Addr: drawAddr(t), Port: e.Server.Port}
	e.Key, _ = flow.NewKey(e.Key.Scope, e.Key.Protocol, src, dst)
	e.Client, e.Server = e.Key.A, e.Key.B
	if rapid.Bool().Draw(t, "swap") {
		e.Client, e.Server = e.Server, e.Client
	}
	e.OriginPartition, e.OriginOffset = max(e.OriginPartition, 0), max(e.OriginOffset, 0)
	e.Evidence, e.Confidence, e.Direction, e.Owned = e.Evidence%5, e.Confidence%101, e.Direction%5, e.Owned%4
	e.Outcome, e.Reason = e.Outcome%5, e.Reason%6
	e.Points = e.Points[:min(len(e.Points), session.MaxPoints)]
	if e.Born != 0 {
		e.ID = session.IDOf(e.Key, e.Born)
	}
	traffic := []*session.Traffic{&e.Out, &e.In, &e.OutDelta, &e.InDelta, &e.OutFinal, &e.InFinal}
	e.Last = e.First + (e.Last-e.First)>>1
	for i, c := range traffic {
		c.Records >>= 8 // what a counter of the table holds, and more
		if i >= 2 {
			switch rapid.IntRange(0, 3).Draw(t, "copy") { // real ones repeat each other
			case 0:
				*c = session.Traffic{}
			case 1:
				*c = *traffic[i%2]
			case 2:
				*c = *traffic[i-2]
			}
		}
	}
	return tidy(e)
}

func tidy(e session.Event) session.Event {
	if len(e.Points) == 0 {
		e.Points = nil
	}
	points := e.Points
	if e.Gap != nil {
		points = []session.Point{e.Gap.Point}
	}
	for i := range points {
		if len(points[i].Tags) == 0 {
			points[i].Tags = nil
		}
	}
	if e.Gap != nil {
		e.Gap.Point = points[0]
	}
	return e
}

// TestUnknownFieldsAreSkipped reads a message of a later version.
func TestUnknownFieldsAreSkipped(t *testing.T) {
	r := flow.Record{Src: flow.Endpoint{Addr: flow.MustAddr("10.0.0.1"), Port: 1}, Dst: flow.Endpoint{Addr: flow.MustAddr("10.0.0.2"), Port: 2}, Packets: 3}
	b := wire.AppendFlow(nil, &r)
	b = protowire.AppendTag(b, 900, protowire.Fixed64Type)
	b = protowire.AppendFixed64(b, 1)
	b = protowire.AppendTag(b, 901, protowire.BytesType)
	b = protowire.AppendString(b, "later")
	var got flow.Record
	if _, err := wire.ParseFlow(wire.AppendFlowKey(nil, 0, &r), b, &got); err != nil || got.Packets != 3 {
		t.Fatalf("got %+v, %v", got, err)
	}
}

func TestMalformed(t *testing.T) {
	key := wire.AppendFlowKey(nil, 0, &flow.Record{Src: flow.Endpoint{Addr: flow.MustAddr("10.0.0.1")}, Dst: flow.Endpoint{Addr: flow.MustAddr("10.0.0.2")}})
	for name, c := range map[string]struct{ key, value []byte }{
		"cut varint":     {key, []byte{0x30, 0x80}},
		"cut length":     {key, []byte{0x82, 0x01, 0x7f}},
		"odd address":    {key, []byte{0x72, 1, 9}},
		"short key":      {key[:5], nil},
		"endless nested": {key, []byte{0xd2, 0x01, 2, 0x0a, 9}},
	} {
		var r flow.Record
		if _, err := wire.ParseFlow(c.key, c.value, &r); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	var e session.Event
	if err := wire.ParseSession(nil, []byte{0x10, byte(session.KindGap)}, &e); err == nil {
		t.Error("a gap event without a gap: no error")
	}
	if err := wire.ParseMark([]byte{0x0a, 5}, new(wire.Mark)); err == nil {
		t.Error("a cut mark: no error")
	}
}

func TestRejectRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var want wire.Reject
		fill(t, reflect.ValueOf(&want).Elem(), "r")
		want.Column, want.Parts, want.Part = 3, 2, 1
		if want.Topic == "" {
			want.Partition, want.Offset = 0, 0
		}
		if got := wire.ParseReject(want.Headers()); got != want {
			t.Fatalf("%+v came back as %+v", want, got)
		}
	})
}
