package rule

import (
	"encoding/binary"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/flowstitch/flowstitch/pkg/detect"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/session"
)

// What a rule adds up travels as rows of detect's Custom family, one for each
// combination of the values that it needs to tell apart, at most 512 a group
// and pane (beyond that a sample, see detect.RowSet). The key of a row holds
//
//	Peer  the address that is counted, or two columns of 8 bytes
//	Port  the time slice within the pane, for windows finer than a pane
//
// A rule with steps has a row for each step and second.

// layout says what the rows of a rule hold.
type layout struct {
	address func(*Row) flow.Addr
	addrAgg int // the aggregate that counts that address, or -1
	columns []column
	spare   bool // the last column is the other side's address, to be named
}

type column struct {
	agg   int // the aggregate, or -1
	value func(*Row) int64
}

const maxColumns = 2

// plan decides the rows of a threshold rule; ok is false when it needs more
// columns than there are.
func (r *Rule) plan(s *Schema) (l layout, ok bool) {
	l.addrAgg = -1
	other := r.otherSide(s)
	if r.grows {
		l.columns = append(l.columns, column{-1, sessionHash})
	}
	for i, a := range r.having.aggs {
		if a.value != nil {
			l.columns = append(l.columns, column{i, a.value})
		}
	}
	if len(r.having.aggs) > 0 && len(l.columns) == 1 && !r.grows {
		if f := s.Field(r.having.aggs[l.columns[0].agg].field); f != nil && f.Type == Addr && r.having.aggs[l.columns[0].agg].kind == aggDistinct {
			l.address, l.addrAgg, l.columns = f.a, l.columns[0].agg, nil
		}
	}
	if l.address == nil && len(l.columns) == 0 {
		l.address = other
	}
	if len(l.columns) == 1 {
		l.columns = append(l.columns, column{-1, func(row *Row) int64 { return hashAddr(other(row)) }})
		l.spare = true
	}
	return l, len(l.columns) <= maxColumns
}

// otherSide is the address that a rule does not group by: the server, unless
// it groups by the server alone.
func (r *Rule) otherSide(s *Schema) func(*Row) flow.Addr {
	client, server := false, false
	for _, d := range r.dims[0] {
		client = client || strings.HasPrefix(d.Name, "client")
		server = server || strings.HasPrefix(d.Name, "server")
	}
	if server && !client {
		return s.Field("client").a
	}
	return s.Field("server").a
}

// sessionHash names a session within a group: by its id, or while that is not
// decided by its key.
func sessionHash(r *Row) int64 {
	e := r.Session
	if e.ID != (session.ID{}) && e.Kind.Final() {
		return int64(binary.LittleEndian.Uint64(e.ID[:8]))
	}
	var b [flow.KeySize6]byte
	return int64(xxhash.Sum64(e.Key.AppendTo(b[:0])))
}

// sliceOf is the width of the slices that windows of the given step need
// within panes: their greatest common divisor.
func sliceOf(step, pane int64) int64 {
	for pane%step != 0 {
		step, pane = pane%step, step
	}
	return step
}

// Tap feeds rules from the combiner of detect. It is used by one combiner at a
// time.
type Tap struct {
	rules   []*Rule
	of      []tapTarget // by filter of the set
	matcher *Matcher
	pane    int64
	row     Row
	buf     []byte
}

type tapTarget struct {
	rule *Rule
	step int
}

// NewTap returns a tap for rules over panes of the given width in seconds.
func NewTap(rules []*Rule, pane int64) *Tap {
	t := &Tap{rules: rules, pane: pane}
	var filters []*Filter
	for _, r := range rules {
		for i, f := range r.match {
			filters = append(filters, f)
			t.of = append(t.of, tapTarget{r, i})
		}
	}
	t.matcher = NewSet(filters).NewMatcher()
	return t
}

var _ detect.Tap = (*Tap)(nil)

// Tap implements detect.Tap. Corrections are left out: they come after the
// window has been judged, at a time that depends on arrival.
func (t *Tap) Tap(e *session.Event, add func(detect.Entity, detect.RowKey)) {
	if len(t.rules) == 0 || e.Kind == session.KindCorrect {
		return
	}
	t.row.Session = e
	for _, hit := range t.matcher.Match(&t.row) {
		target := t.of[hit]
		if target.rule.excepted(&t.row) {
			continue
		}
		add(t.entity(target), t.key(target))
	}
	t.row.Session = nil
}

// entity names the group: "<rule>|<value>|<value>".
func (t *Tap) entity(target tapTarget) detect.Entity {
	b := append(t.buf[:0], target.rule.Spec.ID...)
	dims := target.rule.dims[target.step]
	for i := range dims {
		b = append(b, groupSeparator)
		at := len(b)
		b = dims[i].AppendText(b, &t.row)
		if v := string(b[at:]); strings.IndexByte(v, groupSeparator) >= 0 {
			b = append(b[:at], strings.ReplaceAll(v, string(groupSeparator), "%7C")...)
		}
	}
	if len(dims) == 0 {
		b = append(b, groupSeparator, '*')
	}
	t.buf = b
	return detect.Entity{Kind: detect.KindRule, Scope: t.row.Session.Key.Scope, Name: string(b)}
}

const groupSeparator = '|'

func (t *Tap) key(target tapTarget) (k detect.RowKey) {
	e := t.row.Session
	at := e.DeltaFirst
	if at == 0 {
		at = e.First
	}
	r := target.rule
	if len(r.Spec.steps()) > 0 {
		binary.BigEndian.PutUint64(k.Peer[:8], uint64(at))
		k.Peer[15] = byte(target.step + 1) // never the zero address
		return k
	}
	l := &r.rows
	if s := sliceOf(r.pane, t.pane); s < t.pane {
		k.Port = uint16(int64(at-at.Floor(t.pane)) / s)
	}
	if l.address != nil {
		k.Peer = l.address(&t.row)
		return k
	}
	for i, c := range l.columns {
		binary.BigEndian.PutUint64(k.Peer[8*i:], uint64(c.value(&t.row)))
	}
	return k
}
