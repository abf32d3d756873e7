// Package sessionizer is the sessionize service: it stitches the two one-way
// flows of each conversation, from the `flows` topic, into events on `sessions`.
//
// It guarantees that partition p of sessions is made from partition p of flows
// alone, that its final events are a function of the records there, and that
// records = taken + duplicate + corrected + late + nodata + gap + invalid in its
// metrics.
package sessionizer
