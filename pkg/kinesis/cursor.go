package kinesis

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/flowstitch/flowstitch/pkg/kinesis/kpl"
	"github.com/flowstitch/flowstitch/pkg/kinesis/shard"
)

// cursor is how far a shard's page has been handed over.
type cursor struct {
	key  shard.Key
	page *page
	next int      // record of the page
	subs [][]byte // user records of the record at hand; empty between two
	name string   // of the stream, as configured
	seq  string   // of the record at hand
	took prometheus.Counter
	sub  int
	bad  bool // the record at hand is a broken aggregate
	skip uint64
	at   string // the sequence number that skip belongs to
}

// open takes the next record of the page apart.
func (cur *cursor) open() {
	rec := &cur.page.recs[cur.next]
	cur.sub, cur.bad = 0, false
	cur.seq = aws.ToString(rec.SequenceNumber)
	if kpl.Is(rec.Data) {
		_, users, err := kpl.Split(rec.Data)
		if err == nil {
			for u := range users {
				cur.subs = append(cur.subs, u)
			}
		}
		cur.bad = err != nil
	}
	if len(cur.subs) == 0 {
		cur.subs = append(cur.subs, rec.Data)
	}
	if cur.at == cur.seq && cur.skip < uint64(len(cur.subs)) {
		cur.sub = int(cur.skip) // a commit cut this aggregate
	}
	cur.at, cur.skip = "", 0
}
