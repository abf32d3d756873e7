package detect

// maxLight bounds the facts of a client's light sum: events that open no session
// weigh nothing.
const maxLight = earlyWeight

// jot keeps what an early event adds to its client as a fact, if the client's early
// sum stays light with it, and reports whether it did. Most clients have a session
// or two in a pane and never weigh enough for their early sum to be sent. An address
// whose sum was sent before will be sent again.
func (c *Combiner) jot(a *acc, f *fact, w int64) bool {
	if a.early != nil || a.sent != 0 || a.weight+w >= earlyWeight || f.has(isOver|isLogin) {
		return false
	}
	n := 0
	for x := a.light; x != nil; x = x.next[asClient] {
		if x.absorb(f) {
			return true
		}
		n++
	}
	if n == maxLight {
		return false
	}
	x := c.mem.fact(f)
	x.next[asClient], x.lists, a.light = a.light, 1, x
	return true
}

// early returns the early sum of a to add to, with what was jotted down of it.
func (c *Combiner) early(a *acc) *Part {
	p := a.part(false, &c.mem)
	if a.light != nil {
		a.light.addClients(p)
		c.mem.freeFacts(a.light, asClient)
		a.light = nil
	}
	return p
}

// addClients adds a list of facts to their client.
func (f *fact) addClients(p *Part) {
	for ; f != nil; f = f.next[asClient] {
		f.addClient(p)
	}
}

// factsEach is how many facts of final sums are held, for each entity that may
// be: beyond it all of them are added up, because what is one row of a sum may be
// thousands of events.
const factsEach = 4

// keep puts what a final event adds on the list of one of its sums.
func (c *Combiner) keep(a *acc, f *fact, role int) {
	f.next[role], a.facts[role] = a.facts[role], f
	f.lists++
	a.n++
}

// fill adds a's facts to its final sum.
func (a *acc) fill(p *Part) {
	a.facts[asClient].addClients(p)
	for f := a.facts[asServer]; f != nil; f = f.next[asServer] {
		f.addServer(p)
	}
	for f := a.facts[asService]; f != nil; f = f.next[asService] {
		f.addService(p)
	}
}

// final returns the final sum of a with all of its facts; nil is an empty one.
func (c *Combiner) final(a *acc) *Part {
	if a.n > 0 {
		a.fill(a.part(true, &c.mem))
		c.freeFacts(a)
	}
	return a.final
}

// freeFacts takes back the facts of a's final sum.
func (c *Combiner) freeFacts(a *acc) {
	if a.n == 0 {
		return
	}
	for role, f := range a.facts {
		c.facts -= c.mem.freeFacts(f, role)
	}
	a.facts, a.n = [factRoles]*fact{}, 0
}

// settle adds up all facts of final sums, when there are too many.
func (c *Combiner) settle() {
	for _, s := range c.panes.by {
		for _, a := range s.plain {
			c.final(a)
		}
	}
	for _, a := range c.due[c.sent:] {
		c.final(a)
	}
}
