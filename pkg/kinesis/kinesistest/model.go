package kinesistest

import (
	"crypto/md5"
	"fmt"
	"math/big"
	"slices"
	"time"
)

// hashSpace is the number of hash keys, 2^128.
func hashSpace() *big.Int { return new(big.Int).Lsh(big.NewInt(1), 128) }

type stream struct {
	name    string
	created time.Time
	shards  []*shard
	seq     int64
	retain  time.Duration
}

type shard struct {
	id       string
	parents  []string
	lo, hi   *big.Int
	firstSeq string
	lastSeq  string // set when closed
	records  []record
	trimmed  int // index of the oldest record that is still there
	lease    int // of the newest subscription
	held     int // how many records it gives, below 0 all
}

type record struct {
	seq     string
	key     string
	data    []byte
	arrival time.Time
}

func (s *stream) nextSeq() string {
	s.seq++
	return fmt.Sprintf("49%054d", s.seq)
}

func (s *stream) add(parents []string, lo, hi *big.Int) *shard {
	sh := &shard{id: fmt.Sprintf("shardId-%012d", len(s.shards)), parents: parents, lo: lo, hi: hi, firstSeq: s.nextSeq(), held: -1}
	s.shards = append(s.shards, sh)
	return sh
}

func (s *stream) shard(id string) *shard {
	for _, sh := range s.shards {
		if sh.id == id {
			return sh
		}
	}
	return nil
}

// route returns the open shard for a partition key or an explicit hash key.
func (s *stream) route(key, explicit string) *shard {
	sum := md5.Sum([]byte(key))
	h := new(big.Int).SetBytes(sum[:])
	if explicit != "" {
		h.SetString(explicit, 10)
	}
	for _, sh := range s.shards {
		if sh.lastSeq == "" && sh.lo.Cmp(h) <= 0 && sh.hi.Cmp(h) >= 0 {
			return sh
		}
	}
	return nil
}

func (s *stream) put(sh *shard, key string, data []byte, now time.Time) string {
	seq := s.nextSeq()
	sh.records = append(sh.records, record{seq, key, slices.Clone(data), now})
	return seq
}

func (s *stream) split(sh *shard, at *big.Int) {
	sh.lastSeq = s.nextSeq()
	s.add([]string{sh.id}, sh.lo, new(big.Int).Sub(at, big.NewInt(1)))
	s.add([]string{sh.id}, at, sh.hi)
}

func (s *stream) merge(a, b *shard) {
	a.lastSeq, b.lastSeq = s.nextSeq(), s.nextSeq()
	lo, hi := a.lo, b.hi
	if b.lo.Cmp(a.lo) < 0 {
		lo, hi = b.lo, a.hi
	}
	s.add([]string{a.id, b.id}, lo, hi)
}

func (s *stream) children(id string) (out []*shard) {
	for _, sh := range s.shards {
		if slices.Contains(sh.parents, id) {
			out = append(out, sh)
		}
	}
	return out
}

// after returns the index of the first record behind a sequence number; equal
// asks for the record itself. Sequence numbers have one length, so the order
// of the text is the order of the numbers.
func (sh *shard) after(seq string, equal bool) int {
	i, found := slices.BinarySearchFunc(sh.records, seq, func(r record, s string) int {
		switch {
		case r.seq < s:
			return -1
		case r.seq > s:
			return 1
		}
		return 0
	})
	if found && !equal {
		i++
	}
	return max(i, sh.trimmed)
}

func (sh *shard) atTime(t time.Time) int {
	i := slices.IndexFunc(sh.records, func(r record) bool { return !r.arrival.Before(t) })
	if i < 0 {
		i = len(sh.records)
	}
	return max(i, sh.trimmed)
}

// ready is the index behind the last record that the shard gives now.
func (sh *shard) ready() int {
	if sh.held >= 0 {
		return min(sh.held, len(sh.records))
	}
	return len(sh.records)
}
