package alert

import (
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// CommunityID returns the Community ID (version 1) of a conversation, by which
// it joins with Zeek, Suricata and Elastic: the same for both directions. seed
// is 0 unless a whole site agrees on another. For ICMP and ICMPv6 it is "":
// flow logs have neither type nor code, and a hash of zeros would be read as
// that of an echo reply.
//
// Source: corelight/community-id-spec.
func CommunityID(seed uint16, protocol uint8, a, b flow.Endpoint) string {
	if protocol == protoICMP || protocol == protoICMPv6 || !a.Addr.IsValid() || !b.Addr.IsValid() || a.Addr.Is4() != b.Addr.Is4() {
		return ""
	}
	if a.Compare(b) > 0 {
		a, b = b, a
	}
	return communityHash(seed, protocol, a, b, protocol == protoTCP || protocol == protoUDP || protocol == protoSCTP)
}

func communityHash(seed uint16, protocol uint8, a, b flow.Endpoint, ports bool) string {
	buf := make([]byte, 0, 40)
	buf = binary.BigEndian.AppendUint16(buf, seed)
	buf = a.Addr.AppendTo(buf)
	buf = b.Addr.AppendTo(buf)
	buf = append(buf, protocol, 0)
	if ports {
		buf = binary.BigEndian.AppendUint16(buf, a.Port)
		buf = binary.BigEndian.AppendUint16(buf, b.Port)
	}
	sum := sha1.Sum(buf) // the specification's hash, not a secret's
	return "1:" + base64.StdEncoding.EncodeToString(sum[:])
}

// IANA protocol numbers that are treated apart.
const (
	protoICMP   = 1
	protoTCP    = 6
	protoUDP    = 17
	protoICMPv6 = 58
	protoSCTP   = 132
)
