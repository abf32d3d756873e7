package detect

import (
	"slices"
	"strings"

	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/flow"
)

// AlertSink takes statements; the evaluator keeps no memory of them.
type AlertSink interface {
	Alert(a *alert.Alert)
	// Full asks Advance to return at the next point where it can be resumed.
	Full() bool
}

// Evaluator owns the entities of one bucket of the evaluate stage: their open
// panes, what detectors remember of them, and their findings. It is a
// deterministic function of the calls made on it.
type Evaluator struct {
	set       *Settings
	detectors []Detector
	specs     []Spec
	clock     flow.Time
	entities  map[Entity]*entity
	due       dueHeap
	pool      *Pool
	attacks   [][]alert.Attack // by detector: of its Spec
	blank     []State          // by detector: one that remembers nothing, see unknown
	rep       reporter
	judged    Pane   // the one being judged: detectors take its address, so it must not be a new one each time
	open      []Pane // its Open
	place     []byte // of the part being judged, see Part.isAt
	ended     bool   // the input is over: what never comes again is not silent
	stats     EvaluateStats
}

// EvaluateStats counts what an evaluator did since it was made; it is no state.
type EvaluateStats struct {
	Observations, Late, Evicted, Expired int64
	Created, Updated, Closed, Withdrawn  int64
	Allowed                              int64 // findings that an allow list took back
	Early, Confirmed                     int64
}

// NewEvaluator returns an empty evaluator. It keeps its arguments.
func NewEvaluator(set *Settings, detectors []Detector) *Evaluator {
	return NewPool().Evaluator(set, detectors)
}

// Stats returns the counters.
func (v *Evaluator) Stats() EvaluateStats { return v.stats }

// Entities is how many entities are remembered.
func (v *Evaluator) Entities() int { return len(v.entities) }

// entity is everything that is known of one entity.
type entity struct {
	id       Entity
	owned    bool
	last     flow.Time // end of the last pane
	panes    []pane    // ascending by start
	states   []State   // by detector; nil: none
	findings []*finding
	due      flow.Time // the heap entry that counts
	far      flow.Time // one that is there as well, or flow.MaxTime; see schedule
}

type pane struct {
	start        flow.Time
	early, final *Part
}

// Fold merges one observation and judges early what arrived early. It takes
// over what o consists of: o is good for nothing afterwards.
func (v *Evaluator) Fold(o *Observation, out AlertSink) {
	v.stats.Observations++
	start := o.Pane
	if v.clock != flow.MinTime && start.Add(v.set.Pane) <= v.clock {
		// Its pane is over, which happens only to data that was later than
		// every lateness. It counts into the pane that is open.
		v.stats.Late++
		if v.clock == flow.MaxTime {
			return
		}
		start = v.clock.Floor(v.set.Pane)
	}
	e := v.entity(o.Entity)
	p := e.pane(start)
	if o.Final != nil {
		e.owned = e.owned || o.Final.Owned
		v.merge(&p.final, &o.Final)
	}
	if o.Early != nil {
		v.merge(&p.early, &o.Early)
		p.early.settle()
		v.judgeEarly(e, start, p.early, out)
	}
	v.schedule(e)
	if len(v.entities) > v.set.EvaluateEntities {
		v.evict()
	}
}

// merge adds from to a part, or moves it there. A set is brought to its bound
// only when it is looked at: a sort for each of the many observations of a busy
// server costs more than the few rows beyond the bound.
func (v *Evaluator) merge(into, from **Part) {
	if *into == nil && (*from).mem == &v.pool.mem {
		*into, *from = *from, nil
		return
	}
	if *into == nil {
		*into = v.pool.mem.part()
	}
	(*into).merge(*from)
}

func (v *Evaluator) entity(id Entity) *entity {
	e := v.entities[id]
	if e == nil {
		id.Name = strings.Clone(id.Name)
		e = &entity{id: id, due: flow.MaxTime, far: flow.MaxTime, last: flow.MinTime, states: make([]State, len(v.detectors))}
		v.entities[id] = e
	}
	return e
}

