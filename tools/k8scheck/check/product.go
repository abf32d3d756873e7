package check

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
)

// Product is what the program really has, as it tells of itself
// (deploy/k8s/product.json, written by `flowstitch topics product` and held
// current by a test of the main module).
type Product struct {
	Services  map[string]Service `json:"services"`
	Images    []string           `json:"images"`     // last path element of each image
	JobArgs   []string           `json:"job_args"`   // how the topics job begins its command line
	JobKeys   []string           `json:"job_keys"`   // the keys of its configuration
	Env       []string           `json:"env"`        // variables that the programs read
	Topics    []Topic            `json:"topics"`     // names without prefix
	Metrics   map[string]Metric  `json:"metrics"`    // by family name
	ACLs      map[string][]ACL   `json:"acls"`       // by service, and "topics" for the job
	Slots     int                `json:"slots"`      // default number of slots
	ProbePath map[string]string  `json:"probe_path"` // probe -> path
	Anchors   []string           `json:"-"`          // headings of docs/operations.md

	// CheckConfig asks the program itself whether it takes a configuration
	// file; nil where no program was built.
	CheckConfig func(service string, file []byte) error `json:"-"`
}

// Service is one workload's contract.
type Service struct {
	Config string   `json:"config"` // path of its configuration in the pod
	Port   int32    `json:"port"`   // the telemetry port
	Keys   []string `json:"keys"`   // every key of its configuration, dotted; a trailing .* takes any
	Inputs []Input  `json:"inputs"` // what its consumer groups lag on
}

// Input is a topic that a service consumes and the group it commits to, both
// without prefix.
type Input struct {
	Topic string `json:"topic"`
	Group string `json:"group"`
}

// Topic is one topic as the program expects to find it.
type Topic struct {
	Name       string            `json:"name"`
	Partitions int               `json:"partitions"`
	Config     map[string]string `json:"config"`
}

// Metric is one family that the programs export.
type Metric struct {
	Type   string   `json:"type"` // counter, gauge, histogram, summary
	Labels []string `json:"labels"`
}

// LoadProduct reads product.json and, where given, the headings of the
// operations page.
func LoadProduct(path, operations string) (*Product, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	p := &Product{}
	if err := json.Unmarshal(b, p); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if operations == "" {
		return p, nil
	}
	md, err := os.ReadFile(operations)
	if err != nil {
		return nil, err
	}
	p.Anchors = anchors(string(md))
	return p, nil
}

// anchors are the fragment names that a Markdown viewer gives to headings.
func anchors(md string) []string {
	var out []string
	drop := regexp.MustCompile("[^a-z0-9 _-]")
	for _, line := range strings.Split(md, "\n") {
		if h := strings.TrimLeft(line, "#"); len(h) < len(line) && strings.HasPrefix(h, " ") {
			out = append(out, strings.ReplaceAll(drop.ReplaceAllString(strings.ToLower(strings.TrimSpace(h)), ""), " ", "-"))
		}
	}
	return out
}

// topic finds a topic by its full name, whatever the prefix; nil if none.
func (p *Product) topic(full, prefix string) *Topic {
	for i := range p.Topics {
		if prefix+p.Topics[i].Name == full {
			return &p.Topics[i]
		}
	}
	return nil
}
