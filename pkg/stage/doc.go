// Package stage is the exactly-once loop on which ingest, sessionize and both
// halves of detect run.
//
// It guarantees that what a stage has produced, its state and its position in
// the input are committed together or not at all, that one owner at a time can
// commit for a slot, and that a recovered stage continues as if it had never
// stopped: state after recovery equals the state lost, to the byte.
//
// A consumer group on a control topic hands out slots; each slot has a
// transactional id, which fences its predecessor, and a partition of the ledger,
// which holds its positions and snapshots. franz-go's GroupTransactSession,
// which fences by the group instead, is somewhat faster on one worker
// (TestMeasureSlotsAgainstGroupSession), keeps no state and can not fence a
// source that is not Kafka; the slots' cost is a transaction each, so a worker
// does best with 4 to 8 of them.
//
// A transaction is collected in memory and opened only when it is complete, so
// that a hung member holds back readers only if it hangs within a commit, and
// then no longer than the transaction timeout.
package stage
