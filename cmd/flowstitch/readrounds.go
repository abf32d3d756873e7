package main

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"strings"
	"sync"
	"unsafe"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/session"
)

// Reading in parallel. One goroutine decodes and learns whose addresses are
// whose, which depends on the order of the lines; the records go in rounds to
// workers that each stitch the sessions of some of the keys; one goroutine puts
// what they told of a round into an order that does not depend on how many
// workers there are. So the output is the same bytes on one core and on many.

// roundRecords is how many records go to the workers at a time, and rounds how
// many rounds are under way, which bounds the memory: 450 bytes a record.
const (
	roundRecords = 2048
	rounds       = 4
)

// round is a stretch of the log, divided by key.
type round struct {
	parts []part // one for each worker
	n     int
	clock flow.Time // at its end; 0: as it was
	done  sync.WaitGroup
}

// part is a worker's share of a round: its records, in the order of the log, the
// marks of the clock between them, and what came of it.
type part struct {
	recs    []flow.Record
	offsets []int64 // places in the log
	marks   []mark
	text    []byte // what the records' strings alias
	attrs   []flow.Attr

	out   bytes.Buffer // lines
	lines []line
	seen  [][]byte // observations, each with its length before it, in chunks
}

// mark says that the clock was moved before a record of the part.
type mark struct {
	before int
	clock  flow.Time
}

// line is a line of output and what orders it: the mark after which it was told,
// the start of its session, and the session.
type line struct {
	mark     int
	first    flow.Time
	id       session.ID
	from, to int
	out      *bytes.Buffer
}

func newRound(workers int) *round { return &round{parts: make([]part, workers)} }

// reset empties a round for its next use.
func (r *round) reset() {
	r.n, r.clock = 0, 0
	for i := range r.parts {
		p := &r.parts[i]
		p.recs, p.offsets, p.marks, p.text, p.attrs = p.recs[:0], p.offsets[:0], p.marks[:0], p.text[:0], p.attrs[:0]
		clear(p.seen)
		p.lines, p.seen = p.lines[:0], p.seen[:0]
		p.out.Reset()
	}
}

// hold copies a record, whose strings live as long as the decoder's buffer.
func (p *part) hold(r *flow.Record, offset int64, known *texts) {
	p.recs, p.offsets = append(p.recs, *r), append(p.offsets, offset)
	c := &p.recs[len(p.recs)-1]
	for _, s := range [...]*string{
		&c.AccountID, &c.InterfaceID, &c.ResourceID, &c.VPCID, &c.SubnetID, &c.InstanceID, &c.Region,
		&c.SrcService, &c.DstService, &c.Origin.LogGroup, &c.Origin.LogStream,
	} {
		if *s != "" {
			*s = known.keep(*s)
		}
	}
	if len(r.Attrs) == 0 {
		return
	}
	from := len(p.attrs)
	for _, a := range r.Attrs {
		p.attrs = append(p.attrs, flow.Attr{Name: p.keep(a.Name), Value: p.keep(a.Value)})
	}
	c.Attrs = p.attrs[from:len(p.attrs):len(p.attrs)]
}

// texts are copies of the identifiers last seen, each at the place that a hash
// gives it. A log has few of them beside its records, so that nearly all records
// share copies that are there.
type texts [1024]string

// keep returns a copy of s that lives as long as it is used.
func (t *texts) keep(s string) string {
	h := uint32(len(s))
	for i := max(0, len(s)-4); i < len(s); i++ {
		h = h*31 + uint32(s[i])
	}
	known := &t[h*0x9e3779b1>>22]
	if *known != s {
		*known = strings.Clone(s)
	}
	return *known
}

// keep copies a text into the part. Texts that were kept before the buffer grew
// alias the smaller one, which lives as long as they do.
func (p *part) keep(s string) string {
	if s == "" {
		return ""
	}
	from := len(p.text)
	p.text = append(p.text, s...)
	return unsafe.String(&p.text[from], len(s))
}

// advance marks that the clock has moved, for the judge too.
func (r *round) advance(clock flow.Time) {
	r.clock = clock
	r.mark(clock)
}

// mark marks that the clock of the workers has moved.
func (r *round) mark(clock flow.Time) {
	for i := range r.parts {
		p := &r.parts[i]
		p.marks = append(p.marks, mark{len(p.recs), clock})
	}
}

// sorted returns the lines of all workers in their order. Lines of one session
// are of one worker and keep their order.
func (r *round) sorted(list []line) []line {
	for i := range r.parts {
		list = append(list, r.parts[i].lines...)
	}
	slices.SortStableFunc(list, func(a, b line) int {
		return cmp.Or(cmp.Compare(a.mark, b.mark), cmp.Compare(a.first, b.first), bytes.Compare(a.id[:], b.id[:]))
	})
	return list
}

// workerOf returns which of n workers has a record: all records of a key, in both
// directions, go to one. What has no key goes to the first, for gaps of an
// interface are told apart from repeats by what was seen before.
func workerOf(r *flow.Record, n int) int {
	if n == 1 || r.Kind != flow.KindFlow {
		return 0
	}
	src, dst := &r.Src.Addr, &r.Dst.Addr // as r.Ends has them, without copies
	if r.PktSrc.IsValid() {
		src = &r.PktSrc
	}
	if r.PktDst.IsValid() {
		dst = &r.PktDst
	}
	h := endHash(src, r.Src.Port) + endHash(dst, r.Dst.Port) + uint64(r.Protocol) // the same both ways round
	h ^= h >> 32
	return int(uint32(h*0x9e3779b97f4a7c15>>32) % uint32(n))
}

func endHash(a *flow.Addr, port uint16) uint64 {
	h := (uint64(port) ^ binary.LittleEndian.Uint64(a[:])) * 0xff51afd7ed558ccd
	h ^= h >> 29
	h = (h ^ binary.LittleEndian.Uint64(a[8:])) * 0xff51afd7ed558ccd
	return h ^ h>>29
}
