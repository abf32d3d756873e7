package alert

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// UID names a cause for ever: a hash of detector, entity and absolute bucket of
// event time. It is the Kafka key of the alert and what a SIEM deduplicates by.
type UID [16]byte

// String is the UID in hex, 32 characters.
func (u UID) String() string { return hex.EncodeToString(u[:]) }

// NewUID returns the UID of what detector says of e in the bucket of the given
// width in seconds that t lies in. Buckets are counted from the Unix epoch in
// UTC ([flow.Time.Floor]). It never depends on a session id, a first crossing,
// an offset, or on the parts of e that say more than who it is (Role, Ours).
func NewUID(detector string, e Entity, t flow.Time, width int64) UID {
	if width <= 0 {
		width = 1
	}
	b := make([]byte, 0, 96)
	b = binary.BigEndian.AppendUint32(b, uint32(len(detector)))
	b = append(b, detector...)
	b = append(b, byte(e.Kind))
	b = binary.BigEndian.AppendUint16(b, e.Scope)
	b = binary.BigEndian.AppendUint32(b, uint32(len(e.Value)))
	b = append(b, e.Value...)
	b = binary.BigEndian.AppendUint64(b, uint64(width))
	b = binary.BigEndian.AppendUint64(b, uint64(t.Floor(width)))
	sum := sha256.Sum256(b)
	return UID(sum[:16])
}

// ParseUID reads what String wrote.
func ParseUID(s string) (u UID, ok bool) {
	if len(s) != 2*len(u) {
		return UID{}, false
	}
	_, err := hex.Decode(u[:], []byte(s))
	return u, err == nil
}

// AddressEntity is the entity of one address.
func AddressEntity(scope uint16, a flow.Addr, ours bool, role Role) Entity {
	return Entity{Kind: EntityAddress, Scope: scope, Value: a.String(), Addr: a, Ours: ours, Role: role}
}

// PairEntity is the entity of a host and one peer: Addr is the host.
func PairEntity(scope uint16, host, peer flow.Addr, ours bool, role Role) Entity {
	return Entity{Kind: EntityPair, Scope: scope, Value: host.String() + ">" + peer.String(), Addr: host, Ours: ours, Role: role}
}

// ServiceEntity is the entity of an address's port.
func ServiceEntity(scope uint16, protocol uint8, e flow.Endpoint, ours bool, role Role) Entity {
	return Entity{
		Kind: EntityService, Scope: scope, Value: e.String() + "/" + ProtocolName(protocol),
		Addr: e.Addr, Ours: ours, Role: role,
	}
}

// PortEntity is the entity of a service wherever it runs.
func PortEntity(scope uint16, protocol uint8, port uint16, role Role) Entity {
	return Entity{Kind: EntityPort, Scope: scope, Value: Port{Protocol: protocol, Port: port}.String(), Role: role}
}

// TextEntity is an entity known by its text alone: an interface, a source, a
// prefix, or what a rule groups by.
func TextEntity(kind EntityKind, scope uint16, value string, role Role) Entity {
	return Entity{Kind: kind, Scope: scope, Value: value, Role: role}
}
