package alert

import (
	"strconv"
	"strings"
	"unicode"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// listed bounds the peers and ports that the text form names.
const listed = 5

// AppendText appends a for a person: a headline, the sentence, and up to four
// short lines of who, what is normal, why it may be a false alarm, and where to
// read on. It ends with a line break. colour marks the severity with ANSI
// colours; give it only for a terminal. Characters that would steer a terminal
// are replaced, whatever a rule's name or a tag holds.
func AppendText(b []byte, a *Alert, colour bool) []byte {
	b = append(b, a.Time.UTC().Format("2006-01-02 15:04:05Z")...)
	b = append(b, "  "...)
	b = appendSeverity(b, a.Severity, colour)
	b = append(b, "  "...)
	b = appendSafe(b, a.Title)
	b = append(b, "  ["...)
	b = appendSafe(b, a.Detector.ID)
	b = append(b, ", "...)
	b = append(b, a.state()...)
	b = append(b, "]\n"...)
	b = appendLine(b, "", a.Sentence)
	b = appendLine(b, "who      ", a.who())
	b = appendLine(b, "what     ", a.what())
	b = appendLine(b, "normal   ", a.normal())
	b = appendLine(b, "attack   ", a.techniques())
	if a.Activity == Create {
		b = appendLine(b, "unless   ", a.FalseAlarm)
	}
	return appendLine(b, "finding  ", strings.TrimSpace(a.UID.String()+"  "+a.Detector.Doc))
}

func (a *Alert) state() string {
	switch {
	case a.Verdict == Withdrawn:
		return "withdrawn"
	case a.Activity == Close:
		return "over"
	case a.Activity == Update:
		return "update, " + a.Verdict.String()
	}
	return a.Verdict.String()
}

func appendSeverity(b []byte, s Severity, colour bool) []byte {
	text := strings.ToUpper(s.String())
	if s == Informational {
		text = "INFO"
	}
	pad := strings.Repeat(" ", max(8-len(text), 0))
	if !colour {
		return append(append(b, text...), pad...)
	}
	code := "36" // cyan
	switch {
	case s >= Critical:
		code = "1;97;41" // white on red
	case s == High:
		code = "1;31" // red
	case s == Medium:
		code = "1;33" // yellow
	}
	b = append(b, "\x1b["+code+"m"...)
	b = append(b, text...)
	b = append(b, "\x1b[0m"...)
	return append(b, pad...)
}

func appendLine(b []byte, label, s string) []byte {
	if strings.TrimSpace(s) == "" {
		return b
	}
	b = append(b, "    "...)
	b = append(b, label...)
	b = appendSafe(b, s)
	return append(b, '\n')
}

// appendSafe appends s on one line and without control characters.
func appendSafe(b []byte, s string) []byte {
	for _, r := range s {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			b = append(b, ' ')
		case unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || unicode.Is(unicode.Bidi_Control, r):
			b = append(b, '?')
		default:
			b = append(b, string(r)...)
		}
	}
	return b
}

func (a *Alert) who() string {
	var s strings.Builder
	s.WriteString(a.Entity.Value)
	s.WriteString(owner(a.Entity.Ours, a.Entity.Kind <= EntityService))
	at := a.at()
	if len(a.Peers) == 0 || a.Entity.Kind == EntityPair && len(a.Peers) == 1 {
		return s.String() + at
	}
	if a.Entity.Ours {
		s.WriteString(at)
		at = ""
	}
	arrow := " with "
	switch a.Entity.Role {
	case RoleActor:
		arrow = " -> "
	case RoleTarget, RoleAffected:
		arrow = " <- "
	default:
	}
	s.WriteString(arrow)
	for i, p := range a.Peers[:min(len(a.Peers), listed)] {
		if i > 0 {
			s.WriteString(", ")
		}
		s.WriteString(p.Addr.String())
		if p.Note != "" {
			s.WriteString(" (" + p.Note + ")")
		}
	}
	return s.String() + more(int64(len(a.Peers)-listed), a.PeersMore) + at
}

// at is the instance and interface of the entity, or those that saw it: a
// stranger has none of its own.
func (a *Alert) at() string {
	s := ""
	for _, x := range []string{a.Context.InstanceID, a.Context.InterfaceID} {
		if x != "" {
			s += " " + x
		}
	}
	if s != "" && !a.Entity.Ours {
		return ", seen at" + s
	}
	return s
}

func owner(ours, address bool) string {
	switch {
	case ours:
		return " (ours)"
	case address:
		return " (outside)"
	}
	return ""
}

// more is " and n more" for what a list left out and what it never held.
func more(rest, beyond int64) string {
	n := max(rest, 0) + beyond
	if n == 0 {
		return ""
	}
	return " and " + grouped(n) + " more"
}

func (a *Alert) what() string {
	var parts []string
	if n := int64(len(a.Evidence)) + a.EvidenceMore; n > 0 {
		parts = append(parts, plural(n, "session"))
	}
	if a.First < a.Last {
		parts = append(parts, clock(a.First, a.Time)+" to "+clock(a.Last, a.Time))
	}
	if len(a.Ports) > 0 {
		names := make([]string, 0, listed)
		for _, p := range a.Ports[:min(len(a.Ports), listed)] {
			names = append(names, p.String())
		}
		parts = append(parts, strings.Join(names, " ")+more(int64(len(a.Ports)-listed), a.PortsMore))
	}
	return strings.Join(parts, "; ")
}

// clock is the time of day, with the date when it is another day than at.
func clock(t, at flow.Time) string {
	if t.Floor(86400) != at.Floor(86400) {
		return t.UTC().Format("2006-01-02 15:04:05")
	}
	return t.UTC().Format("15:04:05")
}

func (a *Alert) normal() string {
	var parts []string
	for _, c := range a.Counts {
		if !c.HasBaseline {
			continue
		}
		s := strings.ReplaceAll(c.Name, "_", " ") + " " + quantity(c.Observed, c.Unit) + ", normally " + quantity(c.Baseline, c.Unit)
		if c.Of != "" {
			s += " (" + c.Of + ")"
		}
		parts = append(parts, s)
	}
	return strings.Join(parts, "; ")
}

func (a *Alert) techniques() string {
	parts := make([]string, 0, len(a.Attacks))
	for _, t := range a.Attacks {
		s := t.ID()
		switch {
		case t.SubName != "":
			s += " " + t.SubName
		case t.TechniqueName != "":
			s += " " + t.TechniqueName
		}
		parts = append(parts, s)
	}
	if a.Confidence > 0 {
		parts = append(parts, "confidence "+strconv.Itoa(int(a.Confidence))+"%")
	}
	return strings.Join(parts, ", ")
}

// quantity writes a number as people read it: bytes in decimal units, as the
// detectors' sentences have them, others with groups of three digits.
func quantity(v float64, unit string) string {
	v = finite(v)
	if unit == "bytes" {
		return bytesText(v)
	}
	if v >= 1000 || v <= -1000 {
		return grouped(int64(v))
	}
	return number(v)
}

func bytesText(v float64) string {
	units := [...]string{"B", "kB", "MB", "GB", "TB", "PB"}
	i := 0
	for v >= 1000 && i < len(units)-1 {
		v /= 1000
		i++
	}
	return strconv.FormatFloat(v, 'f', precision(v, i), 64) + " " + units[i]
}

func precision(v float64, unit int) int {
	if unit == 0 || v >= 100 {
		return 0
	}
	return 1
}

func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

func plural(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return grouped(n) + " " + what + "s"
}
