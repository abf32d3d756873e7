package flowlog

import "github.com/flowstitch/flowstitch/pkg/flow"

// Event times that are believed. No VPC existed before 2009, so an earlier time
// is a unit error or damage; at 2100 and beyond it is the same the other way
// round (milliseconds land there).
const (
	MinTime flow.Time = 1230768000 // 2009-01-01T00:00:00Z, inclusive
	MaxTime flow.Time = 4102444800 // 2100-01-01T00:00:00Z, exclusive
)

// ported reports whether a protocol has ports in flow logs: TCP, UDP, DCCP,
// SCTP and UDP-Lite (IANA protocol numbers).
func ported(protocol uint8) bool {
	switch protocol {
	case 6, 17, 33, 132, 136:
		return true
	}
	return false
}

// whole reports whether the row is a flow with all that the default layout has
// and times in order: what check would find no fault with, in a few comparisons.
func (w *row) whole(maxInterval int64) bool {
	const all = 1<<opSrcAddr | 1<<opDstAddr | 1<<opSrcPort | 1<<opDstPort | 1<<opProtocol | 1<<opStart | 1<<opEnd | 1<<opStatus
	r := w.rec
	return w.seen&all == all && r.Start >= MinTime && r.End < MaxTime && r.End >= r.Start && int64(r.End-r.Start) <= maxInterval
}

// check applies the rules that need more than one field. at is the time of the
// event that carried the line, which AWS sets to the record's start, or 0.
func (w *row) check(f *Format, at flow.Time, maxInterval int64) failure {
	if f.hasOp(opStatus) && w.seen&(1<<opStatus) == 0 {
		return failure{class: ClassMissing, col: f.column(opStatus), what: whatMissing, op: opStatus}
	}
	if w.rec.Kind == flow.KindFlow {
		if o, wh := w.lacks(); wh != whatNone {
			if wh == whatMissing && !f.hasOp(opStatus) && w.seen&(1<<opSrcAddr|1<<opDstAddr|1<<opProtocol) == 0 {
				wh = whatNoStatus
			}
			return failure{class: ClassMissing, col: f.column(o), what: wh, op: o}
		}
	}
	return w.times(f, at, maxInterval)
}

// lacks names a field that a flow can not do without.
func (w *row) lacks() (op, what) {
	switch {
	case w.seen&(1<<opSrcAddr|1<<opPktSrc) == 0:
		return opSrcAddr, whatMissing
	case w.seen&(1<<opDstAddr|1<<opPktDst) == 0:
		return opDstAddr, whatMissing
	case w.seen&(1<<opProtocol) == 0:
		return opProtocol, whatMissing
	case w.seen&(1<<opSrcPort|1<<opDstPort) == 1<<opSrcPort|1<<opDstPort || !ported(w.rec.Protocol):
		return 0, whatNone
	case w.seen&(1<<opSrcPort) == 0:
		return opSrcPort, whatMissing
	}
	return opDstPort, whatMissing
}

// times fills in a missing start or end and judges both.
func (w *row) times(f *Format, at flow.Time, maxInterval int64) failure {
	r := w.rec
	hasStart, hasEnd := w.seen&(1<<opStart) != 0, w.seen&(1<<opEnd) != 0
	if !hasStart {
		switch {
		case at != 0:
			r.Start = at
		case hasEnd:
			r.Start = r.End
		default:
			return failure{class: ClassMissing, col: f.column(opStart), what: whatNoTime, op: opStart}
		}
	}
	if !hasEnd {
		r.End = r.Start
	}
	switch {
	case r.Start < MinTime:
		return failure{class: ClassTime, col: f.column(opStart), what: whatEarly, op: opStart}
	case r.Start >= MaxTime:
		return failure{class: ClassTime, col: f.column(opStart), what: whatLate, op: opStart}
	case r.End < r.Start:
		return failure{class: ClassTime, col: f.column(opEnd), what: whatBackwards, op: opEnd}
	case r.End >= MaxTime:
		return failure{class: ClassTime, col: f.column(opEnd), what: whatLate, op: opEnd}
	case int64(r.End-r.Start) > maxInterval:
		return failure{class: ClassTime, col: f.column(opEnd), what: whatTooLong, op: opEnd}
	}
	return failure{}
}

// column returns the index of the column of an op, or -1.
func (f *Format) column(o op) int {
	for i := range f.cols {
		if f.cols[i].op == o && o != opAttr {
			return i
		}
	}
	return -1
}
