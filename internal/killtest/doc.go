// Package killtest kills the real services on a real Kafka and holds what they
// leave against a run that nobody disturbed.
//
// It guarantees that the comparison is of final facts, as internal/facts reads
// them. What is lost, told twice, or told differently is counted; all three must
// be zero.
package killtest
