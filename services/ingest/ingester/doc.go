// Package ingester is the ingest service: it turns raw flow logs from Kinesis
// streams, files and standard input into the `flows` topic, keyed by the
// 5-tuple.
//
// It guarantees that every line becomes exactly one record of `flows`, one
// reject with its raw bytes, or a counted header or control message; that what
// it has read and what it has written are committed together; and that no
// watermark of its passes a record that is still to come.
package ingester
