package alert

import (
	"slices"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// Activity tells which step of its life an alert is at. The numbers are OCSF's
// activity_id.
type Activity uint8

// The three activities of an alert's life.
const (
	Create Activity = 1 // first statement of this UID
	Update Activity = 2 // the same cause: escalation, more evidence, a verdict
	Close  Activity = 3 // last statement: the cause is over or withdrawn
)

// String is the name of the activity, in lower case.
func (a Activity) String() string { return name(a, "unknown", "create", "update", "close") }

// Verdict says how firmly the statement stands. Provisional ones may differ
// from run to run; the others are a function of the records alone.
type Verdict uint8

// Verdicts of an alert.
const (
	Provisional Verdict = iota // the window is not over; final data will judge
	Confirmed                  // final data bear it out
	Withdrawn                  // final data do not: the early view was wrong
)

// String is the name of the verdict, in lower case.
func (v Verdict) String() string { return name(v, "provisional", "confirmed", "withdrawn") }

// Status is the state that a SIEM's queue should show. The numbers are OCSF's
// status_id for findings.
type Status uint8

// Statuses that a detector can reach; the others of OCSF belong to analysts.
const (
	StatusNew        Status = 1 // Create
	StatusInProgress Status = 2 // Update
	StatusSuppressed Status = 3 // Close of a withdrawn finding
	StatusResolved   Status = 4 // Close: the activity has ended
)

// Method is how a detector judges. The numbers are OCSF's analytic type_id.
type Method uint8

// Methods of detectors.
const (
	MethodRule           Method = 1 // a fixed condition
	MethodBehavioral     Method = 2 // a course of behaviour, such as a random walk
	MethodStatistical    Method = 3 // against a baseline or against peers
	MethodFingerprinting Method = 5 // a shape of packets
)

// String is the OCSF caption of the method.
func (m Method) String() string {
	return name(m, "Unknown", "Rule", "Behavioral", "Statistical", "Learning", "Fingerprinting")
}

// Detector names what raised an alert.
type Detector struct {
	ID      string // stable: "port-scan", "rule:<id>"
	Name    string // for people: "Port scan"
	Version string // of its logic; a change of parameters does not count
	Method  Method
	// Doc is the page that explains the alert, relative to the project's root
	// ("docs/alerts/port-scan.md") or an absolute URL. Encoders complete it.
	Doc string
}

// EntityKind is the kind of thing an alert is about.
type EntityKind uint8

// Kinds of entity. The numbers are part of the UID and never change.
const (
	EntityAddress   EntityKind = 1 // an IP address: "203.0.113.9"
	EntityPair      EntityKind = 2 // a host and one peer: "10.0.1.5>203.0.113.9"
	EntityService   EntityKind = 3 // an address's port: "10.0.1.5:22/tcp"
	EntityPort      EntityKind = 4 // a service wherever it runs: "22/tcp"
	EntityNetwork   EntityKind = 5 // a prefix: "198.51.100.0/24"
	EntityInterface EntityKind = 6 // an observation point: "eni-0a1b..."
	EntitySource    EntityKind = 7 // a shard, stream or file that feeds us
	EntityOther     EntityKind = 8 // what a user's rule groups by
)

// String is the name of the kind, in lower case.
func (k EntityKind) String() string {
	return name(k, "unknown", "address", "pair", "service", "port", "network", "interface", "source", "other")
}

// Role is the part that the entity plays. The numbers are OCSF's role_id.
type Role uint8

// Roles of an entity.
const (
	RoleUnknown  Role = 0
	RoleTarget   Role = 1 // it is attacked
	RoleActor    Role = 2 // it does it
	RoleAffected Role = 3 // it suffers, or is blind
	RoleRelated  Role = 4
)

// String is the OCSF caption of the role.
func (r Role) String() string {
	return name(r, "Unknown", "Target", "Actor", "Affected", "Related")
}

// Entity is what an alert is about. Kind, Scope and Value make its identity.
type Entity struct {
	Kind  EntityKind
	Scope uint16 // flow.Key.Scope of overlapping networks; 0 is none
	Value string // canonical text, see the kinds
	Addr  flow.Addr
	Role  Role
	Ours  bool // an address of our own networks
}

// Peer is another party of the alert, with what it contributed.
type Peer struct {
	Addr     flow.Addr
	Ours     bool
	Sessions int64
	Bytes    int64  // both directions
	Note     string // such as "answered", "threat list acme"; may be empty
}

// Port is a service that the alert touched.
type Port struct {
	Protocol uint8 // IANA number
	Port     uint16
	Sessions int64
}

// Count is one number that the alert rests on, beside the normal one.
type Count struct {
	Name     string  // snake case: "distinct_ports", "bytes_out"
	Unit     string  // "ports", "bytes", "sessions", "percent"; may be empty
	Observed float64 // finite
	Baseline float64 // the normal one; means nothing unless HasBaseline
	// HasBaseline is false where there is no normal (a fingerprint) or it is
	// too young to judge; Of then may say why.
	HasBaseline bool
	Of          string // whose normal: "other sources of 22/tcp", "this host, same hour"
	Threshold   float64
}

// Window is the absolute span of event time that was judged, End exclusive.
type Window struct{ Start, End flow.Time }

// Seconds is the width of the window.
func (w Window) Seconds() int64 { return int64(w.End - w.Start) }

// Context says where in the cloud the entity is, as far as the flow log's
// format tells. A missing value is "".
type Context struct {
	AccountID, Region, VPCID, SubnetID string
	InterfaceID, InstanceID            string
	Tags                               []flow.Attr // version 11 tags
}

// Alert is one statement about one cause. Slices are in a canonical order that
// the detector chooses (most telling first, ties by value), so equal facts
// encode to equal bytes.
type Alert struct {
	UID      UID
	Sequence uint32 // statements of this UID so far, from 1
	Activity Activity
	Verdict  Verdict

	Detector Detector
	Title    string // a few words: "Port scan of 10.0.1.5"
	// Sentence says in one plain sentence what happened, with the number and
	// the normal one: "203.0.113.9 tried 1,204 ports of 10.0.1.5 in 4 min,
	// none answered; 15 are already unusual".
	Sentence   string
	Severity   Severity
	Confidence uint8 // percent that this is what it says, 0 unknown

	Entity    Entity
	Peers     []Peer
	PeersMore int64 // how many more peers there were, at least
	Ports     []Port
	PortsMore int64
	Counts    []Count

	// Time is the event time of this statement: what made it be said. It is
	// never before First and is the Kafka timestamp.
	Time        flow.Time
	First, Last flow.Time // first and last packet that belong to it
	Window      Window

	Evidence     []Evidence // sessions, at most MaxEvidence
	EvidenceMore int64      // sessions that belong to it but are not listed

	Attacks    []Attack
	FalseAlarm string // what would make it a false alarm, for people
	Context    Context
	Labels     []flow.Attr // the detector's own words: parameters, list names
}

// Clone returns a copy with lists of its own, but for those that name what is
// known beforehand: techniques, tags and labels.
func (a *Alert) Clone() *Alert {
	c := *a
	c.Peers, c.Ports = slices.Clone(a.Peers), slices.Clone(a.Ports)
	c.Counts, c.Evidence = slices.Clone(a.Counts), slices.Clone(a.Evidence)
	return &c
}

// Bounds of the lists in an Alert; encoders cut what is longer and count it in
// the matching More, so that no encoding comes near MaxSize.
const (
	MaxPeers    = 2000 // a day of Internet weather at one address is about 1,500 sources, each to be named
	MaxPorts    = 100
	MaxEvidence = 20
	MaxCounts   = 32
	MaxLabels   = 32
	MaxAttacks  = 8
	MaxText     = 2000 // bytes of any single text
)

// Status is the queue state that follows from activity and verdict.
func (a *Alert) Status() Status {
	switch {
	case a.Activity == Close && a.Verdict == Withdrawn:
		return StatusSuppressed
	case a.Activity == Close:
		return StatusResolved
	case a.Activity == Update:
		return StatusInProgress
	}
	return StatusNew
}

func name[T ~uint8](v T, names ...string) string {
	if int(v) < len(names) {
		return names[v]
	}
	return names[0]
}
