// Package simtest drives a pipeline of stages under faults and says whether
// anything was lost or counted twice.
//
// It guarantees that what it expects is computed by an oracle that knows no
// Kafka, no stage and no crash: a plain function of the generated records.
package simtest
