package session

import (
	"github.com/flowstitch/flowstitch/pkg/flow"
)

const (
	protoTCP = 6

	sideA = 0 // packets A -> B, A being the lower endpoint of the key
	sideB = 1
)

// entry is one session, or the records of one to come, in 64 bytes without a
// pointer: a cache line, for chunks of the slab are aligned to one. All times are
// Unix seconds in 32 bits.
type entry struct {
	key   ckey
	pend  uint32    // last of the ring of pending records, ascending; 0 none
	nodes uint32    // first of the chain of observations and baselines
	born  uint32    // start of the first record folded: with the key, the id
	start [2]uint32 // first packet of each direction; noTime when none
	end   [2]uint32 // last packet of each direction
	endAt uint32    // when FIN or RST ended it; once closed, when it closed
	due   uint32    // of its timer, which may be early; 0 none. See wheel

	originLo uint32
	originHi uint8
	evidence uint8 // Evidence in the low bits, then clientB and frozen
	conf     uint8
	misc     uint8 // path in the low four bits, then ownA and ownB
	state    uint32
}

const noTime = ^uint32(0)

// link is the place of an entry in its list. It lies apart, for most of what
// touches an entry needs none of it.
type link struct {
	next, prev uint32
	wall       uint32 // deciseconds of the tick when it joined
}

// Bits of entry.evidence above the Evidence.
const (
	evidenceMask  = 7
	clientB       = 1 << 3 // the initiator is the upper endpoint
	clientDecided = 1 << 4 // a final event has said so: it stays
)

// Bits of entry.misc.
const (
	pathMask = 15
	ownA     = 1 << 4
	ownB     = 1 << 5
)

// Bits of entry.state. The told and sent modes say where the baseline of the
// next delta is: nothing yet, what the entry holds itself, or a node.
const (
	stFolded  = 1 << iota // it has an id
	stClosed              // kept for corrections only
	stWas                 // in snapshots that older versions wrote; means nothing
	stDirty               // something has not been told
	stBig                 // more than a probe: evicted last
	stTold                // an event of any kind has been emitted
	stOpened              // a final event has been emitted
	stSwapped             // what has been told had B as the client
	stFinA                // FIN seen from A
	stFinB
	stRst       // RST seen
	stToldSame  // baseline of deltas: all folded and all pending marked told
	stToldNode  // baseline of deltas: a node
	stSentSame  // baseline of final deltas: all folded
	stSentNode  // baseline of final deltas: a node
	stCounted   // in Table.sources
	stReason    = 7 << 16
	reasonShift = 16
	stList      = 15 << 20
	listShift   = 20
)

func (e *entry) is(bits uint32) bool { return e.state&bits != 0 }

func (e *entry) first() uint32 { return min(e.start[0], e.start[1]) }

func (e *entry) last() uint32 { return max(e.end[0], e.end[1]) }

func (e *entry) ended() bool {
	return e.is(stRst) || e.state&(stFinA|stFinB) == stFinA|stFinB
}

func (e *entry) origin() int64 { return int64(e.originHi)<<32 | int64(e.originLo) }

func (e *entry) setOrigin(o int64) { e.originLo, e.originHi = uint32(o), uint8(o>>32) }

// node is what one interface saw under one action, or a baseline, in 64 bytes.
type node struct {
	next  uint32
	info  uint32 // of the point; in a sent baseline the start of what is unsent
	tally [2]tally
	seen  [5]uint32 // fingerprints of the latest records, to know repeats
	flags [2]uint8
	bits  uint16
}

// Bits of node.bits.
const (
	nodeKind       = 3 // one of the kinds below
	nodeObserved   = 0
	nodeTold       = 1
	nodeSent       = 2
	nodeMemory     = 3 // nothing but fingerprints: tally and seen hold 13
	nodeAction     = 3 << 2
	nodeDirA       = 3 << 4 // flow.Direction of A -> B there
	nodeDirB       = 3 << 6
	nodeOwnA       = 1 << 8
	nodeOwnB       = 1 << 9
	nodeSeen       = 15 << 10 // position of the next fingerprint
	actionShift    = 2
	directionShift = 4
	seenShift      = 10
)

func (n *node) kind() uint16        { return n.bits & nodeKind }
func (n *node) action() flow.Action { return flow.Action(n.bits & nodeAction >> actionShift) }

func (n *node) direction(side int) flow.Direction {
	return flow.Direction(n.bits >> (directionShift + 2*side) & 3)
}

// pending is a record that the clock has not passed, in 32 bytes.
type pending struct {
	start uint32
	next  uint32 // ring: the last one points to the first
	info  uint32
	off   uint32 // low bits of its offset in flows
	lo    uint64 // bytes 48, flags 5, side 1, action 2, direction 2, told 1, owned 2
	hi    uint64 // packets 40, duration 20, path 4
}

const (
	pendBytes     = 1<<48 - 1
	pendFlags     = 48
	pendSide      = 53
	pendAction    = 54
	pendDirection = 56
	pendTold      = 1 << 58
	pendOwned     = 59 // A, then B
	pendDuration  = 40
	pendPath      = 60
	maxDuration   = 1<<20 - 1

	// pendContent leaves out what is not part of the record's content: two
	// deliveries of one record may differ in it.
	pendContent = pendTold - 1
)

// pack fills everything of p but its ring.
func (p *pending) pack(r *flow.Record, side int, info uint32, offset int64) {
	flags := uint64(r.TCPFlags & (flow.FIN | flow.SYN | flow.RST))
	if r.TCPFlags&flow.ACK != 0 {
		flags |= 8
	}
	if r.HasFlags && r.Protocol == protoTCP {
		flags |= 16
	} else {
		flags = 0
	}
	own := uint64(r.Owned & (flow.OwnSrc | flow.OwnDst))
	if side == sideB {
		own = own>>1 | own&1<<1
	}
	p.start, p.info, p.off = uint32(r.Start), info, uint32(offset)
	p.lo = min(r.Bytes, pendBytes) | flags<<pendFlags | uint64(side)<<pendSide |
		uint64(r.Action&3)<<pendAction | uint64(r.Direction&3)<<pendDirection | own<<pendOwned
	p.hi = min(r.Packets, maxPackets) | uint64(r.End-r.Start)<<pendDuration | uint64(r.Path&15)<<pendPath
}

func (p *pending) bytes() uint64             { return p.lo & pendBytes }
func (p *pending) packets() uint64           { return p.hi & maxPackets }
func (p *pending) side() int                 { return int(p.lo >> pendSide & 1) }
func (p *pending) action() flow.Action       { return flow.Action(p.lo >> pendAction & 3) }
func (p *pending) direction() flow.Direction { return flow.Direction(p.lo >> pendDirection & 3) }
func (p *pending) path() uint8               { return uint8(p.hi >> pendPath) }
func (p *pending) owned() uint8              { return uint8(p.lo >> pendOwned & 3) }
func (p *pending) told() bool                { return p.lo&pendTold != 0 }
func (p *pending) end() uint32               { return p.start + uint32(p.hi>>pendDuration&maxDuration) }

// flags returns the TCP flags as a flow record gives them.
func (p *pending) flags() uint8 {
	f := uint8(p.lo >> pendFlags & 15)
	return f&7 | f&8<<1
}

// opens reports a SYN without ACK: the client's.
func (p *pending) opens() bool { return p.flags()&(flow.SYN|flow.ACK) == flow.SYN }

// print returns a fingerprint of the record's content and interval.
func (p *pending) print() uint32 {
	h := mix(p.lo&pendContent^seed1, p.hi^uint64(p.start)<<17^seed2)
	return uint32(h>>32) | 1
}
