package session

import "github.com/flowstitch/flowstitch/pkg/flow"

// view is what the judgement of a session rests on, by side of the key.
type view struct {
	total      [2]Traffic
	start, end [2]uint32
	owned      uint8
	path       uint8
	entered    [2]bool // recorded as ingress at an interface of the receiver's own
	left       [2]bool // recorded as egress at an interface of the sender's own
}

// viewOf completes what t.seen holds. A side that sent nothing starts at noTime.
func (t *Table) viewOf(e *entry, which int, total [2]Traffic) view {
	v := view{total: total, start: e.start, end: e.end, owned: e.misc >> 4 & 3, path: e.misc & pathMask}
	if which == viewAll && e.pend != 0 {
		for n := t.pendings.at(e.pend).next; ; n = t.pendings.at(n).next {
			p := t.pendings.at(n)
			s := p.side()
			v.start[s], v.end[s] = min(v.start[s], p.start), max(v.end[s], p.end())
			v.owned |= p.owned()
			if v.path == 0 {
				v.path = p.path()
			}
			if n == e.pend {
				break
			}
		}
	}
	for j := range t.seen {
		s := &t.seen[j]
		near := s.near(&t.pool.infos[s.info])
		for side := range near {
			v.left[side] = v.left[side] || near[side] && s.dir[side] == flow.Egress
			v.entered[side] = v.entered[side] || near[1-side] && s.dir[side] == flow.Ingress
		}
	}
	return v
}

// decide returns the client's side. The first final event settles it: later
// records can not turn a session over that has been told.
func (t *Table) decide(e *entry, v *view, final bool) int {
	if e.evidence&clientDecided == 0 {
		side, evidence, conf := t.initiator(&e.key, v)
		e.evidence, e.conf = uint8(evidence), conf
		if side == sideB {
			e.evidence |= clientB
		}
		if final {
			e.evidence |= clientDecided
		}
	}
	if e.evidence&clientB != 0 {
		return sideB
	}
	return sideA
}

// initiator judges who started a session, from the strongest evidence there
// is. The ports of a session with both directions come before its start times:
// flow logs date both sides of an exchange alike far more often than not, and
// up to a minute wrong.
func (t *Table) initiator(k *ckey, v *view) (side int, e Evidence, conf uint8) {
	if side, conf, ok := byFlags(v); ok {
		return side, EvidenceFlags, conf
	}
	rank := [2]int{portRank(k.portA), portRank(k.portB)}
	if k.portA == 0 && k.portB == 0 {
		rank[0] = rank[1] // a protocol without ports
	}
	if v.start[0] == noTime {
		return bySender(sideB, &rank, v)
	}
	if v.start[1] == noTime {
		return bySender(sideA, &rank, v)
	}
	if rank[0] != rank[1] {
		side = sideA
		if rank[0] < rank[1] {
			side = sideB
		}
		return side, EvidencePort, portConfidence(rank[side], rank[1-side])
	}
	if d := int64(v.start[0]) - int64(v.start[1]); d > t.cfg.Grain || -d > t.cfg.Grain {
		if d > 0 {
			side = sideB
		}
		return side, EvidenceStart, 70
	}
	return byLikeness(k, v)
}

// bySender judges a session of one direction. Its sender started it, which is
// surer where the interface that saw it is the sender's or the receiver's own
// and would have seen an answer; but what comes from a service's port to
// another kind of port is an answer, to a request that was not seen or, as in
// backscatter, never sent.
func bySender(sender int, rank *[2]int, v *view) (side int, e Evidence, conf uint8) {
	switch {
	case rank[sender] == rankService && rank[1-sender] > rankService:
		return 1 - sender, EvidencePort, 80
	case v.left[sender] || v.entered[sender]:
		return sender, EvidenceDirection, 95
	case rank[0] == rankService && rank[1] == rankService:
		return sender, EvidenceStart, 55 // an answer as likely as not
	case rank[1-sender] < rank[sender]:
		return sender, EvidenceStart, 95
	}
	return sender, EvidenceStart, 80
}

// byLikeness decides between two ports of one rank, which is little more than
// a guess: a refusal is a header without options, while what it refuses has
// some; else a service has the lower port of the two.
func byLikeness(k *ckey, v *view) (side int, e Evidence, conf uint8) {
	if k.proto == protoTCP {
		bare := int64(40)
		if k.six != 0 {
			bare = 60
		}
		for s := range v.total {
			out, in := &v.total[s], &v.total[1-s]
			if in.Packets > 0 && out.Packets > 0 && in.Bytes == bare*in.Packets &&
				out.Bytes > bare*out.Packets && out.Bytes <= (bare+20)*out.Packets {
				return s, EvidencePort, 60
			}
		}
	}
	switch {
	case k.portA < k.portB:
		return sideB, EvidencePort, 55
	case k.portB < k.portA:
		return sideA, EvidencePort, 55
	}
	return sideA, EvidenceNone, 0
}

// byFlags reads the handshake: the client's first segment is a SYN without
// ACK, the server's a SYN-ACK.
func byFlags(v *view) (side int, conf uint8, ok bool) {
	syn, synAck := [2]bool{}, [2]bool{}
	for s := range v.total {
		f := v.total[s].Flags & (flow.SYN | flow.ACK)
		syn[s], synAck[s] = f == flow.SYN, f == flow.SYN|flow.ACK
	}
	for s := range v.total {
		switch {
		case syn[s] && synAck[1-s]:
			return s, 100, true
		case syn[s] && !syn[1-s], synAck[1-s] && !synAck[s]:
			return s, 99, true
		}
	}
	return 0, 0, false
}
