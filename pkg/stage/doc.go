// Package stage is the exactly-once loop on which ingest, sessionize and both
// halves of detect run.
//
// It guarantees that what a stage has produced, its state and its position in
// the input are committed together or not at all, that one owner at a time can
// commit for a slot, and that a recovered stage continues as if it had never
// stopped: state after recovery equals the state lost, to the byte.
package stage
