package session

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// IDOf returns the id of the session of a key whose first packet was in the
// given second: the first 16 bytes of the SHA-256 of the packed key and the
// second in 8 bytes, big-endian.
func IDOf(k flow.Key, first flow.Time) (id ID) {
	var buf [flow.KeySize6 + 8]byte
	b := binary.BigEndian.AppendUint64(k.AppendTo(buf[:0]), uint64(first))
	h := sha256.Sum256(b)
	copy(id[:], h[:])
	return id
}

// tellUpdate emits what has arrived so far.
func (t *Table) tellUpdate(i uint32, emit Emit) {
	e := t.entries.at(i)
	told := t.toldBase(e)
	ev := t.event(e, KindUpdate, max(t.wheel.pos, e.first()))
	first := noTime
	for n := e.pend; n != 0; {
		if p := t.pendings.at(n); !p.told() {
			first = min(first, p.start)
		}
		if n = t.pendings.at(n).next; n == e.pend {
			break
		}
	}
	t.collect(e, viewAll)
	total := t.totals()
	side := t.describe(e, ev, viewAll, total)
	if first == noTime {
		first = uint32(ev.First)
	}
	ev.DeltaFirst = flow.Time(first)
	t.delta(e, ev, side, total, total, told)
	t.tellAll(e)
	t.toldNow(e, side)
	e.state &^= stDirty
	if t.cfg.SkipEmpty && !ev.New && ev.OutDelta == (Traffic{}) && ev.InDelta == (Traffic{}) {
		return // another interface saw what has been told
	}
	t.stats.Updates++
	emit(ev)
}

// tellFinal emits what is final of a session at a second of event time.
func (t *Table) tellFinal(i uint32, kind Kind, at uint32, emit Emit) {
	e := t.entries.at(i)
	told, sent := t.toldBase(e), t.sentBase(e)
	ev := t.event(e, kind, at)
	ev.Reason = Reason(e.state & stReason >> reasonShift)
	if ev.DeltaFirst = flow.Time(t.unsent(e)); t.unsent(e) == noTime {
		ev.DeltaFirst = flow.Time(max(at, t.wheel.pos)) // nothing new: it belongs to now
	}
	t.collect(e, viewTold)
	early := t.totals()
	t.collect(e, viewFolded)
	total := t.totals()
	side := t.describe(e, ev, viewFolded, total)
	t.delta(e, ev, side, total, early, told)
	ev.OutFinal, ev.InFinal = minus(total[side], sent[side]), minus(total[1-side], sent[1-side])
	ev.Opened = !e.is(stOpened)
	t.toldNow(e, side)
	t.dropBase(e, nodeSent)
	e.state = e.state&^stSentNode | stSentSame | stOpened
	if kind == KindProgress {
		t.stats.Progress++
	}
	if !t.untold(e) {
		e.state &^= stDirty
	}
	emit(ev)
}

func (t *Table) untold(e *entry) bool {
	for n := e.pend; n != 0; {
		p := t.pendings.at(n)
		if !p.told() {
			return true
		}
		if n = p.next; n == e.pend {
			break
		}
	}
	return false
}

// delta fills running totals and the early deltas. Where the guess of who
// started it has turned, the deltas turn what was told with it.
func (t *Table) delta(e *entry, ev *Event, side int, total, early, told [2]Traffic) {
	was := side
	if e.is(stTold) {
		was = sideA
		if e.is(stSwapped) {
			was = sideB
		}
	}
	ev.Out, ev.In = total[side], total[1-side]
	ev.OutDelta, ev.InDelta = minus(early[side], told[was]), minus(early[1-side], told[1-was])
	ev.New = !e.is(stTold)
}

// toldNow notes that everything folded and every pending record marked told
// has been told.
func (t *Table) toldNow(e *entry, side int) {
	t.dropBase(e, nodeTold)
	e.state = e.state&^(stToldNode|stSwapped) | stToldSame | stTold
	if side == sideB {
		e.state |= stSwapped
	}
}

