// Package scenario is the text language in which sessions, detectors and
// users' rules are specified and tested. It guarantees that a script means the
// same wherever it is run: a parser with line numbers in every error, a runner
// that feeds a [Target] and compares the facts it states with the ones
// expected, in order, and nothing that depends on a clock or on chance.
//
// A script is lines; # starts a comment. Times are durations since the start
// of the script (5s, 1m30s, -10s). What is not given takes the default in
// brackets.
//
//	title TEXT                       what the script shows
//	start 2026-01-05T10:00:00Z       time zero [that Monday]
//	set NAME VALUE...                a setting of the target (idle-tcp 350s)
//	show all                         provisional facts count as well [final only]
//	order fixed                      arrival order matters: do not run it shuffled
//
//	flow TIME ENI PROTO SRC -> DST OPTION...     one record
//	talk TIME ENI PROTO CLIENT -> SERVER OPTION... a record each way
//	nodata TIME ENI, skipdata TIME ENI           [lasts 60s]
//	again                            the record before once more, redelivered
//	repeat COUNT every STEP LINE     LINE so often, its time a step later each;
//	                                 {40000+1} in it counts 40000, 40001, ...
//	clock TIME, clock end            no earlier record is expected any more
//	tick TIME                        the wall clock: paces provisional facts
//
//	expect SUBJECT NAME VALUE...     the next fact is SUBJECT, its fields as given
//	expect nothing                   there is no further fact so far
//	expect some SUBJECT NAME VALUE...  one of the facts so far; what is left is skipped
//	expect no SUBJECT NAME VALUE...  none of the facts so far is like that
//
// ENI may carry a log group: eni-1@/vpc/flows. PROTO is tcp, udp, icmp,
// icmpv6, gre, esp or a number. SRC and DST are 10.0.0.1:443,
// [2001:db8::1]:443 or an address alone. The options of flow and talk:
//
//	packets N [1], bytes N [100 a packet]        of flow
//	out N/N, in N/N [1/100]                      of talk: packets/bytes each way
//	lasts TIME [0s]        flags SYN+ACK+FIN     - is a field without a value
//	reject, accept [accept] of talk: what refuses the client's packets
//	egress, ingress        flow-direction        none is a format without it
//	ours SIDE              src, dst, both, client, server: whose address is ours
//	pkt SRC -> DST         pkt-srcaddr and pkt-dstaddr
//	path N, vpc V, account A, subnet S, instance I, srcservice S, dstservice S
//	attr NAME VALUE        any other field, a tag for example
//
// In talk, flags are the client's; the server answers with SYN+ACK instead of
// SYN. Where ours names one side only, talk sets the flow-direction by it.
//
// The value $name in an expectation stands for whatever is there at its first
// use and for the same from then on; !$name is anything but that, ~TEXT a value
// that contains TEXT, >N, <N, >=N and <=N compare numbers. TIME fields are
// durations since the start.
package scenario
