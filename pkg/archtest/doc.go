// Package archtest holds the architecture as tests: which ring may import
// which, what the pure ring must not touch, that every package states its
// guarantee, and that files, functions and commits stay within the house rules.
//
// It reads the files in-process, because a test that runs `go list` passes
// falsely from the test cache.
package archtest
