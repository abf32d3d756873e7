package alert

import "strconv"

// ProtocolName returns the lower-case keyword of an IANA protocol number as ECS
// and OCSF write it ("tcp", "ipv6-icmp"), or the number where there is none.
func ProtocolName(p uint8) string {
	switch p {
	case 1:
		return "icmp"
	case 2:
		return "igmp"
	case 4:
		return "ipv4"
	case 6:
		return "tcp"
	case 17:
		return "udp"
	case 41:
		return "ipv6"
	case 47:
		return "gre"
	case 50:
		return "esp"
	case 51:
		return "ah"
	case 58:
		return "ipv6-icmp"
	case 89:
		return "ospf"
	case 103:
		return "pim"
	case 112:
		return "vrrp"
	case 132:
		return "sctp"
	}
	return strconv.Itoa(int(p))
}

// String is "22/tcp", or "icmp" for a protocol without ports.
func (p Port) String() string {
	if p.Port == 0 {
		return ProtocolName(p.Protocol)
	}
	return strconv.Itoa(int(p.Port)) + "/" + ProtocolName(p.Protocol)
}
