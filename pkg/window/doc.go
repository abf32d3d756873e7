// Package window holds the summaries that detection adds up: bounded distinct
// sets, logarithmic size histograms and robust baselines.
//
// It guarantees that every summary is a function of what was added to it and
// of nothing else: not of the order, and not of how the additions were cut into
// parts that were merged later. Equal summaries have equal bytes. It is pure.
//
// Equal bytes are why the sketches are our own. A snapshot must restore to the
// byte, and the sums of an entity, which come from any number of combiners in
// any order, must make the same finding. Maintained libraries were tried:
//
//   - Sizes is DDSketch (Masson et al., VLDB 2019): the same mapping, the same
//     buckets, the same quantiles as github.com/DataDog/sketches-go, which a test
//     holds bucket by bucket. Of that library's stores the sparse one iterates a
//     map, so its bytes differ from call to call, those of the buffered one depend
//     on what has been compacted so far, and the dense one, whose bytes are
//     canonical, takes over half a kilobyte for a single value, where a sum of an
//     evaluator holds up to 512 histograms of one to three buckets of 16 bytes.
//   - Set is a bottom-k sketch (Bar-Yossef et al. 2002). HyperLogLog
//     (github.com/axiomhq/hyperloglog v0.3.0) wrote other bytes for the same 50,
//     and the same 1,000, values in each of ten shuffles: its sparse form shows the
//     order of insertion. Its dense form is canonical and takes 16 kB, and
//     neither can name a value: an alert must name sources.
package window
