package detect

import (
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/session"
)

// Sink takes observations.
type Sink interface {
	// Observe takes one; it is valid during the call only.
	Observe(o *Observation)
	// Full asks Advance to return at the next point where it can be resumed.
	Full() bool
}

// Tap looks at session events beside the combiner's own families and names
// the rows that they add to: a user's rule counts what it likes that way.
type Tap interface {
	// Tap calls add for each (entity, row of family Custom) that e counts
	// for. It depends on nothing but e.
	Tap(e *session.Event, add func(Entity, RowKey))
}

// Combiner adds session events up per entity and pane: the state of one bucket
// of the combine stage. It is a deterministic function of the calls made on it.
type Combiner struct {
	set    *Settings
	taps   []Tap
	clock  flow.Time
	wall   int64
	panes  paneSums
	mem    memory
	obs    Observation // the one being sent
	view   view        // of the event being folded
	facts  int         // held for final sums
	places places      // what points encode to: no state
	ready  []accKey    // have passed the early weight, in the order in which they did
	due    []*acc      // of panes that have passed, or did
	sent   int         // how many of due are done with; the rest waits for another Advance
	finals bool        // no early sums: see FinalOnly
	stats  CombineStats
}

// CombineStats counts what a combiner did since it was made; it is no state.
type CombineStats struct {
	Events, Observations, Early int64
	Shed                        int64 // clients seen once at a flooded address, known by its sketch only
	Relieved                    int64 // times the bound on entities forced all sums out
	Allowed                     int64 // events that an exception took out
	Late                        int64 // events counted into a later pane: their own had passed
}

type accKey struct {
	pane   flow.Time
	entity Entity
}

// Early weights: an entity's early sums are sent when their weight reaches
// earlyWeight. A login attempt weighs all of it, because ten of them are spread
// over all combiners and must be seen within a minute; any other session one,
// each mebibyte one.
const (
	earlyWeight = 4
	// earlyBatch is how many early observations a tick sends. It bounds what one
	// mark adds to a transaction, to about a megabyte. Ticks come with the commits
	// of the stage before, four a second, and every busy address is due each
	// EarlyHold: with a quarter of this, alerts at 150,000 flows a second waited
	// 5 s in the queue of 10,000 sources.
	earlyBatch = 1024
)

// NewCombiner returns an empty combiner. It keeps set.
func NewCombiner(set *Settings, taps ...Tap) *Combiner {
	return &Combiner{set: set, taps: taps, clock: flow.MinTime, panes: newPaneSums(), places: places{}}
}

// FinalOnly makes an empty c keep no early sums, which are half of its work. It
// is for readers of files, where nothing is told before it is certain: they call
// no Tick, so early sums would be added up to be thrown away.
func (c *Combiner) FinalOnly() { c.finals = true }

// Stats returns the counters.
func (c *Combiner) Stats() CombineStats { return c.stats }

// Entities is how many (entity, pane) sums are held.
func (c *Combiner) Entities() int { return c.panes.n + len(c.due) - c.sent }

// Fold adds one session event, which lies at the given position of `sessions`.
func (c *Combiner) Fold(e *session.Event, partition int32, offset int64, out Sink) {
	c.stats.Events++
	if e.Kind == session.KindGap {
		c.foldGap(e)
		return
	}
	if c.set.allowedSession(e) {
		c.stats.Allowed++
		return
	}
	v := &c.view
	*v = view{set: c.set, places: c.places}
	v.clientOurs = c.set.isOurs(e.Client.Addr, e.Owned&flow.OwnSrc != 0)
	v.serverOurs = c.set.isOurs(e.Server.Addr, e.Owned&flow.OwnDst != 0)
	if isReversed(e, v.clientOurs, v.serverOurs) {
		e, v.reversed = reverse(e), true
		v.clientOurs, v.serverOurs = v.serverOurs, v.clientOurs
	}
	v.Event = e
	start := e.DeltaFirst
	if start == 0 {
		start = e.First
	}
	if v.pane = start.Floor(c.set.Pane); c.clock != flow.MinTime && v.pane < c.clock.Floor(c.set.Pane) && c.clock != flow.MaxTime {
		v.pane = c.clock.Floor(c.set.Pane)
		c.stats.Late++
	}
	c.contribute(v, partition, offset)
	v.done(&c.mem)
	if c.facts > factsEach*c.set.CombineEntities {
		c.settle()
	}
	if c.panes.n > c.set.CombineEntities {
		c.relieve(out)
	}
}

