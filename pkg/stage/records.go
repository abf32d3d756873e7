package stage

import "github.com/twmb/franz-go/pkg/kgo"

// records holds the records of a transaction in chunks: a kgo.Record is large
// (recordSize), so a slice that grew would be copied and would leave twice its
// size behind, in each of a slot's two transactions.
type records struct {
	chunks [][]kgo.Record
	n      int
}

// recordChunk is how many records a chunk holds, about 200 kB.
const recordChunk = 1024

// next adds an empty record. It stays where it is until the next reset.
func (l *records) next() *kgo.Record {
	c, i := l.n/recordChunk, l.n%recordChunk
	if c == len(l.chunks) {
		l.chunks = append(l.chunks, make([]kgo.Record, recordChunk))
	}
	l.n++
	r := &l.chunks[c][i]
	*r = kgo.Record{}
	return r
}

// at returns record i.
func (l *records) at(i int) *kgo.Record { return &l.chunks[i/recordChunk][i%recordChunk] }

// reset forgets all records and keeps their memory; what they refer to is let
// go of as they are overwritten.
func (l *records) reset() { l.n = 0 }
