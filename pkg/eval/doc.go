// Package eval judges the detectors on labelled traffic: it runs flow logs
// through the decoder, the session table, the combiner and the evaluator
// without a broker, and compares what the alerts name with what is true.
//
// It guarantees that nothing but the log reaches the detectors: the truth is
// read after the run, and the clock follows the records' own end times.
package eval
