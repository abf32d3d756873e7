package flowlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// OwnersConfig bounds and overrides what [Owners] learns.
type OwnersConfig struct {
	// Own are networks whose addresses are ours, Foreign are networks whose
	// addresses are not. The most specific of both decides; an address in none
	// is ours when an interface has shown it to be its own.
	Own, Foreign []netip.Prefix
	// MaxInterfaces bounds the memory, about 350 bytes each; the interface
	// unseen for longest, to the hour of event time, is forgotten first.
	// Default 65,536.
	MaxInterfaces int
	// MinRecords and MinPeers are the evidence asked for: so many records with
	// the address on one side, against so many different other addresses.
	// Defaults 8 and 3; MinPeers is at most 3. With one peer only, either address
	// is on one side of all records; then only the log's own flow-direction, or
	// an address that AWS rewrote, tells them apart, and no peers are asked for.
	MinRecords, MinPeers int
}

// Defaults of [OwnersConfig].
const (
	DefaultMaxInterfaces = 65536
	DefaultMinRecords    = 8
	DefaultMinPeers      = 3
	maxPeers             = 4
)

// maxInterfaceID bounds the names that are learned from, in bytes: AWS's have at
// most 63, and a name is kept with what is known of it.
const maxInterfaceID = 256

// Owners learns which addresses are ours: an interface's primary private
// address is on one side of ALL its records, since AWS writes it in place of
// any other address that the interface answers for. It is pure and bounded; what
// it knows is a function of the records it was given, in their order.
//
// An interface that forwards (a transit gateway attachment, an appliance
// whose packets are not rewritten) sooner or later shows a record without
// the supposed address. It then owns nothing, for good, and what was learned
// from it is taken back.
type Owners struct {
	cfg   OwnersConfig
	nets  nets
	index map[string]int32 // interface -> place in list
	list  []owner
	// head and tail of the list of interfaces, by last use; -1 is none.
	head, tail int32
	addrs      map[flow.Addr]int32 // owned addresses, and by how many interfaces
	moves      uint64              // of interfaces to the head, so far
	changed    []int32             // places that Changes has to tell of
	forgotten  []string            // and interfaces

	recent [256]int32 // places of interfaces, plus one, by slotOf their names
	ours   [256]ours  // what Owned said of addresses, by a hash of them
	turn   uint64     // of addrs; what Owned said before is void
}

// ours is what Owned said of an address.
type ours struct {
	addr  flow.Addr
	turn  uint64 // of Owners when it did
	owned bool
}

// owner is what is known of one interface. It has a candidate of each family,
// since a dual-stack interface has a primary address of each.
type owner struct {
	id         string
	fam        [2]candidates // IPv4, IPv6
	prev, next int32
	moved      uint64 // the move that made it the head
	hour       int64  // of event time in which that was
	dirty      bool   // it is in Owners.changed
}

// candidates are the addresses that have been on one side of all records so far.
type candidates struct {
	addr    [2]flow.Addr // zero: none
	peers   [maxPeers]flow.Addr
	records uint32
	state   learning
	told    bool // narrowed by more than the addresses: see observe
}

// learning is how far an interface is.
type learning uint8

const (
	learnOpen    learning = iota
	learnOwned            // addr[0] is the interface's own
	learnForward          // no address is on one side of all records
)

// NewOwners returns an empty structure.
func NewOwners(c OwnersConfig) (*Owners, error) {
	if c.MaxInterfaces == 0 {
		c.MaxInterfaces = DefaultMaxInterfaces
	}
	if c.MinRecords == 0 {
		c.MinRecords = DefaultMinRecords
	}
	if c.MinPeers == 0 {
		c.MinPeers = DefaultMinPeers
	}
	if c.MaxInterfaces < 0 || c.MaxInterfaces > 1<<24 || c.MinRecords < 0 || c.MinPeers < 0 || c.MinPeers >= maxPeers {
		return nil, fmt.Errorf("flowlog: owners: max interfaces must be 1 to %d, min peers 1 to %d, min records positive", 1<<24, maxPeers-1)
	}
	o := &Owners{cfg: c}
	if err := errors.Join(o.nets.add(c.Own, true), o.nets.add(c.Foreign, false)); err != nil {
		return nil, err
	}
	o.clear()
	return o, nil
}

