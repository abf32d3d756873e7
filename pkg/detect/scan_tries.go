package detect

import (
	"slices"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// fastShare is the share of first contacts with one host or service that must
// have failed within a pane when the walk has not decided: a scanner that is
// hidden among the ordinary contacts of the host that it runs on.
const fastShare = 0.25

// lateralShare is the share of first contacts that must have failed for a sweep
// by a host of ours, unless they came within a minute, and for one of few hosts
// of ours: Jung's chance that a scanner fails. Half of all first contacts fail on
// a host whose IPv6 leads nowhere (RFC 8305), and many of a server's that
// delivers mail.
const lateralShare = 0.8

// tries are the first contacts of a pane with one host or service.
type tries struct {
	key         RowKey
	all, failed int64
	ours        int64       // failed at hosts of ours
	minute      []flow.Time // when those of the last minute failed
	densest     int64       // the most that failed within a minute
}

// byTime returns rows in the order of their first packets, those of the same
// second in the order that they came in.
func (w *scratch) byTime(rows []*Row) []*Row {
	w.rows = append(w.rows[:0], rows...)
	slices.SortStableFunc(w.rows, func(a, b *Row) int { return int(min(max(a.Counts.First-b.Counts.First, -1), 1)) })
	return w.rows
}

// ungroup forgets all groups.
func (w *scratch) ungroup() {
	clear(w.groups)
	w.tries = w.tries[:0]
}

// group returns that of a key, empty if it is new. It is good until the next.
func (w *scratch) group(k RowKey) *tries {
	i, known := w.groups[k]
	if known {
		return &w.tries[i]
	}
	if w.groups == nil {
		w.groups = map[RowKey]int{}
	}
	i = len(w.tries)
	w.groups[k] = i
	if i < cap(w.tries) {
		w.tries = w.tries[:i+1]
	} else {
		w.tries = append(w.tries, tries{})
	}
	w.tries[i] = tries{key: k, minute: w.tries[i].minute[:0]}
	return &w.tries[i]
}

// dense notes a failure; they come in the order of time.
func (g *tries) dense(at flow.Time) {
	g.minute = append(g.minute, at)
	g.minute = slices.DeleteFunc(g.minute, func(t flow.Time) bool { return t <= at.Add(-60) })
	g.densest = max(g.densest, int64(len(g.minute)))
}

// wide reports whether so much of it failed that it is a scan.
func (s *scanState) wide(g *tries, owned bool) bool {
	if !s.d.sweep {
		return float64(g.failed) >= fastShare*float64(g.all) && !isICMP(g.key.Protocol)
	}
	share := fastShare
	if owned && g.densest < s.d.t.Hosts {
		share = lateralShare
	}
	return float64(g.failed) >= share*float64(g.all)
}

// burst finds the group with the most failures in a pane.
func (s *scanState) burst(groups []tries, owned bool) {
	s.fast, s.fastKey, s.lateral = 0, RowKey{}, false
	for i := range groups {
		g := &groups[i]
		if !s.wide(g, owned) {
			continue
		}
		if g.failed > s.fast || g.failed == s.fast && g.key.Compare(s.fastKey) < 0 {
			s.fast, s.fastKey, s.lateral = g.failed, g.key, float64(g.ours) >= lateralShare*float64(g.all)
		}
	}
}

// neighbours returns the service that most hosts of ours were asked for in vain,
// where hardly any of ours answered there: a slow sweep from within, which the
// walk over everything that a host does would not see.
func (s *scanState) neighbours(w *scratch) (key RowKey, failed int64) {
	w.ungroup()
	for i := range s.contacts {
		c := &s.contacts[i]
		if !c.ours || isICMP(c.key.Protocol) {
			continue
		}
		g := w.group(s.group(c.key))
		g.all++
		g.failed += one(c.failed)
	}
	for i := range w.tries {
		g := &w.tries[i]
		if float64(g.failed) >= lateralShare*float64(g.all) && (g.failed > failed || g.failed == failed && g.key.Compare(key) < 0) {
			key, failed = g.key, g.failed
		}
	}
	return key, failed
}

// fellBack reports whether the same service of the same host answered over TCP:
// HTTP/3 where UDP is blocked, or a large DNS answer. The host is no unknown one.
func (s *scanState) fellBack(p *Pane, k RowKey) bool {
	if k.Protocol != protoUDP {
		return false
	}
	k.Protocol = protoTCP
	if row := p.Set(Contact).find(k); row != nil && row.Counts.Answered > 0 {
		return true
	}
	i, found := s.find(k)
	return found && !s.contacts[i].failed
}

// took is how many seconds lie between the first and the last failure of a
// group: the host or service that a finding is about, not all that was asked for.
func (s *scanState) took(key RowKey) int64 {
	first, last := flow.MaxTime, flow.MinTime
	for i := range s.contacts {
		if c := &s.contacts[i]; c.failed && s.group(c.key) == key {
			first, last = min(first, c.first), max(last, c.first)
		}
	}
	if last < first {
		return 0
	}
	return int64(last - first)
}
