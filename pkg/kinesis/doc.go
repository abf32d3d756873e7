// Package kinesis reads Kinesis data streams for slots: it lists the shards,
// reads those that a slot owns, by polling or by enhanced fan-out, takes KPL
// aggregates apart, and hands each user record over with the checkpoint that
// covers it.
//
// It guarantees that every user record of every shard is handed over in order
// and, where the slot's checkpoints commit in the same transaction as what was
// made of the records, exactly once; that a throttle, an expired iterator,
// expired credentials or a failing service delays and never skips; and that the
// records in flight stay within a bound in bytes. Which shard is read when, and
// what the clock of a slot is, is decided in [shard].
//
// A [Consumer] is shared by all slots of a process. It does the listing and
// learns what every slot of the deployment has checkpointed. A [Slot] belongs
// to one goroutine and to one taking of a slot: when a transaction fails it is
// closed and a new one is made from the ledger.
package kinesis
