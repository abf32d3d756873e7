// Package session stitches one-way flow records into sessions.
//
// It guarantees that its final events are a function of the records and the
// clock alone: the order in which records arrive within the lateness changes
// no final fact, each direction of a conversation is counted once however many
// interfaces recorded it, and a snapshot refolded over the same tail gives the
// same table to the byte. It is pure: time is an argument, and there is no
// goroutine, clock or I/O in it.
package session
