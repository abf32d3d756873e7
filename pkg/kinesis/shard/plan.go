package shard

import (
	"fmt"
	"slices"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// View is what a plan is made from.
type View struct {
	// Names are the configured streams.
	Names []string
	// Listings are the complete listings by configured name; one is missing
	// until its stream has been listed.
	Listings map[string]*Listing
	// Unlisted tells since when, in wall milliseconds, a stream could not be
	// listed, whether or not it was listed before; one that could be is missing.
	Unlisted map[string]int64
	// Ledger holds all slots' checkpoints. It must have been read to the end
	// that the ledger topic had when the slot was taken.
	Ledger *Ledger
	// Start is where a group begins that has no checkpoint of a stream: 0 for
	// the oldest record, else a wall time in milliseconds.
	Start int64
	// Now is the wall time in milliseconds.
	Now int64
}

// Gap is a stretch of event time for which a shard's silence means nothing.
type Gap struct {
	Key
	From, To flow.Time
	Reason   string
}

// Change is what a plan changed.
type Change struct {
	Taken []Key // to be read from now on, once the transaction has committed
	Lost  []Key // gone before they were read to the end
	Gaps  []Gap
}

// Plan takes the shards that may start, finds those whose records are gone,
// gives up those that cannot be read and forgets what nobody needs any more.
// The changes are in the table; [Table.Saves] gives them for the ledger.
func (t *Table) Plan(v View) Change {
	var ch Change
	for _, name := range v.Names {
		if l := v.Listings[name]; l != nil && !t.superseded(v, l) {
			t.lose(v, l, &ch)
			t.take(v, l, &ch)
			t.trimmed(v, l, &ch)
			t.forget(v, l)
		}
	}
	t.giveUp(v, &ch)
	t.giveUpListing(v, &ch)
	return ch
}

// superseded reports whether anybody has begun to read a later incarnation of the
// stream than the listing shows.
func (t *Table) superseded(v View, l *Listing) bool {
	newer := func(k Key) bool { return sameName(k.Stream, l.Name) && later(k.Stream, l.Stream) }
	for k := range v.Ledger.m {
		if newer(k) {
			return true
		}
	}
	return slices.ContainsFunc(t.keys, newer)
}

// lookup prefers the slot's own table, which is never behind.
func (t *Table) lookup(v View, k Key) (Checkpoint, bool) {
	if e, ok := t.own[k]; ok {
		return e.Checkpoint, true
	}
	return v.Ledger.Get(k)
}

// take starts every shard of this slot whose parents have all ended.
func (t *Table) take(v View, l *Listing, ch *Change) {
	for i := range l.Shards {
		s := &l.Shards[i]
		k := Key{l.Stream, s.ID}
		if _, mine := t.own[k]; mine || SlotOf(k, t.slots) != t.slot {
			continue
		}
		floor, ready := t.parents(v, l, s)
		if !ready {
			continue
		}
		start, known := v.Ledger.start(l.Stream)
		if mineStart, ok := t.start(l.Stream); ok && (!known || mineStart < start) {
			start, known = mineStart, true
		}
		if !known {
			start = v.Start
		}
		e := t.put(Checkpoint{Key: k, State: Reading, Start: start, Floor: floor, Parents: slices.Clone(s.Parents), Lo: s.Lo, Hi: s.Hi})
		e.dirty = true
		ch.Taken = append(ch.Taken, k)
	}
}

func (t *Table) start(stream string) (at int64, ok bool) {
	for k, e := range t.own {
		if k.Stream == stream && (!ok || e.Start < at) {
			at, ok = e.Start, true
		}
	}
	return at, ok
}

// parents returns the clock that a shard inherits and whether it may start: a
// parent that is listed, or that anybody has begun, must have ended.
func (t *Table) parents(v View, l *Listing, s *Shard) (floor flow.Time, ready bool) {
	floor = flow.MaxTime
	for _, id := range s.Parents {
		_, listed := l.Get(id)
		c, begun := t.lookup(v, Key{l.Stream, id})
		switch {
		case begun && !c.Done(), listed && !begun:
			return 0, false
		case begun:
			floor = min(floor, c.Clock(t.policy))
		}
	}
	if floor == flow.MaxTime {
		floor = flow.MinTime
	}
	return floor, true
}

// lose ends the shards that are no longer listed, or whose stream was deleted
// and made again: what they still had is gone. A listing from before the shard,
// such as a pod has that takes over what another has begun, says nothing of it.
func (t *Table) lose(v View, l *Listing, ch *Change) {
	for _, k := range t.keys {
		e := t.own[k]
		if e.State != Reading || !sameName(k.Stream, l.Name) || !l.outlived(&e.Checkpoint) {
			continue
		}
		e.State, e.dirty = Lost, true
		ch.Lost = append(ch.Lost, k)
		to := flow.Time(v.Now / 1000)
		if k.Stream == l.Stream && l.Retention > 0 {
			to = to.Add(-l.Retention / 1000)
		}
		t.gap(ch, e, to, "the shard was gone before it was read to its end")
	}
}

// IncarnationOf returns the name of one incarnation of a stream.
func IncarnationOf(name string, created int64) string { return fmt.Sprintf("%s@%d", name, created) }

func sameName(incarnation, name string) bool {
	return len(incarnation) > len(name) && incarnation[:len(name)] == name && incarnation[len(name)] == '@'
}

// trimStep is by how much, in milliseconds, a growing gap of trimmed records
// must grow before it is told again.
const trimStep = 10 * 60 * 1000

// trimmed raises a gap for what the stream's retention took before it was read.
func (t *Table) trimmed(v View, l *Listing, ch *Change) {
	if l.Retention == 0 {
		return
	}
	horizon := v.Now - l.Retention
	for _, k := range t.keys {
		e := t.own[k]
		if k.Stream != l.Stream || e.State != Reading || e.Arrival == 0 {
			continue
		}
		read := e.Arrival
		if e.restored > 0 {
			read, e.restored = e.restored, 0
		}
		told := max(read, e.GapTo)
		if horizon <= told {
			continue
		}
		if e.GapTo > 0 && horizon-told < trimStep {
			continue
		}
		ch.Gaps = append(ch.Gaps, Gap{Key: k, From: flow.Time(told / 1000), To: flow.Time(horizon / 1000),
			Reason: fmt.Sprintf("the checkpoint is %d s older than the stream's retention", (horizon-told)/1000)})
		e.GapTo, e.dirty = horizon, true
	}
}

func (t *Table) gap(ch *Change, e *entry, to flow.Time, reason string) {
	from := max(e.Clock(t.policy), flow.Time(max(e.GapTo, e.Start)/1000))
	if to > from {
		ch.Gaps = append(ch.Gaps, Gap{Key: e.Key, From: from, To: to, Reason: reason})
		e.GapTo = int64(to) * 1000
	}
}

// giveUp releases the clock from shards that could not be read for too long.
func (t *Table) giveUp(v View, ch *Change) {
	for _, k := range t.keys {
		e := t.own[k]
		late := t.policy.StuckAfter > 0 && e.failing > 0 && v.Now-e.failing >= t.policy.StuckAfter
		if e.State != Reading || !late {
			continue
		}
		if !e.Stuck || v.Now-e.GapTo >= t.policy.StuckAfter {
			t.gap(ch, e, flow.Time(v.Now/1000), "the shard could not be read and no longer holds the clock")
			e.dirty = true
		}
		e.Stuck = true
	}
}

// unlistable reports whether a stream could not be listed for so long that it is
// given up, as a shard that could not be read is.
func (t *Table) unlistable(v View, name string) bool {
	since := v.Unlisted[name]
	return t.policy.StuckAfter > 0 && since > 0 && v.Now-since >= t.policy.StuckAfter
}

// giveUpListing tells of a stream that could not be listed for too long. Every
// slot sees that; one of them, by the stream's name, tells it, again and again.
func (t *Table) giveUpListing(v View, ch *Change) {
	for _, name := range v.Names {
		k := Key{Stream: name}
		if SlotOf(k, t.slots) != t.slot {
			continue
		}
		if !t.unlistable(v, name) {
			delete(t.untold, name)
			continue
		}
		from, again := t.untold[name]
		if !again {
			from = v.Unlisted[name]
		}
		if again && v.Now-from < t.policy.StuckAfter {
			continue
		}
		t.untold[name] = v.Now
		ch.Gaps = append(ch.Gaps, Gap{Key: k, From: flow.Time(from / 1000), To: flow.Time(v.Now / 1000),
			Reason: "the stream's shards could not be listed; what it holds no longer holds the clock"})
	}
}

// forget deletes the ended shards that are no longer listed and hold nothing.
func (t *Table) forget(v View, l *Listing) {
	keep := t.keys[:0]
	for _, k := range t.keys {
		e := t.own[k]
		gone := sameName(k.Stream, l.Name) && l.outlived(&e.Checkpoint)
		if e.Done() && !e.dirty && gone && !t.holds(v, l, &e.Checkpoint) {
			delete(t.own, k)
			t.forgotten = append(t.forgotten, k)
			continue
		}
		keep = append(keep, k)
	}
	t.keys = keep
}

// holds reports whether a shard that is done still holds its slot's clock:
// until every child has been taken over by its owner.
func (t *Table) holds(v View, l *Listing, e *Checkpoint) bool {
	s, listed := l.Get(e.Shard)
	if e.Stream != l.Stream || !listed && !l.outlived(e) {
		return !l.outlived(e)
	}
	children := l.kids[e.Shard]
	for _, c := range children {
		if _, taken := t.lookup(v, Key{l.Stream, c.ID}); !taken {
			return !t.blocked(v, l, c)
		}
	}
	if listed {
		return !covered(s, children)
	}
	// The shard and perhaps whole generations after it are gone. What is left
	// of its range begins with the oldest shards that are still listed.
	gone := Shard{Lo: e.Lo, Hi: e.Hi}
	for i := range l.Shards {
		c := &l.Shards[i]
		if !l.oldest(c) || !c.overlaps(&gone) {
			continue
		}
		if _, taken := t.lookup(v, Key{l.Stream, c.ID}); !taken {
			return true
		}
	}
	return false
}

// blocked reports whether a shard waits for a parent that was given up: then
// the other parent must not hold the clock for it either.
func (t *Table) blocked(v View, l *Listing, s *Shard) bool {
	return slices.ContainsFunc(s.Parents, func(p string) bool {
		c, ok := t.lookup(v, Key{l.Stream, p})
		return ok && c.Stuck && !c.Done()
	})
}

// Watermark returns the slot's watermark: the minimum over its shards. It does
// not exist (ok is false) before every stream has been listed or given up, or
// before each shard has a clock. A slot without a shard to wait for is idle.
func (t *Table) Watermark(v View) (w flow.Time, idle, ok bool) {
	w = flow.MaxTime
	for _, name := range v.Names {
		if v.Listings[name] == nil && !t.unlistable(v, name) {
			return 0, false, false
		}
	}
	for _, k := range t.keys {
		if e := t.own[k]; t.counts(v, &e.Checkpoint) {
			w = min(w, e.Clock(t.policy))
		}
	}
	return w, w == flow.MaxTime, w != flow.MinTime
}

// counts reports whether a shard of any slot holds the clock: it is being read,
// or it has ended and its children have not been taken over yet. A stream that
// is not configured any more holds nothing, and neither does the end of a shard
// whose children can not be listed, by policy.
func (t *Table) counts(v View, c *Checkpoint) bool {
	i := slices.IndexFunc(v.Names, func(name string) bool { return sameName(c.Stream, name) })
	if i < 0 {
		return false
	}
	name := v.Names[i]
	l := v.Listings[name]
	if !c.Done() {
		return !c.Stuck && (l == nil || l.Stream == c.Stream || !l.outlived(c))
	}
	return l != nil && !t.unlistable(v, name) && t.holds(v, l, c)
}

// Slowest returns how far the shard has been read that has been read least far,
// by arrival in Unix milliseconds, among those of all slots that are being read,
// and whether there is one. It is measured by arrival and not by clocks: the
// clock of a shard that is idle at its tip stays MaxDelay behind, that of a busy
// one may be at the tip, and neither has to wait for the other. A shard that was
// never read does not count: it would stop all others before its own first read.
// Nor does one that has ended, though it holds the clock for its child: the child
// may be waiting for another parent, which then must not wait.
func (t *Table) Slowest(v View) (arrival int64, ok bool) {
	count := func(c *Checkpoint) {
		if c.Arrival > 0 && !c.Done() && (!ok || c.Arrival < arrival) && t.counts(v, c) {
			arrival, ok = c.Arrival, true
		}
	}
	for k, c := range v.Ledger.m {
		if _, mine := t.own[k]; !mine {
			count(&c)
		}
	}
	for _, e := range t.own {
		count(&e.Checkpoint)
	}
	return arrival, ok
}

// Ahead reports whether a shard has come so far ahead of the slowest that
// [Table.Pause] may pause it.
func (t *Table) Ahead(k Key, slowest int64) bool { return t.leads(k, slowest, t.policy.MaxSkew) }

func (t *Table) leads(k Key, slowest, seconds int64) bool {
	return t.own[k].Arrival-slowest > seconds*1000
}

// Pause decides whether a shard is so far ahead of the slowest that reading on
// would only fill memory downstream. A paused shard goes on when half of the
// lead is gone, so that it does not stop and start with every record.
func (t *Table) Pause(k Key, slowest int64) bool {
	e := t.own[k]
	lead := t.policy.MaxSkew
	if e.paused {
		lead /= 2
	}
	e.paused = t.leads(k, slowest, lead)
	return e.paused
}
