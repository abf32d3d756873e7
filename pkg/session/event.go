package session

import (
	"encoding/hex"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// ID names a session for ever: a hash of its key and its first start second,
// decided when the clock passes its first record. The zero ID means that it is
// not decided yet; such an event is provisional and known by its key.
type ID [16]byte

// String is the ID in hex, 32 characters.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Kind tells what an event says of its session.
type Kind uint8

// The kinds of event. Update is provisional: it tells early what has arrived
// and may differ from run to run. The others are final facts, a function of the
// records alone.
const (
	KindUpdate   Kind = iota + 1 // provisional: what has arrived so far
	KindProgress                 // final for what it covers; the session goes on
	KindClose                    // final: the session has ended
	KindCorrect                  // final, additive: data later than the clock
	KindGap                      // no session: AWS skipped records (see Gap)
)

// Final reports whether the event is a fact that no later event takes back.
func (k Kind) Final() bool { return k != KindUpdate }

// String returns the name of the kind, as events and queries print it.
func (k Kind) String() string {
	return name(k, "", "update", "progress", "close", "correct", "gap")
}

// Traffic is what one direction of a session carried. In a delta every number
// is the difference to the event before, which a provisional guess that proved
// wrong makes negative.
type Traffic struct {
	Packets, Bytes             int64 // accepted
	RejectPackets, RejectBytes int64 // refused by a security group or ACL
	Records                    int64 // flow records counted, of the best observer
	Flags                      uint8 // OR of the TCP flags seen
}

// Evidence is what the choice of the initiator rests on, weakest first.
type Evidence uint8

// The kinds of evidence for who started a session.
const (
	EvidenceNone      Evidence = iota // could not be known
	EvidencePort                      // a service port against an ephemeral one
	EvidenceStart                     // one direction began earlier
	EvidenceDirection                 // flow-direction with an owned address
	EvidenceFlags                     // SYN without ACK, or SYN-ACK
)

// String returns the name of the evidence.
func (e Evidence) String() string {
	return name(e, "none", "port", "start", "direction", "flags")
}

// Direction is the session's direction against our own networks.
type Direction uint8

// Directions of a session, by who started it and which side is ours.
const (
	DirectionUnknown Direction = iota
	Inbound                    // the server is ours, the client is not
	Outbound                   // the client is ours, the server is not
	Lateral                    // both are ours
	Transit                    // neither is ours
)

// String returns the name of the direction.
func (d Direction) String() string {
	return name(d, "unknown", "inbound", "outbound", "lateral", "transit")
}

// Outcome says whether the attempt was answered.
type Outcome uint8

// Outcomes. Pending is only seen while less than 120 s have passed unanswered.
const (
	OutcomePending    Outcome = iota
	OutcomeAnswered           // the other side sent accepted data back, not only RST
	OutcomeRejected           // every packet of the client was REJECTed
	OutcomeReset              // answered by RST and nothing else
	OutcomeUnanswered         // the clock passed first + 120 s without an answer
)

// Failed reports whether the attempt is known to have failed.
func (o Outcome) Failed() bool { return o >= OutcomeRejected }

// String returns the name of the outcome.
func (o Outcome) String() string {
	return name(o, "pending", "answered", "rejected", "reset", "unanswered")
}

// Reason says why a session ended.
type Reason uint8

// Reasons of an end.
const (
	ReasonOpen    Reason = iota // it has not
	ReasonFIN                   // FIN both ways
	ReasonRST                   // a reset
	ReasonIdle                  // silence longer than the protocol's idle gap
	ReasonReuse                 // a SYN on the same ports began another
	ReasonEvicted               // told early because the table was full
)

// String returns the name of the reason.
func (r Reason) String() string {
	return name(r, "open", "fin", "rst", "idle", "reuse", "evicted")
}

// Point is an observation point: one interface (or other resource) under one
// flow log, and what it is known to be.
type Point struct {
	ID         string // interface-id, else resource-id
	LogGroup   string
	AccountID  string
	VPCID      string
	SubnetID   string
	InstanceID string
	Region     string
	Tags       []flow.Attr // instance-tag and its like, version 11
	SawOut     bool        // it recorded packets client -> server
	SawIn      bool        // it recorded packets server -> client
	NearClient bool        // the client's address is this interface's own
	NearServer bool        // the server's address is this interface's own
}

// Gap is a coverage gap: between Start and End the point's records were
// skipped, so silence there means nothing.
type Gap struct {
	Point      Point
	Start, End flow.Time
}

// Event is one statement about a session. Client is the initiator as far as
// known: see Evidence and Confidence; where Evidence is EvidenceNone the sides
// are in the key's order.
type Event struct {
	Kind Kind
	ID   ID
	Key  flow.Key
	// Born is the start that the ID is made from, with the key: IDOf(Key, Born).
	// It is 0 where there is no ID, or one that came from elsewhere. A late
	// record may move First before it.
	Born flow.Time

	Client, Server flow.Endpoint
	// ClientOuter and ServerOuter are the plain srcaddr/dstaddr where they
	// differ from the pkt- addresses that the session is known by; else zero.
	ClientOuter, ServerOuter     flow.Addr
	ClientService, ServerService string // AWS service of the address, or ""
	Evidence                     Evidence
	Confidence                   uint8 // percent that Client is the initiator
	Direction                    Direction
	Owned                        flow.Ownership // OwnSrc: the client is ours; OwnDst: the server
	Outcome                      Outcome
	Reason                       Reason
	Path                         uint8 // traffic-path of the egress record, 0 unknown

	// First and Last are the first and last packet so far.
	First, Last flow.Time

	// Out is client -> server, In is server -> client: running totals.
	Out, In Traffic
	// OutDelta and InDelta are what is new since the previous event of any
	// kind: summed over all events they give the early view.
	OutDelta, InDelta Traffic
	// OutFinal and InFinal are what is new since the previous final event:
	// summed over final events they give the final view. Zero in an Update.
	OutFinal, InFinal Traffic
	// DeltaFirst is the start of the earliest record in OutFinal and InFinal
	// (in an Update: in the deltas). No final event with a DeltaFirst below
	// the watermark of `sessions` comes after that watermark, corrections apart.
	DeltaFirst flow.Time
	// New marks the first event of any kind, Opened the first final event:
	// counting sessions means counting these.
	New, Opened bool

	Points     []Point // in canonical order, at most MaxPoints
	PointsMore uint16  // how many more there were

	Gap *Gap // only with KindGap

	// Origin is the position in the flows topic of the session's first record:
	// evidence, not part of the facts that replays must agree on. It is 0 in an
	// Update: which record is the first is not decided yet, and four bytes that
	// do not compress are a tenth of an event.
	OriginPartition int32
	OriginOffset    int64
}

// MaxPoints bounds the observation points that an event lists.
const MaxPoints = 8

func name[T ~uint8](v T, names ...string) string {
	if int(v) < len(names) {
		return names[v]
	}
	return "invalid"
}
