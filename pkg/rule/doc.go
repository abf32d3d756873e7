// Package rule is the users' own language: filters over sessions and flow
// records written in CEL (https://cel.dev), and rules built on them: thresholds,
// steps one after the other, and steps in any order.
//
// It guarantees that a filter means what CEL says it means, however it is run:
// what compiles to the allocation-free fast path and what is left to cel-go
// agree on every record (a differential test holds them together); that every
// mistake is reported when the text is read, with its line and column and the
// nearest name that exists; that an expression whose cost is not bounded is
// refused before it sees a record; and that what a rule adds up merges to the
// same result in any order and however it was cut.
package rule
