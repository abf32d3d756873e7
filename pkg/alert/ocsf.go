package alert

import (
	"slices"
	"strings"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/session"
)

const (
	ocsfCategory = 2    // Findings
	ocsfClass    = 2004 // Detection Finding
)

// millis is an event time as OCSF has times: Unix milliseconds. The ends of
// time, which are no instants, are 0.
func millis(t flow.Time) int64 {
	const most = 253_402_300_799 // 9999-12-31T23:59:59Z, the last that RFC 3339 can write
	if t < 0 || t > most {
		return 0
	}
	return int64(t) * 1000
}

func caption(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

func (e *Encoder) ocsf(a *Alert, cut bool) *ocsfFinding {
	activity := caption(a.Activity.String())
	f := &ocsfFinding{
		ActivityID: uint8(a.Activity), ActivityName: activity,
		CategoryUID: ocsfCategory, CategoryName: "Findings",
		ClassUID: ocsfClass, ClassName: "Detection Finding",
		TypeUID: ocsfClass*100 + int(a.Activity), TypeName: "Detection Finding: " + activity,
		Time: millis(a.Time), StartTime: millis(a.First), EndTime: millis(a.Last),
		Duration:   max(millis(a.Last)-millis(a.First), 0),
		SeverityID: a.Severity, Severity: a.Severity.String(),
		ConfidenceScore: min(a.Confidence, 100),
		StatusID:        a.Status(), Status: statusCaption(a.Status()),
		StatusCode: a.Verdict.String(), StatusDetail: verdictDetail(a.Verdict),
		Message: a.Sentence, IsAlert: true,
		ActionID: 3, Action: "Observed", DispositionID: 19, Disposition: "Alert",
		FindingInfo: e.ocsfInfo(a),
		Metadata:    e.ocsfMetadata(a, cut),
		Cloud:       ocsfCloudOf(&a.Context),
		Resources:   ocsfResources(a),
		Evidences:   ocsfEvidences(a.Evidence),
		Observables: observables(a),
		Unmapped: ocsfUnmapped{
			Verdict: a.Verdict.String(), Entity: entityOf(&a.Entity),
			WindowStart: millis(a.Window.Start), WindowEnd: millis(a.Window.End),
			Counts: countsOf(a.Counts), Ports: portsOf(a.Ports),
			PortsMore: a.PortsMore, PeersMore: a.PeersMore, EvidenceMore: a.EvidenceMore,
			FalseAlarm: a.FalseAlarm,
		},
		AnomalyAnalyses: ocsfAnalyses(a),
	}
	f.ConfidenceID, f.Confidence = confidence(a.Confidence)
	f.Attacks = f.FindingInfo.Attacks // the class asks for both with security_control
	f.downgrade(e.o.Schema)
	return f
}

// downgrade removes what an older schema has no attribute or value for. What
// each lacks was read in the schema's own data files at its tag.
func (f *ocsfFinding) downgrade(s Schema) {
	if s == OCSF18 {
		return
	}
	f.Metadata.IsTruncated = false
	for i := range f.Resources {
		f.Resources[i].Role, f.Resources[i].RoleID = "", 0
	}
	if s == OCSF15 {
		return
	}
	// 1.1.0: security_control makes action_id required and has no Observed.
	f.ActionID, f.Action, f.DispositionID, f.Disposition, f.Attacks = 0, "", 0, "", nil
	f.Metadata.Profiles = slices.DeleteFunc(f.Metadata.Profiles, func(p string) bool { return p == profileControl })
	f.IsAlert, f.AnomalyAnalyses, f.FindingInfo.Related = false, nil, 0
	if f.FindingInfo.Analytic.TypeID > 4 {
		f.FindingInfo.Analytic.TypeID, f.FindingInfo.Analytic.Type = MethodRule, MethodRule.String()
	}
	for i := range f.Resources {
		f.Resources[i].IP = ""
	}
	for i := range f.Evidences {
		f.Evidences[i].UID, f.Evidences[i].Connection.CommunityUID = "", ""
	}
	f.Observables = slices.DeleteFunc(f.Observables, func(o ocsfObservable) bool {
		return o.TypeID == observablePort || strings.HasPrefix(o.Name, "resources")
	})
}

func statusCaption(s Status) string {
	return name(s, "Unknown", "New", "In Progress", "Suppressed", "Resolved")
}

func verdictDetail(v Verdict) string {
	return name(v,
		"Provisional: raised before its window was over; final data will confirm or withdraw it.",
		"Confirmed by final data.",
		"Withdrawn: final data do not bear it out.")
}

// confidence maps percent to OCSF's three steps at the thirds.
func confidence(percent uint8) (uint8, string) {
	switch {
	case percent == 0:
		return 0, "Unknown"
	case percent < 34:
		return 1, "Low"
	case percent < 67:
		return 2, "Medium"
	}
	return 3, "High"
}

func (e *Encoder) ocsfInfo(a *Alert) ocsfFindingInfo {
	desc := a.Sentence
	if a.FalseAlarm != "" {
		desc += "\nIt would be a false alarm if: " + a.FalseAlarm
	}
	info := ocsfFindingInfo{
		UID: a.UID.String(), Title: a.Title, Desc: desc,
		Types:     []string{a.Detector.ID},
		FirstSeen: millis(a.First), LastSeen: millis(a.Last),
		Modified: millis(a.Time),
		Analytic: ocsfAnalytic{
			TypeID: a.Detector.Method, Type: methodCaption(a.Detector.Method),
			UID: a.Detector.ID, Name: a.Detector.Name, Version: a.Detector.Version,
		},
		Attacks:     ocsfAttacks(a.Attacks),
		DataSources: []string{"Amazon VPC Flow Logs"},
		SrcURL:      e.doc(a),
		Related:     min(int64(len(a.Evidence))+a.EvidenceMore, 1<<31-1),
	}
	if a.Activity == Create { // later statements do not know when that was
		info.Created = info.Modified
	}
	return info
}

func methodCaption(m Method) string {
	if m == 4 {
		return "Learning (ML/DL)"
	}
	return m.String()
}

func ocsfAttacks(list []Attack) []ocsfAttack {
	named := func(id, text string) *ocsfNamed {
		if id == "" && text == "" {
			return nil
		}
		return &ocsfNamed{UID: clip(id), Name: clip(text)}
	}
	out := make([]ocsfAttack, 0, len(list))
	for _, t := range list {
		x := ocsfAttack{
			Tactic: named(t.TacticID, t.TacticName), Technique: named(t.TechniqueID, t.TechniqueName),
			SubTechnique: named(t.SubID, t.SubName), Version: AttackVersion,
		}
		if x.Tactic != nil || x.Technique != nil || x.SubTechnique != nil {
			out = append(out, x)
		}
	}
	return out
}

// Profiles of OCSF whose attributes an alert uses.
const (
	profileControl = "security_control"
	profileCloud   = "cloud"
)

func (e *Encoder) ocsfMetadata(a *Alert, cut bool) ocsfMetadata {
	m := ocsfMetadata{
		Version:  e.o.Schema.String(),
		Product:  ocsfProduct{Name: "Flowstitch", VendorName: "Flowstitch", Version: e.o.Version},
		Profiles: []string{profileControl},
		UID:      statement(a), CorrelationUID: a.UID.String(), EventCode: a.Detector.ID,
		LogName: e.o.Topic, Sequence: min(a.Sequence, 1<<31-1), Labels: pairs(a.Labels), IsTruncated: cut,
	}
	if a.Context.cloud() {
		m.Profiles = append(m.Profiles, profileCloud)
	}
	return m
}

// pairs writes attributes as OCSF writes labels: "name:value".
func pairs(list []flow.Attr) []string {
	out := make([]string, 0, len(list))
	for _, l := range list {
		out = append(out, l.Name+":"+l.Value)
	}
	return out
}

func (c *Context) cloud() bool { return c.AccountID != "" || c.Region != "" }

func ocsfCloudOf(c *Context) *ocsfCloud {
	if !c.cloud() {
		return nil
	}
	out := &ocsfCloud{Provider: "AWS", Region: c.Region}
	if c.AccountID != "" {
		out.Account = &ocsfNamed{UID: c.AccountID}
	}
	return out
}

// ocsfResources lists the entity, then the peers in the opposite role.
func ocsfResources(a *Alert) []ocsfResource {
	entity := ocsfResource{
		UID: a.Entity.Value, Name: a.Entity.Value, Type: a.Entity.Kind.String(),
		RoleID: a.Entity.Role, Role: a.Entity.Role.String(), Labels: pairs(a.Context.Tags),
		Data: place(&a.Context),
	}
	if entity.UID == "" {
		entity.UID, entity.Name = "unknown", "unknown"
	}
	if entity.RoleID == RoleUnknown {
		entity.Role = ""
	}
	if a.Entity.Ours { // of a stranger the cloud says where it was seen
		entity.Region = a.Context.Region
	}
	if a.Entity.Addr.IsValid() {
		entity.IP = a.Entity.Addr.String()
	}
	if *entity.Data == (resourceData{}) {
		entity.Data = nil
	}
	role := RoleRelated
	switch a.Entity.Role {
	case RoleActor:
		role = RoleTarget
	case RoleTarget, RoleAffected:
		role = RoleActor
	default:
	}
	out := make([]ocsfResource, 1, 1+len(a.Peers))
	out[0] = entity
	data := make([]resourceData, len(a.Peers))
	for i := range a.Peers {
		p, ip, valid := &a.Peers[i], a.Peers[i].Addr.String(), ""
		if p.Addr.IsValid() {
			valid = ip
		}
		data[i] = resourceData{Ours: p.Ours, Sessions: p.Sessions, Bytes: p.Bytes, Note: clip(p.Note)}
		out = append(out, ocsfResource{
			UID: ip, Name: ip, Type: EntityAddress.String(), IP: valid, RoleID: role, Role: role.String(), Data: &data[i],
		})
	}
	return out
}

func place(c *Context) *resourceData {
	return &resourceData{
		InterfaceUID: c.InterfaceID, InstanceUID: c.InstanceID, SubnetUID: c.SubnetID, VPCUID: c.VPCID,
	}
}

func validIP(a flow.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func ocsfEvidences(list []Evidence) []ocsfEvidence {
	out := make([]ocsfEvidence, 0, len(list))
	for i := range list {
		v := &list[i]
		if !v.Client.Addr.IsValid() || !v.Server.Addr.IsValid() {
			continue
		}
		x := ocsfEvidence{
			Src:        ocsfEndpointOf(v.Client, v.ClientOuter, &v.ClientAt),
			Dst:        ocsfEndpointOf(v.Server, v.ServerOuter, &v.ServerAt),
			Connection: ocsfConnectionOf(v),
			Data:       evidenceDataOf(v),
		}
		x.UID = x.Data.SessionUID
		out = append(out, x)
	}
	return out
}

func ocsfEndpointOf(e flow.Endpoint, outer flow.Addr, at *EvidencePoint) ocsfEndpoint {
	x := ocsfEndpoint{
		IP: e.Addr.String(), Port: e.Port,
		InterfaceUID: clip(at.InterfaceID), InstanceUID: clip(at.InstanceID),
		SubnetUID: clip(at.SubnetID), VPCUID: clip(at.VPCID),
	}
	if outer.IsValid() && outer != e.Addr {
		x.Intermediate = []string{outer.String()}
	}
	return x
}

func ocsfConnectionOf(v *Evidence) ocsfConnection {
	c := ocsfConnection{
		CommunityUID: CommunityID(0, v.Protocol, v.Client, v.Server),
		ProtocolNum:  v.Protocol, ProtocolName: ProtocolName(v.Protocol),
		ProtocolVerID: 4, ProtocolVer: "Internet Protocol version 4 (IPv4)",
		TCPFlags: v.Out.Flags,
	}
	if v.SessionID != (session.ID{}) {
		c.UID = v.SessionID.String()
	}
	if !v.Client.Addr.Is4() {
		c.ProtocolVerID, c.ProtocolVer = 6, "Internet Protocol version 6 (IPv6)"
	}
	switch v.Direction {
	case session.Inbound:
		c.DirectionID, c.Direction = 1, "Inbound"
	case session.Outbound:
		c.DirectionID, c.Direction = 2, "Outbound"
	case session.Lateral:
		c.DirectionID, c.Direction = 3, "Lateral"
	default: // unknown, and transit, for which OCSF has no value
		c.Direction = "Unknown"
	}
	if v.Path >= 1 && v.Path <= 8 {
		c.BoundaryID = v.Path + 3
		c.Boundary = boundary(c.BoundaryID)
	}
	return c
}

// boundary is the caption of a boundary_id: AWS's traffic-path plus 3.
func boundary(id uint8) string {
	return name(id, "Unknown", "Localhost", "Internal", "External", "Same VPC", "Internet/VPC Gateway",
		"Virtual Private Gateway", "Intra-region VPC", "Inter-region VPC", "Local Gateway", "Gateway VPC", "Internet Gateway")
}
