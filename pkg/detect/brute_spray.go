package detect

import "slices"

// sprayEarly judges spraying with what has arrived of panes that are not final.
func (s *bruteState) sprayEarly(p *Pane, r Reporter) {
	if p.Owned || int64(len(s.list)+p.Set(Login).Len()) < s.d.t.Hosts && len(p.Open) == 0 {
		return
	}
	t := bruteState{d: s.d, day: s.day, list: slices.Clone(s.list)}
	for i := range t.list {
		t.list[i].panes = slices.Clip(t.list[i].panes)
	}
	for i := range p.Open {
		t.learnAll(&p.Open[i])
	}
	t.learnAll(p)
	t.spray(p, r)
}

// learnAll learns the answered sessions of a pane.
func (s *bruteState) learnAll(p *Pane) {
	for _, row := range p.Set(Login).Rows() {
		if row.Counts.Answered > 0 {
			s.learn(p, row)
		}
	}
}

// spray judges one service over all hosts that were tried.
func (s *bruteState) spray(p *Pane, r Reporter) {
	if p.Owned || int64(len(s.list)) < s.d.t.Hosts {
		return // the usual case: nothing can come of it
	}
	type sum struct {
		hosts int64
		t     tried
	}
	byPort := map[uint16]*sum{}
	for i := range s.list {
		a := &s.list[i]
		t := s.gather(a, nil, p.Start, s.d.t.Window)
		x := byPort[a.key.Port]
		if x == nil {
			x = &sum{t: tried{key: RowKey{Port: a.key.Port, Protocol: a.key.Protocol}}}
			byPort[a.key.Port] = x
		}
		x.hosts++
		x.t.answered += t.answered
		x.t.sizes.Merge(t.sizes)
		x.t.counts.Add(&t.counts)
		x.t.starts = append(x.t.starts, t.starts...)
		x.t.rows = append(x.t.rows, t.rows...)
	}
	ports := make([]uint16, 0, len(byPort))
	for port := range byPort {
		ports = append(ports, port)
	}
	slices.Sort(ports)
	for _, port := range ports {
		if x := byPort[port]; x.hosts >= s.d.t.Hosts && s.guesses(&x.t, s.d.t.SprayAttempts) {
			r.Raise(s.spraying(p, port, x.hosts, &x.t))
		}
	}
}