// pane returns the pane that starts at start, which it creates if need be.
func (e *entity) pane(start flow.Time) *pane {
	i := len(e.panes)
	for i > 0 && e.panes[i-1].start > start {
		i--
	}
	if i > 0 && e.panes[i-1].start == start {
		return &e.panes[i-1]
	}
	e.panes = slices.Insert(e.panes, i, pane{start: start})
	return &e.panes[i]
}

func (v *Evaluator) judgeEarly(e *entity, start flow.Time, p *Part, out AlertSink) {
	v.open = v.open[:0]
	for _, x := range e.panes {
		if x.start < start && x.early != nil {
			v.open = append(v.open, Pane{Entity: e.id, Start: x.start, End: x.start.Add(v.set.Pane), Part: x.early, work: &v.pool.work})
		}
	}
	v.judged = Pane{Entity: e.id, Start: start, End: start.Add(v.set.Pane), Part: p, Open: v.open, work: &v.pool.work}
	v.place = p.place
	for i, d := range v.detectors {
		s := e.states[i]
		if s == nil {
			if d = detectorFor(d, e.id); !d.Wants(e.id, p) {
				continue
			}
			s = v.unknown(i, d)
		}
		s.Early(&v.judged, v.reporter(e, i, start, true, out))
	}
}

// unknown returns what a detector remembers of an entity that it knows nothing
// of. Early changes nothing, so one serves all; those of an Override have their own.
func (v *Evaluator) unknown(i int, d Detector) State {
	if _, own := v.detectors[i].(overridden); own {
		return d.New()
	}
	if v.blank == nil {
		v.blank = make([]State, len(v.detectors))
	}
	if v.blank[i] == nil {
		v.blank[i] = d.New()
	}
	return v.blank[i]
}

// Advance moves the clock: panes that ended by clock are judged for good. It
// returns false when out was full; call it again then with the same clock.
func (v *Evaluator) Advance(clock flow.Time, out AlertSink) (done bool) {
	v.ended = v.ended || clock == flow.MaxTime
	for len(v.due) > 0 && (v.due[0].at <= clock) {
		if out.Full() {
			return false
		}
		top := v.due[0]
		e := v.entities[top.id]
		v.due.pop()
		if e != nil && e.far == top.at {
			e.far = flow.MaxTime
		}
		if e == nil || e.due != top.at {
			continue
		}
		v.clock = max(v.clock, top.at)
		e.due = flow.MaxTime
		v.step(e, top.at, out)
	}
	v.clock = max(v.clock, clock)
	return true
}

// step does everything that is due for e at now.
func (v *Evaluator) step(e *entity, now flow.Time, out AlertSink) {
	for len(e.panes) > 0 && e.panes[0].start.Add(v.set.Pane) <= now {
		p := e.panes[0]
		e.panes = slices.Delete(e.panes, 0, 1)
		v.judgeFinal(e, p, out)
	}
	v.place = nil
	for i, s := range e.states {
		if w, ok := s.(Waker); ok && !v.ended && w.Due() <= now {
			w.Wake(now, e.id, v.reporter(e, i, now, false, out))
		}
	}
	v.closeFindings(e, now, out)
	if v.expiry(e) <= now {
		delete(v.entities, e.id)
		v.stats.Expired++
		return
	}
	v.schedule(e)
}

func (v *Evaluator) judgeFinal(e *entity, p pane, out AlertSink) {
	if p.final == nil {
		p.final = v.pool.mem.part()
	}
	p.final.settle()
	p.final.Owned = p.final.Owned || e.owned
	end := p.start.Add(v.set.Pane)
	e.last = max(e.last, end)
	v.judged = Pane{Entity: e.id, Start: p.start, End: end, Part: p.final, work: &v.pool.work}
	v.place = p.final.place
	for i, d := range v.detectors {
		if e.states[i] == nil {
			if d = detectorFor(d, e.id); !d.Wants(e.id, p.final) {
				continue
			}
			e.states[i] = d.New()
		}
		e.states[i].Final(&v.judged, v.reporter(e, i, p.start, false, out))
	}
	v.settleEarly(e, p.start, out)
	v.pool.mem.free(p.early)
	v.pool.mem.free(p.final)
}

