package alert

// The objects of OCSF as far as alerts use them, in the order in which they are
// written. Attribute names and requirements: OCSF 1.8.0, class 2004.

type ocsfFinding struct {
	ActivityID   uint8  `json:"activity_id"`
	ActivityName string `json:"activity_name"`
	CategoryUID  int    `json:"category_uid"`
	CategoryName string `json:"category_name"`
	ClassUID     int    `json:"class_uid"`
	ClassName    string `json:"class_name"`
	TypeUID      int    `json:"type_uid"`
	TypeName     string `json:"type_name"`

	Time      int64 `json:"time"`
	StartTime int64 `json:"start_time"`
	EndTime   int64 `json:"end_time"`
	Duration  int64 `json:"duration"`

	SeverityID      Severity `json:"severity_id"`
	Severity        string   `json:"severity"`
	ConfidenceID    uint8    `json:"confidence_id"`
	Confidence      string   `json:"confidence"`
	ConfidenceScore uint8    `json:"confidence_score"`
	StatusID        Status   `json:"status_id"`
	Status          string   `json:"status"`
	StatusCode      string   `json:"status_code"`
	StatusDetail    string   `json:"status_detail"`
	Message         string   `json:"message"`
	IsAlert         bool     `json:"is_alert,omitempty"`

	ActionID      int    `json:"action_id,omitempty"`
	Action        string `json:"action,omitempty"`
	DispositionID int    `json:"disposition_id,omitempty"`
	Disposition   string `json:"disposition,omitempty"`

	FindingInfo     ocsfFindingInfo  `json:"finding_info"`
	Metadata        ocsfMetadata     `json:"metadata"`
	Cloud           *ocsfCloud       `json:"cloud,omitempty"`
	Resources       []ocsfResource   `json:"resources"`
	Evidences       []ocsfEvidence   `json:"evidences,omitempty"`
	Observables     []ocsfObservable `json:"observables,omitempty"`
	AnomalyAnalyses []ocsfAnalysis   `json:"anomaly_analyses,omitempty"`
	Attacks         []ocsfAttack     `json:"attacks,omitempty"`
	Unmapped        ocsfUnmapped     `json:"unmapped"`
}

type ocsfFindingInfo struct {
	UID         string       `json:"uid"`
	Title       string       `json:"title"`
	Desc        string       `json:"desc,omitempty"`
	Types       []string     `json:"types"`
	FirstSeen   int64        `json:"first_seen_time"`
	LastSeen    int64        `json:"last_seen_time"`
	Created     int64        `json:"created_time,omitempty"`
	Modified    int64        `json:"modified_time"`
	Analytic    ocsfAnalytic `json:"analytic"`
	Attacks     []ocsfAttack `json:"attacks,omitempty"`
	DataSources []string     `json:"data_sources"`
	SrcURL      string       `json:"src_url,omitempty"`
	Related     int64        `json:"related_events_count,omitempty"`
}

type ocsfAnalytic struct {
	TypeID  Method `json:"type_id"`
	Type    string `json:"type,omitempty"`
	UID     string `json:"uid"`
	Name    string `json:"name,omitempty"`
	Version string `json:"version,omitempty"`
}

type ocsfNamed struct {
	UID  string `json:"uid,omitempty"`
	Name string `json:"name,omitempty"`
}

type ocsfAttack struct {
	Tactic       *ocsfNamed `json:"tactic,omitempty"`
	Technique    *ocsfNamed `json:"technique,omitempty"`
	SubTechnique *ocsfNamed `json:"sub_technique,omitempty"`
	Version      string     `json:"version"`
}

type ocsfMetadata struct {
	Version        string      `json:"version"`
	Product        ocsfProduct `json:"product"`
	Profiles       []string    `json:"profiles,omitempty"`
	UID            string      `json:"uid"`
	CorrelationUID string      `json:"correlation_uid"`
	EventCode      string      `json:"event_code"`
	LogName        string      `json:"log_name"`
	Sequence       uint32      `json:"sequence"`
	Labels         []string    `json:"labels,omitempty"`
	IsTruncated    bool        `json:"is_truncated,omitempty"`
}

type ocsfProduct struct {
	Name       string `json:"name"`
	VendorName string `json:"vendor_name"`
	Version    string `json:"version"`
}

type ocsfCloud struct {
	Provider string     `json:"provider"`
	Region   string     `json:"region,omitempty"`
	Account  *ocsfNamed `json:"account,omitempty"`
}

