// Package session stitches one-way flow records into sessions.
//
// It guarantees that its final events are a function of the records and the
// clock alone: the order in which records arrive within the lateness changes
// no final fact, each direction of a conversation is counted once however many
// interfaces recorded it, and a snapshot refolded over the same tail gives the
// same table to the byte. It is pure: time is an argument, and there is no
// goroutine, clock or I/O in it.
//
// # How a record becomes part of a session
//
// A record waits in its key's entry until the clock passes its start. Records
// are folded as the clock passes them, in the order of start, observation point
// and content, and only there it is decided what belongs together: see
// [Table.Advance]. Four things end a session, each with a script beside
// pkg/scenario: silence longer than the idle gap; FIN from both sides or RST,
// and a linger for what flow logs date late; a SYN after such an end; a SYN
// into a session that both sides took part in and that has been silent since.
//
// What is early, an update, covers everything that has arrived for the key. It
// is paced by [Table.Tick] alone and the deltas of later events make up for
// whatever it guessed wrong.
//
// # Which observation counts
//
// An observation point is an interface (or other resource) under one log
// group, with the plain addresses that it saw in place of the pkt- ones and, on
// each side of the session, the flow-direction. An interface that records a
// packet both as it enters and as it leaves is two points. Points see the same
// packets, so their counts are never added: of each direction, accepted and
// refused apart, the most that one point saw counts.
//
// Where one point accepts what a later one refuses, both numbers are kept and
// REJECT wins: the attempt has failed unless accepted data came back.
//
// A record with the same point, endpoints, action, interval and content as one
// that is pending is a repeat and is dropped; so is a late one that equals one
// of the latest eighteen that its point contributed to the session.
//
// # Late records
//
// A record that starts behind the clock, by no more than Retain, is folded at
// once into the session that it lies nearest to and told as a correction,
// together with whatever else of that session no final event has told; if it
// lies near none it makes one. A correction never changes the id, nor who is
// the client once a final event has said so. Beyond Retain the verdict is
// [Late] and the record belongs to rejects.
//
// # Who started it
//
// Flags decide where there are any: a SYN without ACK is the client's and a
// SYN-ACK the server's (confidence 99, both 100). Traffic of one direction was
// started by its sender (95 where an interface of either end's own would have
// seen an answer or the ports agree, else 80, and 55 between the ports of two
// services), unless it comes from the port of a service to another kind of
// port, which is how answers look (80). For both directions the ports
// decide (99 for a service against an ephemeral port, 95 below 1024, else 75),
// then the earlier start beyond the grain (70), then the size of a refusal and
// the lower port (60 and 55, a guess). On ICMP both ways at once it is not
// known, and the sides are in the key's order.
package session
