// Package kafkatest gives a test a Kafka broker.
//
// It guarantees that a test gets the best broker that the machine has, and
// learns which: the address in FLOWSTITCH_TEST_BROKERS; else apache/kafka in
// Docker; else Apache Kafka 4 (KRaft) on a local Java 17 from jars that Maven
// fetches once into the user's cache; else kfake, embedded. What it starts
// listens on the loopback address only, is shared by the tests of one binary,
// and ends with that binary, even if the binary is killed: by its own process
// id, never by name.
//
// FLOWSTITCH_CI_STRICT=1 turns a fallback to kfake into a failure for tests
// that ask for the real thing with [Real].
package kafkatest
