package detect

import (
	"bytes"
	"cmp"
	"encoding/binary"

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
	if k.Peer != o.Peer { // not cmp.Or, which compares everything first
		return compareAddr(&k.Peer, &o.Peer)
	}
	return int(k.Protocol)<<16 + int(k.Port) - int(o.Protocol)<<16 - int(o.Port)
}

// compareAddr orders addresses by their bytes, in two steps instead of a call.
func compareAddr(a, b *flow.Addr) int {
	if x, y := binary.BigEndian.Uint64(a[:8]), binary.BigEndian.Uint64(b[:8]); x != y {
		return cmp.Compare(x, y)
	}
	return cmp.Compare(binary.BigEndian.Uint64(a[8:]), binary.BigEndian.Uint64(b[8:]))
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
	Offset                 int64
	Partition              int32  // of the sessions topic; differs between runs
	Client                 uint16 // the client's port
	Server                 uint16 // the server's port
	Session                session.ID
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
	if r.First != o.First { // not cmp.Or, which compares everything first
		return r.First < o.First
	}
	return cmp.Or(
		cmp.Compare(r.Client, o.Client), cmp.Compare(r.Server, o.Server),
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

// Row is what was added up under one key. Combiners hold millions of them, so
// what only some families need lies apart, and so does the evidence, which is
// one for the rows of the session's client, its server and its service
// (docs/performance.md).
type Row struct {
	Key    RowKey
	Ours   bool // the peer is an address of ours
	Counts Counts
	ref    *evidence // the earliest session; nil: none
	more   *details  // nil: none
}

// evidence is a Ref that several rows share.
type evidence struct {
	Ref
	rows int32 // how many hold it: the last one gives it back
}

// Ref is the earliest session that the row counts, or nil. It stays the row's
// own and is not to be changed.
func (r *Row) Ref() *Ref {
	if r.ref == nil {
		return nil
	}
	return &r.ref.Ref
}

// refer makes x the row's evidence if there is none or only a later one.
func (r *Row) refer(x *evidence, m *memory) {
	if r.ref != nil {
		if !x.before(&r.ref.Ref) {
			return
		}
		m.release(r.ref)
	}
	x.rows++
	r.ref = x
}

// details are the lists of a row.
type details struct {
	// set holds distinct values: port<<8|protocol in a Caller row, hashes of
	// client addresses in a Served row, nothing elsewhere.
	set    window.Set
	hasSet bool
	sizes  window.Sizes // Login: packets client -> server of each session
	beats  []Beat       // Pair, and answered ones of Login: earliest first
}

// Set is what a row counted as distinct: ports of a Caller, clients of a Served
// row. It stays the row's own; nil is none.
func (r *Row) Set() *window.Set {
	if r.more == nil || !r.more.hasSet {
		return nil
	}
	return &r.more.set
}

// Sizes is the histogram of a Login row. It stays the row's own.
func (r *Row) Sizes() (s window.Sizes) {
	if r.more != nil {
		s = r.more.sizes
	}
	return s
}

// Beats are the starts of a Pair or Login row, the earliest first. They stay
// the row's own.
func (r *Row) Beats() []Beat {
	if r.more == nil {
		return nil
	}
	return r.more.beats
}

// details returns the row's lists, which it makes if need be.
func (r *Row) details(m *memory) *details {
	if r.more == nil {
		r.more = m.details()
	}
	return r.more
}

// kept is a row with the same evidence, which it shares, and nothing else.
func (r *Row) kept() Row {
	if r.ref != nil {
		r.ref.rows++
	}
	return Row{Key: r.Key, ref: r.ref}
}

// merge adds what o counted. What o has of lists that r has not becomes r's.
// m is where r comes from.
func (r *Row) merge(o *Row, m *memory) {
	r.Counts.Add(&o.Counts)
	r.Ours = r.Ours || o.Ours
	if o.ref != nil {
		r.refer(o.ref, m)
	}
	switch {
	case o.more == nil:
	case r.more == nil:
		r.more, o.more = o.more, nil
	default:
		r.more.merge(o.more)
	}
}

func (d *details) merge(o *details) {
	if o.hasSet {
		if !d.hasSet {
			d.hasSet = true
			d.set.Reset(rowPorts)
		}
		d.set.Merge(o.set)
	}
	d.sizes.Merge(o.sizes)
	for _, b := range o.beats {
		d.addBeat(b)
	}
}

// addBeat keeps the rowBeats smallest beats, a function of the multiset.
func (d *details) addBeat(b Beat) {
	i := len(d.beats)
	for i > 0 && (b.Start < d.beats[i-1].Start || b.Start == d.beats[i-1].Start && b.Bytes < d.beats[i-1].Bytes) {
		i--
	}
	if i == rowBeats {
		return
	}
	if len(d.beats) < rowBeats {
		d.beats = append(d.beats, Beat{})
	}
	copy(d.beats[i+1:], d.beats[i:])
	d.beats[i] = b
}

func (d *details) addToSet(v uint64) {
	if !d.hasSet {
		d.hasSet = true
		d.set.Reset(rowPorts)
	}
	d.set.Add(v)
}

// endpoints returns client and server addresses of a row's sessions.
func (r *Row) endpoints(e Entity, f Family) (client, server flow.Addr) {
	if f == Caller || f == Served {
		return r.Key.Peer, e.Addr
	}
	return e.Addr, r.Key.Peer
}

// evidence builds the alert's evidence from the row's earliest session, which
// there must be.
func (r *Row) evidence(e Entity, f Family) alert.Evidence {
	c, s := r.endpoints(e, f)
	p := &r.ref.Ref
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
