package session

// What follows reads the parts of a snapshot of version 1 that differ: its
// numbers have fixed widths. Nothing writes them any more.

func (s *restorer) times1(e *entry, at *link) {
	for _, to := range [...]*uint32{&e.born, &e.start[0], &e.start[1], &e.end[0], &e.end[1], &e.endAt, &at.wall} {
		*to = s.Fix32()
	}
	e.setOrigin(int64(s.Uint(maxPackets)))
}

func (s *restorer) node1(v *node) (bits uint16, at uint64) {
	bits = s.Fix16()
	at = s.Uint(maxRecords)
	for i := range v.tally {
		v.tally[i] = tally{s.Uint(1<<64 - 1), s.Uint(1<<64 - 1)}
	}
	for i := range v.seen {
		v.seen[i] = s.Fix32()
	}
	v.flags = [2]uint8{s.Byte(), s.Byte()}
	return bits, at
}

func (s *restorer) pending1(p *pending) (at uint64) {
	p.start = s.Fix32()
	at = s.Uint(maxRecords)
	p.off, p.lo, p.hi = s.Fix32(), s.Fix64(), s.Fix64()
	return at
}
