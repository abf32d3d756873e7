package wire

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/session"
)

// Bits of Point.saw.
const (
	sawOut = 1 << iota
	sawIn
	nearClient
	nearServer
)

// AppendSessionKey appends the Kafka key of a record on sessions: that of the
// session's flows, or the interface of a gap.
func AppendSessionKey(b []byte, e *session.Event) []byte {
	if e.Kind == session.KindGap && e.Gap != nil {
		return append(b, e.Gap.Point.ID...)
	}
	return e.Key.AppendTo(b)
}

// AppendSession appends the value of a record on sessions.
func AppendSession(b []byte, e *session.Event) []byte {
	if e.Kind == session.KindGap && e.Gap != nil {
		return appendGap(appendUint(b, 2, uint64(e.Kind)), e.Gap)
	}
	if e.Born == 0 && e.ID != (session.ID{}) {
		b = appendBytes(b, 3, e.ID[:])
	}
	for i := range e.Points {
		b = appendPoint(b, 23, &e.Points[i], 0)
	}
	b = appendUint(b, 24, uint64(e.PointsMore))
	b = appendAddr(b, 25, e.ClientOuter)
	b = appendAddr(b, 26, e.ServerOuter)
	b = appendString(b, 27, e.ClientService)
	b = appendString(b, 28, e.ServerService)
	b = appendStatement(b, e)
	if e.Born != 0 {
		b = appendSint(b, fieldBorn, int64(e.Born-e.First))
	}
	return b
}

func appendPoint(b []byte, n protowire.Number, p *session.Point, saw uint64) []byte {
	b, body := open(b, n)
	b = appendString(b, 1, p.ID)
	b = appendString(b, 2, p.LogGroup)
	b = appendString(b, 3, p.AccountID)
	b = appendString(b, 4, p.VPCID)
	b = appendString(b, 5, p.SubnetID)
	b = appendString(b, 6, p.InstanceID)
	b = appendAttrs(b, 7, p.Tags)
	b = appendUint(b, 8, saw)
	b = appendString(b, 9, p.Region)
	return shut(b, body)
}

// sawOf packs what a point saw.
func sawOf(p *session.Point) uint64 {
	return bit(p.SawOut, sawOut) | bit(p.SawIn, sawIn) | bit(p.NearClient, nearClient) | bit(p.NearServer, nearServer)
}

func setSaw(p *session.Point, v uint64) {
	p.SawOut, p.SawIn = v&sawOut != 0, v&sawIn != 0
	p.NearClient, p.NearServer = v&nearClient != 0, v&nearServer != 0
}

func appendGap(b []byte, g *session.Gap) []byte {
	b, body := open(b, 29)
	b = appendPoint(b, 1, &g.Point, sawOf(&g.Point))
	b = appendSint(b, 2, int64(g.Start))
	b = appendSint(b, 3, int64(g.End))
	return shut(b, body)
}

// ParseSession reads a record of sessions that is no mark into e, reusing the
// capacity of its Points. The text of e aliases value.
func ParseSession(key, value []byte, e *session.Event) error {
	*e = session.Event{Points: e.Points[:0]}
	var clientIsB bool // as earlier releases told it
	var s statement
	m := fields{rest: value}
	for f := (field{}); m.next(&f); {
		var err error
		switch {
		case f.num == 4:
			clientIsB = f.bool()
		case f.num == fieldStatement:
			s, err = parseStatement(f.b, e)
		case f.num >= 14 && f.num <= 19:
			err = parseTraffic(f.b, traffic(e, f.num))
		case f.num == 3 || f.num == 23 || (f.num >= 25 && f.num <= 29):
			err = parseSessionBytes(&f, e)
		default:
			parseSessionNumber(&f, e)
		}
		if err != nil {
			return err
		}
	}
	if m.err != nil {
		return m.err
	}
	if e.Kind == session.KindGap {
		if e.Gap == nil {
			return fmt.Errorf("%w: a gap event without its gap", ErrMalformed)
		}
		return nil
	}
	e.Last += e.First
	e.DeltaFirst += e.First
	var err error
	if e.Key, err = flow.ParseKey(key); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	e.Client, e.Server = e.Key.A, e.Key.B
	if clientIsB || s.facts&factClientB != 0 {
		e.Client, e.Server = e.Server, e.Client
	}
	if s.told {
		s.finish(e)
	}
	return nil
}