func (o *Owners) clear() {
	o.index, o.addrs = make(map[string]int32), make(map[flow.Addr]int32)
	o.list, o.head, o.tail = nil, -1, -1
	o.moves, o.changed, o.forgotten = 0, nil, nil
	o.turn++
}

// Len is the number of interfaces known.
func (o *Owners) Len() int { return len(o.list) }

// Address returns the learned primary address of an interface, IPv4 first, or
// the zero Addr.
func (o *Owners) Address(point string) flow.Addr {
	if i, ok := o.index[point]; ok {
		for f := range o.list[i].fam {
			if c := &o.list[i].fam[f]; c.state == learnOwned {
				return c.addr[0]
			}
		}
	}
	return flow.Addr{}
}

// Owned reports whether an address is ours, as far as is known. Most records are
// of few addresses, so the last answers are kept: maps took most of Stamp's time.
func (o *Owners) Owned(a flow.Addr) bool { return o.owned(&a) }

func (o *Owners) owned(a *flow.Addr) bool {
	h := (binary.LittleEndian.Uint64(a[8:]) ^ binary.LittleEndian.Uint64(a[:])) * 0x9e3779b97f4a7c15
	last := &o.ours[h>>56]
	if last.turn == o.turn && last.addr == *a {
		return last.owned
	}
	own, ok := o.nets.lookup(*a)
	if !ok {
		own = o.addrs[*a] > 0
	}
	*last = ours{addr: *a, turn: o.turn, owned: own}
	return own
}

// Stamp learns from a record, and sets r.Owned for the ends of the session
// that it belongs to (pkt- addresses where there are any) and, where the record
// does not say, r.Direction at the interface. It allocates only for an
// interface it has not met.
func (o *Owners) Stamp(r *flow.Record) {
	if r.Kind != flow.KindFlow {
		return
	}
	if own := o.learn(r); own != nil && r.Direction == flow.DirectionUnknown && r.Src.Addr != r.Dst.Addr {
		switch *own {
		case r.Src.Addr:
			r.Direction = flow.Egress
		case r.Dst.Addr:
			r.Direction = flow.Ingress
		}
	}
	src, dst := &r.Src.Addr, &r.Dst.Addr // not r.Ends(): copies of addresses took a third of the time
	if r.PktSrc.IsValid() {
		src = &r.PktSrc
	}
	if r.PktDst.IsValid() {
		dst = &r.PktDst
	}
	r.Owned = 0
	if o.owned(src) {
		r.Owned |= flow.OwnSrc
	}
	if o.owned(dst) {
		r.Owned |= flow.OwnDst
	}
}

// learn updates the record's interface and returns its own address if known, or
// nil. Transit gateway attachments and regional gateways stand between networks
// and have no primary address.
func (o *Owners) learn(r *flow.Record) *flow.Addr {
	id := r.InterfaceID
	if id == "" || len(id) > maxInterfaceID || strings.HasPrefix(id, "tgw-") || !r.Src.Addr.IsValid() || !r.Dst.Addr.IsValid() {
		return nil
	}
	i := o.place(id)
	o.touch(i, r.End)
	family := 0
	if !r.Src.Addr.Is4() {
		family = 1
	}
	c := &o.list[i].fam[family]
	if c.knows(r, &o.cfg) {
		return c.owned()
	}
	before := *c
	c.observe(r, &o.cfg)
	if *c == before {
		return c.owned()
	}
	o.change(i)
	switch {
	case before.state != learnOwned && c.state == learnOwned:
		o.claim(c.addr[0])
	case before.state == learnOwned && c.state != learnOwned:
		o.release(before.addr[0])
	}
	return c.owned()
}

// owned returns the interface's own address, or nil.
func (c *candidates) owned() *flow.Addr {
	if c.state == learnOwned {
		return &c.addr[0]
	}
	return nil
}

// place returns the place of an interface, which is made if need be.
func (o *Owners) place(id string) int32 {
	last := &o.recent[slotOf(id)]
	if i := *last - 1; i >= 0 && int(i) < len(o.list) && o.list[i].id == id {
		return i
	}
	i, ok := o.index[id]
	if !ok {
		i = o.insert(id)
	}
	*last = i + 1
	return i
}

