package detect

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/flow"
)

// amount writes a number with thousands separators.
func amount(n int64) string {
	s := strconv.FormatInt(max(n, -n), 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	if n < 0 {
		return "-" + s
	}
	return s
}

// plural is "1 port", "1,204 ports".
func plural(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	if what[len(what)-1] == 's' {
		return amount(n) + " " + what + "es"
	}
	return amount(n) + " " + what + "s"
}

// span is a length of time for people.
func span(seconds int64) string {
	switch {
	case seconds < 120:
		return strconv.FormatInt(max(seconds, 0), 10) + " s"
	case seconds < 2*3600:
		return strconv.FormatInt(seconds/60, 10) + " min"
	case seconds < 48*3600:
		return strconv.FormatInt(seconds/3600, 10) + " h"
	}
	return strconv.FormatInt(seconds/86400, 10) + " days"
}

// size is a number of bytes for people.
func size(n float64) string {
	units := [...]string{"B", "kB", "MB", "GB", "TB", "PB"}
	i := 0
	for n >= 1000 && i < len(units)-1 {
		n /= 1000
		i++
	}
	if i == 0 || n >= 100 {
		return fmt.Sprintf("%.0f %s", n, units[i])
	}
	return fmt.Sprintf("%.1f %s", n, units[i])
}

// service is "22/tcp".
func service(protocol uint8, port uint16) string {
	return alert.Port{Protocol: protocol, Port: port}.String()
}

// count is one number of an alert against a threshold.
func count(name, unit string, observed, threshold float64) alert.Count {
	return alert.Count{Name: name, Unit: unit, Observed: observed, Threshold: threshold}
}

// against is one number of an alert beside its normal one.
func against(name, unit string, observed, normal float64, of string, threshold float64) alert.Count {
	return alert.Count{
		Name: name, Unit: unit, Observed: observed, Baseline: normal, HasBaseline: true, Of: of, Threshold: threshold,
	}
}

// evidence lists the sessions of rows in a finding, the earliest first.
func (p *Pane) evidence(f *Finding, family Family, rows []*Row) {
	w := p.scratch()
	w.witnesses = w.witnesses[:0]
	var sessions int64
	for _, r := range rows {
		sessions += r.Counts.Sessions
		w.see(r)
	}
	p.testify(f, family, sessions)
}

// witness is a session as evidence of what a row counts.
type witness struct {
	key RowKey
	ref *evidence
}

// see keeps the session of a row if it is among the earliest, after those that
// are as early.
func (w *scratch) see(r *Row) {
	if r.ref == nil {
		return
	}
	i := len(w.witnesses)
	for i > 0 && r.ref.before(&w.witnesses[i-1].ref.Ref) {
		i--
	}
	if i == maxEvidence {
		return
	}
	if len(w.witnesses) < maxEvidence {
		w.witnesses = append(w.witnesses, witness{})
	}
	copy(w.witnesses[i+1:], w.witnesses[i:])
	w.witnesses[i] = witness{r.Key, r.ref}
}

// testify puts what was seen into a finding, which so many sessions belong to.
func (p *Pane) testify(f *Finding, family Family, sessions int64) {
	for _, x := range p.scratch().witnesses {
		r := Row{Key: x.key, ref: x.ref}
		f.Evidence = append(f.Evidence, r.evidence(p.Entity, family))
	}
	f.EvidenceMore = max(sessions-int64(len(f.Evidence)), 0)
}

// portSums adds up sessions by port, for a finding.
type portSums map[alert.Port]int64

// portSums are those of the judgement that goes on, empty.
func (p *Pane) portSums() portSums {
	w := p.scratch()
	if w.ports == nil {
		w.ports = portSums{}
	}
	clear(w.ports)
	return w.ports
}

// list adds the ports to those of a finding, the busiest first.
func (s portSums) list(f *Finding) {
	for p, n := range s {
		p.Sessions = n
		f.Ports = append(f.Ports, p)
	}
	sortPorts(f.Ports)
}

// portsOf lists services by their sessions, the busiest first.
func (p *Pane) portsOf(f *Finding, rows []*Row) {
	sum := p.portSums()
	for _, r := range rows {
		sum[alert.Port{Protocol: r.Key.Protocol, Port: r.Key.Port}] += r.Counts.Sessions
	}
	sum.list(f)
}

func sortPorts(p []alert.Port) {
	slices.SortFunc(p, func(a, b alert.Port) int {
		switch {
		case a.Sessions != b.Sessions:
			return int(min(max(b.Sessions-a.Sessions, -1), 1))
		case a.Protocol != b.Protocol:
			return int(a.Protocol) - int(b.Protocol)
		}
		return int(a.Port) - int(b.Port)
	})
}

// widen extends an alert's span of packets by c's.
func widen(a *alert.Alert, c *Counts) {
	if c.First != 0 && (a.First == 0 || c.First < a.First) {
		a.First = c.First
	}
	a.Last = max(a.Last, c.Last)
}

// dayOf is the day's window that t lies in.
func dayOf(t flow.Time) alert.Window {
	start := t.Floor(day)
	return alert.Window{Start: start, End: start.Add(day)}
}

const (
	hour = 3600
	day  = 86400
)

// doc is the page of a detector.
func doc(id string) string { return "docs/alerts/" + id + ".md" }

// sortPeers brings peers into their canonical order: most sessions first.
func sortPeers(p []alert.Peer) {
	slices.SortFunc(p, func(a, b alert.Peer) int {
		if a.Sessions != b.Sessions {
			return int(min(max(b.Sessions-a.Sessions, -1), 1))
		}
		return a.Addr.Compare(b.Addr)
	})
}

// listPeers is how many peers a finding names where which ones they are tells
// little; roll-ups of sources name up to alert.MaxPeers.
const listPeers = 50
