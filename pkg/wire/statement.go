package wire

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/session"
)

// A session's numbers are one packed array, Session.statement in the .proto,
// which says what is in it: a tag for each of thirty numbers and four copies
// of the same counts were two thirds of an event, and they do not compress.
const (
	fieldStatement = 32
	fieldBorn      = 33
)

// statementEpoch is 2028-01-01T00:00:00Z: times within 4.2 years of it take four bytes.
const statementEpoch flow.Time = 1_830_297_600

// Where the bits of the first number, facts, begin.
const (
	factClientB   = 1 << 3
	factNew       = 1 << 4
	factOpened    = 1 << 5
	factID        = 1 << 6 // the id follows from key and start
	atConfidence  = 7
	atEvidence    = 14
	atDirection   = 17
	atOwned       = 20
	atOutcome     = 22
	atReason      = 25
	atPath        = 28
	pointBits     = 4 // of each point in the number of what points saw
	maxKind       = session.Kind(1<<3 - 1)
	maxConfidence = 1<<7 - 1
	maxEvidence   = session.Evidence(1<<3 - 1)
	maxDirection  = session.Direction(1<<3 - 1)
	maxOwned      = flow.Ownership(1<<2 - 1)
	maxOutcome    = session.Outcome(1<<3 - 1)
	maxReason     = session.Reason(1<<3 - 1)
)

// How the counts of an event are told: which of them repeat others. What its
// points saw is above that.
const (
	copyNone  = uint64(iota) // they are zero
	copyTotal                // they equal the totals
	copyDelta                // they equal the deltas (of finals only)
	copyTold                 // they follow

	copyMask = 3
	atFinal  = 2
	atSaw    = 4
)

// Bits of the number that begins the counts of one direction; the records
// counted are above them.
const (
	countAccepted = 1 << iota
	countRejected
	countFlags
	countSigned  // the numbers may be negative and are zigzag
	countRecords = iota
)

// zigzag appends a signed number as protobuf's sint64 does.
func zigzag(b []byte, v int64) []byte {
	return protowire.AppendVarint(b, protowire.EncodeZigZag(v))
}

func appendStatement(b []byte, e *session.Event) []byte {
	b, body := open(b, fieldStatement)
	b = protowire.AppendVarint(b, facts(e))
	b = zigzag(b, int64(e.First-statementEpoch))
	late := e.DeltaFirst != e.First
	b = zigzag(b, int64(e.Last-e.First)<<1|int64(bit(late, 1)))
	if late {
		b = zigzag(b, int64(e.DeltaFirst-e.First))
	}
	delta, final := copies(e)
	b = protowire.AppendVarint(b, saw(e.Points)<<atSaw|final<<atFinal|delta)
	b = appendCounts(appendCounts(b, &e.Out), &e.In)
	if delta == copyTold {
		b = appendCounts(appendCounts(b, &e.OutDelta), &e.InDelta)
	}
	if final == copyTold {
		b = appendCounts(appendCounts(b, &e.OutFinal), &e.InFinal)
	}
	if e.OriginPartition != 0 || e.OriginOffset != 0 {
		b = protowire.AppendVarint(b, uint64(e.OriginOffset))
		b = protowire.AppendVarint(b, uint64(uint32(e.OriginPartition)))
	}
	return shut(b, body)
}

func facts(e *session.Event) uint64 {
	f := uint64(e.Kind&maxKind) | uint64(min(e.Confidence, maxConfidence))<<atConfidence | uint64(e.Evidence&maxEvidence)<<atEvidence |
		uint64(e.Direction&maxDirection)<<atDirection | uint64(e.Owned&maxOwned)<<atOwned | uint64(e.Outcome&maxOutcome)<<atOutcome |
		uint64(e.Reason&maxReason)<<atReason | uint64(e.Path)<<atPath
	return f | bit(e.Client != e.Key.A, factClientB) | bit(e.New, factNew) | bit(e.Opened, factOpened) | bit(e.Born != 0, factID)
}

func bit(on bool, b uint64) uint64 {
	if on {
		return b
	}
	return 0
}

// copies tells how the deltas and the finals of an event are told.
func copies(e *session.Event) (delta, final uint64) {
	var zero session.Traffic
	switch {
	case e.OutDelta == zero && e.InDelta == zero:
		delta = copyNone
	case e.OutDelta == e.Out && e.InDelta == e.In:
		delta = copyTotal
	default:
		delta = copyTold
	}
	switch {
	case e.OutFinal == zero && e.InFinal == zero:
		final = copyNone
	case e.OutFinal == e.Out && e.InFinal == e.In:
		final = copyTotal
	case e.OutFinal == e.OutDelta && e.InFinal == e.InDelta:
		final = copyDelta
	default:
		final = copyTold
	}
	return delta, final
}

