package session

// Every entry is in one list. The first six are ordered by the tick at which
// the entry joined, which paces updates and is also how recently it was
// active; they exist twice, for probes and for sessions that are more (stBig).
const (
	listNone  = iota
	listNew   // waits to be told for the first time, or again after a rest
	listNew1  // the same, big
	listTold  // told less than Active ago
	listTold1 // the same, big
	listRest  // told, and nothing new for Active
	listRest1 // the same, big
	listDone  // closed, kept for corrections
	numLists
)

type list struct{ first, last uint32 }

func (e *entry) list() int { return int(e.state & stList >> listShift) }

// join moves entry i to the end of a list; the big ones to the list after it.
func (t *Table) join(i uint32, l int) {
	t.leave(i)
	e := t.entries.at(i)
	if e.is(stBig) && l < listDone && l != listNone {
		l++
	}
	if l == listNone {
		return
	}
	t.append(i, l)
	e.wall = t.wall
}

// append puts entry i at the end of exactly list l.
func (t *Table) append(i uint32, l int) {
	e := t.entries.at(i)
	e.state |= uint32(l) << listShift
	to := &t.lists[l]
	e.listPrev, e.listNext = to.last, 0
	if to.last != 0 {
		t.entries.at(to.last).listNext = i
	} else {
		to.first = i
	}
	to.last = i
}

// leave takes entry i out of its list.
func (t *Table) leave(i uint32) {
	e := t.entries.at(i)
	l := e.list()
	if l == listNone {
		return
	}
	from := &t.lists[l]
	if e.listNext != 0 {
		t.entries.at(e.listNext).listPrev = e.listPrev
	} else {
		from.last = e.listPrev
	}
	if e.listPrev != 0 {
		t.entries.at(e.listPrev).listNext = e.listNext
	} else {
		from.first = e.listNext
	}
	e.listNext, e.listPrev = 0, 0
	e.state &^= stList
}

// Tick tells that the running maximum of the wall times in the partition's
// marks has reached wall, in Unix milliseconds. It emits the updates that are
// due and changes no final fact.
func (t *Table) Tick(wall int64, emit Emit) {
	d := uint32(wall / 100)
	if t.wall == 0 {
		t.begin(d)
	}
	if int32(d-t.wall) > 0 {
		t.wall = d
	}
	for l := listNew; l <= listNew1; l++ {
		for i := t.lists[l].first; i != 0 && t.waited(i, t.cfg.UpdateHold/100); i = t.lists[l].first {
			t.update(i, emit)
		}
	}
	for l := listTold; l <= listTold1; l++ {
		for i := t.lists[l].first; i != 0 && t.waited(i, t.cfg.Active*10); i = t.lists[l].first {
			if t.entries.at(i).is(stDirty) {
				t.update(i, emit)
			} else {
				t.join(i, listRest)
			}
		}
	}
}

// begin dates what arrived before the first tick by that tick.
func (t *Table) begin(d uint32) {
	t.wall = d
	for l := range t.lists {
		for i := t.lists[l].first; i != 0; i = t.entries.at(i).listNext {
			t.entries.at(i).wall = d
		}
	}
}

func (t *Table) waited(i uint32, deciseconds int64) bool {
	return int64(t.wall-t.entries.at(i).wall) >= deciseconds
}

func (t *Table) update(i uint32, emit Emit) {
	if t.entries.at(i).is(stDirty) {
		t.tellUpdate(i, emit)
	}
	t.join(i, listTold)
}
