// Package siemtest holds the alerts topic against the tools that read it.
//
// It guarantees, by its tests, that kcat and rsyslog (with the configuration in
// deploy/siem) take every alert from a Kafka topic unchanged, one valid object a
// line, and that each configuration in deploy/siem reads the right topic with
// committed records only. It has no code of its own.
package siemtest
