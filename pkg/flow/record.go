package flow

import "strings"

// Kind tells what a line of a flow log stands for.
type Kind uint8

// The kinds of record, after the log-status field.
const (
	KindFlow     Kind = iota // packets were seen (OK)
	KindNoData               // the interface had no traffic in the interval
	KindSkipData             // AWS skipped records in the interval: a coverage gap
)

// Action is the verdict of security groups and network ACLs.
type Action uint8

// The actions of a flow record. Transit gateway logs have none.
const (
	ActionNone Action = iota
	Accept
	Reject
)

// String returns ACCEPT, REJECT or "-", as AWS writes it.
func (a Action) String() string {
	switch a {
	case Accept:
		return "ACCEPT"
	case Reject:
		return "REJECT"
	default:
		return "-"
	}
}

// Direction is relative to the interface that recorded the flow.
type Direction uint8

// The directions of a record at its interface.
const (
	DirectionUnknown Direction = iota
	Ingress
	Egress
)

// String returns ingress, egress or "-", as AWS writes it.
func (d Direction) String() string {
	switch d {
	case Ingress:
		return "ingress"
	case Egress:
		return "egress"
	default:
		return "-"
	}
}

// TCP flags as VPC flow logs report them: the OR over the aggregation
// interval. ACK is reported only as part of a SYN-ACK.
const (
	FIN uint8 = 1
	SYN uint8 = 2
	RST uint8 = 4
	ACK uint8 = 16
)

// Ownership says which side of a record is known to be an address of ours.
type Ownership uint8

// Bits of Ownership. A clear bit means not known to be ours.
const (
	OwnSrc Ownership = 1 << iota
	OwnDst
)

// Record is one line of a VPC or transit gateway flow log: one direction of a
// conversation as one interface saw it during one aggregation interval.
//
// Text fields alias the decoder's input and live as long as that buffer is not
// overwritten; [Record.Clone] detaches them. A missing value ("-") is the
// empty string or the zero value.
type Record struct {
	Kind      Kind
	Version   uint8 // 2..11, 0 when the format has no version field
	Protocol  uint8 // IANA number
	Action    Action
	TCPFlags  uint8 // FIN, SYN, RST, ACK bits; see HasFlags
	HasFlags  bool  // the format has tcp-flags and the value was not "-"
	Path      uint8 // traffic-path 1..8, 0 when absent
	Direction Direction
	Owned     Ownership // learned or configured; not a field of the log

	Src, Dst       Endpoint // srcaddr:srcport, dstaddr:dstport
	PktSrc, PktDst Addr     // pkt-srcaddr, pkt-dstaddr; zero when absent
	Packets        uint64
	Bytes          uint64 // IP-layer bytes, headers included
	Start, End     Time   // first and last packet in the interval

	AccountID   string
	InterfaceID string // or the tgw-attachment-id of a transit gateway record
	ResourceID  string // a regional NAT gateway's id (version 9)
	VPCID       string
	SubnetID    string
	InstanceID  string
	Region      string
	SrcService  string // pkt-src-aws-service
	DstService  string // pkt-dst-aws-service

	// Attrs holds every other known field that had a value, in the order of
	// the layout, and unknown fields under the name that the layout gave.
	Attrs []Attr

	Origin Origin
}

// Attr is a field that only some users have: a tag, an ECS id, a next hop.
type Attr struct{ Name, Value string }

// Origin is where a record was read, for rejects and evidence. For a file,
// Source is its name and Line counts from 1; for a stream Source is the stream,
// Shard and Sequence locate the Kinesis record and Sub counts within it from 0.
type Origin struct {
	Source    string
	Shard     string
	Sequence  string
	LogGroup  string
	LogStream string
	Sub       int32
	Line      int64
}

// Ends returns the true endpoints: pkt-srcaddr and pkt-dstaddr where the
// format has them, since the plain address on the interface's side is always
// the interface's primary one.
func (r *Record) Ends() (src, dst Endpoint) {
	src, dst = r.Src, r.Dst
	if r.PktSrc.IsValid() {
		src.Addr = r.PktSrc
	}
	if r.PktDst.IsValid() {
		dst.Addr = r.PktDst
	}
	return src, dst
}

// Point returns the identity of the interface or resource that recorded r.
func (r *Record) Point() string {
	if r.InterfaceID != "" {
		return r.InterfaceID
	}
	return r.ResourceID
}

// Attr returns the value of a named extra field, or "".
func (r *Record) Attr(name string) string {
	for i := range r.Attrs {
		if r.Attrs[i].Name == name {
			return r.Attrs[i].Value
		}
	}
	return ""
}

// Reset clears r for reuse and keeps the capacity of Attrs.
func (r *Record) Reset() {
	attrs := r.Attrs[:0] // one literal would be built beside r and copied
	*r = Record{}
	r.Attrs = attrs
}

// Clone returns a copy that shares no memory with the decoder's input.
func (r *Record) Clone() Record {
	c := *r
	for _, s := range []*string{
		&c.AccountID, &c.InterfaceID, &c.ResourceID, &c.VPCID, &c.SubnetID, &c.InstanceID, &c.Region,
		&c.SrcService, &c.DstService, &c.Origin.Source, &c.Origin.Shard, &c.Origin.Sequence,
		&c.Origin.LogGroup, &c.Origin.LogStream,
	} {
		*s = strings.Clone(*s)
	}
	c.Attrs = make([]Attr, len(r.Attrs))
	for i, a := range r.Attrs {
		c.Attrs[i] = Attr{Name: strings.Clone(a.Name), Value: strings.Clone(a.Value)}
	}
	return c
}