// slotOf is a hash of an interface's name, by its last digits.
func slotOf(id string) uint8 {
	h := uint8(len(id))
	if n := len(id); n >= 4 {
		h ^= id[n-1] ^ id[n-2]<<3 ^ id[n-3]<<5 ^ id[n-4]<<6
	}
	return h
}

// claim counts an interface that owns an address, release one that does not any
// more.
func (o *Owners) claim(a flow.Addr) {
	if o.addrs[a]++; o.addrs[a] == 1 {
		o.turn++
	}
}

func (o *Owners) release(a flow.Addr) {
	if o.addrs[a]--; o.addrs[a] <= 0 {
		delete(o.addrs, a)
		o.turn++
	}
}

// knows reports whether a record tells c nothing that observe would note: the
// usual case, once the interface's own address is known.
func (c *candidates) knows(r *flow.Record, cfg *OwnersConfig) bool {
	if c.state != learnOwned {
		return c.state == learnForward
	}
	return (c.addr[0] == r.Src.Addr || c.addr[0] == r.Dst.Addr) && c.records >= uint32(cfg.MinRecords) &&
		(!r.PktSrc.IsValid() || r.PktSrc == r.Src.Addr) && (!r.PktDst.IsValid() || r.PktDst == r.Dst.Addr)
}

// observe narrows the candidates by one record.
func (c *candidates) observe(r *flow.Record, cfg *OwnersConfig) {
	src, dst := r.Src.Addr, r.Dst.Addr
	switch {
	case c.state == learnForward:
		return
	case c.records == 0:
		c.addr = [2]flow.Addr{src, dst}
	}
	// Counting stops when there are enough, so that an interface of which all
	// is known does not change any more.
	if c.records < uint32(cfg.MinRecords) {
		c.records++
	}
	c.narrow(r)
	if c.addr[0] == c.addr[1] {
		c.addr[1] = flow.Addr{}
	}
	if !c.addr[0].IsValid() {
		*c = candidates{state: learnForward}
		return
	}
	if c.state == learnOwned {
		return
	}
	c.meet(src)
	c.meet(dst)
	if !c.addr[1].IsValid() && c.records >= uint32(cfg.MinRecords) && (c.told || c.count() >= cfg.MinPeers) {
		c.state = learnOwned
		c.peers = [maxPeers]flow.Addr{}
	}
}

// narrow drops the candidates that a record rules out.
func (c *candidates) narrow(r *flow.Record) {
	src, dst := r.Src.Addr, r.Dst.Addr
	// AWS writes the primary address over another one: where plain and pkt-
	// differ, the plain one is the interface's, whatever else it forwards.
	if r.PktSrc.IsValid() && r.PktSrc != src {
		c.keep(src, flow.Addr{})
		c.told = true
	}
	if r.PktDst.IsValid() && r.PktDst != dst {
		c.keep(dst, flow.Addr{})
		c.told = true
	}
	c.keep(src, dst)
	// flow-direction is metadata that AWS calls best effort: it may choose
	// between two candidates, but not take the last one.
	if r.Direction != flow.DirectionUnknown && c.addr[0].IsValid() && c.addr[1].IsValid() {
		if r.Direction == flow.Egress {
			c.keep(src, flow.Addr{})
		} else {
			c.keep(dst, flow.Addr{})
		}
		c.told = true
	}
}

// keep drops the candidates that are neither a nor b.
func (c *candidates) keep(a, b flow.Addr) {
	for k := 1; k >= 0; k-- {
		if x := c.addr[k]; x.IsValid() && x != a && x != b {
			c.addr[k] = flow.Addr{}
		}
	}
	if !c.addr[0].IsValid() {
		c.addr[0], c.addr[1] = c.addr[1], flow.Addr{}
	}
}

// meet remembers an address as a peer. Both first addresses are remembered, so
// one of the four places may hold the own address; count knows.
func (c *candidates) meet(a flow.Addr) {
	for k := range c.peers {
		if c.peers[k] == a {
			return
		}
		if !c.peers[k].IsValid() && (a != c.addr[0] || c.addr[1].IsValid()) {
			c.peers[k] = a
			return
		}
	}
}

// count returns the number of peers, the sole candidate itself apart.
func (c *candidates) count() (n int) {
	for _, p := range c.peers {
		if p.IsValid() && p != c.addr[0] {
			n++
		}
	}
	return n
}
