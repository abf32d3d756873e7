package detect

// note is what an early sum of a client would get from one event. Most clients
// have a session or two in a pane and never weigh enough for their early sum to
// be sent: a note instead of a part, a set and its rows takes a quarter of the
// room, and there is less to take apart again (docs/performance.md).
type note struct {
	key                    RowKey
	clientOurs, serverOurs bool
	c                      Counts
	ref                    *evidence // nil: it opened no session
	place                  []byte
	next                   *note
}

// maxNotes bounds the notes of a client: events that open no session weigh
// nothing.
const maxNotes = earlyWeight

// jot notes an early event of a client if its early sum stays light with it,
// and reports whether it did. An address whose sum was sent before will be sent
// again.
func (c *Combiner) jot(a *acc, v *view, w int64) bool {
	if a.early != nil || a.sent != 0 || a.weight+w >= earlyWeight || isLeftover(v.Event) || v.set.isLogin(v.Key.Protocol, v.Server.Port) {
		return false
	}
	n := 0
	for x := a.light; x != nil; x = x.next {
		n++
	}
	if n == maxNotes {
		return false
	}
	x := c.mem.note()
	x.key = RowKey{Peer: v.Server.Addr, Port: v.Server.Port, Protocol: v.Key.Protocol}
	x.clientOurs, x.serverOurs = v.clientOurs, v.serverOurs
	x.c, x.place = v.c, v.placeOf(true)
	if v.opened() {
		x.ref = v.evidence(&c.mem)
		x.ref.rows++
	}
	x.next, a.light = a.light, x
	return true
}

// part returns a sum of a to add to.
func (c *Combiner) part(a *acc, final bool) *Part {
	if final {
		return a.part(true, &c.mem)
	}
	return c.early(a)
}

// early returns the early sum of a to add to, with what was noted of it.
func (c *Combiner) early(a *acc) *Part {
	p := a.part(false, &c.mem)
	if a.light != nil {
		a.light.all(p)
		c.mem.freeNotes(a.light)
		a.light = nil
	}
	return p
}

// all adds a list of notes to a part.
func (n *note) all(p *Part) {
	for ; n != nil; n = n.next {
		n.addTo(p)
	}
}

// addTo does what addClient does early for an attempt at no login service.
func (n *note) addTo(p *Part) {
	p.Owned = p.Owned || n.clientOurs
	p.Client.Add(&n.c)
	p.isAt(n.place)
	r := n.row(p, Contact)
	r.Ours = r.Ours || n.serverOurs
	if n.clientOurs && !n.serverOurs {
		n.row(p, Pair)
	}
}

func (n *note) row(p *Part, f Family) *Row {
	r := p.rows(f).Row(n.key) // never nil: what notes become has few rows
	r.Counts.Add(&n.c)
	if n.ref != nil {
		r.refer(n.ref, p.mem)
	}
	return r
}
