package detect

import (
	"bytes"
	"cmp"

	"github.com/cespare/xxhash/v2"
	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/session"
	"github.com/flowstitch/flowstitch/pkg/window"
)

// Family is a group of rows of an observation that one kind of detector reads.
// Each has a bound of its own, so that a scan of a million ports can not crowd
// out the one login that is being guessed.
type Family uint8

// Families. The numbers travel on the wire and never change.
const (
	Contact  Family = 1 // the entity as client: each (server, port, protocol) it asked for
	Login    Family = 2 // the same, for login services only, with sizes
	Pair     Family = 3 // our host as client of an external one, with start times
	Caller   Family = 4 // the entity as server: each client, with the ports it asked for
	Served   Family = 5 // the entity as server: each (port, protocol), with distinct clients
	Custom   Family = 6 // a user's rule: what it counts as distinct, as a hash in Peer
	families        = 6
)

// RowKey names a row within its family.
type RowKey struct {
	Peer     flow.Addr
	Port     uint16
	Protocol uint8
}

// Compare orders keys by address, protocol and port.
func (k RowKey) Compare(o RowKey) int {
	if c := bytes.Compare(k.Peer[:], o.Peer[:]); c != 0 { // not cmp.Or, which compares everything first
		return c
	}
	return cmp.Or(cmp.Compare(k.Protocol, o.Protocol), cmp.Compare(k.Port, o.Port))
}

// hash spreads keys for bottom-k sampling.
func (k RowKey) hash() uint64 {
	var b [19]byte
	copy(b[:], k.Peer[:])
	b[16], b[17], b[18] = byte(k.Port>>8), byte(k.Port), k.Protocol
	return xxhash.Sum64(b[:])
}

// Counts are sums over sessions, and the span of time that they cover.
type Counts struct {
	Sessions int64 // sessions whose first event fell into the pane
	Answered int64 // of these, with accepted data back
	Failed   int64 // of these, rejected, reset or unanswered
	Rejected int64 // of these, refused by a security group or ACL
	Bare     int64 // of these, TCP attempts without any TCP option (crafted)
	Errors   int64 // of these, unsolicited ICMP at the size of an error message
	Halfopen int64 // of these, TCP with a SYN and no completed handshake

	PacketsOut, BytesOut int64 // client -> server, accepted and rejected
	PacketsIn, BytesIn   int64 // server -> client

	First, Last flow.Time // of packets; both 0 while nothing was added
}

// Add adds o.
func (c *Counts) Add(o *Counts) {
	c.Sessions += o.Sessions
	c.Answered += o.Answered
	c.Failed += o.Failed
	c.Rejected += o.Rejected
	c.Bare += o.Bare
	c.Errors += o.Errors
	c.Halfopen += o.Halfopen
	c.PacketsOut += o.PacketsOut
	c.BytesOut += o.BytesOut
	c.PacketsIn += o.PacketsIn
	c.BytesIn += o.BytesIn
	if o.First != 0 && (c.First == 0 || o.First < c.First) {
		c.First = o.First
	}
	c.Last = max(c.Last, o.Last)
}

// Bytes is the sum of both directions.
func (c *Counts) Bytes() int64 { return c.BytesOut + c.BytesIn }

// Ref points to one session as evidence; what the row's key and its entity say
// already is left out.
type Ref struct {
	Partition              int32 // of the sessions topic; differs between runs
	Offset                 int64
	Session                session.ID
	Client                 uint16 // the client's port
	Server                 uint16 // the server's port
	Protocol               uint8
	Provisional            bool
	Initiator              session.Evidence
	Confidence             uint8
	Direction              session.Direction
	Outcome                session.Outcome
	First, Last            flow.Time
	PacketsOut, BytesOut   int64
	PacketsIn, BytesIn     int64
	RejectedOut, FlagsBoth int64 // packets refused; flags out | flags in << 8
}

