package flowlog

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/flow/packed"
)

// insert makes room for an interface, forgetting the one unseen for longest
// when there are too many, and returns its place, not linked yet.
func (o *Owners) insert(id string) int32 {
	i := int32(len(o.list))
	if len(o.list) >= o.cfg.MaxInterfaces {
		i = o.tail
		o.unlink(i)
		old := &o.list[i]
		for f := range old.fam {
			if old.fam[f].state == learnOwned {
				o.release(old.fam[f].addr[0])
			}
		}
		delete(o.index, old.id)
		o.forgotten = append(o.forgotten, old.id)
	} else {
		o.list = append(o.list, owner{})
	}
	id = strings.Clone(id)
	// A place that Changes has to tell of stays on its list.
	o.list[i] = owner{id: id, prev: -1, next: -1, dirty: o.list[i].dirty}
	o.index[id] = i
	return i
}

// touch moves an interface to the head, once in an hour of event time: each
// move is a change. Records lie within some minutes of each other, so that an
// earlier hour is no news unless it is far earlier.
func (o *Owners) touch(i int32, at flow.Time) {
	const hour = 3600 // seconds
	e, now := &o.list[i], int64(at)/hour
	if e.moved > 0 && (now == e.hour || now == e.hour-1) {
		return
	}
	o.moves++
	e.moved, e.hour = o.moves, now
	o.lead(i)
	o.change(i)
}

// lead makes an interface the head of the list.
func (o *Owners) lead(i int32) {
	if o.head == i {
		return
	}
	o.unlink(i)
	o.list[i].next, o.list[i].prev = o.head, -1
	if o.head >= 0 {
		o.list[o.head].prev = i
	}
	o.head = i
	if o.tail < 0 {
		o.tail = i
	}
}

func (o *Owners) unlink(i int32) {
	e := &o.list[i]
	if e.prev >= 0 {
		o.list[e.prev].next = e.next
	} else if o.head == i {
		o.head = e.next
	}
	if e.next >= 0 {
		o.list[e.next].prev = e.prev
	} else if o.tail == i {
		o.tail = e.prev
	}
	e.prev, e.next = -1, -1
}

// ownersVersion is the first byte of an interface's state.
const ownersVersion = 1

// OwnerState is what [Owners] knows of one interface.
type OwnerState struct {
	Interface string
	State     []byte
}

// Changes calls f for every interface of which something else is known than at
// the last call, with a nil State for one that was forgotten. The bytes are
// valid during the call only. All that was told since the beginning, the last
// word on each interface, is what [Owners.Restore] takes.
func (o *Owners) Changes(f func(OwnerState)) {
	for _, id := range o.forgotten {
		if _, again := o.index[id]; !again {
			f(OwnerState{Interface: id})
		}
	}
	var b []byte
	for _, i := range o.changed {
		e := &o.list[i]
		e.dirty = false
		b = e.append(b[:0])
		f(OwnerState{Interface: e.id, State: b})
	}
	o.changed, o.forgotten = o.changed[:0], o.forgotten[:0]
}

// change puts an interface on the list of those that Changes tells of.
func (o *Owners) change(i int32) {
	if e := &o.list[i]; !e.dirty {
		e.dirty = true
		o.changed = append(o.changed, i)
	}
}

func (e *owner) append(b []byte) []byte {
	b = append(b, ownersVersion)
	b = packed.AppendUint(b, e.moved)
	b = packed.AppendVarint(b, e.hour)
	for f := range e.fam {
		b = e.fam[f].append(b)
	}
	return b
}

func (c *candidates) append(b []byte) []byte {
	n := 0
	for n < maxPeers && c.peers[n].IsValid() {
		n++
	}
	mask := byte(c.state) | byte(n)<<2
	if c.told {
		mask |= 1 << 5
	}
	for k, a := range c.addr {
		if a.IsValid() {
			mask |= 1 << (6 + k)
		}
	}
	b = append(b, mask)
	b = packed.AppendUint(b, uint64(c.records))
	for _, a := range c.addr {
		if a.IsValid() {
			b = append(b, a[:]...)
		}
	}
	for _, a := range c.peers[:n] {
		b = append(b, a[:]...)
	}
	return b
}