// contribute adds an event to everything that it is about, in each view.
func (c *Combiner) contribute(v *view, partition int32, offset int64) {
	v.begin()
	var b *acc
	a := c.acc(v.pane, Host(v.Key.Scope, v.Client.Addr))
	if v.serverOurs || !v.clientOurs {
		b = c.acc(v.pane, Host(v.Key.Scope, v.Server.Addr))
	}
	if !c.finals {
		v.look(false, partition, offset, &c.mem)
		c.addEarly(v, a, b)
		c.tap(v)
	}
	if v.Kind.Final() {
		v.look(true, partition, offset, &c.mem)
		c.addFinal(v, a, b)
		c.tap(v)
	}
}

// addEarly adds the early view of an event to its client and its server.
func (c *Combiner) addEarly(v *view, client, server *acc) {
	w := v.weight()
	if f := &v.fact; c.jot(client, f, w) {
		client.weight += w
	} else {
		p := c.early(client)
		f.addClient(p)
		if f.has(isOver) && f.has(isSilent) && f.has(ownClient) {
			f.addUnasked(p, v.InDelta.RejectPackets, v.InDelta.RejectBytes)
		}
		c.weigh(client, w)
	}
	if server != nil {
		v.fact.addServer(c.early(server))
		c.weigh(server, w)
	}
}

// addFinal puts the final view of an event on the lists of its client, its
// server and its service, and adds it to its points.
func (c *Combiner) addFinal(v *view, client, server *acc) {
	f := c.mem.fact(&v.fact)
	c.facts++
	c.keep(client, f, asClient)
	if server != nil {
		c.keep(server, f, asServer)
	}
	if v.serverOurs && outcomeOf(v.Event) == session.OutcomeAnswered && v.Server.Port != 0 && v.Server.Port < ephemeralFrom {
		c.keep(c.acc(v.pane, Service(v.Key.Scope, v.Key.Protocol, v.Server.Port)), f, asService)
	}
	for i := range v.Points {
		p := c.acc(v.pane, Entity{Kind: KindPoint, Name: v.Points[i].ID})
		p.part(true, &c.mem).Client.Add(&v.c)
	}
}

// tap adds a view of an event to what users' rules group it by.
func (c *Combiner) tap(v *view) {
	for _, t := range c.taps {
		t.Tap(v.Event, func(e Entity, k RowKey) {
			a, final := c.acc(v.pane, e), v.fact.has(isFinal)
			p := a.part(final, &c.mem)
			p.Client.Add(&v.c)
			p.isAt(v.clientAt)
			v.fact.add(p, Custom, k, &v.c)
			if !final {
				c.weigh(a, v.weight())
			}
		})
	}
}

// weight is what an event adds to the urgency of its entities' early sums.
func (v *view) weight() int64 {
	w := max(v.c.BytesOut+v.c.BytesIn, 0) >> 20
	switch {
	case !v.opened():
		return w
	case v.fact.has(isLogin):
		return w + earlyWeight
	}
	return w + 1
}

