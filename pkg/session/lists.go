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

func (t *Table) linkAt(i uint32) *link { return &t.links[i>>slabBits][i&(1<<slabBits-1)] }

// addLink makes the link of a new entry, and dropLink forgets it with the chunk
// of entries that it goes with.
func (t *Table) addLink(i uint32) {
	n := int(i >> slabBits)
	if n >= len(t.links) {
		t.links = append(t.links, make([]*[1 << slabBits]link, n+1-len(t.links))...)
	}
	if t.links[n] == nil {
		t.links[n] = new([1 << slabBits]link)
	}
	*t.linkAt(i) = link{}
}

func (t *Table) dropLink(i uint32) {
	if n := i >> slabBits; t.entries.chunks[n] == nil {
		t.links[n] = nil
	}
}

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
	t.linkAt(i).wall = t.wall
}

// append puts entry i at the end of exactly list l.
func (t *Table) append(i uint32, l int) {
	e := t.entries.at(i)
	e.state |= uint32(l) << listShift
	to := &t.lists[l]
	at := t.linkAt(i)
	at.prev, at.next = to.last, 0
	if to.last != 0 {
		t.linkAt(to.last).next = i
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
	at := t.linkAt(i)
	if at.next != 0 {
		t.linkAt(at.next).prev = at.prev
	} else {
		from.last = at.prev
	}
	if at.prev != 0 {
		t.linkAt(at.prev).next = at.next
	} else {
		from.first = at.next
	}
	at.next, at.prev = 0, 0
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
		for i := t.lists[l].first; i != 0; i = t.linkAt(i).next {
			t.linkAt(i).wall = d
		}
	}
}

func (t *Table) waited(i uint32, deciseconds int64) bool {
	return int64(t.wall-t.linkAt(i).wall) >= deciseconds
}

func (t *Table) update(i uint32, emit Emit) {
	if t.entries.at(i).is(stDirty) {
		t.tellUpdate(i, emit)
	}
	t.join(i, listTold)
}
