package flowlog

import (
	"bytes"
	"time"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// trim removes white space from both ends.
func trim(line []byte) []byte {
	line = skipBlank(line)
	for len(line) > 0 && blank(line[len(line)-1]) {
		line = line[:len(line)-1]
	}
	return line
}

// skipBlank removes white space from the front.
func skipBlank(b []byte) []byte {
	for len(b) > 0 && blank(b[0]) {
		b = b[1:]
	}
	return b
}

func blank(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// detab returns line with tabs as spaces. AWS writes no tabs; people who copy
// out of a spreadsheet do.
func detab(line []byte) []byte {
	if bytes.IndexByte(line, '\t') < 0 {
		return line
	}
	return bytes.ReplaceAll(line, []byte{'\t'}, []byte{' '})
}

// next splits the first line off b: up to LF, CR or CRLF. rest is nil at the end.
func next(b []byte) (line, rest []byte) {
	line = b
	lf := bytes.IndexByte(b, '\n')
	if lf >= 0 {
		line, rest = b[:lf], b[lf+1:]
	}
	if cr := bytes.IndexByte(line, '\r'); cr >= 0 && cr != len(line)-1 {
		return b[:cr], b[cr+1:]
	} else if cr >= 0 {
		line = line[:cr]
	}
	return line, rest
}

// unprefix strips what CloudWatch's exports, console and "aws logs tail" put in
// front of an event: a time, and perhaps the log stream. It returns the time,
// or 0, and the stream, or "".
func unprefix(line []byte) (rest []byte, at flow.Time, stream string) {
	rest = bytes.TrimPrefix(line, []byte("\u25b6")) // the console's fold marks
	rest = trim(bytes.TrimPrefix(rest, []byte("\u25bc")))
	at, n := stamp(rest)
	if n == 0 {
		return line, 0, ""
	}
	rest = trim(rest[n:])
	if first := rest[:end(rest, 0)]; isStream(first) {
		return trim(rest[len(first):]), at, string(first)
	}
	return rest, at, ""
}

// isStream reports whether a word is the name of an interface's log stream:
// eni-...-all, -accept or -reject, as flow logs name them.
func isStream(word []byte) bool {
	if !bytes.HasPrefix(word, []byte("eni-")) {
		return false
	}
	return bytes.HasSuffix(word, []byte("-all")) || bytes.HasSuffix(word, []byte("-accept")) || bytes.HasSuffix(word, []byte("-reject"))
}

// stamp reads a leading date and time, or a time alone, and returns how many
// bytes it takes. A time alone names no day, so it gives no event time.
func stamp(b []byte) (at flow.Time, n int) {
	if t := clock(b, 0); t > 0 {
		return 0, zone(b, t)
	}
	if len(b) < 19 || b[4] != '-' || b[7] != '-' || (b[10] != 'T' && b[10] != ' ') {
		return 0, 0
	}
	n = clock(b, 11)
	if n == 0 {
		return 0, 0
	}
	text := string(b[:10]) + "T" + string(b[11:19])
	stop := zone(b, n)
	offset := "Z"
	if z := trim(b[n:stop]); len(z) == 6 {
		offset = string(z)
	}
	t, err := time.Parse(time.RFC3339, text+offset)
	if err != nil {
		return 0, 0
	}
	return flow.Time(t.Unix()), stop
}

// clock reads hh:mm:ss with an optional fraction at i and returns where it
// ends, or 0.
func clock(b []byte, i int) int {
	if len(b) < i+8 || b[i+2] != ':' || b[i+5] != ':' {
		return 0
	}
	for k := range 8 {
		if k != 2 && k != 5 && b[i+k]-'0' > 9 {
			return 0
		}
	}
	i += 8
	if i < len(b) && (b[i] == '.' || b[i] == ',') {
		for i++; i < len(b) && b[i]-'0' <= 9; {
			i++
		}
	}
	return i
}

// zone skips a time zone at i: Z, +hh:mm, " UTC", " (UTC+hh:mm)".
func zone(b []byte, i int) int {
	switch {
	case i < len(b) && b[i] == 'Z':
		return i + 1
	case i+6 <= len(b) && (b[i] == '+' || b[i] == '-') && b[i+3] == ':':
		return i + 6
	case bytes.HasPrefix(b[i:], []byte(" UTC")):
		return i + 4
	case bytes.HasPrefix(b[i:], []byte(" (UTC")):
		return end(b, i+1)
	}
	return i
}

// header returns the layout that a line names, or nil if it is no header: its
// first word is a field that AWS defines, another one is too, and all could be
// names.
func header(line []byte) *Format {
	if line[0] < 'a' || line[0] > 'z' {
		return nil
	}
	first := string(line[:end(line, 0)])
	if _, ok := lookup(first); !ok {
		return nil
	}
	f, err := ParseFormat(string(line))
	if err != nil || f.Len() < 2 || len(f.Unknown()) > f.Len()/2 {
		return nil
	}
	return f
}
