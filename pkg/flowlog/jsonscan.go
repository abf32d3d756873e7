package flowlog

import (
	"bytes"

	"github.com/segmentio/encoding/json"
)

// The envelope scanner: JSON is walked in place, without recursion and without
// copying. A recursive parser dies of a record of twenty million brackets, and
// one poisoned record would stop a shard for ever.

// maxNesting bounds JSON nesting; flow logs need four levels.
const maxNesting = 64

// jsonEnd returns the length of the JSON value at the start of b, or 0 when it is
// damaged, incomplete or nested too deep.
func jsonEnd(b []byte) int {
	var closers uint64 // a stack of bits: 1 for ], 0 for }
	depth := 0
	for i := 0; i < len(b); {
		switch c := b[i]; c {
		case '"':
			n := stringEnd(b[i:])
			if n == 0 {
				return 0
			}
			i += n
		case '{', '[':
			if depth++; depth > maxNesting {
				return 0
			}
			closers = closers<<1 | uint64(c>>5&1^1)
			i++
			continue
		case '}', ']':
			if depth == 0 || closers&1 != uint64(c>>5&1^1) {
				return 0
			}
			closers >>= 1
			depth--
			i++
		case ' ', '\t', '\n', '\r', ',', ':':
			if depth == 0 {
				return 0
			}
			i++
			continue
		default:
			n := scalarEnd(b[i:])
			if n == 0 {
				return 0
			}
			i += n
		}
		if depth == 0 {
			return i
		}
	}
	return 0
}

// stringEnd returns the length of the string at the start of b, quotes
// included, or 0.
func stringEnd(b []byte) int {
	for i := 1; ; {
		q := bytes.IndexByte(b[i:], '"')
		if q < 0 {
			return 0
		}
		i += q
		slashes := 0
		for b[i-1-slashes] == '\\' {
			slashes++
		}
		i++
		if slashes%2 == 0 {
			return i
		}
	}
}

// scalarEnd returns the length of a number, true, false or null, or 0.
func scalarEnd(b []byte) int {
	i := 0
	for i < len(b) {
		c := b[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && c != '-' && c != '+' && c != '.' && c != 'E' {
			break
		}
		i++
	}
	return i
}

// walker walks the fields of an object or the elements of an array, scanning
// each once. When it has come to the closing bracket, b is what follows it.
type walker struct {
	b     []byte
	close byte
	bad   bool // damaged, or no closing bracket
}

// walk starts behind the opening bracket at the start of b. In ASCII the closing
// bracket of each kind comes two behind the opening one.
func walk(b []byte) walker { return walker{b: b[1:], close: b[0] + 2} }

// more goes to the next value, and reports whether there is one.
func (w *walker) more() bool {
	w.b = skipBlank(w.b)
	if len(w.b) > 0 && w.b[0] == ',' {
		w.b = skipBlank(w.b[1:])
	}
	switch {
	case w.bad:
	case len(w.b) == 0:
		w.bad = true
	case w.b[0] == w.close:
		w.b = w.b[1:]
	default:
		return true
	}
	return false
}

// take returns the value that more has found.
func (w *walker) take() (value []byte, ok bool) {
	n := jsonEnd(w.b)
	if n == 0 {
		w.bad = true
		return nil, false
	}
	value, w.b = w.b[:n], w.b[n:]
	return value, true
}

// element returns the next value.
func (w *walker) element() (value []byte, ok bool) {
	if !w.more() {
		return nil, false
	}
	return w.take()
}

// name returns the next name, still escaped, and goes to its value.
func (w *walker) name() (name []byte, ok bool) {
	if !w.more() {
		return nil, false
	}
	n := 0
	if w.b[0] == '"' {
		n = stringEnd(w.b)
	}
	if n == 0 {
		w.bad = true
		return nil, false
	}
	name, w.b = w.b[1:n-1], skipBlank(w.b[n:])
	if len(w.b) == 0 || w.b[0] != ':' {
		w.bad = true
		return nil, false
	}
	w.b = skipBlank(w.b[1:])
	return name, true
}

// field returns the next name, still escaped, and its value.
func (w *walker) field() (name, value []byte, ok bool) {
	if name, ok = w.name(); !ok {
		return nil, nil, false
	}
	value, ok = w.take()
	return name, value, ok
}

// unquote returns the text of a scalar: a string without quotes and escapes, a
// number as it stands, nothing for null. What has no escapes aliases v.
func unquote(v []byte) []byte {
	switch {
	case len(v) == 0 || string(v) == "null" || v[0] == '{' || v[0] == '[':
		return nil
	case v[0] != '"':
		return v
	case bytes.IndexByte(v, '\\') < 0:
		return v[1 : len(v)-1]
	}
	var s string
	if json.Unmarshal(v, &s) != nil {
		return nil
	}
	return []byte(s)
}