// before orders evidence by what replays agree on.
func (r *Ref) before(o *Ref) bool {
	return cmp.Or(
		cmp.Compare(r.First, o.First), cmp.Compare(r.Client, o.Client), cmp.Compare(r.Server, o.Server),
		bytes.Compare(r.Session[:], o.Session[:]), -cmp.Compare(r.BytesOut, o.BytesOut),
	) < 0
}

// Beat is the start of one session and what it sent.
type Beat struct {
	Start flow.Time
	Bytes int64 // client -> server
}

// Bounds of a row's details.
const (
	rowPorts = 24 // ports of a Caller, clients of a Served row: exact up to here
	rowBeats = 64 // earliest session starts of a Pair or Login row within a pane
)

// Row is what was added up under one key.
type Row struct {
	Key    RowKey
	Counts Counts
	Ours   bool // the peer is an address of ours
	// Set holds distinct values: port<<8|protocol in a Caller row, hashes of
	// client addresses in a Served row, nothing elsewhere.
	Set    window.Set
	HasSet bool
	Sizes  window.Sizes // Login: packets client -> server of each session
	Beats  []Beat       // Pair, and answered ones of Login: earliest first
	Ref    Ref          // the earliest session
	HasRef bool
}

func (r *Row) merge(o *Row) {
	r.Counts.Add(&o.Counts)
	r.Ours = r.Ours || o.Ours
	if o.HasSet {
		if !r.HasSet {
			r.HasSet = true
			r.Set.Reset(rowPorts)
		}
		r.Set.Merge(o.Set)
	}
	r.Sizes.Merge(o.Sizes)
	for _, b := range o.Beats {
		r.addBeat(b)
	}
	if o.HasRef && (!r.HasRef || o.Ref.before(&r.Ref)) {
		r.Ref, r.HasRef = o.Ref, true
	}
}

// addBeat keeps the rowBeats smallest beats, a function of the multiset.
func (r *Row) addBeat(b Beat) {
	i := len(r.Beats)
	for i > 0 && (b.Start < r.Beats[i-1].Start || b.Start == r.Beats[i-1].Start && b.Bytes < r.Beats[i-1].Bytes) {
		i--
	}
	if i == rowBeats {
		return
	}
	if len(r.Beats) < rowBeats {
		r.Beats = append(r.Beats, Beat{})
	}
	copy(r.Beats[i+1:], r.Beats[i:])
	r.Beats[i] = b
}

// endpoints returns client and server addresses of a row's sessions.
func (r *Row) endpoints(e Entity, f Family) (client, server flow.Addr) {
	if f == Caller || f == Served {
		return r.Key.Peer, e.Addr
	}
	return e.Addr, r.Key.Peer
}

// evidence builds the alert's evidence from the row's earliest session.
func (r *Row) evidence(e Entity, f Family) alert.Evidence {
	c, s := r.endpoints(e, f)
	p := &r.Ref
	return alert.Evidence{
		Topic: "sessions", Partition: p.Partition, Offset: p.Offset,
		SessionID: p.Session, Provisional: p.Provisional, Protocol: p.Protocol,
		Client:    flow.Endpoint{Addr: c, Port: p.Client},
		Server:    flow.Endpoint{Addr: s, Port: p.Server},
		Initiator: p.Initiator, InitiatorConfidence: p.Confidence,
		Direction: p.Direction, Outcome: p.Outcome, First: p.First, Last: p.Last,
		Out: session.Traffic{
			Packets: p.PacketsOut - p.RejectedOut, RejectPackets: p.RejectedOut,
			Bytes: p.BytesOut, Flags: uint8(p.FlagsBoth),
		},
		In: session.Traffic{Packets: p.PacketsIn, Bytes: p.BytesIn, Flags: uint8(p.FlagsBoth >> 8)},
	}
}

func (r *Row) addToSet(v uint64) {
	if !r.HasSet {
		r.HasSet = true
		r.Set.Reset(rowPorts)
	}
	r.Set.Add(v)
}
