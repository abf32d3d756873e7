package alert

// The objects of ECS as far as alerts use them. What ECS has no field for is
// under flowstitch, a namespace of our own, never under an ECS name.

type ecsAlert struct {
	Timestamp   string            `json:"@timestamp"`
	ECS         ecsVersion        `json:"ecs"`
	DataStream  ecsStream         `json:"data_stream"`
	Event       ecsEvent          `json:"event"`
	Message     string            `json:"message"`
	Rule        ecsRule           `json:"rule"`
	Threat      *ecsThreat        `json:"threat,omitempty"`
	Source      *ecsEndpoint      `json:"source,omitempty"`
	Destination *ecsEndpoint      `json:"destination,omitempty"`
	Network     *ecsNetwork       `json:"network,omitempty"`
	Observer    ecsObserver       `json:"observer"`
	Cloud       *ecsCloud         `json:"cloud,omitempty"`
	Related     *ecsRelated       `json:"related,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Tags        []string          `json:"tags"`
	Flowstitch  ecsOwn            `json:"flowstitch"`
}

type ecsVersion struct {
	Version string `json:"version"`
}

type ecsStream struct {
	Type      string `json:"type"`
	Dataset   string `json:"dataset"`
	Namespace string `json:"namespace"`
}

type ecsEvent struct {
	Kind      string   `json:"kind"`
	Category  []string `json:"category"`
	Type      []string `json:"type"`
	Action    string   `json:"action"`
	Code      string   `json:"code"`
	Reason    string   `json:"reason"`
	ID        string   `json:"id"`
	Provider  string   `json:"provider"`
	Module    string   `json:"module"`
	Dataset   string   `json:"dataset"`
	Severity  int64    `json:"severity"`
	Start     string   `json:"start,omitempty"`
	End       string   `json:"end,omitempty"`
	Duration  int64    `json:"duration"`
	Reference string   `json:"reference,omitempty"`
	Sequence  uint32   `json:"sequence"`
}

type ecsRule struct {
	ID          string `json:"id"`
	Name        string `json:"name,omitempty"`
	Description string `json:"description,omitempty"`
	Category    string `json:"category,omitempty"`
	Ruleset     string `json:"ruleset"`
	Version     string `json:"version,omitempty"`
	Reference   string `json:"reference,omitempty"`
}

type ecsThreat struct {
	Framework string        `json:"framework"`
	Tactic    *ecsNames     `json:"tactic,omitempty"`
	Technique *ecsTechnique `json:"technique,omitempty"`
}

type ecsNames struct {
	ID   []string `json:"id"`
	Name []string `json:"name,omitempty"`
}

type ecsTechnique struct {
	ecsNames
	Sub *ecsNames `json:"subtechnique,omitempty"`
}

type ecsEndpoint struct {
	Address string `json:"address"`
	IP      string `json:"ip"`
	Port    uint16 `json:"port,omitempty"`
	Bytes   int64  `json:"bytes,omitempty"`
	Packets int64  `json:"packets,omitempty"`
}

type ecsNetwork struct {
	Type        string `json:"type,omitempty"`
	Transport   string `json:"transport,omitempty"`
	IANANumber  string `json:"iana_number,omitempty"`
	Direction   string `json:"direction,omitempty"`
	CommunityID string `json:"community_id,omitempty"`
	Bytes       int64  `json:"bytes,omitempty"`
	Packets     int64  `json:"packets,omitempty"`
}

type ecsObserver struct {
	Vendor  string `json:"vendor"`
	Product string `json:"product"`
	Type    string `json:"type"`
	Version string `json:"version"`
}

type ecsCloud struct {
	Provider string       `json:"provider"`
	Region   string       `json:"region,omitempty"`
	Account  *ecsID       `json:"account,omitempty"`
	Instance *ecsID       `json:"instance,omitempty"`
	Service  *ecsNameOnly `json:"service,omitempty"`
}

type ecsID struct {
	ID string `json:"id"`
}

type ecsNameOnly struct {
	Name string `json:"name"`
}

type ecsRelated struct {
	IP []string `json:"ip"`
}

type ecsOwn struct {
	Finding ecsFinding `json:"finding"`
}

type ecsFinding struct {
	UID          string        `json:"uid"`
	Title        string        `json:"title"`
	Status       string        `json:"status"`
	Verdict      string        `json:"verdict"`
	Severity     string        `json:"severity"`
	Confidence   uint8         `json:"confidence"`
	Entity       entityData    `json:"entity"`
	WindowStart  int64         `json:"window_start"`
	WindowEnd    int64         `json:"window_end"`
	Counts       []countData   `json:"counts,omitempty"`
	Peers        []ecsPeer     `json:"peers,omitempty"`
	PeersMore    int64         `json:"peers_more,omitempty"`
	Ports        []portData    `json:"ports,omitempty"`
	PortsMore    int64         `json:"ports_more,omitempty"`
	Evidence     []ecsEvidence `json:"evidence,omitempty"`
	EvidenceMore int64         `json:"evidence_more,omitempty"`
	FalseAlarm   string        `json:"false_alarm,omitempty"`
	Place        *resourceData `json:"place"`
	Truncated    bool          `json:"truncated,omitempty"`
}

type ecsPeer struct {
	IP       string `json:"ip,omitempty"`
	Ours     bool   `json:"ours"`
	Sessions int64  `json:"sessions"`
	Bytes    int64  `json:"bytes"`
	Note     string `json:"note,omitempty"`
}

type ecsEvidence struct {
	Source      string `json:"source_ip,omitempty"`
	SourcePort  uint16 `json:"source_port"`
	Destination string `json:"destination_ip,omitempty"`
	DestPort    uint16 `json:"destination_port"`
	Protocol    string `json:"transport"`
	CommunityID string `json:"community_id,omitempty"`
	evidenceData
}
