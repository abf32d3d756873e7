// Package flow is the vocabulary of everything else: the flow record, the
// canonical 5-tuple key, addresses and event time.
//
// It guarantees that the two directions of one conversation have the same
// [Key], byte for byte, that nothing in it holds a pointer except the text of a
// [Record], and that it imports nothing of the project.
package flow