func minus(a, b Traffic) Traffic {
	return Traffic{
		Packets: a.Packets - b.Packets, Bytes: a.Bytes - b.Bytes,
		RejectPackets: a.RejectPackets - b.RejectPackets, RejectBytes: a.RejectBytes - b.RejectBytes,
		Records: a.Records - b.Records, Flags: a.Flags &^ b.Flags,
	}
}

// event clears the table's event and fills what needs no view.
func (t *Table) event(e *entry, kind Kind, at uint32) *Event {
	points := t.ev.Points[:0]
	t.ev = Event{Kind: kind, Key: t.keyOf(e), Points: points}
	if e.is(stFolded) {
		t.ev.Born = flow.Time(e.born)
		t.ev.ID = IDOf(t.ev.Key, t.ev.Born)
	}
	if kind.Final() {
		t.ev.OriginPartition, t.ev.OriginOffset = t.partition, e.origin()
	}
	t.at = at
	return &t.ev
}

// describe fills everything that follows from the observations in t.seen, and
// returns the client's side.
func (t *Table) describe(e *entry, ev *Event, which int, total [2]Traffic) int {
	v := t.viewOf(e, which, total)
	side := t.decide(e, &v, ev.Kind.Final())
	ev.Evidence, ev.Confidence = Evidence(e.evidence&evidenceMask), e.conf
	ends := [2]flow.Endpoint{ev.Key.A, ev.Key.B}
	ev.Client, ev.Server = ends[side], ends[1-side]
	ev.First, ev.Last = flow.Time(min(v.start[0], v.start[1])), flow.Time(max(v.end[0], v.end[1]))
	ev.Path = v.path
	ev.Owned, ev.Direction = t.direction(&ev.Client.Addr, &ev.Server.Addr, v.owned, side)
	ev.Outcome = outcome(&total[side], &total[1-side], ev.Key.A.Addr.Is4())
	if ev.Outcome == OutcomePending && (ev.Kind == KindClose && ev.Reason != ReasonEvicted ||
		int64(t.at)-int64(ev.First) > t.cfg.UnansweredAfter) {
		ev.Outcome = OutcomeUnanswered
	}
	t.points(ev, side)
	return side
}

// outcome judges an attempt by what its sides sent. REJECT wins over ACCEPT:
// a packet that one interface passed on and a later one refused was refused.
func outcome(out, in *Traffic, four bool) Outcome {
	bare := int64(60) // an IPv6 header and a TCP header without options; see below
	if four {
		bare = 40
	}
	bare += 12 // timestamps, the only option of a segment without data
	switch {
	case in.Packets > 0 && in.RejectPackets < in.Packets:
		if in.Flags&(flow.RST|flow.SYN|flow.FIN) == flow.RST && in.Bytes <= bare*in.Packets {
			return OutcomeReset
		}
		return OutcomeAnswered
	case out.RejectPackets > 0 && out.RejectPackets >= out.Packets, in.RejectPackets > 0:
		return OutcomeRejected
	}
	return OutcomePending
}

// direction tells which sides are ours and how the session crosses our border.
func (t *Table) direction(client, server *flow.Addr, owned uint8, side int) (o flow.Ownership, d Direction) {
	known := owned != 0
	if len(t.cfg.Owned) > 0 {
		known = true
		if t.ours(client) {
			o |= flow.OwnSrc
		}
		if t.ours(server) {
			o |= flow.OwnDst
		}
	} else {
		o = flow.Ownership(owned)
		if side == sideB {
			o = o>>1 | o&1<<1
		}
	}
	switch {
	case !known:
		return o, DirectionUnknown
	case o == flow.OwnSrc|flow.OwnDst:
		return o, Lateral
	case o == flow.OwnSrc:
		return o, Outbound
	case o == flow.OwnDst:
		return o, Inbound
	}
	return o, Transit
}

