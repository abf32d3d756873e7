package shard

import (
	"bytes"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
)

// Hash is a partition key hash, a 128-bit number, big-endian.
type Hash [16]byte

// ParseHash parses the decimal number that ListShards gives.
func ParseHash(s string) (h Hash, err error) {
	n, ok := new(big.Int).SetString(s, 10)
	if !ok || n.Sign() < 0 || n.BitLen() > 128 {
		return Hash{}, fmt.Errorf("shard: %q is not a 128-bit hash key", s)
	}
	n.FillBytes(h[:])
	return h, nil
}

// next returns the number after h, and whether there is one.
func (h Hash) next() (Hash, bool) {
	for i := len(h) - 1; i >= 0; i-- {
		h[i]++
		if h[i] != 0 {
			return h, true
		}
	}
	return h, false
}

// Shard is one shard as ListShards describes it.
type Shard struct {
	ID      string
	Parents []string // none, one (after a split) or two (after a merge)
	Lo, Hi  Hash     // the range of hash keys, inclusive
	Closed  bool     // it takes no more records
}

// overlaps reports whether the two shards share hash keys.
func (s *Shard) overlaps(o *Shard) bool {
	return bytes.Compare(s.Lo[:], o.Hi[:]) <= 0 && bytes.Compare(o.Lo[:], s.Hi[:]) <= 0
}

// Key names a shard among all streams. Stream is the incarnation, see
// [Listing.Stream].
type Key struct{ Stream, Shard string }

// Compare orders keys by stream, then shard.
func (k Key) Compare(o Key) int {
	if c := strings.Compare(k.Stream, o.Stream); c != 0 {
		return c
	}
	return strings.Compare(k.Shard, o.Shard)
}

// Listing is a complete listing of one stream: every page of ListShards.
type Listing struct {
	// Name is how the configuration names the stream.
	Name string
	// Stream is the incarnation of the stream: its name and when it was
	// created. A stream that was deleted and made again under its old name
	// starts its shard ids and sequence numbers over, so the old checkpoints
	// must not be taken for its own.
	Stream string
	// Shards are in the order of their ids.
	Shards []Shard
	// Retention is how long the stream keeps records, in milliseconds; 0 when
	// not known.
	Retention int64

	index map[string]int
	kids  map[string][]*Shard // by parent
}

// ErrListing reports a listing that contradicts itself.
var ErrListing = errors.New("shard: ListShards gave a contradictory listing")

// NewListing returns the listing of one incarnation of a stream. It refuses a
// shard without id and one that is listed twice.
func NewListing(name, stream string, retention int64, shards []Shard) (*Listing, error) {
	l := &Listing{Name: name, Stream: stream, Retention: retention, Shards: slices.Clone(shards),
		index: map[string]int{}, kids: map[string][]*Shard{}}
	slices.SortFunc(l.Shards, func(a, b Shard) int { return strings.Compare(a.ID, b.ID) })
	for i := range l.Shards {
		id := l.Shards[i].ID
		if _, twice := l.index[id]; twice || id == "" {
			return nil, fmt.Errorf("%w: shard %q of %s", ErrListing, id, name)
		}
		l.index[id] = i
		for _, p := range l.Shards[i].Parents {
			l.kids[p] = append(l.kids[p], &l.Shards[i])
		}
	}
	return l, nil
}

// Get returns a shard by id.
func (l *Listing) Get(id string) (*Shard, bool) {
	i, ok := l.index[id]
	if !ok {
		return nil, false
	}
	return &l.Shards[i], true
}

// outlived reports whether a shard of this stream is no more, as opposed to not
// yet: the listing may be older than the checkpoint. A shard goes when its
// retention is over, and leaves behind what came of its range since, which has
// higher ids; Kinesis numbers shards in the order of their making.
func (l *Listing) outlived(c *Checkpoint) bool {
	if c.Stream != l.Stream {
		return later(l.Stream, c.Stream) // the stream was made again
	}
	if _, listed := l.Get(c.Shard); listed {
		return false
	}
	return slices.ContainsFunc(l.Shards, func(s Shard) bool {
		return later(s.ID, c.Shard) && s.overlaps(&Shard{Lo: c.Lo, Hi: c.Hi})
	})
}

// later compares two names that end with a number.
func later(a, b string) bool {
	if len(a) != len(b) {
		return len(a) > len(b)
	}
	return a > b
}

// oldest reports whether no parent of s is listed.
func (l *Listing) oldest(s *Shard) bool {
	return !slices.ContainsFunc(s.Parents, func(p string) bool { _, ok := l.index[p]; return ok })
}

// covered reports whether the shards together cover every hash key of p. A
// listing that shows one child of a split and not yet the other does not.
func covered(p *Shard, by []*Shard) bool {
	sorted := slices.Clone(by)
	slices.SortFunc(sorted, func(a, b *Shard) int { return bytes.Compare(a.Lo[:], b.Lo[:]) })
	need := p.Lo
	for _, c := range sorted {
		if bytes.Compare(c.Lo[:], need[:]) > 0 {
			return false
		}
		if bytes.Compare(c.Hi[:], p.Hi[:]) >= 0 {
			return true
		}
		if n, more := c.Hi.next(); more && bytes.Compare(n[:], need[:]) > 0 {
			need = n
		}
	}
	return false
}

// SlotOf returns the slot that a shard lives in for as long as it exists, a
// pure function of its name, so that two pods with listings of different age
// cannot disagree. Kinesis numbers shards one after the other, also those that
// a reshard creates, so going round the slots by number spreads them more
// evenly than a hash of the id does; the hash of the stream's name only turns
// the ring, so that many small streams do not all begin in slot 0.
func SlotOf(k Key, slots int) int {
	return int((shardNumber(k.Shard) + fnv1a(k.Stream)) % uint64(slots))
}

// shardNumber reads the number in "shardId-000000000042"; an id of another
// shape is hashed.
func shardNumber(id string) uint64 {
	if i := strings.LastIndexByte(id, '-'); i >= 0 {
		if n, err := strconv.ParseUint(id[i+1:], 10, 63); err == nil {
			return n
		}
	}
	return fnv1a(id)
}

// fnv1a is the 64-bit FNV-1a hash, halved so that a sum cannot overflow.
func fnv1a(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h >> 1
}

// HasChild reports whether a shard is listed that names id as a parent.
func (l *Listing) HasChild(id string) bool { return len(l.kids[id]) > 0 }
