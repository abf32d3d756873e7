// Package wire holds the codecs of what travels on the internal topics.
//
// It guarantees that what it writes is protobuf as the published .proto files
// describe it, that decoding allocates nothing beyond what a record keeps, that
// bytes which are no message give an error and never a panic, and that fields
// unknown to this version are skipped, so that a rollback reads what came before.
//
// The codecs are written by hand on protowire, because the generated ones
// allocate for each record (see BenchmarkCodecs); tests hold them against the
// .proto files through dynamicpb.
package wire