// saw packs what each point of a session saw, four bits a point.
func saw(points []session.Point) (v uint64) {
	for i := range points {
		v |= sawOf(&points[i]) << (i * pointBits)
	}
	return v
}

func appendCounts(b []byte, t *session.Traffic) []byte {
	signed := t.Packets|t.Bytes|t.RejectPackets|t.RejectBytes|t.Records < 0
	number := func(b []byte, v int64) []byte {
		if signed {
			return zigzag(b, v)
		}
		return protowire.AppendVarint(b, uint64(v))
	}
	records := uint64(t.Records)
	if signed {
		records = protowire.EncodeZigZag(t.Records)
	}
	head := records<<countRecords | bit(signed, countSigned) | bit(t.Packets != 0 || t.Bytes != 0, countAccepted) |
		bit(t.RejectPackets != 0 || t.RejectBytes != 0, countRejected) | bit(t.Flags != 0, countFlags)
	b = protowire.AppendVarint(b, head)
	if head&countAccepted != 0 {
		b = number(number(b, t.Packets), t.Bytes)
	}
	if head&countRejected != 0 {
		b = number(number(b, t.RejectPackets), t.RejectBytes)
	}
	if head&countFlags != 0 {
		b = protowire.AppendVarint(b, uint64(t.Flags))
	}
	return b
}

// numbers reads a packed array. Behind its end it reads zeros and is short.
type numbers struct {
	rest  []byte
	short bool
}

func (n *numbers) next() uint64 {
	v, size := protowire.ConsumeVarint(n.rest)
	if size < 0 {
		n.rest, n.short = nil, true
		return 0
	}
	n.rest = n.rest[size:]
	return v
}

func (n *numbers) sint() int64 { return protowire.DecodeZigZag(n.next()) }

func (n *numbers) counts(t *session.Traffic) {
	head := n.next()
	number := func(v uint64) int64 {
		if head&countSigned != 0 {
			return protowire.DecodeZigZag(v)
		}
		return int64(v)
	}
	t.Records = number(head >> countRecords)
	if head&countAccepted != 0 {
		t.Packets, t.Bytes = number(n.next()), number(n.next())
	}
	if head&countRejected != 0 {
		t.RejectPackets, t.RejectBytes = number(n.next()), number(n.next())
	}
	if head&countFlags != 0 {
		t.Flags = uint8(n.next())
	}
}

// statement is what of an event can not be filled in before all its fields
// have been read.
type statement struct {
	facts, saw uint64
	told       bool
}

// parseStatement reads a statement into e. Numbers that a later version adds
// at its end are skipped.
func parseStatement(b []byte, e *session.Event) (s statement, err error) {
	n := numbers{rest: b}
	f := n.next()
	s.facts, s.told = f, true
	e.Kind, e.New, e.Opened = session.Kind(f)&maxKind, f&factNew != 0, f&factOpened != 0
	e.Confidence = uint8(f >> atConfidence & maxConfidence)
	e.Evidence, e.Direction = session.Evidence(f>>atEvidence)&maxEvidence, session.Direction(f>>atDirection)&maxDirection
	e.Owned, e.Outcome = flow.Ownership(f>>atOwned)&maxOwned, session.Outcome(f>>atOutcome)&maxOutcome
	e.Reason, e.Path = session.Reason(f>>atReason)&maxReason, uint8(f>>atPath)
	e.First = statementEpoch + flow.Time(n.sint())
	last := n.sint()
	if e.Last = flow.Time(last >> 1); last&1 != 0 {
		e.DeltaFirst = flow.Time(n.sint())
	}
	copied := n.next()
	s.saw = copied >> atSaw
	n.counts(&e.Out)
	n.counts(&e.In)
	switch copied & copyMask {
	case copyTotal:
		e.OutDelta, e.InDelta = e.Out, e.In
	case copyTold:
		n.counts(&e.OutDelta)
		n.counts(&e.InDelta)
	}
	switch copied >> atFinal & copyMask {
	case copyTotal:
		e.OutFinal, e.InFinal = e.Out, e.In
	case copyDelta:
		e.OutFinal, e.InFinal = e.OutDelta, e.InDelta
	case copyTold:
		n.counts(&e.OutFinal)
		n.counts(&e.InFinal)
	}
	if len(n.rest) > 0 {
		e.OriginOffset, e.OriginPartition = int64(n.next()), int32(n.next())
	}
	if n.short {
		return s, fmt.Errorf("%w: a statement of a session that is cut short", ErrMalformed)
	}
	return s, nil
}

// finish fills in what of a statement needs the points and the key.
func (s *statement) finish(e *session.Event) {
	for i := range e.Points {
		setSaw(&e.Points[i], s.saw>>(i*pointBits))
	}
	if s.facts&factID != 0 {
		e.Born += e.First
		e.ID = session.IDOf(e.Key, e.Born)
	}
}
