package detect

import "github.com/flowstitch/flowstitch/pkg/flow"

// fact is what one session event adds, in one view, to the sums of its client,
// its server and its service. Until a sum is sent it is a list of facts, which
// these three share: one piece of memory for an event instead of parts, sets and
// rows for each of the three, which are made when they are to be sent, one sum
// after the other in memory that stays in the processor's cache
// (docs/performance.md). Sums add up, so the order does not show.
type fact struct {
	client, server       flow.Addr
	packetsOut, bytesOut int64
	packetsIn, bytesIn   int64
	first, last          flow.Time
	ref                  *evidence // nil: it opened no session
	clientAt, serverAt   *placed
	next                 [factRoles]*fact // in the lists of its client, its server and its service
	port                 uint16           // the server's
	protocol             uint8
	counted              uint8 // Sessions to Halfopen of Counts: a bit each, for an event opens one session
	is                   traits
	lists                uint8 // in how many lists it is: the last one gives it back
}

// The roles in which a fact is in the list of a sum.
const (
	asClient = iota
	asServer
	asService
	factRoles
)

// traits are what detectors ask of an event.
type traits uint8

const (
	ownClient traits = 1 << iota
	ownServer
	isLogin  // at a service that asks for a password
	isOver   // see isLeftover
	isSilent // the client sent nothing
	isFinal  // of the final view
)

func (f *fact) has(t traits) bool { return f.is&t != 0 }

// become makes f the event in the view that v has of it.
func (v *view) become(f *fact) {
	c := &v.c
	*f = fact{
		client: v.Client.Addr, server: v.Server.Addr, port: v.Server.Port, protocol: v.Key.Protocol,
		packetsOut: c.PacketsOut, bytesOut: c.BytesOut, packetsIn: c.PacketsIn, bytesIn: c.BytesIn,
		first: c.First, last: c.Last, clientAt: v.clientAt, serverAt: v.serverAt, is: v.is,
	}
	if v.opened() {
		f.ref = v.evidence
	}
	for i, n := range [...]int64{c.Sessions, c.Answered, c.Failed, c.Rejected, c.Bare, c.Errors, c.Halfopen} {
		f.counted |= uint8(n) << i
	}
}

// counts are what the event counts.
func (f *fact) counts() Counts {
	bit := func(i int) int64 { return int64(f.counted >> i & 1) }
	return Counts{
		Sessions: bit(0), Answered: bit(1), Failed: bit(2), Rejected: bit(3), Bare: bit(4), Errors: bit(5), Halfopen: bit(6),
		PacketsOut: f.packetsOut, BytesOut: f.bytesOut, PacketsIn: f.packetsIn, BytesIn: f.bytesIn, First: f.first, Last: f.last,
	}
}

// absorb adds o, which opened nothing and is of the same session otherwise, and
// reports whether it did.
func (f *fact) absorb(o *fact) bool {
	if o.counted != 0 || f.is != o.is || f.server != o.server || f.port != o.port || f.protocol != o.protocol || f.clientAt != o.clientAt {
		return false
	}
	f.packetsOut += o.packetsOut
	f.bytesOut += o.bytesOut
	f.packetsIn += o.packetsIn
	f.bytesIn += o.bytesIn
	if o.first != 0 && (f.first == 0 || o.first < f.first) {
		f.first = o.first
	}
	f.last = max(f.last, o.last)
	return true
}

// sum adds the event to a row's sums.
func (f *fact) sum(p *Part, family Family, k RowKey, c *Counts) *Row {
	r := p.rows(family).Row(k)
	if r == nil {
		return nil
	}
	r.Counts.Add(c)
	r.Ours = r.Ours || family == Caller && f.has(ownClient) || (family == Contact || family == Login) && f.has(ownServer)
	return r
}

// add adds the event to a row, as its evidence too if it is the earliest.
func (f *fact) add(p *Part, family Family, k RowKey, c *Counts) *Row {
	r := f.sum(p, family, k, c)
	if r != nil && f.ref != nil {
		r.refer(f.ref, p.mem)
	}
	return r
}

// addClient adds the event to its client.
func (f *fact) addClient(p *Part) {
	c := f.counts()
	p.Owned = p.Owned || f.has(ownClient)
	p.Client.Add(&c)
	p.isAt(f.clientAt)
	if f.has(isOver) {
		if f.has(isFinal) && f.has(isSilent) && f.has(ownClient) {
			f.addUnasked(p, f.packetsIn, f.bytesIn)
		}
		return // it never asked
	}
	k := RowKey{Peer: f.server, Port: f.port, Protocol: f.protocol}
	f.add(p, Contact, k, &c)
	if f.has(isLogin) {
		if r := f.add(p, Login, k, &c); r != nil && f.ref != nil {
			d := r.details(p.mem)
			d.sizes.Add(f.ref.PacketsOut, 1)
			if c.Answered > 0 {
				d.addBeat(Beat{Start: f.ref.First})
			}
		}
	}
	if f.has(ownClient) && !f.has(ownServer) {
		if r := f.add(p, Pair, k, &c); r != nil && f.ref != nil && f.has(isFinal) {
			r.details(p.mem).addBeat(Beat{f.ref.First, f.ref.BytesOut})
		}
	}
}

// addUnasked counts what came to a host of ours in a session in which it sent
// nothing itself as traffic towards it. By its ports such a session looks like
// an answer, but nobody asked: that is what reflected floods consist of (DNS,
// NTP, LDAP, memcached). While the host's own packets may still arrive, only
// what a security group refused is known to be unasked: it lets answers in.
func (f *fact) addUnasked(p *Part, packets, bytes int64) {
	if packets == 0 {
		return
	}
	p.Server.Add(&Counts{PacketsOut: packets, BytesOut: bytes, First: f.first, Last: f.last})
	p.addCaller(hashAddr(f.server))
}

// addServer adds the event to its server.
func (f *fact) addServer(p *Part) {
	c := f.counts()
	p.Owned = p.Owned || f.has(ownServer)
	p.Server.Add(&c)
	p.isAt(f.serverAt)
	caller := hashAddr(f.client)
	p.addCaller(caller)
	if !f.has(isFinal) || f.has(isOver) {
		return
	}
	if r := f.add(p, Caller, RowKey{Peer: f.client, Protocol: f.protocol}, &c); r != nil && f.ref != nil {
		r.details(p.mem).addToSet(uint64(f.port)<<8 | uint64(f.protocol))
	}
	if r := f.add(p, Served, RowKey{Port: f.port, Protocol: f.protocol}, &c); r != nil && f.ref != nil {
		r.details(p.mem).addToSet(caller)
	}
}

// addService adds the event to its service.
func (f *fact) addService(p *Part) {
	c := f.counts()
	p.Server.Add(&c)
	f.sum(p, Caller, RowKey{Peer: f.client, Protocol: f.protocol}, &c) // nobody asks for its evidence
}
