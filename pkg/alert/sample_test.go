package alert

import (
	"strings"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/session"
)

// samples are alerts of every kind of entity, in both IP versions and at every
// step of life; encoders are tested on all of them.
func samples() map[string]*Alert {
	scan, beacon := scanAlert(), beaconAlert()
	bastion, scanner := scan.Peers[0].Addr, scan.Entity.Addr
	icmp := *scan
	icmp.Detector = Detector{ID: "inbound-icmp-errors", Name: "Inbound ICMP errors", Version: "1", Method: MethodFingerprinting}
	icmp.Entity = ServiceEntity(0, 1, flow.Endpoint{Addr: bastion}, true, RoleTarget)
	icmp.Activity, icmp.Sequence, icmp.Verdict = Update, 2, Confirmed
	icmp.Evidence = []Evidence{{Topic: "sessions", Protocol: 1, Client: flow.Endpoint{Addr: scanner}, Server: flow.Endpoint{Addr: bastion}, Direction: session.Transit, Path: 2}}
	icmp.Ports = []Port{{Protocol: 1, Sessions: 60}}
	icmp.PortsMore, icmp.Counts = 0, nil

	gap := &Alert{
		UID: UID{1}, Sequence: 1, Activity: Create, Verdict: Withdrawn,
		Detector: Detector{ID: "coverage-gap", Method: MethodRule},
		Title:    "AWS skipped records of eni-1", Sentence: "For 60 s nothing is known of eni-1: AWS skipped its records.",
		Severity: Informational, Entity: TextEntity(EntityInterface, 0, "eni-1", RoleAffected),
		Time: 1_772_440_000, First: 1_772_440_000, Last: 1_772_440_000,
	}
	withdrawn := *gap
	withdrawn.Activity = Close
	return map[string]*Alert{
		"scan": scan, "beacon": beacon, "icmp": &icmp, "gap": gap, "withdrawn": &withdrawn,
		"worst": worst(), "empty": {Activity: Create}, "user": userRule(),
	}
}

func scanAlert() *Alert {
	bastion, scanner := flow.MustAddr("10.0.0.50"), flow.MustAddr("198.51.100.78")
	scan := &Alert{
		Sequence: 1, Activity: Create, Verdict: Provisional,
		Detector: Detector{ID: "port-scan", Name: "Port scan", Version: "1.0.0", Method: MethodBehavioral, Doc: "docs/alerts/port-scan.md"},
		Title:    "Port scan of 10.0.0.50",
		Sentence: "198.51.100.78 tried 900 ports of 10.0.0.50 in 3 min, 1 of them answered; 15 are already unusual.",
		Severity: Medium, Confidence: 95,
		Entity: AddressEntity(0, scanner, false, RoleActor),
		Peers:  []Peer{{Addr: bastion, Ours: true, Sessions: 900, Bytes: 39_684, Note: "answered on 22/tcp"}},
		Ports:  []Port{{6, 22, 1}, {6, 80, 1}, {6, 443, 1}, {6, 3389, 1}, {6, 445, 1}, {6, 8080, 1}}, PortsMore: 894,
		Counts: []Count{
			{Name: "distinct_ports", Unit: "ports", Observed: 900, Baseline: 2, HasBaseline: true, Of: "other sources of this host", Threshold: 15},
			{Name: "answered", Unit: "percent", Observed: 0.1111},
		},
		Time: 1_772_440_079, First: 1_772_439_900, Last: 1_772_440_079,
		Window: Window{1_772_438_400, 1_772_442_000},
		Evidence: []Evidence{{
			Topic: "sessions", Partition: 7, Offset: 12_345, SessionID: session.ID{1, 2, 3}, Protocol: 6,
			Client: flow.Endpoint{Addr: scanner, Port: 40_000}, Server: flow.Endpoint{Addr: bastion, Port: 22},
			Initiator: session.EvidenceFlags, InitiatorConfidence: 99, Direction: session.Inbound, Outcome: session.OutcomeAnswered,
			Path: 8, First: 1_772_439_905, Last: 1_772_439_905,
			Out:      session.Traffic{Packets: 2, Bytes: 84, Records: 1, Flags: 2},
			In:       session.Traffic{Packets: 1, Bytes: 44, Records: 1, Flags: 18},
			ServerAt: EvidencePoint{InterfaceID: "eni-0715508b2f49cd2bf", VPCID: "vpc-0f10a7c1e5b2d3a40", SubnetID: "subnet-0ef8b28d168fb77c2", InstanceID: "i-05fd0a242b605109d", AccountID: "123456789010"},
		}},
		EvidenceMore: 899,
		Attacks:      AttacksOf("T1595.001", "T1046"),
		FalseAlarm:   "it is your own vulnerability scanner; put it on the allow list.",
		Context:      Context{AccountID: "123456789010", Region: "eu-central-1", VPCID: "vpc-0f10a7c1e5b2d3a40", InterfaceID: "eni-0715508b2f49cd2bf", Tags: []flow.Attr{{Name: "instance-tag", Value: "team=core"}}},
		Labels:       []flow.Attr{{Name: "threshold", Value: "15"}},
	}
	scan.UID = NewUID(scan.Detector.ID, scan.Entity, scan.First, 3600)
	return scan
}