func traffic(e *session.Event, n protowire.Number) *session.Traffic {
	return [...]*session.Traffic{&e.Out, &e.In, &e.OutDelta, &e.InDelta, &e.OutFinal, &e.InFinal}[n-14]
}

func parseSessionNumber(f *field, e *session.Event) {
	switch f.num {
	case 2:
		e.Kind = session.Kind(f.u)
	case 5:
		e.First = flow.Time(f.sint())
	case 6:
		e.Last = flow.Time(f.sint())
	case 7:
		e.Evidence = session.Evidence(f.u)
	case 8:
		e.Confidence = uint8(f.u)
	case 9:
		e.Direction = session.Direction(f.u)
	case 10:
		e.Owned = flow.Ownership(f.u)
	case 11:
		e.Outcome = session.Outcome(f.u)
	case 12:
		e.Reason = session.Reason(f.u)
	case 13:
		e.Path = uint8(f.u)
	case 20:
		e.DeltaFirst = flow.Time(f.sint())
	case 21:
		e.New = f.bool()
	case 22:
		e.Opened = f.bool()
	case 24:
		e.PointsMore = uint16(f.u)
	case 30:
		e.OriginPartition = int32(f.u)
	case 31:
		e.OriginOffset = int64(f.u)
	case fieldBorn:
		e.Born = flow.Time(f.sint())
	}
}

func parseSessionBytes(f *field, e *session.Event) (err error) {
	switch f.num {
	case 3:
		if len(f.b) != len(e.ID) {
			return fmt.Errorf("%w: a session id of %d bytes", ErrMalformed, len(f.b))
		}
		e.ID = session.ID(f.b)
	case 23:
		e.Points = append(e.Points, session.Point{})
		err = parsePoint(f.b, &e.Points[len(e.Points)-1])
	case 25:
		e.ClientOuter, err = f.addr()
	case 26:
		e.ServerOuter, err = f.addr()
	case 27:
		e.ClientService = f.text()
	case 28:
		e.ServerService = f.text()
	case 29:
		e.Gap = new(session.Gap)
		err = parseGap(f.b, e.Gap)
	}
	return err
}

func parseTraffic(b []byte, t *session.Traffic) error {
	m := fields{rest: b}
	for f := (field{}); m.next(&f); {
		switch f.num {
		case 1:
			t.Packets = f.sint()
		case 2:
			t.Bytes = f.sint()
		case 3:
			t.RejectPackets = f.sint()
		case 4:
			t.RejectBytes = f.sint()
		case 5:
			t.Records = f.sint()
		case 6:
			t.Flags = uint8(f.u)
		}
	}
	return m.err
}

func parsePoint(b []byte, p *session.Point) error {
	m := fields{rest: b}
	for f := (field{}); m.next(&f); {
		switch f.num {
		case 1:
			p.ID = f.text()
		case 2:
			p.LogGroup = f.text()
		case 3:
			p.AccountID = f.text()
		case 4:
			p.VPCID = f.text()
		case 5:
			p.SubnetID = f.text()
		case 6:
			p.InstanceID = f.text()
		case 7:
			a, err := parseAttr(f.b)
			if err != nil {
				return err
			}
			p.Tags = append(p.Tags, a)
		case 8:
			setSaw(p, f.u)
		case 9:
			p.Region = f.text()
		}
	}
	return m.err
}

func parseGap(b []byte, g *session.Gap) (err error) {
	m := fields{rest: b}
	for f := (field{}); err == nil && m.next(&f); {
		switch f.num {
		case 1:
			err = parsePoint(f.b, &g.Point)
		case 2:
			g.Start = flow.Time(f.sint())
		case 3:
			g.End = flow.Time(f.sint())
		}
	}
	if err != nil {
		return err
	}
	return m.err
}
