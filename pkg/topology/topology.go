// Package topology says what a deployment has on Kafka: topics, consumer
// groups, transactional ids, and which service may do what with them.
//
// It guarantees one source of truth: `flowstitch topics`, the Strimzi
// resources, the ACLs and the checks of the Kubernetes manifests are all
// derived from here, and here from the stages' own names.
package topology

import (
	"maps"
	"slices"

	"github.com/flowstitch/flowstitch/pkg/stage"
)

// Layout is what the number and place of topics depend on.
type Layout struct {
	Prefix     string
	Partitions int32 // of flows, sessions, observations, alerts and rejects
	Slots      int
	// AlertsAlso is the format of the alerts on a second topic (see AlertsIn);
	// empty: there is none.
	AlertsAlso string
}

// Stage is one stage of a service: what it reads, what it writes.
type Stage struct {
	Service, Name string
	Input         string   // logical topic; "" for ingest, whose source is not Kafka
	Outputs       []string // logical topics, rejects included
}

// Stages lists every stage in the order of the pipeline.
func Stages() []Stage {
	return []Stage{
		{Service: "ingest", Outputs: []string{stage.FlowsTopic, stage.RejectsTopic}},
		{Service: "sessionize", Input: stage.FlowsTopic, Outputs: []string{stage.SessionsTopic, stage.RejectsTopic}},
		{Service: "detect", Name: "combine", Input: stage.SessionsTopic, Outputs: []string{stage.ObservationsTopic, stage.RejectsTopic}},
		{Service: "detect", Name: "evaluate", Input: stage.ObservationsTopic, Outputs: []string{stage.AlertsTopic, stage.RejectsTopic}},
	}
}

// outputs are the logical topics that s writes under a layout.
func (s *Stage) outputs(l Layout) []string {
	if l.AlertsAlso == "" || !slices.Contains(s.Outputs, stage.AlertsTopic) {
		return s.Outputs
	}
	return append(slices.Clone(s.Outputs), AlertsIn(l.AlertsAlso, l.Partitions).Name)
}

// Services lists the services in the order of the pipeline.
func Services() []string {
	var out []string
	for _, s := range Stages() {
		if !slices.Contains(out, s.Service) {
			out = append(out, s.Service)
		}
	}
	return out
}

// config is the stage's own configuration, as far as names go.
func (s *Stage) config(l Layout) *stage.Config {
	c := stage.Default()
	c.Prefix, c.Service, c.Stage, c.Slots = l.Prefix, s.Service, s.Name, l.Slots
	return &c
}

// AlertsIn is the topic that has the alerts in a second format, such as "ecs",
// beside the topic of the first.
func AlertsIn(format string, partitions int32) stage.TopicSpec {
	s := stage.AlertsSpec(partitions)
	s.Name += "-" + format
	return s
}

// Topics returns the specification of every topic of a deployment.
func Topics(l Layout) []stage.TopicSpec {
	out := []stage.TopicSpec{
		stage.DataTopic(stage.FlowsTopic, l.Partitions),
		stage.DataTopic(stage.SessionsTopic, l.Partitions),
		stage.DataTopic(stage.ObservationsTopic, l.Partitions),
		stage.AlertsSpec(l.Partitions),
		stage.RejectsSpec(l.Partitions),
	}
	if l.AlertsAlso != "" {
		out = append(out, AlertsIn(l.AlertsAlso, l.Partitions))
	}
	for _, s := range Stages() {
		out = append(out, s.config(l).StageTopics()...)
	}
	return out
}

// Names maps logical names to topics.
func (l Layout) Names() *stage.Topics { return &stage.Topics{Prefix: l.Prefix} }

// Input is a topic that a service consumes, and the group that it commits to:
// what an autoscaler watches.
type Input struct {
	Topic string `json:"topic"`
	Group string `json:"group"`
}

// Inputs returns what a service's groups lag on.
func Inputs(service string, l Layout) []Input {
	out := []Input{}
	for _, s := range Stages() {
		if s.Service == service && s.Input != "" {
			out = append(out, Input{Topic: l.Names().Name(s.Input), Group: s.config(l).Group()})
		}
	}
	return out
}

// Groups returns every consumer group of a deployment.
func Groups(l Layout) []string {
	var out []string
	for _, s := range Stages() {
		out = append(out, s.config(l).Group())
	}
	return out
}

// ACL is one thing that a principal may do on Kafka. Pattern is literal or
// prefix.
type ACL struct {
	Type       string   `json:"type"` // topic, group or transactionalId
	Name       string   `json:"name"`
	Pattern    string   `json:"pattern"`
	Operations []string `json:"operations"` // in Strimzi's spelling
}

// Admin is the principal that only makes topics: the job in Kubernetes.
const Admin = "topics"

// ACLs returns the least that a service needs, or with Admin the topic maker. A
// service describes its topics and makes none: who lets it make them, because the
// job is not used, adds Create.
func ACLs(service string, l Layout) []ACL {
	if service == Admin {
		return adminACLs(l)
	}
	ops := map[string][]string{}
	grant := func(topic string, more ...string) {
		ops[topic] = append(ops[topic], more...)
	}
	var out []ACL
	for _, s := range Stages() {
		if s.Service != service {
			continue
		}
		c, names := s.config(l), l.Names()
		for _, o := range s.outputs(l) {
			grant(names.Name(o), "Describe", "DescribeConfigs", "Write")
		}
		if s.Input != "" {
			grant(names.Name(s.Input), "Describe", "DescribeConfigs", "Read")
		}
		grant(names.Name(c.LedgerTopic()), "Describe", "DescribeConfigs", "Read", "Write")
		grant(names.Name(c.SlotsTopic()), "Describe", "DescribeConfigs", "Read")
		out = append(out, ACL{"group", c.Group(), "literal", []string{"Describe", "Read"}})
	}
	out = append(out, ACL{"transactionalId", l.Prefix + "flowstitch." + service + ".", "prefix", []string{"Describe", "Write"}})
	topics := []ACL{}
	for _, t := range slices.Sorted(maps.Keys(ops)) {
		slices.Sort(ops[t])
		topics = append(topics, ACL{"topic", t, "literal", slices.Compact(ops[t])})
	}
	return append(topics, out...)
}

func adminACLs(l Layout) []ACL {
	out := []ACL{}
	for _, t := range Topics(l) {
		out = append(out, ACL{"topic", l.Names().Name(t.Name), "literal", []string{"Create", "Describe", "DescribeConfigs"}})
	}
	return out
}
