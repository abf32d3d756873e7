// Package shard decides which Kinesis shards a slot reads, from where, and how
// far the slot's clock may go. It does no I/O and reads no clock: a listing of
// the streams, the checkpoints that all slots have committed and the wall time
// are arguments.
//
// It guarantees that a shard is read by one slot only, that a child starts when
// every parent is checkpointed as ended, whoever owns the parents, that a closed
// shard is drained however long ago it closed, and that no slot's watermark
// passes a record which any shard has still to deliver, except where a stated
// policy gave a shard up and a [Gap] says so.
//
// The hand-over of time across a reshard is the one subtle thing. When a parent
// ends, its slot keeps its watermark at the parent's last clock (it holds) until
// every child has a checkpoint of its own, which its owner commits, together
// with a mark at the parents' minimum in every partition, before it reads. So a
// slot's watermark may go back when it takes a child over, but the minimum over
// all slots never does: the parent's slot was holding it down.
package shard
