// Package flowlog turns the bytes of VPC and transit gateway flow logs into
// [flow.Record] values, and flow records back into lines.
//
// It guarantees that every line, event or row it is given becomes exactly one
// call of its [Sink], a record or a reject with the raw bytes, the reason and
// the place, or is counted in [Stats] as carrying no record at all (blank,
// header, control message). No input makes it panic, memory is bounded by
// [Config.MaxPayload] whatever the input claims, and what it makes of a payload
// depends on the bytes, the configuration and the layouts pinned before, never
// on a clock. It is pure: readers are handed in, and there is no goroutine.
//
// The rules for doubtful values, which hold for every format:
//
//   - a time before [MinTime] or at or after [MaxTime] is a reject, as are a
//     start after its end and an interval longer than [Config.MaxInterval];
//   - ports, protocol, flags, path and version must fit their types, packets and
//     bytes must fit 63 bits;
//   - a record with log-status OK needs both addresses (plain or pkt-), a
//     protocol, and ports where the protocol has them; NODATA and SKIPDATA need
//     a time only and keep whatever else they carry;
//   - trailing fields beyond the layout, and fields with unknown names, are kept
//     as attributes.
package flowlog
