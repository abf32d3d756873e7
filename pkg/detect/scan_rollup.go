package detect

import (
	"fmt"

	"github.com/flowstitch/flowstitch/pkg/alert"
)

// knocked keeps the day's roll-up of those from outside who asked this address
// of ours for something in vain. One by one they are the weather of the Internet.
func (s *scanState) knocked(p *Pane, r Reporter) {
	s.in.roll(p.Start)
	added := false
	for _, row := range p.Set(Caller).Rows() {
		if row.Counts.Failed == 0 || isICMP(row.Key.Protocol) || row.Ours || s.elsewhere(row) {
			continue
		}
		s.in.add(p.Entity, row, row.Counts.Sessions)
		added = true
	}
	if !added {
		return
	}
	f := p.finding()
	s.in.fill(p, f)
	n, answered := s.in.count(), s.in.answered()
	f.Entity = anyone(p.Entity)
	f.Title = "Probes of " + p.Entity.Addr.String()
	f.Sentence = fmt.Sprintf(
		"%s knocked at %s of our address %s on %s, %s of them got an answer%s; that is the weather of the Internet unless one of them goes on.",
		plural(n, "source"), plural(int64(len(f.Ports)), "port"), p.Entity.Addr, f.Window.Start.UTC().Format("2006-01-02"), none(answered), s.in.slow())
	f.Severity = alert.Rate(alert.Impact{Base: alert.Informational, Answered: answered > 0})
	f.Confidence = 70
	f.Counts = append(f.Counts,
		count("sources", "sources", float64(n), 1), count("answered_sources", "sources", float64(answered), 1),
		count("sessions", "sessions", float64(s.in.sessions), 1), count("scanners", "sources", float64(s.in.scanners()), 1),
	)
	r.Raise(f)
}

// elsewhere reports whether a source has a finding that says more of it than the
// roll-up does: that of crafted-probe, or a scan of its own. One cause is one
// finding.
func (s *scanState) elsewhere(row *Row) bool {
	set := row.Set()
	return !s.d.alone && row.Counts.Bare > 0 ||
		set != nil && set.Count() >= s.d.t.Ports && row.Counts.Failed >= max(s.d.t.Ports, row.Counts.Answered)
}