func (t *Table) ours(a *flow.Addr) bool {
	ip := a.IP()
	for _, p := range t.cfg.Owned {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

// points lists the observation points in t.seen in canonical order, and fills
// the outer addresses and services from the first that have them.
func (t *Table) points(ev *Event, side int) {
	slices.SortFunc(t.seen, func(a, b seen) int {
		if c := t.pool.compare(a.info, b.info); c != 0 {
			return c
		}
		return int(a.action)*16 + int(a.dir[0])*4 + int(a.dir[1]) - int(b.action)*16 - int(b.dir[0])*4 - int(b.dir[1])
	})
	for j := range t.seen {
		s := &t.seen[j]
		v := &t.pool.infos[s.info]
		first(&ev.ClientOuter, v.outer[side])
		first(&ev.ServerOuter, v.outer[1-side])
		first(&ev.ClientService, v.service[side])
		first(&ev.ServerService, v.service[1-side])
		p := t.point(ev, v)
		if p == nil {
			continue
		}
		p.SawOut = p.SawOut || s.tally[side].records() > 0
		p.SawIn = p.SawIn || s.tally[1-side].records() > 0
		near := s.near(v)
		p.NearClient = p.NearClient || near[side]
		p.NearServer = p.NearServer || near[1-side]
	}
}

func first[T comparable](to *T, v T) {
	var zero T
	if *to == zero {
		*to = v
	}
}

// point returns the event's point of an info, added if there is room.
func (t *Table) point(ev *Event, v *info) *Point {
	if n := len(ev.Points); n > 0 {
		if p := &ev.Points[n-1]; p.ID == v.id && p.LogGroup == v.group {
			return p
		}
	}
	if len(ev.Points) == MaxPoints {
		if v.id != t.lastMore.id || v.group != t.lastMore.group || ev.PointsMore == 0 {
			ev.PointsMore++
		}
		t.lastMore.id, t.lastMore.group = v.id, v.group
		return nil
	}
	ev.Points = append(ev.Points, Point{
		ID: v.id, LogGroup: v.group, AccountID: v.account, VPCID: v.vpc,
		SubnetID: v.subnet, InstanceID: v.instance, Region: v.region, Tags: v.tags,
	})
	return &ev.Points[len(ev.Points)-1]
}

// near tells whose own interface a point is: what leaves it comes from its
// own address and what enters goes to it, unless the plain address differs,
// as it does at a NAT or transit gateway. Without flow-direction, an address
// that is ours while the other is not stands in for it.
func (s *seen) near(v *info) (near [2]bool) {
	for side := range near {
		if v.outer[side].IsValid() {
			continue
		}
		if s.dir[0] == flow.DirectionUnknown && s.dir[1] == flow.DirectionUnknown {
			near[side] = s.owned == 1<<side
			continue
		}
		near[side] = s.dir[side] == flow.Egress || s.dir[1-side] == flow.Ingress
	}
	return near
}

// observeGap tells a coverage gap, once.
func (t *Table) observeGap(r *flow.Record, partition int32, offset int64, emit Emit) Verdict {
	var text [128]byte
	h := uint64(seed1)
	b := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(text[:0], uint64(r.Start)), uint64(r.End))
	for _, c := range append(append(b, r.Point()...), r.Origin.LogGroup...) {
		h = mix(h^uint64(c), seed2)
	}
	if slices.Contains(t.gaps[:], h) {
		return Duplicate
	}
	t.gaps[t.gapAt%uint8(len(t.gaps))] = h
	t.gapAt = (t.gapAt + 1) % uint8(len(t.gaps))
	t.gap = Gap{Start: r.Start, End: r.End, Point: Point{
		ID: r.Point(), LogGroup: r.Origin.LogGroup, AccountID: r.AccountID, VPCID: r.VPCID,
		SubnetID: r.SubnetID, InstanceID: r.InstanceID, Region: r.Region,
	}}
	for _, a := range r.Attrs {
		if isTag(a.Name) {
			t.gap.Point.Tags = append(t.gap.Point.Tags, a)
		}
	}
	t.ev = Event{
		Kind: KindGap, Points: t.ev.Points[:0], First: r.Start, Last: r.End, DeltaFirst: r.Start,
		Gap: &t.gap, OriginPartition: partition, OriginOffset: offset,
	}
	t.stats.Gaps++
	emit(&t.ev)
	return GapTold
}
