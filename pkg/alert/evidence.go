package alert

import (
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/session"
)

// Evidence is one session that an alert rests on, with where its event is.
type Evidence struct {
	// Topic is the logical name of the topic ("sessions"); Partition and
	// Offset are the position of the event. They differ between runs, so
	// nothing that decides a finding may use them.
	Topic     string
	Partition int32
	Offset    int64

	SessionID   session.ID
	Provisional bool // the event was an update: numbers may still grow

	Protocol       uint8
	Client, Server flow.Endpoint
	// ClientOuter and ServerOuter are the interface-side addresses where they
	// differ (a NAT gateway, a secondary address), else zero.
	ClientOuter, ServerOuter flow.Addr
	Initiator                session.Evidence
	InitiatorConfidence      uint8
	Direction                session.Direction
	Outcome                  session.Outcome
	Path                     uint8 // traffic-path of the egress record
	First, Last              flow.Time
	Out, In                  session.Traffic // client -> server, server -> client
	ClientAt, ServerAt       EvidencePoint   // the interface that each side owns, if one was seen
}

// EvidencePoint is the interface that an endpoint of a session owns.
type EvidencePoint struct {
	InterfaceID, InstanceID, VPCID, SubnetID, AccountID string
}

// EvidenceOf takes from a session event what an alert shows of it.
func EvidenceOf(topic string, partition int32, offset int64, e *session.Event) Evidence {
	v := Evidence{
		Topic: topic, Partition: partition, Offset: offset,
		SessionID: e.ID, Provisional: !e.Kind.Final(),
		Protocol: e.Key.Protocol, Client: e.Client, Server: e.Server,
		ClientOuter: e.ClientOuter, ServerOuter: e.ServerOuter,
		Initiator: e.Evidence, InitiatorConfidence: e.Confidence,
		Direction: e.Direction, Outcome: e.Outcome, Path: e.Path,
		First: e.First, Last: e.Last, Out: e.Out, In: e.In,
	}
	for i := range e.Points {
		p := &e.Points[i]
		at := EvidencePoint{
			InterfaceID: p.ID, InstanceID: p.InstanceID, VPCID: p.VPCID,
			SubnetID: p.SubnetID, AccountID: p.AccountID,
		}
		if p.NearClient && v.ClientAt == (EvidencePoint{}) {
			v.ClientAt = at
		}
		if p.NearServer && v.ServerAt == (EvidencePoint{}) {
			v.ServerAt = at
		}
	}
	return v
}
