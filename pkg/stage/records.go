package stage

import (
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

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

// fetchPools gives back to the client what fetched records were made of, once
// each has been folded and recycled: the decompressed batches and the records
// themselves are most of what a reader allocates. Nothing may refer to a
// message after it was folded (see Message).
type fetchPools struct{ bytes, records sync.Pool }

// GetDecompressBytes implements kgo.PoolDecompressBytes.
func (p *fetchPools) GetDecompressBytes(compressed []byte, _ kgo.CompressionCodecType) []byte {
	if b, ok := p.bytes.Get().(*[]byte); ok {
		return *b
	}
	return make([]byte, 0, 4*len(compressed)) // flows and sessions compress about that well
}

// PutDecompressBytes implements kgo.PoolDecompressBytes.
func (p *fetchPools) PutDecompressBytes(b []byte) { p.bytes.Put(&b) }

// GetRecords implements kgo.PoolRecords.
func (p *fetchPools) GetRecords(n int) []kgo.Record {
	if r, ok := p.records.Get().(*[]kgo.Record); ok {
		return *r
	}
	return make([]kgo.Record, 0, n)
}

// PutRecords implements kgo.PoolRecords.
func (p *fetchPools) PutRecords(r []kgo.Record) { p.records.Put(&r) }
