package detect

import (
	"cmp"
	"errors"
	"strconv"
	"strings"

	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/flow"
)

// Kind is the kind of thing that observations add up.
type Kind uint8

// Kinds of entity. The numbers travel on the wire and never change.
const (
	KindHost    Kind = 1 // an address, in both of its roles
	KindService Kind = 2 // a protocol and port wherever it runs
	KindPoint   Kind = 3 // an observation point, by name
	KindRule    Kind = 4 // what a user's rule groups by: Name is "<rule id>|<group>"
)

// Entity is what observations are added up for. Fields that its kind does not
// use are zero.
type Entity struct {
	Kind     Kind
	Protocol uint8
	Port     uint16
	Scope    uint16
	Addr     flow.Addr
	Name     string
}

// Host returns the entity of an address.
func Host(scope uint16, a flow.Addr) Entity { return Entity{Kind: KindHost, Scope: scope, Addr: a} }

// Service returns the entity of a service.
func Service(scope uint16, protocol uint8, port uint16) Entity {
	return Entity{Kind: KindService, Scope: scope, Protocol: protocol, Port: port}
}

// Compare orders entities, by kind first.
func (e Entity) Compare(o Entity) int {
	if e.Kind == o.Kind && e.Scope == o.Scope && e.Protocol == o.Protocol && e.Port == o.Port {
		if e.Addr != o.Addr { // the usual difference
			return compareAddr(&e.Addr, &o.Addr)
		}
		return strings.Compare(e.Name, o.Name)
	}
	return cmp.Or(
		cmp.Compare(e.Kind, o.Kind), cmp.Compare(e.Scope, o.Scope), cmp.Compare(e.Protocol, o.Protocol), cmp.Compare(e.Port, o.Port),
	)
}

// AppendKey appends String.
func (e Entity) AppendKey(b []byte) []byte {
	if e.Scope != 0 || e.Kind != KindHost {
		return append(b, e.String()...)
	}
	return e.Addr.IP().AppendTo(b)
}

// String is the Kafka key of the entity's observations: "203.0.113.9",
// "22/tcp", "eni-0a1b", "rule|<id>|<group>", with "<scope>!" before it where there is one.
func (e Entity) String() string {
	s := ""
	if e.Scope != 0 {
		s = strconv.Itoa(int(e.Scope)) + "!"
	}
	switch e.Kind {
	case KindHost:
		return s + e.Addr.String()
	case KindService:
		return s + alert.Port{Protocol: e.Protocol, Port: e.Port}.String()
	case KindRule:
		return s + "rule|" + e.Name
	case KindPoint:
	}
	return s + e.Name
}

// ErrEntity reports an entity that can not be one.
var ErrEntity = errors.New("detect: not an entity: the kind is unknown or its address is missing")

func (e Entity) valid() bool {
	switch e.Kind {
	case KindHost:
		return e.Addr.IsValid() && e.Name == ""
	case KindService:
		return !e.Addr.IsValid() && e.Name == ""
	case KindPoint, KindRule:
		return e.Name != ""
	}
	return false
}