func beaconAlert() *Alert {
	client, server := flow.MustAddr("2001:db8:10::5"), flow.MustAddr("2001:db8:77::1")
	beacon := &Alert{
		Sequence: 3, Activity: Close, Verdict: Confirmed,
		Detector: Detector{ID: "beacon", Name: "Beacon", Version: "1", Method: MethodStatistical, Doc: "https://example.org/beacon"},
		Title:    "Regular calls to 2001:db8:77::1", Sentence: "2001:db8:10::5 called 2001:db8:77::1 every 60 s, 68 times; jitter 2 s.",
		Severity: High, Confidence: 60, Entity: PairEntity(3, client, server, true, RoleActor),
		Peers: []Peer{{Addr: server, Sessions: 68, Bytes: 72_589}},
		Time:  1_772_445_600, First: 1_772_441_526, Last: 1_772_445_543, Window: Window{1_772_438_400, 1_772_524_800},
		Evidence: []Evidence{{
			Topic: "sessions", Protocol: 6, Provisional: true,
			Client: flow.Endpoint{Addr: client, Port: 61_000}, Server: flow.Endpoint{Addr: server, Port: 443},
			ClientOuter: flow.MustAddr("2001:db8:10::1"), Direction: session.Outbound, Outcome: session.OutcomeAnswered,
			First: 1_772_441_526, Last: 1_772_441_527, Out: session.Traffic{Packets: 4, Bytes: 640}, In: session.Traffic{Packets: 3, Bytes: 430},
		}},
		Attacks: AttacksOf("T1071.001", "T1573"),
	}
	beacon.UID = NewUID(beacon.Detector.ID, beacon.Entity, beacon.First, 86400)

	return beacon
}

func userRule() *Alert {
	return &Alert{
		UID: UID{2}, Sequence: 1, Activity: Create, Verdict: Confirmed, Severity: Fatal, Confidence: 255,
		Detector: Detector{ID: "rule:big \"downloads\"\n", Name: "\x1b[31mred\x1b[0m \xff\xfe", Method: MethodRule},
		Title:    "line\nbreak \u2028 <b>html</b>", Sentence: "café ↔ \U0001F512",
		Entity: TextEntity(EntityOther, 65535, "src=10.0.0.1,port=443", RoleUnknown),
		Counts: []Count{{Name: "x", Observed: 1e300, Baseline: -1e300, HasBaseline: true}},
		Time:   flow.MaxTime, First: flow.MinTime, Last: flow.MaxTime, Window: Window{flow.MinTime, flow.MaxTime},
		Attacks: []Attack{AttackOf("T9999.123"), {}},
		Labels:  []flow.Attr{{Name: "a.b c*", Value: ""}},
	}
}

// worst is an alert beyond every bound, in characters that JSON escapes.
func worst() *Alert {
	long := strings.Repeat("\x01", 3000)
	w := &Alert{
		UID: UID{0xff}, Sequence: 1 << 31, Activity: Update, Title: long, Sentence: long, FalseAlarm: long,
		Severity: Critical, Detector: Detector{ID: long, Name: long, Version: long, Doc: long, Method: MethodRule},
		Entity:    TextEntity(EntityOther, 0, long, RoleTarget),
		Context:   Context{AccountID: long, Region: long, VPCID: long, SubnetID: long, InterfaceID: long, InstanceID: long},
		PeersMore: 1 << 50, EvidenceMore: 1 << 50, Time: 1_772_440_000, First: 1_772_440_000, Last: 1_772_440_000,
	}
	for i := range 3000 {
		a := flow.AddrFrom4([4]byte{203, 0, byte(i >> 8), byte(i)})
		w.Peers = append(w.Peers, Peer{Addr: a, Note: long, Sessions: 1 << 60, Bytes: 1 << 60})
		w.Ports = append(w.Ports, Port{6, uint16(i), 1})
		w.Counts = append(w.Counts, Count{Name: long, Unit: long, Of: long, Observed: 1, Baseline: 1, HasBaseline: true})
		w.Labels = append(w.Labels, flow.Attr{Name: long, Value: long})
		w.Attacks = append(w.Attacks, Attack{TacticID: long, TechniqueID: long, SubID: long, SubName: long})
		w.Evidence = append(w.Evidence, Evidence{
			Topic: long, Client: flow.Endpoint{Addr: a}, Server: flow.Endpoint{Addr: a, Port: 1},
			ServerAt: EvidencePoint{InterfaceID: long, InstanceID: long, VPCID: long, SubnetID: long},
		})
	}
	w.Context.Tags = w.Labels
	return w
}
