package alert

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/segmentio/encoding/json"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/session"
)

// ErrNotAlert reports bytes that are no alert of ours.
var ErrNotAlert = errors.New("alert: neither an OCSF Detection Finding nor an ECS alert of Flowstitch")

// Parse reads what Append wrote, in either format and any schema version, as
// far as a person is shown it: evidence without interfaces and outer addresses,
// attributes and tags left out. It is for tools that print the alerts topic.
func Parse(b []byte) (*Alert, error) {
	var kind struct {
		ClassUID int         `json:"class_uid"`
		ECS      *ecsVersion `json:"ecs"`
	}
	if err := json.Unmarshal(b, &kind); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotAlert, err)
	}
	switch {
	case kind.ClassUID == ocsfClass:
		var f ocsfFinding
		if err := json.Unmarshal(b, &f); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNotAlert, err)
		}
		return f.alert()
	case kind.ECS != nil:
		var x ecsAlert
		if err := json.Unmarshal(b, &x); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNotAlert, err)
		}
		return x.alert()
	}
	return nil, ErrNotAlert
}

func (f *ocsfFinding) alert() (*Alert, error) {
	uid, ok := ParseUID(f.FindingInfo.UID)
	if !ok {
		return nil, fmt.Errorf("%w: finding_info.uid is %q", ErrNotAlert, f.FindingInfo.UID)
	}
	u := &f.Unmapped
	a := &Alert{
		UID: uid, Sequence: f.Metadata.Sequence, Activity: Activity(f.ActivityID), Verdict: verdictOf(u.Verdict),
		Detector: Detector{
			ID: f.FindingInfo.Analytic.UID, Name: f.FindingInfo.Analytic.Name, Version: f.FindingInfo.Analytic.Version,
			Method: f.FindingInfo.Analytic.TypeID, Doc: f.FindingInfo.SrcURL,
		},
		Title: f.FindingInfo.Title, Sentence: f.Message, Severity: f.SeverityID, Confidence: f.ConfidenceScore,
		Time: seconds(f.Time), First: seconds(f.StartTime), Last: seconds(f.EndTime),
		Window: Window{seconds(u.WindowStart), seconds(u.WindowEnd)},
		Entity: u.Entity.entity(), Counts: counts(u.Counts), Ports: ports(u.Ports),
		PortsMore: u.PortsMore, PeersMore: u.PeersMore, EvidenceMore: u.EvidenceMore, FalseAlarm: u.FalseAlarm,
	}
	for i, r := range f.Resources {
		d := r.Data
		if d == nil {
			d = &resourceData{}
		}
		if i == 0 {
			a.Context.place(d)
			continue
		}
		p := Peer{Ours: d.Ours, Sessions: d.Sessions, Bytes: d.Bytes, Note: d.Note}
		p.Addr, _ = flow.ParseAddr(r.UID) // stays none: our own encoding of none
		a.Peers = append(a.Peers, p)
	}
	if f.Cloud != nil {
		a.Context.Region = f.Cloud.Region
	}
	if f.Cloud != nil && f.Cloud.Account != nil {
		a.Context.AccountID = f.Cloud.Account.UID
	}
	for _, t := range f.FindingInfo.Attacks {
		a.Attacks = append(a.Attacks, t.attack())
	}
	for i := range f.Evidences {
		v := &f.Evidences[i]
		a.Evidence = append(a.Evidence, v.Data.evidence(v.Connection.ProtocolNum, v.Src.IP, v.Src.Port, v.Dst.IP, v.Dst.Port))
	}
	return a, nil
}

func (x *ecsAlert) alert() (*Alert, error) {
	f := &x.Flowstitch.Finding
	uid, ok := ParseUID(f.UID)
	if !ok {
		return nil, fmt.Errorf("%w: flowstitch.finding.uid is %q", ErrNotAlert, f.UID)
	}
	a := &Alert{
		UID: uid, Sequence: x.Event.Sequence, Verdict: verdictOf(f.Verdict),
		Activity: activityOf(strings.TrimPrefix(x.Event.Action, "finding-")),
		Detector: Detector{ID: x.Rule.ID, Name: x.Rule.Name, Version: x.Rule.Version, Doc: x.Rule.Reference, Method: methodOf(x.Rule.Category)},
		Title:    f.Title, Sentence: x.Message, Severity: Severity(x.Event.Severity), Confidence: f.Confidence,
		Time: instant(x.Timestamp), First: instant(x.Event.Start), Last: instant(x.Event.End),
		Window: Window{seconds(f.WindowStart), seconds(f.WindowEnd)},
		Entity: f.Entity.entity(), Counts: counts(f.Counts), Ports: ports(f.Ports),
		PortsMore: f.PortsMore, PeersMore: f.PeersMore, EvidenceMore: f.EvidenceMore, FalseAlarm: f.FalseAlarm,
	}
	for _, p := range f.Peers {
		addr, _ := flow.ParseAddr(p.IP)
		a.Peers = append(a.Peers, Peer{Addr: addr, Ours: p.Ours, Sessions: p.Sessions, Bytes: p.Bytes, Note: p.Note})
	}
	for i := range f.Evidence {
		v := &f.Evidence[i]
		a.Evidence = append(a.Evidence, v.evidence(protocolOf(v.Protocol), v.Source, v.SourcePort, v.Destination, v.DestPort))
	}
	if f.Place != nil {
		a.Context.place(f.Place)
	}
	if c := x.Cloud; c != nil {
		a.Context.Region = c.Region
		if c.Account != nil {
			a.Context.AccountID = c.Account.ID
		}
	}
	a.Attacks = x.Threat.attacks()
	return a, nil
}