// Restore replaces what is known by the states, in any order. On an error nothing
// is known. Where the bound on interfaces has become smaller, those used last are
// kept, and the next Changes tells of the others.
func (o *Owners) Restore(states []OwnerState) error {
	o.clear()
	list := make([]owner, len(states))
	for i, s := range states {
		e := &list[i]
		e.id = s.Interface
		if !e.read(s.State) {
			return fmt.Errorf("flowlog: what was learned of interface %q is damaged or of another version", s.Interface)
		}
	}
	slices.SortFunc(list, func(a, b owner) int {
		return cmp.Or(cmp.Compare(a.moved, b.moved), cmp.Compare(a.id, b.id))
	})
	for k := range list {
		e := &list[k]
		if _, twice := o.index[e.id]; twice || e.id == "" {
			o.clear()
			return fmt.Errorf("flowlog: interface %q is told of twice, or has no name", e.id)
		}
		i := o.insert(e.id)
		o.list[i].fam, o.list[i].moved, o.list[i].hour = e.fam, e.moved, e.hour
		o.lead(i)
		o.moves = e.moved
		for f := range e.fam {
			if e.fam[f].state == learnOwned {
				o.claim(e.fam[f].addr[0])
			}
		}
	}
	return nil
}

// read reads what append wrote.
func (e *owner) read(b []byte) bool {
	r := packed.Over(b)
	version := r.Byte()
	e.moved, e.hour = r.Uint(math.MaxUint64), r.Varint()
	for f := range e.fam {
		e.fam[f].read(&r)
	}
	return version == ownersVersion && r.Complete()
}

func (c *candidates) read(r *packed.Reader) {
	mask := r.Byte()
	c.state, c.told = learning(mask&3), mask&(1<<5) != 0
	c.records = uint32(r.Uint(math.MaxUint32))
	for k := range c.addr {
		if mask&(1<<(6+k)) != 0 {
			c.addr[k] = readAddr(r)
		}
	}
	n := int(mask >> 2 & 7)
	if n > maxPeers || c.state > learnForward || (c.state == learnOwned && !c.addr[0].IsValid()) {
		r.Fail()
		return
	}
	for k := range n {
		c.peers[k] = readAddr(r)
	}
}

// readAddr reads an address, which must be one.
func readAddr(r *packed.Reader) (a flow.Addr) {
	copy(a[:], r.Take(16))
	if !a.IsValid() {
		r.Fail()
	}
	return a
}

// nets finds the most specific of some networks: one map a prefix length, the
// longest first.
type nets struct {
	bits []int // in the 16-byte form, descending
	own  map[netip.Prefix]bool
}

func (n *nets) add(list []netip.Prefix, own bool) error {
	if n.own == nil {
		n.own = make(map[netip.Prefix]bool)
	}
	for _, p := range list {
		if !p.IsValid() {
			return errors.New("flowlog: owners: a network is not valid; write it like 10.0.0.0/8")
		}
		p = mapped(p)
		if was, ok := n.own[p]; ok && was != own {
			return fmt.Errorf("flowlog: owners: %s is given as ours and as foreign", p)
		}
		n.own[p] = own
		at := 0
		for at < len(n.bits) && n.bits[at] > p.Bits() {
			at++
		}
		if at == len(n.bits) || n.bits[at] != p.Bits() {
			n.bits = append(n.bits[:at], append([]int{p.Bits()}, n.bits[at:]...)...)
		}
	}
	return nil
}

// mapped returns p over IPv4-mapped addresses, the form of [flow.Addr].
func mapped(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4() {
		return netip.PrefixFrom(netip.AddrFrom16(p.Addr().As16()), p.Bits()+96).Masked()
	}
	return p.Masked()
}

func (n *nets) lookup(a flow.Addr) (own, ok bool) {
	if len(n.bits) == 0 || !a.IsValid() {
		return false, false
	}
	ip := netip.AddrFrom16(a)
	for _, bits := range n.bits {
		if p, err := ip.Prefix(bits); err == nil {
			if own, ok := n.own[p]; ok {
				return own, true
			}
		}
	}
	return false, false
}
