package topology

import (
	"io"

	"github.com/segmentio/encoding/json"
)

// Product is what the program tells of itself to those who judge a deployment
// of it without running it: deploy/k8s/product.json, read by tools/k8scheck.
type Product struct {
	Services  map[string]ProductService `json:"services"`
	Images    []string                  `json:"images"`
	JobArgs   []string                  `json:"job_args"`
	JobKeys   []string                  `json:"job_keys"`
	Env       []string                  `json:"env"`
	Topics    []ProductTopic            `json:"topics"`
	ACLs      map[string][]ACL          `json:"acls"`
	Slots     int                       `json:"slots"`
	ProbePath map[string]string         `json:"probe_path"`
	Metrics   map[string]ProductMetric  `json:"metrics"`
}

// ProductService is the contract of one workload.
type ProductService struct {
	Config string   `json:"config"` // path of its configuration in the pod
	Port   int      `json:"port"`   // of its telemetry
	Keys   []string `json:"keys"`   // of its configuration, dotted; a trailing .* takes any
	Inputs []Input  `json:"inputs"`
}

// ProductTopic is one topic, its name without prefix.
type ProductTopic struct {
	Name       string            `json:"name"`
	Partitions int32             `json:"partitions"`
	Config     map[string]string `json:"config"`
}

// ProductMetric is one metric family.
type ProductMetric struct {
	Type   string   `json:"type"`
	Labels []string `json:"labels"`
}

// PodPort is the telemetry port in pods; pkg/telemetry's default binds to
// loopback, for one machine.
const PodPort = 9600

// Env lists the environment variables that the programs read.
func Env() []string { return []string{"FLOWSTITCH_MEMORY_LIMIT", "FLOWSTITCH_RACK"} }

// JobArgs is how the job that makes the topics begins its command line.
func JobArgs() []string { return []string{"topics", "ensure"} }

// Describe returns the product for a layout; metrics come from a running
// pipeline's own registries, keys are those of each service's configuration
// and, under Admin, of the topic maker's.
func Describe(l Layout, metrics map[string]ProductMetric, keys map[string][]string) Product {
	p := Product{
		Services: map[string]ProductService{}, ACLs: map[string][]ACL{Admin: ACLs(Admin, l)},
		Images: append(Services(), "flowstitch"), JobArgs: JobArgs(), JobKeys: keys[Admin], Env: Env(), Slots: l.Slots, Metrics: metrics,
		ProbePath: map[string]string{"startup": "/livez", "liveness": "/livez", "readiness": "/readyz"},
	}
	for _, s := range Services() {
		p.Services[s] = ProductService{Config: "/etc/flowstitch/" + s + ".yaml", Port: PodPort, Keys: keys[s], Inputs: Inputs(s, l)}
		p.ACLs[s] = ACLs(s, l)
	}
	for _, t := range Topics(l) {
		p.Topics = append(p.Topics, ProductTopic{Name: l.Names().Name(t.Name), Partitions: t.Partitions, Config: t.Configs})
	}
	return p
}

// Write writes p as indented JSON.
func (p Product) Write(w io.Writer) error {
	b, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}
