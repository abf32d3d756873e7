// Package window holds the summaries that detection adds up: bounded distinct
// sets, logarithmic size histograms and robust baselines.
//
// It guarantees that every summary is a function of what was added to it and
// of nothing else: not of the order, and not of how the additions were cut into
// parts that were merged later. Equal summaries have equal bytes. It is pure.
package window
