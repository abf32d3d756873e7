package wire_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
	"pgregory.net/rapid"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/session"
	"github.com/flowstitch/flowstitch/pkg/wire"
)

// schema compiles the published .proto file.
func schema(t testing.TB) protoreflect.FileDescriptor {
	t.Helper()
	c := protocompile.Compiler{Resolver: &protocompile.SourceResolver{ImportPaths: []string{"proto"}}}
	files, err := c.Compile(context.Background(), "flowstitch/v1/flowstitch.proto")
	if err != nil {
		t.Fatal(err)
	}
	return files[0]
}

// agrees checks that b is what the official runtime reads and writes for the
// message: no unknown field, no wrong type, the same bytes again.
func agrees(t *rapid.T, d protoreflect.MessageDescriptor, b []byte) *dynamicpb.Message {
	m := dynamicpb.NewMessage(d)
	if err := proto.Unmarshal(b, m); err != nil {
		t.Fatalf("%s: the official runtime refuses it: %v", d.Name(), err)
	}
	if u := unknown(m); len(u) > 0 {
		t.Fatalf("%s: fields that the .proto does not know: % x", d.Name(), u)
	}
	again, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(again, b) {
		t.Fatalf("%s: written again it differs\nours     % x\nofficial % x", d.Name(), b, again)
	}
	return m
}

func unknown(m protoreflect.Message) (u []byte) {
	u = append(u, m.GetUnknown()...)
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Kind() != protoreflect.MessageKind:
		case f.IsList():
			for i := range v.List().Len() {
				u = append(u, unknown(v.List().Get(i).Message())...)
			}
		default:
			u = append(u, unknown(v.Message())...)
		}
		return true
	})
	return u
}

func TestAgreesWithProto(t *testing.T) {
	messages := schema(t).Messages()
	rapid.Check(t, func(t *rapid.T) {
		r, e := drawRecord(t), drawEvent(t)
		m := agrees(t, messages.ByName("Flow"), wire.AppendFlow(nil, &r))
		if got := m.Get(m.Descriptor().Fields().ByName("packets")).Uint(); got != r.Packets {
			t.Fatalf("packets %d read as %d", r.Packets, got)
		}
		agrees(t, messages.ByName("Session"), wire.AppendSession(nil, &e))
		mark := wire.Mark{Deployment: rapid.String().Draw(t, "deployment"), Slots: 3, Watermark: flow.Time(rapid.Int64().Draw(t, "w"))}
		agrees(t, messages.ByName("Flow"), wire.AppendMark(nil, &mark))
	})
}

func BenchmarkCodecs(b *testing.B) {
	r := sampleRecord()
	key, value := wire.AppendFlowKey(nil, 0, &r), wire.AppendFlow(nil, &r)
	b.Run("flow/append", func(b *testing.B) {
		b.SetBytes(int64(len(value)))
		b.ReportAllocs()
		for b.Loop() {
			value = wire.AppendFlow(value[:0], &r)
		}
	})
	b.Run("flow/parse", func(b *testing.B) {
		b.SetBytes(int64(len(value)))
		b.ReportAllocs()
		var got flow.Record
		for b.Loop() {
			if _, err := wire.ParseFlow(key, value, &got); err != nil {
				b.Fatal(err)
			}
		}
	})
	e := sampleEvent()
	eventKey, eventValue := wire.AppendSessionKey(nil, &e), wire.AppendSession(nil, &e)
	b.Run("session/append", func(b *testing.B) {
		b.SetBytes(int64(len(eventValue)))
		b.ReportAllocs()
		for b.Loop() {
			eventValue = wire.AppendSession(eventValue[:0], &e)
		}
	})
	b.Run("session/parse", func(b *testing.B) {
		b.SetBytes(int64(len(eventValue)))
		b.ReportAllocs()
		var got session.Event
		for b.Loop() {
			if err := wire.ParseSession(eventKey, eventValue, &got); err != nil {
				b.Fatal(err)
			}
		}
	})
	// The baseline: what the official runtime does with the same bytes.
	d := schema(b).Messages().ByName("Flow")
	b.Run("flow/parse/dynamicpb", func(b *testing.B) {
		b.SetBytes(int64(len(value)))
		b.ReportAllocs()
		for b.Loop() {
			if err := proto.Unmarshal(value, dynamicpb.NewMessage(d)); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func sampleRecord() flow.Record {
	return flow.Record{
		Version: 2, Protocol: 6, Action: flow.Accept, Packets: 20, Bytes: 4249, Start: 1700000000, End: 1700000059,
		Src:       flow.Endpoint{Addr: flow.MustAddr("172.31.16.139"), Port: 20641},
		Dst:       flow.Endpoint{Addr: flow.MustAddr("172.31.16.21"), Port: 22},
		AccountID: "123456789010", InterfaceID: "eni-1235b8ca123456789",
		Origin: flow.Origin{Source: "incident.log.gz", Line: 12345},
	}
}

func sampleEvent() session.Event {
	r := sampleRecord()
	out, in := session.Traffic{Packets: 20, Bytes: 4249, Records: 1, Flags: 3}, session.Traffic{Packets: 18, Bytes: 22000, Records: 1, Flags: 19}
	e := session.Event{
		Kind: session.KindClose, First: 1700000000, Last: 1700000010, Born: 1700000000, DeltaFirst: 1700000000, Evidence: session.EvidenceFlags, Confidence: 99,
		Out: out, In: in, OutFinal: out, InFinal: in, OutDelta: session.Traffic{Packets: -2, Bytes: 249}, Opened: true,
		Points: []session.Point{{ID: "eni-1235b8ca123456789", AccountID: "123456789010", SawOut: true, SawIn: true}}, OriginPartition: 5, OriginOffset: 1 << 24,
	}
	e.Key, _ = flow.NewKey(0, 6, r.Src, r.Dst)
	e.Client, e.Server = e.Key.A, e.Key.B
	return e
}

func TestAllocations(t *testing.T) {
	r := sampleRecord()
	key, value := wire.AppendFlowKey(nil, 0, &r), wire.AppendFlow(nil, &r)
	var got flow.Record
	var e session.Event
	event := sampleEvent()
	eventKey, eventValue := wire.AppendSessionKey(nil, &event), wire.AppendSession(nil, &event)
	for name, f := range map[string]func(){
		"append flow":    func() { value = wire.AppendFlow(value[:0], &r) },
		"parse flow":     func() { _, _ = wire.ParseFlow(key, value, &got) },
		"append session": func() { eventValue = wire.AppendSession(eventValue[:0], &event) },
		"parse session":  func() { _ = wire.ParseSession(eventKey, eventValue, &e) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

func FuzzParse(f *testing.F) {
	r := sampleRecord()
	f.Add(wire.AppendFlowKey(nil, 0, &r), wire.AppendFlow(nil, &r))
	f.Add([]byte("eni-1"), []byte{0x10, 5, 0xea, 0x01, 2, 0x0a, 0})
	f.Add([]byte(nil), wire.AppendMark(nil, &wire.Mark{Deployment: "d", Slots: 2, Watermark: 5}))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		var r flow.Record
		if _, err := wire.ParseFlow(key, value, &r); err == nil {
			_ = r.Clone()
		}
		var e session.Event
		_ = wire.ParseSession(key, value, &e)
		var m wire.Mark
		if wire.IsMark(value) {
			_ = wire.ParseMark(value, &m)
		}
	})
}