func (c *Combiner) foldGap(e *session.Event) {
	if e.Gap == nil || e.Gap.Point.ID == "" {
		return
	}
	pane := e.Gap.Start.Floor(c.set.Pane)
	if c.clock != flow.MinTime && c.clock != flow.MaxTime {
		pane = max(pane, c.clock.Floor(c.set.Pane))
	}
	p := c.acc(pane, Entity{Kind: KindPoint, Name: e.Gap.Point.ID}).part(true, &c.mem)
	p.Skipped += max(int64(e.Gap.End-e.Gap.Start), 1)
	p.Server.Add(&Counts{First: e.Gap.Start, Last: e.Gap.End})
}

func (c *Combiner) acc(pane flow.Time, e Entity) *acc { return c.panes.acc(pane, &e) }

func (c *Combiner) weigh(a *acc, w int64) {
	if a.weight += w; a.weight >= earlyWeight && !a.queued {
		a.queued = true
		c.ready = append(c.ready, a.key)
	}
}

// Tick sends the early sums that are due at wall, in Unix milliseconds.
func (c *Combiner) Tick(wall int64, out Sink) {
	c.wall = max(c.wall, wall)
	keep, sent := c.ready[:0], 0
	for _, k := range c.ready {
		a := c.panes.find(k)
		switch {
		case a == nil || !a.queued: // its pane has passed
		case sent >= earlyBatch || a.sent != 0 && c.wall-a.sent < c.set.EarlyHold:
			keep = append(keep, k)
		default:
			c.obs = Observation{Entity: k.entity, Pane: k.pane, Early: a.early}
			out.Observe(&c.obs)
			c.mem.free(a.early)
			a.early, a.weight, a.queued, a.sent = nil, 0, false, c.wall
			sent++
			c.stats.Early++
		}
	}
	clear(c.ready[len(keep):])
	c.ready = keep
}

// Advance sends the final sums of every pane that ended by clock. It returns
// false when out was full; call it again then with the same clock.
func (c *Combiner) Advance(clock flow.Time, out Sink) (done bool) {
	if clock > c.clock {
		c.clock = clock
	}
	if c.sent == len(c.due) {
		end := clock
		if clock != flow.MaxTime {
			end = clock.Add(-c.set.Pane)
		}
		if c.panes.first > end {
			return true // no pane has passed: the usual case
		}
		c.take(end)
	}
	for ; c.sent < len(c.due); c.sent++ {
		if out.Full() {
			return false
		}
		c.send(c.due[c.sent], out)
	}
	return true
}

// take takes the panes that start at or before end out, in order of their
// keys, to be sent.
func (c *Combiner) take(end flow.Time) {
	c.due, c.sent = c.panes.take(c.due[:0], end), 0
	c.shed(c.due)
}

// send sends a final sum and forgets it.
func (c *Combiner) send(a *acc, out Sink) {
	if p := c.final(a); p != nil && !p.empty() {
		c.obs = Observation{Entity: a.key.entity, Pane: a.key.pane, Final: p}
		out.Observe(&c.obs)
		c.stats.Observations++
	}
	c.forget(a)
	c.panes.give(a)
}

// forget takes back what a sum consists of.
func (c *Combiner) forget(a *acc) {
	c.mem.free(a.early)
	c.mem.free(a.final)
	c.mem.freeFacts(a.light, asClient)
	c.freeFacts(a)
	a.early, a.final, a.light = nil, nil, nil
}

// relieve sends all final sums before their time, because the bound on entities
// was passed: sums add up, so nothing is lost. Of the early sums those that
// are due anyway go with them: it is a flood that fills the bound, and the
// address that it is aimed at must be seen before the pane is over. The others
// are given up: they are provisional, and the final ones are on their way.
func (c *Combiner) relieve(out Sink) {
	c.stats.Relieved++
	c.take(flow.MaxTime)
	for ; c.sent < len(c.due); c.sent++ {
		a := c.due[c.sent]
		if a.early != nil && a.weight >= earlyWeight {
			c.obs = Observation{Entity: a.key.entity, Pane: a.key.pane, Early: a.early}
			out.Observe(&c.obs)
			c.stats.Early++
		}
		c.send(a, out)
	}
}
