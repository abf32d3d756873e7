package shard

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// State says how far a shard has been read.
type State uint8

// States of a shard. Lost is an end, too: its records were gone before they
// were read.
const (
	Reading State = iota + 1
	Ended
	Lost
)

// Checkpoint is what the ledger holds of a shard. It commits in the transaction
// of the flows that it covers.
type Checkpoint struct {
	Key
	State State
	// Sequence is the last Kinesis record touched; "" before the first. Sub is
	// the number of user records of it that are done, or 0 when all are: an
	// aggregate may be cut by a commit.
	Sequence string
	Sub      uint64
	// Start is where a shard without Sequence is read from, in Unix
	// milliseconds of arrival; 0 is TRIM_HORIZON.
	Start int64
	// Newest is the newest end of an accepted record, Arrival the running
	// maximum of arrival in Unix milliseconds, in which reading the shard to
	// its tip counts as an arrival at that wall time.
	Newest  flow.Time
	Arrival int64
	// Floor is the clock that was inherited from the parents.
	Floor flow.Time
	// Parents as listed when the shard was taken, and its range.
	Parents []string
	Lo, Hi  Hash
	// Stuck says that the shard was given up for the clock, by policy.
	Stuck bool
	// GapTo is up to which arrival a coverage gap has been raised, in Unix
	// milliseconds.
	GapTo int64
	// Slot is the slot that committed this.
	Slot int
	// Count is how many user records were read, for people.
	Count uint64
}

// Clock returns the shard's clock under a policy.
func (c *Checkpoint) Clock(p Policy) flow.Time { return max(c.Floor, p.clock(c.Newest, c.Arrival)) }

// Done reports whether no more records will come from the shard.
func (c *Checkpoint) Done() bool { return c.State == Ended || c.State == Lost }

// Name is the name of the checkpoint in the ledger.
func (k Key) Name() string { return NamePrefix + k.Stream + "/" + k.Shard }

// NamePrefix begins the ledger name of every checkpoint.
const NamePrefix = "shard/"

// Field numbers; published in wire format, so they are never reused.
const (
	fStream protowire.Number = iota + 1
	fShard
	fState
	fSequence
	fSub
	fStart
	fNewest
	fArrival
	fFloor
	fParent
	fLo
	fHi
	fStuck
	fGapTo
	fSlot
	fCount
)

// Append appends the protobuf encoding of c. Equal checkpoints give equal bytes.
func (c *Checkpoint) Append(b []byte) []byte {
	str := func(n protowire.Number, s string) {
		if s != "" {
			b = protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), s)
		}
	}
	num := func(n protowire.Number, v uint64) {
		if v != 0 {
			b = protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), v)
		}
	}
	str(fStream, c.Stream)
	str(fShard, c.Shard)
	num(fState, uint64(c.State))
	str(fSequence, c.Sequence)
	num(fSub, c.Sub)
	num(fStart, uint64(c.Start))
	num(fNewest, protowire.EncodeZigZag(int64(c.Newest)))
	num(fArrival, uint64(c.Arrival))
	num(fFloor, protowire.EncodeZigZag(int64(c.Floor)))
	for _, p := range c.Parents {
		str(fParent, p)
	}
	str(fLo, string(c.Lo[:]))
	str(fHi, string(c.Hi[:]))
	num(fStuck, protowire.EncodeBool(c.Stuck))
	num(fGapTo, uint64(c.GapTo))
	num(fSlot, uint64(c.Slot))
	num(fCount, c.Count)
	return b
}

// ErrCheckpoint reports bytes that are no checkpoint.
var ErrCheckpoint = errors.New("shard: not a checkpoint; the ledger was written by something else or is damaged")

// ParseCheckpoint reads what Append wrote. Unknown fields are skipped, so that
// a rollback can read what a newer version wrote.
func ParseCheckpoint(b []byte) (c Checkpoint, err error) {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return Checkpoint{}, fmt.Errorf("%w: %w", ErrCheckpoint, protowire.ParseError(n))
		}
		b = b[n:]
		switch typ {
		case protowire.VarintType:
			var v uint64
			if v, n = protowire.ConsumeVarint(b); n >= 0 {
				c.setNumber(num, v)
			}
		case protowire.BytesType:
			var v []byte
			if v, n = protowire.ConsumeBytes(b); n >= 0 {
				c.setBytes(num, v)
			}
		default:
			n = protowire.ConsumeFieldValue(num, typ, b)
		}
		if n < 0 {
			return Checkpoint{}, fmt.Errorf("%w: field %d: %w", ErrCheckpoint, num, protowire.ParseError(n))
		}
		b = b[n:]
	}
	if c.Stream == "" || c.Shard == "" || c.State < Reading || c.State > Lost {
		return Checkpoint{}, fmt.Errorf("%w: stream %q, shard %q, state %d", ErrCheckpoint, c.Stream, c.Shard, c.State)
	}
	return c, nil
}

func (c *Checkpoint) setNumber(num protowire.Number, v uint64) {
	switch num {
	case fState:
		c.State = State(min(v, 255))
	case fSub:
		c.Sub = v
	case fStart:
		c.Start = int64(v)
	case fNewest:
		c.Newest = flow.Time(protowire.DecodeZigZag(v))
	case fArrival:
		c.Arrival = int64(v)
	case fFloor:
		c.Floor = flow.Time(protowire.DecodeZigZag(v))
	case fStuck:
		c.Stuck = v != 0
	case fGapTo:
		c.GapTo = int64(v)
	case fSlot:
		c.Slot = int(v)
	case fCount:
		c.Count = v
	}
}

func (c *Checkpoint) setBytes(num protowire.Number, v []byte) {
	switch num {
	case fStream:
		c.Stream = string(v)
	case fShard:
		c.Shard = string(v)
	case fSequence:
		c.Sequence = string(v)
	case fParent:
		if len(v) > 0 {
			c.Parents = append(c.Parents, string(v))
		}
	case fLo:
		copy(c.Lo[:], v)
	case fHi:
		copy(c.Hi[:], v)
	}
}
