package eval

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/flow"
)

// Score is how one detector did on one set, or all of them together.
type Score struct {
	Detector string // "" for all
	Found    int    // attackers named, of those that it is there to find
	Missed   int    // by it and by every other that is there to find them
	// False are sources that it names at Low severity or above and that no
	// truth knows, as attacker or as victim.
	False    []flow.Addr
	Delay    int64 // median seconds from an attacker's first record to the first alert that names it
	Delays   int   // how many the median is of
	Findings int
	Highest  alert.Severity
	Lost     []Truth
}

// aims says which detectors are there to find which kinds of truth. A kind that
// several aim at is found when one of them names the attacker.
func aims(kind string) []string {
	switch {
	case strings.HasPrefix(kind, "port_scan_vertical"):
		return []string{"port-scan", "crafted-probe"}
	case strings.HasPrefix(kind, "port_scan_horizontal"):
		return []string{"host-sweep"}
	case strings.HasPrefix(kind, "nmap"):
		return []string{"port-scan", "host-sweep", "crafted-probe"}
	case strings.Contains(kind, "brute_force"):
		return []string{"brute-force"}
	case strings.HasPrefix(kind, "c2_"):
		return []string{"beacon", "outbound-callout"}
	case kind == "icmp_probe":
		return []string{"inbound-icmp-errors"}
	case kind == "probe", kind == "repeated_attempts_one_port":
		return []string{"port-scan", "crafted-probe"} // whichever says more of it
	}
	return nil
}

// names reports whether a finding names the address as the one who acts.
func names(a *alert.Alert, addr flow.Addr) bool {
	if a.Entity.Addr == addr {
		return true
	}
	return slices.ContainsFunc(a.Peers, func(p alert.Peer) bool { return p.Addr == addr })
}

// mentions reports whether a statement names the attacker, and where the truth
// has another service in mind than the statement, that it does not.
func mentions(s *Statement, t *Truth) bool {
	if s.Verdict == alert.Withdrawn || !names(&s.Alert, t.Attacker) {
		return false
	}
	if s.Detector.ID != "brute-force" || len(s.Ports) == 0 {
		return true
	}
	want := map[string]uint16{"ftp_brute_force": 21, "ssh_brute_force": 22}[t.Kind]
	return want == 0 || s.Ports[0].Port == want
}

// Judge compares what was said with what is true: first all detectors
// together, then each that said anything or was meant to.
func Judge(truth []Truth, said []Statement) []Score {
	ids := map[string]bool{}
	for i := range said {
		ids[said[i].Detector.ID] = true
	}
	for i := range truth {
		for _, id := range aims(truth[i].Kind) {
			ids[id] = true
		}
	}
	list := make([]string, 0, len(ids))
	for id := range ids {
		list = append(list, id)
	}
	slices.Sort(list)
	out := []Score{judge("", truth, said)}
	for _, id := range list {
		out = append(out, judge(id, truth, said))
	}
	return out
}

func judge(id string, truth []Truth, said []Statement) Score {
	s := Score{Detector: id}
	var delays []int64
	for i := range truth {
		t := &truth[i]
		if id != "" && !slices.Contains(aims(t.Kind), id) {
			continue
		}
		at, found := firstNamed(id, t, said)
		if !found && id != "" && slices.ContainsFunc(aims(t.Kind), func(other string) bool { _, by := firstNamed(other, t, said); return by }) {
			continue // another of those that are there to find it did
		}
		if !found {
			s.Missed++
			s.Lost = append(s.Lost, *t)
			continue
		}
		s.Found++
		delays = append(delays, max(int64(at-t.Start), 0))
	}
	if slices.Sort(delays); len(delays) > 0 {
		s.Delay, s.Delays = delays[len(delays)/2], len(delays)
	}
	uids := map[alert.UID]*Statement{}
	for i := range said {
		if x := &said[i]; (id == "" || x.Detector.ID == id) && x.Verdict == alert.Confirmed {
			uids[x.UID] = x
			s.Highest = max(s.Highest, x.Severity)
		}
	}
	s.Findings = len(uids)
	s.False = falseSources(truth, uids)
	return s
}

func firstNamed(id string, t *Truth, said []Statement) (flow.Time, bool) {
	for i := range said {
		if (id == "" || said[i].Detector.ID == id) && mentions(&said[i], t) {
			return said[i].Said, true
		}
	}
	return 0, false
}

// falseSources lists who a finding accuses in its own right (not as one of the
// many of a roll-up, and not below Low) and is in no truth.
func falseSources(truth []Truth, uids map[alert.UID]*Statement) (out []flow.Addr) {
	known := map[flow.Addr]bool{}
	for i := range truth {
		known[truth[i].Attacker] = true
	}
	for _, x := range uids {
		a := x.Entity.Addr
		if x.Severity >= alert.Low && x.Entity.Role == alert.RoleActor && a.IsValid() && !known[a] {
			known[a] = true
			out = append(out, a)
		}
	}
	slices.SortFunc(out, flow.Addr.Compare)
	return out
}

// Row is one line of the table.
func (s *Score) Row(set string) string {
	name := cmp.Or(s.Detector, "**all**")
	delay := "-"
	if s.Delays > 0 {
		delay = fmt.Sprintf("%d s", s.Delay)
		if s.Delay >= 600 {
			delay = fmt.Sprintf("%d min", s.Delay/60)
		}
	}
	high := "-"
	if s.Highest > 0 {
		high = s.Highest.String()
	}
	return fmt.Sprintf("| %s | %s | %d | %d | %d | %s | %d | %s |", set, name, s.Found, s.Missed, len(s.False), delay, s.Findings, high)
}

// Header is the head of the table.
const Header = `| set | detector | found | missed | false sources | median delay | findings | highest severity |
|---|---|---:|---:|---:|---:|---:|---|`

// Delays is how many of some attackers were found, and after how long.
type Delays struct {
	Found, Missed int
	Median        int64 // seconds from the first record
}

// measure finds the first statement that is true of each attacker.
func measure(truth []Truth, said []Statement, is func(t *Truth, s *Statement) bool) (d Delays) {
	var delays []int64
	for i := range truth {
		at := slices.IndexFunc(said, func(s Statement) bool { return is(&truth[i], &s) })
		if at < 0 {
			d.Missed++
			continue
		}
		d.Found++
		delays = append(delays, max(int64(said[at].Said-truth[i].Start), 0))
	}
	if slices.Sort(delays); len(delays) > 0 {
		d.Median = delays[len(delays)/2]
	}
	return d
}

// singledOut reports whether a statement tells an attacker apart from those who
// knock once: it is about the attacker, or the roll-up says "scanner" of it.
func singledOut(t *Truth, s *Statement) bool {
	if s.Verdict == alert.Withdrawn {
		return false
	}
	return own(t, s) || slices.ContainsFunc(s.Peers, func(p alert.Peer) bool {
		return p.Addr == t.Attacker && strings.HasPrefix(p.Note, "scanner")
	})
}

// own reports whether a statement is about the attacker and nobody else.
func own(t *Truth, s *Statement) bool {
	return s.Entity.Addr == t.Attacker && s.Entity.Role == alert.RoleActor
}
