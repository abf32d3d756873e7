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

// evidenceOf lists the sessions of rows, the earliest first.
func evidenceOf(e Entity, f Family, rows []*Row) (list []alert.Evidence, more int64) {
	with := make([]*Row, 0, len(rows))
	var sessions int64
	for _, r := range rows {
		if sessions += r.Counts.Sessions; r.ref != nil {
			with = append(with, r)
		}
	}
	slices.SortStableFunc(with, func(a, b *Row) int {
		switch {
		case a.ref.before(&b.ref.Ref):
			return -1
		case b.ref.before(&a.ref.Ref):
			return 1
		}
		return 0
	})
	for _, r := range with[:min(len(with), maxEvidence)] {
		list = append(list, r.evidence(e, f))
	}
	return list, max(sessions-int64(len(list)), 0)
}

// portsOf lists services by their sessions, the busiest first.
func portsOf(rows []*Row) []alert.Port {
	sum := map[alert.Port]int64{}
	for _, r := range rows {
		sum[alert.Port{Protocol: r.Key.Protocol, Port: r.Key.Port}] += r.Counts.Sessions
	}
	out := make([]alert.Port, 0, len(sum))
	for p, n := range sum {
		p.Sessions = n
		out = append(out, p)
	}
	return sortPorts(out)
}

func sortPorts(p []alert.Port) []alert.Port {
	slices.SortFunc(p, func(a, b alert.Port) int {
		switch {
		case a.Sessions != b.Sessions:
			return int(min(max(b.Sessions-a.Sessions, -1), 1))
		case a.Protocol != b.Protocol:
			return int(a.Protocol) - int(b.Protocol)
		}
		return int(a.Port) - int(b.Port)
	})
	return p
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
