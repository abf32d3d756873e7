// Package race tells tests whether they run under the race detector, whose own
// allocations and memory would be counted as the code's. It guarantees nothing
// else.
package race
