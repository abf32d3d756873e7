package session

// tally counts what one interface saw of one direction, in 16 bytes: 56 bits
// of bytes, 40 of packets and 32 of records. Each saturates, at 72 petabytes,
// 1.1 trillion packets and 4.2 thousand million records.
type tally struct{ lo, hi uint64 }

const (
	maxBytes   = 1<<56 - 1
	maxPackets = 1<<40 - 1
	maxRecords = 1<<32 - 1
)

func newTally(packets, bytes, records uint64) tally {
	bytes, packets, records = min(bytes, maxBytes), min(packets, maxPackets), min(records, maxRecords)
	return tally{lo: bytes | packets<<56, hi: packets>>8 | records<<32}
}

func (t tally) bytes() uint64   { return t.lo & maxBytes }
func (t tally) packets() uint64 { return t.lo>>56 | t.hi&maxRecords<<8 }
func (t tally) records() uint64 { return t.hi >> 32 }

func (t tally) plus(packets, bytes, records uint64) tally {
	return newTally(t.packets()+packets, t.bytes()+bytes, t.records()+records)
}

// most returns the greatest of each number.
func (t tally) most(o tally) tally {
	return newTally(max(t.packets(), o.packets()), max(t.bytes(), o.bytes()), max(t.records(), o.records()))
}
