// Package simpipeline simulates the whole pipeline: the Run functions of ingest,
// sessionize and detect, as the binaries run them, several of each, against
// kfake on its virtual network, on fake time, with faults by a printed seed.
//
// It guarantees that the final facts of every run, every session that closed
// with its totals and every finding with its last state, equal those of a run
// without faults: whatever crashed, hung, joined, left, moved or answered with
// an error meanwhile.
package simpipeline
