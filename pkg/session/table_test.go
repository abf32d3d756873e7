package session

import (
	"strings"
	"testing"

	"github.com/flowstitch/flowstitch/internal/race"
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

// TestObserveAllocatesNothing: a record of a known session costs no memory of
// its own once the table has been as large as it is.
func TestObserveAllocatesNothing(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	tab := NewTable(Default())
	out, in := rec(testBase, testBase+50, false, 0), rec(testBase, testBase+50, true, 0)
	emit := func(*Event) {}
	step := func() {
		out.Start, out.End, in.Start, in.End = out.Start+60, out.End+60, in.Start+60, in.End+60
		tab.Observe(out, 0, 1, emit)
		tab.Observe(in, 0, 2, emit)
		tab.Tick(int64(out.Start)*1000, emit)
		tab.Advance(out.Start-360, emit, nil)
	}
	for range 100 {
		step()
	}
	if n := testing.AllocsPerRun(200, step); n != 0 {
		t.Errorf("%v allocations for two records, a tick and an advance", n)
	}
	if s := tab.Stats(); s.Open != 1 || s.Progress < 40 || s.Updates < 40 {
		t.Errorf("got %+v", s)
	}
}

func TestConfigReportsEveryProblem(t *testing.T) {
	c := Default()
	if err := c.Validate(); err != nil {
		t.Errorf("the default configuration does not validate: %v", err)
	}
	c.IdleTCP, c.Active, c.Skew = 0, 1<<40, -1
	c.Scopes = Scopes{{}}
	err := c.Validate()
	for _, want := range []string{"idle tcp", "active", "negative", "id 0", "no address range"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
}

func TestInvalidRecords(t *testing.T) {
	tab := NewTable(Default())
	for name, change := range map[string]func(*flow.Record){
		"no source":     func(r *flow.Record) { r.Src.Addr = flow.Addr{} },
		"before 1970":   func(r *flow.Record) { r.Start = -1 },
		"end of time":   func(r *flow.Record) { r.Start, r.End = flow.MaxTime-1, flow.MaxTime },
		"backwards":     func(r *flow.Record) { r.Start = r.End + 1 },
		"a year at one": func(r *flow.Record) { r.End = r.Start + 365*86400 },
	} {
		r := rec(testBase, testBase+1, false, 0)
		change(r)
		if v := tab.Observe(r, 0, 1, nothing); v != Invalid {
			t.Errorf("%s: %v", name, v)
		}
	}
	if s := tab.Stats(); s.Verdicts[Invalid] != 5 || s.Records() != 5 || s.Bytes != 0 {
		t.Errorf("got %+v", s)
	}
}

// TestCountsSaturate: counts beyond what the table can hold stay at its bound
// instead of wrapping around.
func TestCountsSaturate(t *testing.T) {
	var got []Event
	tab := NewTable(Default())
	for i := range 3 {
		r := rec(testBase+flow.Time(i), testBase+flow.Time(i), false, 0)
		r.Packets, r.Bytes = 1<<63, 1<<63
		tab.Observe(r, 0, 1, nothing)
	}
	tab.Advance(flow.MaxTime, collectEvents(&got), nil)
	if e := got[len(got)-1]; e.Out.Packets != maxPackets || e.Out.Bytes != 3*pendBytes || e.Out.Records != 3 {
		t.Errorf("got %+v", e.Out)
	}
}
