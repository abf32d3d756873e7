package detect

import "slices"

// portGuesses are what a source tried at one port.
type portGuesses struct {
	port            uint16
	hosts, answered int64
}

// sprayEarly judges spraying with what has arrived of panes that are not final.
func (s *bruteState) sprayEarly(p *Pane, r Reporter) {
	if p.Owned || int64(len(s.list)+p.Set(Login).Len()) < s.d.t.Hosts && len(p.Open) == 0 {
		return
	}
	w := p.scratch()
	w.logins = w.logins[:0]
	for i := range p.Open {
		w.addLogins(&p.Open[i])
	}
	w.addLogins(p)
	slices.SortStableFunc(w.logins, func(a, b attemptPane) int { return a.row.Key.Compare(b.row.Key) })
	s.spray(p, w.logins, r)
}

// addLogins adds the answered sessions of a pane.
func (w *scratch) addLogins(p *Pane) {
	for _, row := range p.Set(Login).Rows() {
		if row.Counts.Answered > 0 {
			w.logins = append(w.logins, attemptPane{p.Start, row.Counts.Answered, row})
		}
	}
}

// each goes through what is remembered and what is fresh, by service.
func (s *bruteState) each(fresh []attemptPane, do func(k RowKey, panes, fresh []attemptPane)) {
	for i := 0; i < len(s.list) || len(fresh) > 0; {
		order := -1
		if i == len(s.list) {
			order = 1
		} else if len(fresh) > 0 {
			order = s.list[i].key.Compare(fresh[0].row.Key)
		}
		var k RowKey
		var panes []attemptPane
		if order <= 0 {
			k, panes = s.list[i].key, s.list[i].panes
			i++
		}
		n := 0
		if order >= 0 {
			for k = fresh[0].row.Key; n < len(fresh) && fresh[n].row.Key == k; {
				n++
			}
		}
		do(k, panes, fresh[:n])
		fresh = fresh[n:]
	}
}

// spray judges one service over all hosts that were tried.
func (s *bruteState) spray(p *Pane, fresh []attemptPane, r Reporter) {
	if p.Owned || int64(len(s.list)+len(fresh)) < s.d.t.Hosts {
		return // the usual case: nothing can come of it
	}
	w, old := p.scratch(), p.Start.Add(-s.d.t.Window)
	w.guessed = w.guessed[:0]
	s.each(fresh, func(k RowKey, panes, fresh []attemptPane) {
		g := w.guesses(k.Port)
		g.hosts++
		for _, list := range [...][]attemptPane{panes, fresh} {
			for _, x := range list {
				if x.start > old {
					g.answered += x.answered
				}
			}
		}
	})
	slices.SortFunc(w.guessed, func(a, b portGuesses) int { return int(a.port) - int(b.port) })
	for _, g := range w.guessed {
		if g.hosts < s.d.t.Hosts || g.answered < s.d.t.SprayAttempts {
			continue
		}
		t := &w.tried
		t.reset()
		s.each(fresh, func(k RowKey, panes, fresh []attemptPane) {
			if k.Port != g.port {
				return
			}
			for _, list := range [...][]attemptPane{panes, fresh} {
				for _, x := range list {
					if x.start > old {
						t.add(x)
					}
				}
			}
		})
		if s.guesses(t, s.d.t.SprayAttempts) && !told(r, pair(p, service(protoTCP, g.port)), s.severityOfSpraying(g.hosts)) {
			r.Raise(s.spraying(p, g.port, g.hosts, t))
		}
	}
}

// guesses are those at a port, of which there are few.
func (w *scratch) guesses(port uint16) *portGuesses {
	for i := range w.guessed {
		if w.guessed[i].port == port {
			return &w.guessed[i]
		}
	}
	w.guessed = append(w.guessed, portGuesses{port: port})
	return &w.guessed[len(w.guessed)-1]
}
