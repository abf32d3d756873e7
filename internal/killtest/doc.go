// Package killtest kills the real services on a real Kafka and holds what they
// leave against a run that nobody disturbed.
//
// It guarantees that the comparison is of final facts, read_committed: every
// final session event with its totals by session id, and every finding with its
// last state by uid. What is lost, told twice, or told differently is counted;
// all three must be zero.
package killtest
