package session

import (
	"testing"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// rec makes a record of 10.0.0.1:40000 -> 10.0.0.2:443 or, for in, the reply.
func rec(start, end flow.Time, in bool, flags uint8) *flow.Record {
	r := &flow.Record{
		Protocol: 6, Action: flow.Accept, TCPFlags: flags, HasFlags: true, InterfaceID: "eni-1", Direction: flow.Egress,
		Src: flow.Endpoint{Addr: flow.MustAddr("10.0.0.1"), Port: 40000}, Owned: flow.OwnSrc,
		Dst:     flow.Endpoint{Addr: flow.MustAddr("10.0.0.2"), Port: 443},
		Packets: 10, Bytes: 1000, Start: start, End: end,
	}
	if in {
		r.Src, r.Dst, r.Direction, r.Owned = r.Dst, r.Src, flow.Ingress, flow.OwnDst
	}
	return r
}

func collectEvents(out *[]Event) Emit {
	return func(e *Event) {
		c := *e
		c.Points = append([]Point(nil), e.Points...)
		*out = append(*out, c)
	}
}

func TestBothDirectionsAreOneSession(t *testing.T) {
	for _, replyFirst := range []bool{false, true} {
		var got []Event
		emit := collectEvents(&got)
		tab := NewTable(Default())
		records := []*flow.Record{rec(1000, 1010, false, flow.SYN|flow.FIN), rec(1000, 1010, true, flow.SYN|flow.ACK|flow.FIN)}
		if replyFirst {
			records[0], records[1] = records[1], records[0]
		}
		for i, r := range records {
			if v := tab.Observe(r, 0, int64(i), emit); v != Taken {
				t.Fatalf("verdict %v", v)
			}
		}
		tab.Tick(1_000_000_000, emit) // dates what has arrived
		tab.Tick(1_000_002_000, emit)
		if !tab.Advance(flow.MaxTime, emit, nil) {
			t.Fatal("not done")
		}
		if len(got) != 2 || got[0].Kind != KindUpdate || got[1].Kind != KindClose {
			t.Fatalf("got %d events: %+v", len(got), got)
		}
		e := got[1]
		if e.Client.Port != 40000 || e.Evidence != EvidenceFlags || e.Outcome != OutcomeAnswered || e.Reason != ReasonFIN ||
			e.Out.Packets != 10 || e.In.Packets != 10 || e.OutFinal != e.Out || e.OutDelta.Packets != 0 || e.ID == (ID{}) {
			t.Fatalf("got %+v", e)
		}
		if s := tab.Stats(); s.Bytes != 0 || s.Open != 0 || s.Retained != 0 {
			t.Fatalf("left over: %+v", s)
		}
	}
}
