// Package query answers questions over sessions and flow records: it filters,
// groups, sums up and prints them, from files or from the topics of a running
// pipeline.
//
// It guarantees that a session counts once, with its totals, however many
// events told of it; that a question with a time range never reads a topic
// from its beginning; that only committed records are read; that memory is
// bounded by the number of groups, and where the bound was reached, or the
// reading was stopped, the answer says that it is partial.
package query
