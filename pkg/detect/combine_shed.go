package detect

import "github.com/flowstitch/flowstitch/pkg/flow"

// floodKey is an address in a pane. A map by accKey would hash its text, too.
type floodKey struct {
	pane  flow.Time
	addr  flow.Addr
	scope uint16
}

// shed forgets, of the given sums, those of clients that a flood consists of:
// not ours, few sessions, and all of them to addresses that more clients than
// FloodClients asked for in that pane. The address itself keeps a sample and a
// sketch of them.
func (c *Combiner) shed(all []*acc) {
	flooded := map[floodKey]bool{}
	for _, a := range all {
		if a.key.entity.Kind != KindHost || a.final == nil && int(a.n) <= c.set.FloodClients {
			continue // a fact brings one client at most
		}
		if p := c.final(a); p.CallersCount() > int64(c.set.FloodClients) {
			flooded[floodKey{a.key.pane, a.key.entity.Addr, a.key.entity.Scope}] = true
		}
	}
	if len(flooded) == 0 {
		return
	}
	for _, a := range all {
		if c.floodClient(a, flooded) {
			c.forget(a)
			c.stats.Shed++
		}
	}
}

// floodSessions is below how many sessions in a pane a client of a flooded
// address is one of many: fewer than two retries of one probe.
const floodSessions = 8

// fewFacts is up to how many facts are judged one by one, which is cheaper than
// to add them up first: most of what a flood consists of is one.
const fewFacts = 2 * floodSessions

func (c *Combiner) floodClient(a *acc, flooded map[floodKey]bool) bool {
	if a.key.entity.Kind != KindHost {
		return false
	}
	at := floodKey{pane: a.key.pane, scope: a.key.entity.Scope}
	if a.final == nil && a.n <= fewFacts {
		return a.floodFacts(at, flooded)
	}
	p := c.final(a)
	if p.Owned || p.Client.Sessions >= floodSessions || p.Server.Sessions > 0 {
		return false
	}
	rows := p.Set(Contact)
	if rows.Len() == 0 {
		return false
	}
	for _, r := range rows.rows {
		if at.addr = r.Key.Peer; !flooded[at] {
			return false
		}
	}
	return true
}

// floodFacts is floodClient of sums that are facts as yet.
func (a *acc) floodFacts(at floodKey, flooded map[floodKey]bool) bool {
	for f := a.facts[asServer]; f != nil; f = f.next[asServer] {
		if f.ref != nil || f.has(ownServer) {
			return false
		}
	}
	sessions, asked := 0, false
	for f := a.facts[asClient]; f != nil; f = f.next[asClient] {
		if f.has(ownClient) {
			return false
		}
		if f.ref != nil {
			sessions++
		}
		if f.has(isOver) {
			continue
		}
		if at.addr = f.server; !flooded[at] {
			return false
		}
		asked = true
	}
	return asked && sessions < floodSessions
}