// reporter returns the evaluator's one reporter, set for a call.
func (v *Evaluator) reporter(e *entity, detector int, at flow.Time, early bool, out AlertSink) *reporter {
	v.rep = reporter{v: v, e: e, detector: detector, at: at, early: early, out: out}
	return &v.rep
}

// expiry is when e is forgotten: never while a pane or a finding is open.
func (v *Evaluator) expiry(e *entity) flow.Time {
	if len(e.panes) > 0 || len(e.findings) > 0 || e.last == flow.MinTime {
		return flow.MaxTime
	}
	if e.owned || e.id.Kind != KindHost {
		return e.last.Add(v.set.RetainOwn)
	}
	return e.last.Add(v.set.Retain)
}

// schedule puts e's next due time on the heap, if it is earlier than what is
// there. Entries that are overtaken are skipped when they come up. What is due
// of an entity without an open pane, such as that it is forgotten in two weeks,
// is put off with each pane that it has: one entry is left to come up before
// its time, instead of one for each pane until then.
func (v *Evaluator) schedule(e *entity) {
	next := v.expiry(e)
	if len(e.panes) > 0 {
		next = min(next, e.panes[0].start.Add(v.set.Pane))
	}
	for _, f := range e.findings {
		next = min(next, f.due(&v.specs[f.detector]))
	}
	for _, s := range e.states {
		if w, ok := s.(Waker); ok && !v.ended {
			next = min(next, w.Due())
		}
	}
	if next == e.due || next == flow.MaxTime {
		e.due = next
		return
	}
	if e.far <= next {
		e.due = e.far
		return
	}
	if len(e.panes) == 0 {
		e.far = next
	}
	e.due = next
	v.due.push(dueEntry{next, e.id})
}

// evict forgets a sixteenth of the entities: addresses that are not ours and
// have no open finding first, those unseen for longest first.
func (v *Evaluator) evict() {
	all := v.sorted()
	slices.SortStableFunc(all, func(a, b *entity) int {
		if x, y := a.keep(), b.keep(); x != y {
			return x - y
		}
		return int(min(max(a.seen()-b.seen(), -1), 1))
	})
	for _, e := range all[:len(all)/16+1] {
		delete(v.entities, e.id)
		v.stats.Evicted++
	}
}

// keep ranks what must not be forgotten.
func (e *entity) keep() (rank int) {
	if e.owned || e.id.Kind != KindHost {
		rank += 2
	}
	if len(e.findings) > 0 {
		rank++
	}
	return rank
}

func (e *entity) seen() flow.Time {
	if n := len(e.panes); n > 0 {
		return e.panes[n-1].start
	}
	return e.last
}

// sorted returns all entities in order.
func (v *Evaluator) sorted() []*entity {
	all := make([]*entity, 0, len(v.entities))
	for _, e := range v.entities {
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b *entity) int { return a.id.Compare(b.id) })
	return all
}

type dueEntry struct {
	at flow.Time
	id Entity
}

func (a *dueEntry) before(b *dueEntry) bool {
	if a.at != b.at {
		return a.at < b.at
	}
	return a.id.Compare(b.id) < 0
}

// dueHeap is a binary heap by time, then entity, so that equal states act in
// equal order. container/heap would allocate for each push.
type dueHeap []dueEntry

func (h *dueHeap) push(x dueEntry) {
	*h = append(*h, x)
	l := *h
	for i := len(l) - 1; i > 0; {
		up := (i - 1) / 2
		if !l[i].before(&l[up]) {
			return
		}
		l[i], l[up] = l[up], l[i]
		i = up
	}
}

func (h *dueHeap) pop() {
	l := *h
	n := len(l) - 1
	l[0], l[n] = l[n], dueEntry{}
	l = l[:n]
	*h = l
	for i := 0; ; {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < n; c++ {
			if l[c].before(&l[least]) {
				least = c
			}
		}
		if least == i {
			return
		}
		l[i], l[least] = l[least], l[i]
		i = least
	}
}