// attacks is the way back from ECS's lists, which do not say what belongs
// together: the catalogue knows.
func (t *ecsThreat) attacks() (out []Attack) {
	if t == nil || t.Technique == nil {
		return nil
	}
	covered := map[string]bool{}
	if t.Technique.Sub != nil {
		for _, id := range t.Technique.Sub.ID {
			a := AttackOf(id)
			covered[a.TechniqueID] = true
			out = append(out, a)
		}
	}
	for _, id := range t.Technique.ID {
		if !covered[id] {
			out = append(out, AttackOf(id))
		}
	}
	return out
}

func (t *ocsfAttack) attack() (a Attack) {
	if t.Tactic != nil {
		a.TacticID, a.TacticName = t.Tactic.UID, t.Tactic.Name
	}
	if t.Technique != nil {
		a.TechniqueID, a.TechniqueName = t.Technique.UID, t.Technique.Name
	}
	if t.SubTechnique != nil {
		a.SubID, a.SubName = t.SubTechnique.UID, t.SubTechnique.Name
	}
	return a
}

func (c *Context) place(d *resourceData) {
	c.InterfaceID, c.InstanceID, c.SubnetID, c.VPCID = d.InterfaceUID, d.InstanceUID, d.SubnetUID, d.VPCUID
}

func (d *entityData) entity() Entity {
	e := Entity{Value: d.Value, Ours: d.Ours, Scope: d.Scope}
	for k := EntityAddress; k <= EntityOther; k++ {
		if k.String() == d.Kind {
			e.Kind = k
		}
	}
	for r := RoleTarget; r <= RoleRelated; r++ {
		if r.String() == d.Role {
			e.Role = r
		}
	}
	if e.Kind == EntityAddress {
		e.Addr, _ = flow.ParseAddr(d.Value)
	}
	return e
}

func counts(list []countData) (out []Count) {
	for _, c := range list {
		n := Count{Name: c.Name, Unit: c.Unit, Observed: c.Observed, Of: c.Of, Threshold: c.Threshold}
		if c.Baseline != nil {
			n.Baseline, n.HasBaseline = *c.Baseline, true
		}
		out = append(out, n)
	}
	return out
}

func ports(list []portData) (out []Port) {
	for _, p := range list {
		out = append(out, Port{Protocol: p.Protocol, Port: p.Port, Sessions: p.Sessions})
	}
	return out
}

func (d *evidenceData) evidence(protocol uint8, src string, sport uint16, dst string, dport uint16) Evidence {
	v := Evidence{
		Topic: d.Topic, Partition: d.Partition, Offset: d.Offset, Provisional: d.Provisional, Protocol: protocol,
		First: seconds(d.Start), Last: seconds(d.End),
		InitiatorConfidence: d.InitiatorConfidence,
		Out:                 session.Traffic{Packets: d.PacketsOut, Bytes: d.BytesOut, RejectPackets: d.RejectedOut, Flags: d.FlagsOut},
		In:                  session.Traffic{Packets: d.PacketsIn, Bytes: d.BytesIn, RejectPackets: d.RejectedIn, Flags: d.FlagsIn},
	}
	v.Client.Addr, _ = flow.ParseAddr(src)
	v.Server.Addr, _ = flow.ParseAddr(dst)
	v.Client.Port, v.Server.Port = sport, dport
	for o := session.OutcomePending; o <= session.OutcomeUnanswered; o++ {
		if o.String() == d.Outcome {
			v.Outcome = o
		}
	}
	return v
}

func seconds(ms int64) flow.Time { return flow.Time(ms / 1000) }

func instant(s string) flow.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return 0
	}
	return flow.Time(t.Unix())
}

func verdictOf(s string) Verdict {
	for v := Provisional; v <= Withdrawn; v++ {
		if v.String() == s {
			return v
		}
	}
	return Provisional
}

func activityOf(s string) Activity {
	for a := Create; a <= Close; a++ {
		if a.String() == s {
			return a
		}
	}
	return 0
}

func methodOf(s string) Method {
	for m := MethodRule; m <= MethodFingerprinting; m++ {
		if m.String() == s {
			return m
		}
	}
	return 0
}

func protocolOf(s string) uint8 {
	for p := range 256 {
		if ProtocolName(uint8(p)) == s {
			return uint8(p)
		}
	}
	return 0
}