type ocsfResource struct {
	UID    string   `json:"uid"`
	Name   string   `json:"name,omitempty"`
	Type   string   `json:"type"`
	IP     string   `json:"ip,omitempty"`
	RoleID Role     `json:"role_id,omitempty"`
	Role   string   `json:"role,omitempty"`
	Region string   `json:"region,omitempty"`
	Labels []string `json:"labels,omitempty"`
	// Data is nil where there is nothing to say.
	Data *resourceData `json:"data,omitempty"`
}

// resourceData is the data of a resource: where the entity is, or what a peer
// contributed.
type resourceData struct {
	InterfaceUID string `json:"interface_uid,omitempty"`
	InstanceUID  string `json:"instance_uid,omitempty"`
	SubnetUID    string `json:"subnet_uid,omitempty"`
	VPCUID       string `json:"vpc_uid,omitempty"`
	Ours         bool   `json:"ours,omitempty"`
	Sessions     int64  `json:"sessions,omitempty"`
	Bytes        int64  `json:"bytes,omitempty"`
	Note         string `json:"note,omitempty"`
}

type ocsfEvidence struct {
	UID        string         `json:"uid,omitempty"`
	Src        ocsfEndpoint   `json:"src_endpoint"`
	Dst        ocsfEndpoint   `json:"dst_endpoint"`
	Connection ocsfConnection `json:"connection_info"`
	Data       evidenceData   `json:"data"`
}

type ocsfEndpoint struct {
	IP           string   `json:"ip"`
	Port         uint16   `json:"port,omitempty"`
	Intermediate []string `json:"intermediate_ips,omitempty"`
	InterfaceUID string   `json:"interface_uid,omitempty"`
	InstanceUID  string   `json:"instance_uid,omitempty"`
	SubnetUID    string   `json:"subnet_uid,omitempty"`
	VPCUID       string   `json:"vpc_uid,omitempty"`
}

type ocsfConnection struct {
	UID           string `json:"uid,omitempty"`
	CommunityUID  string `json:"community_uid,omitempty"`
	DirectionID   int    `json:"direction_id"`
	Direction     string `json:"direction"`
	BoundaryID    uint8  `json:"boundary_id,omitempty"`
	Boundary      string `json:"boundary,omitempty"`
	ProtocolNum   uint8  `json:"protocol_num"`
	ProtocolName  string `json:"protocol_name"`
	ProtocolVerID int    `json:"protocol_ver_id"`
	ProtocolVer   string `json:"protocol_ver"`
	TCPFlags      uint8  `json:"tcp_flags,omitempty"`
}

type ocsfObservable struct {
	Name   string `json:"name"`
	TypeID int    `json:"type_id"`
	Type   string `json:"type"`
	Value  string `json:"value"`
}

type ocsfAnalysis struct {
	Targets   []ocsfTarget  `json:"analysis_targets"`
	Anomalies []ocsfAnomaly `json:"anomalies"`
	Baselines []ocsfAnomaly `json:"baselines,omitempty"`
}

type ocsfTarget struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

type ocsfAnomaly struct {
	Parameter    string            `json:"observation_parameter"`
	Type         string            `json:"observation_type,omitempty"`
	Pattern      string            `json:"observed_pattern,omitempty"`
	Observations []ocsfObservation `json:"observations"`
}

type ocsfObservation struct {
	Value    string        `json:"value"`
	Timespan *ocsfTimespan `json:"timespan,omitempty"`
}

type ocsfTimespan struct {
	Start int64 `json:"start_time"`
	End   int64 `json:"end_time"`
}

// ocsfUnmapped is what OCSF has no place for. It is an object of our own and
// the same in every schema version.
type ocsfUnmapped struct {
	Verdict      string      `json:"verdict"`
	Entity       entityData  `json:"entity"`
	WindowStart  int64       `json:"window_start"`
	WindowEnd    int64       `json:"window_end"`
	Counts       []countData `json:"counts,omitempty"`
	Ports        []portData  `json:"ports,omitempty"`
	PortsMore    int64       `json:"ports_more,omitempty"`
	PeersMore    int64       `json:"peers_more,omitempty"`
	EvidenceMore int64       `json:"evidence_more,omitempty"`
	FalseAlarm   string      `json:"false_alarm,omitempty"`
}
