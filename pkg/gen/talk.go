package gen

import "github.com/flowstitch/flowstitch/pkg/flow"

// style says which TCP flags a talk shows, by the OR that VPC flow logs report.
type style uint8

const (
	styleFull  style = iota // SYN, SYN-ACK, FIN both ways
	styleSYN                // a SYN and no more; what answers is SYN-ACK or RST
	styleReset              // a SYN, answered by RST
	styleMid                // neither beginning nor end is in the log
)

// talk is one conversation: what both ends send between two seconds. Seconds
// count from the scenario's start. It holds no pointer.
type talk struct {
	client, server        flow.Endpoint
	start, end            int32
	outPackets, outBytes  uint64 // client -> server
	inPackets, inBytes    uint64 // server -> client
	clientPoint, srvPoint int16  // interfaces, -1 where the end is not ours
	protocol              uint8
	style                 style
	out, in               flow.Action
	amazon                bool // the server is an address of S3
}

// live is a talk as one interface records it, interval after interval.
type live struct {
	talk
	point int16
}

// sent returns how much of a total has been sent before second b, for a talk
// that is on from start to end: the first packet goes at once, the last at the
// end, the rest evenly between.
func sent(total uint64, start, end, b int32) uint64 {
	switch {
	case b <= start || total == 0:
		return 0
	case b > end:
		return total
	}
	return 1 + (total-1)*uint64(b-start)/uint64(end-start+1)
}

// cut returns the packets and bytes of one direction in seconds [a, b).
func cut(packets, bytes uint64, start, end, a, b int32) (p, n uint64) {
	if packets == 0 {
		return 0, 0
	}
	p0, p1 := sent(packets, start, end, a), sent(packets, start, end, b)
	return p1 - p0, bytes*p1/packets - bytes*p0/packets
}

// flags returns the OR of the reportable flags that one direction shows in
// seconds [a, b).
func (t *talk) flags(reply bool, a, b int32) (f uint8) {
	if t.protocol != protoTCP || t.style == styleMid {
		return 0
	}
	if t.start >= a && t.start < b {
		switch {
		case !reply:
			f |= flow.SYN
		case t.style == styleReset:
			f |= flow.RST
		default:
			f |= flow.SYN | flow.ACK
		}
	}
	if t.style == styleFull && t.end >= a && t.end < b {
		f |= flow.FIN
	}
	return f
}

// pending is one record that waits for its delivery. It holds no pointer.
type pending struct {
	src, dst       flow.Endpoint
	packets, bytes uint64
	start, end     int32
	point          int16
	protocol       uint8
	flags          uint8
	action         flow.Action
	direction      flow.Direction
	kind           flow.Kind
	amazonSrc      bool
	amazonDst      bool
}

// IANA numbers of the protocols that are generated.
const (
	protoICMP = 1
	protoTCP  = 6
	protoUDP  = 17
)
