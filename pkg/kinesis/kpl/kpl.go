// Package kpl takes apart the aggregates that the Kinesis Producer Library
// packs several user records into.
//
// It guarantees that a payload is called an aggregate only when its frame, its
// MD5 and its protobuf all hold, that every byte of a user record is handed on
// unchanged and in order, and that it neither copies nor allocates for the
// data. It checks nothing else: user records whose hash key lies outside the
// shard's range are handed on, where the KCL drops them in silence.
//
// The format is published by awslabs (amazon-kinesis-producer,
// aggregation-format.md): four magic bytes, a protobuf AggregatedRecord, and
// the MD5 of the protobuf in 16 bytes.
package kpl

import (
	"bytes"
	"crypto/md5"
	"errors"
	"iter"

	"google.golang.org/protobuf/encoding/protowire"
)

// magic opens an aggregate.
var magic = [4]byte{0xf3, 0x89, 0x9a, 0xc2}

// minSize is magic, MD5, and the smallest protobuf with one empty record.
const minSize = len(magic) + md5.Size + 2

// ErrBroken reports a payload that begins as an aggregate and is not a whole
// one.
var ErrBroken = errors.New("kpl: the payload begins like a KPL aggregate and is broken: its MD5 or its structure does not hold")

// Is reports whether a payload begins as an aggregate does.
func Is(b []byte) bool { return bytes.HasPrefix(b, magic[:]) }

// Field numbers of AggregatedRecord and of its Record.
const (
	fieldRecord protowire.Number = 3
	fieldData   protowire.Number = 3
)

// Split checks an aggregate and returns the number of its user records and an
// iterator over their data, which aliases b.
func Split(b []byte) (n int, records iter.Seq[[]byte], err error) {
	if len(b) < minSize || !Is(b) {
		return 0, nil, ErrBroken
	}
	body, sum := b[len(magic):len(b)-md5.Size], b[len(b)-md5.Size:]
	if got := md5.Sum(body); !bytes.Equal(got[:], sum) {
		return 0, nil, ErrBroken
	}
	ok := walk(body, fieldRecord, func(rec []byte) bool {
		n++
		return walk(rec, fieldData, func([]byte) bool { return true })
	})
	if !ok || n == 0 {
		return 0, nil, ErrBroken
	}
	return n, func(yield func([]byte) bool) {
		walk(body, fieldRecord, func(rec []byte) bool { return yield(data(rec)) })
	}, nil
}

// data returns the data of a user record: the last one, as protobuf says of a
// field that is not repeated.
func data(rec []byte) (d []byte) {
	walk(rec, fieldData, func(v []byte) bool { d = v; return true })
	return d
}

// walk calls f for each occurrence of a length-delimited field. It reports
// false when the bytes are no protobuf or f said stop.
func walk(b []byte, field protowire.Number, f func([]byte) bool) bool {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return false
		}
		b = b[n:]
		if num == field && typ == protowire.BytesType {
			v, n := protowire.ConsumeBytes(b)
			if n < 0 || !f(v) {
				return false
			}
			b = b[n:]
			continue
		}
		if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
			return false
		}
		b = b[n:]
	}
	return true
}

// Join makes an aggregate of user records under one partition key, for load
// generators and tests.
func Join(partitionKey string, records ...[]byte) []byte {
	body := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), partitionKey)
	var rec []byte
	for _, r := range records {
		rec = protowire.AppendVarint(protowire.AppendTag(rec[:0], 1, protowire.VarintType), 0)
		rec = protowire.AppendBytes(protowire.AppendTag(rec, fieldData, protowire.BytesType), r)
		body = protowire.AppendBytes(protowire.AppendTag(body, fieldRecord, protowire.BytesType), rec)
	}
	sum := md5.Sum(body)
	return append(append(append([]byte(nil), magic[:]...), body...), sum[:]...)
}
