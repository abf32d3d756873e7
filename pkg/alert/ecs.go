package alert

import (
	"slices"
	"time"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/session"
)

// ECSVersion is the version of the Elastic Common Schema that ECS alerts keep to.
const ECSVersion = "9.4.0"

func date(t flow.Time) string {
	if millis(t) == 0 {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func (e *Encoder) ecs(a *Alert, cut bool) *ecsAlert {
	const dataset = "flowstitch.alert"
	doc := e.doc(a)
	x := &ecsAlert{
		Timestamp:  t0(a.Time),
		ECS:        ecsVersion{ECSVersion},
		DataStream: ecsStream{Type: "logs", Dataset: dataset, Namespace: e.o.Namespace},
		Event: ecsEvent{
			Kind: "alert", Category: []string{"network", "intrusion_detection"}, Type: []string{"info"},
			Action: "finding-" + a.Activity.String(), Code: a.Detector.ID, Reason: a.Sentence,
			ID: statement(a), Provider: "flowstitch", Module: "flowstitch", Dataset: dataset,
			Severity: int64(a.Severity), Start: date(a.First), End: date(a.Last),
			Duration:  max(millis(a.Last)-millis(a.First), 0) * 1_000_000, // ECS counts nanoseconds
			Reference: doc, Sequence: a.Sequence,
		},
		Message: a.Sentence,
		Rule: ecsRule{
			ID: a.Detector.ID, Name: a.Detector.Name, Description: a.Title, Category: a.Detector.Method.String(),
			Ruleset: "flowstitch", Version: a.Detector.Version, Reference: doc,
		},
		Threat:   ecsThreatOf(a.Attacks),
		Observer: ecsObserver{Vendor: "Flowstitch", Product: "Flowstitch", Type: "sensor", Version: e.o.Version},
		Cloud:    ecsCloudOf(&a.Context),
		Labels:   labels(a.Labels, a.Context.Tags),
		Tags:     []string{"flowstitch", a.Verdict.String()},
		Flowstitch: ecsOwn{ecsFinding{
			UID: a.UID.String(), Title: a.Title, Status: statusCaption(a.Status()), Verdict: a.Verdict.String(),
			Severity: a.Severity.String(), Confidence: min(a.Confidence, 100), Entity: entityOf(&a.Entity),
			WindowStart: millis(a.Window.Start), WindowEnd: millis(a.Window.End),
			Counts: countsOf(a.Counts), Peers: ecsPeers(a.Peers), PeersMore: a.PeersMore,
			Ports: portsOf(a.Ports), PortsMore: a.PortsMore,
			Evidence: ecsEvidences(a.Evidence), EvidenceMore: a.EvidenceMore,
			FalseAlarm: a.FalseAlarm, Truncated: cut,
			Place: place(&a.Context),
		}},
	}
	if ips := addresses(a); len(ips) > 0 {
		x.Related = &ecsRelated{IP: ips}
	}
	x.ends(a)
	return x
}

// t0 is a timestamp that must be there: the epoch where the time is none.
func t0(t flow.Time) string {
	if s := date(t); s != "" {
		return s
	}
	return "1970-01-01T00:00:00Z"
}

func ecsThreatOf(list []Attack) *ecsThreat {
	if len(list) == 0 {
		return nil
	}
	t := &ecsThreat{Framework: "MITRE ATT&CK"}
	add := func(n **ecsNames, id, text string) {
		if id == "" {
			return
		}
		if *n == nil {
			*n = &ecsNames{}
		}
		if !slices.Contains((*n).ID, id) {
			(*n).ID, (*n).Name = append((*n).ID, clip(id)), append((*n).Name, clip(text))
		}
	}
	var tech, sub *ecsNames
	for _, a := range list {
		add(&t.Tactic, a.TacticID, a.TacticName)
		add(&tech, a.TechniqueID, a.TechniqueName)
		add(&sub, a.SubID, a.SubName)
	}
	if tech != nil {
		t.Technique = &ecsTechnique{ecsNames: *tech, Sub: sub}
	}
	return t
}

func ecsCloudOf(c *Context) *ecsCloud {
	if !c.cloud() && c.InstanceID == "" {
		return nil
	}
	x := &ecsCloud{Provider: "aws", Region: c.Region, Service: &ecsNameOnly{"vpc"}}
	if c.AccountID != "" {
		x.Account = &ecsID{c.AccountID}
	}
	if c.InstanceID != "" {
		x.Instance = &ecsID{c.InstanceID}
	}
	return x
}

// labels is ECS's flat object of keywords; dots in a name would make objects.
func labels(lists ...[]flow.Attr) map[string]string {
	out := map[string]string{}
	for _, list := range lists {
		for _, l := range list {
			if k := labelName(l.Name); k != "" {
				out[k] = l.Value
			}
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

func labelName(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c == '.' || c == '*' || c == ' ' {
			b[i] = '_'
		}
	}
	return string(b)
}

// addresses lists every address of the alert once, the entity's first.
func addresses(a *Alert) []string {
	var out []string
	seen := map[flow.Addr]bool{{}: true}
	add := func(x flow.Addr) {
		if !seen[x] {
			seen[x] = true
			out = append(out, x.String())
		}
	}
	add(a.Entity.Addr)
	for _, p := range a.Peers {
		add(p.Addr)
	}
	for i := range a.Evidence {
		add(a.Evidence[i].Client.Addr)
		add(a.Evidence[i].Server.Addr)
	}
	return out
}

func ecsPeers(list []Peer) []ecsPeer {
	out := make([]ecsPeer, 0, len(list))
	for _, p := range list {
		out = append(out, ecsPeer{IP: validIP(p.Addr), Ours: p.Ours, Sessions: p.Sessions, Bytes: p.Bytes, Note: clip(p.Note)})
	}
	return out
}

func ecsEvidences(list []Evidence) []ecsEvidence {
	out := make([]ecsEvidence, 0, len(list))
	for i := range list {
		v := &list[i]
		out = append(out, ecsEvidence{
			Source: validIP(v.Client.Addr), SourcePort: v.Client.Port,
			Destination: validIP(v.Server.Addr), DestPort: v.Server.Port,
			Protocol: ProtocolName(v.Protocol), CommunityID: CommunityID(0, v.Protocol, v.Client, v.Server),
			evidenceData: evidenceDataOf(v),
		})
	}
	return out
}

// ends fills source, destination and network with what all the evidence
// agrees on: an ECS document has one of each. Counters and the Community ID
// are those of a session, so they are only set when it is the only one.
func (x *ecsAlert) ends(a *Alert) {
	if len(a.Evidence) == 0 {
		x.entityEnd(a)
		return
	}
	first := &a.Evidence[0]
	src, dst, proto, dir := first.Client.Addr, first.Server, first.Protocol, first.Direction
	sameSrc, sameDst, samePort, sameProto, sameDir := true, true, true, true, true
	for i := range a.Evidence {
		v := &a.Evidence[i]
		sameSrc = sameSrc && v.Client.Addr == src
		sameDst = sameDst && v.Server.Addr == dst.Addr
		samePort = samePort && v.Server.Port == dst.Port
		sameProto = sameProto && v.Protocol == proto
		sameDir = sameDir && v.Direction == dir
	}
	if sameSrc && src.IsValid() {
		x.Source = &ecsEndpoint{Address: src.String(), IP: src.String()}
	}
	if sameDst && dst.Addr.IsValid() {
		x.Destination = &ecsEndpoint{Address: dst.Addr.String(), IP: dst.Addr.String()}
		if samePort {
			x.Destination.Port = dst.Port
		}
	}
	n := &ecsNetwork{Type: "ipv4"}
	if !src.Is4() {
		n.Type = "ipv6"
	}
	if sameProto {
		n.Transport, n.IANANumber = ProtocolName(proto), number(float64(proto))
	}
	if sameDir {
		n.Direction = ecsDirection(dir)
	}
	if len(a.Evidence) == 1 && a.EvidenceMore == 0 && x.Source != nil && x.Destination != nil {
		x.Source.Port = first.Client.Port
		x.Source.Bytes, x.Source.Packets = first.Out.Bytes, first.Out.Packets
		x.Destination.Bytes, x.Destination.Packets = first.In.Bytes, first.In.Packets
		n.Bytes, n.Packets = first.Out.Bytes+first.In.Bytes, first.Out.Packets+first.In.Packets
		n.CommunityID = CommunityID(0, first.Protocol, first.Client, first.Server)
	}
	x.Network = n
}

// entityEnd places the entity where its role says, without evidence.
func (x *ecsAlert) entityEnd(a *Alert) {
	if !a.Entity.Addr.IsValid() {
		return
	}
	end := &ecsEndpoint{Address: a.Entity.Addr.String(), IP: a.Entity.Addr.String()}
	if a.Entity.Role == RoleTarget || a.Entity.Role == RoleAffected {
		x.Destination = end
	} else {
		x.Source = end
	}
}

// ecsDirection is the perimeter's view.
func ecsDirection(d session.Direction) string {
	switch d {
	case session.Inbound:
		return "inbound"
	case session.Outbound:
		return "outbound"
	case session.Lateral:
		return "internal"
	case session.Transit:
		return "external"
	default:
		return "unknown"
	}
}
