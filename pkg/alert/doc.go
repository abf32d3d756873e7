// Package alert is what Flowstitch says to people and to a SIEM: the Alert, its
// life cycle and stable id, its rule of severity, and its encodings (OCSF
// Detection Finding, ECS, one line for a person).
//
// It guarantees that one cause has one [UID] whatever the order, the cut or the
// number of partitions it was computed with; that an escalation is never
// suppressed; that every encoding is a function of the Alert alone, is one JSON
// object without a line break and stays below [MaxSize]; and that what was cut
// to fit is said. It is pure: no clock, no I/O, no goroutine.
package alert
