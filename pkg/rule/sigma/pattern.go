package sigma

import (
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// pattern is a value of Sigma: text in which * stands for any characters and
// ? for one. A backslash takes the meaning from either, and from itself where
// one of them follows.
type pattern []part

type part struct {
	text string // literal, where it is neither of these
	star bool
	one  bool
}

func parsePattern(s string) (p pattern) {
	lit := []byte{}
	flush := func() {
		if len(lit) > 0 {
			p, lit = append(p, part{text: string(lit)}), lit[:0]
		}
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s) && strings.IndexByte(`*?\`, s[i+1]) >= 0:
			i++
			lit = append(lit, s[i])
		case c == '*':
			flush()
			p = append(p, part{star: true})
		case c == '?':
			flush()
			p = append(p, part{one: true})
		default:
			lit = append(lit, c)
		}
	}
	flush()
	return p
}

// simple makes one star of several in a row.
func (p pattern) simple() pattern {
	return slices.CompactFunc(slices.Clone(p), func(a, b part) bool { return a.star && b.star })
}

// String writes the pattern for people.
func (p pattern) String() string {
	var b strings.Builder
	for _, x := range p {
		switch {
		case x.star:
			b.WriteByte('*')
		case x.one:
			b.WriteByte('?')
		default:
			b.WriteString(x.text)
		}
	}
	return b.String()
}

// literal returns the text of a pattern without wildcards.
func (p pattern) literal() (string, bool) {
	switch {
	case len(p) == 0:
		return "", true
	case len(p) == 1 && !p[0].star && !p[0].one:
		return p[0].text, true
	}
	return "", false
}

func (p pattern) lower() pattern {
	out := make(pattern, len(p))
	for i, x := range p {
		x.text = strings.ToLower(x.text)
		out[i] = x
	}
	return out
}

// regex is the pattern as a regular expression over the whole text.
func (p pattern) regex() string {
	var b strings.Builder
	b.WriteString("^")
	for _, x := range p {
		switch {
		case x.star:
			b.WriteString(".*")
		case x.one:
			b.WriteString(".")
		default:
			b.WriteString(regexp.QuoteMeta(x.text))
		}
	}
	b.WriteString("$")
	return b.String()
}

// function is the pattern as one of the plain functions on text, where it is
// as simple.
func (p pattern) function() (name, arg string) {
	shape := ""
	for _, x := range p {
		switch {
		case x.star:
			shape += "*"
		case x.one:
			return "", ""
		default:
			shape, arg = shape+"t", x.text
		}
	}
	return map[string]string{"t*": "startsWith", "*t": "endsWith", "*t*": "contains", "*": "startsWith"}[shape], arg
}

// network is the pattern as a network of IPv4, where its wildcards stand for
// whole octets at the end: 10.1.* is 10.1.0.0/16.
func (p pattern) network() string {
	if len(p) != 2 || !p[1].star {
		return ""
	}
	octets, dot := strings.CutSuffix(p[0].text, ".")
	n := strings.Count(octets, ".") + 1
	if !dot || n > 3 {
		return ""
	}
	a, err := netip.ParseAddr(octets + strings.Repeat(".0", 4-n))
	if err != nil || !a.Is4() {
		return ""
	}
	return a.String() + "/" + strconv.Itoa(8*n)
}
