package check

import (
	"fmt"
	"regexp"
	"sort"
	"strconv"
	"strings"
)

// topicName is the name that a KafkaTopic has in Kafka.
func topicName(o *Object) string {
	if n := str(o.Raw, "spec", "topicName"); n != "" {
		return n
	}
	return o.Name
}

// prefix is the topic prefix of the pipeline in the set.
func (s *Set) prefix() string {
	for _, w := range s.workloads {
		if w.config != nil {
			return str(w.config, "pipeline", "prefix")
		}
	}
	return ""
}

// strimzi: topics and users are those of the program, on a cluster of the set.
func (s *Set) strimzi() {
	clusters := s.of("Kafka")
	for _, kind := range []string{"KafkaTopic", "KafkaUser", "KafkaNodePool"} {
		for _, o := range s.of(kind) {
			c := label(o, "strimzi.io/cluster")
			if c == "" {
				s.add("strimzi", o, "label strimzi.io/cluster is missing: no operator looks at it")
			} else if len(clusters) > 0 && s.find("Kafka", o.NS, c) == nil {
				s.add("strimzi", o, "label strimzi.io/cluster: no Kafka %q in namespace %s%s", c, o.NS, hint(c, s.names("Kafka")))
			}
			for k := range labelsOf(o) {
				if strings.HasPrefix(k, "strimzi.io/") && k != "strimzi.io/cluster" {
					s.add("strimzi", o, "label %q is none that Strimzi reads here%s", k, hint(k, []string{"strimzi.io/cluster"}))
				}
			}
		}
	}
	for _, o := range clusters {
		s.cluster(o)
	}
	s.topics()
	s.users()
}

func (s *Set) cluster(o *Object) {
	brokers := 0
	for _, p := range s.of("KafkaNodePool") {
		if label(p, "strimzi.io/cluster") != o.Name {
			continue
		}
		n, _ := num(p.Raw, "spec", "replicas")
		for _, r := range list(p.Raw, "spec", "roles") {
			if r == "broker" {
				brokers += int(n)
			}
			if r == "controller" && int(n)%2 == 0 {
				s.add("strimzi", p, "%d controllers: an even number tolerates no more failures than one fewer", int(n))
			}
		}
		if str(p.Raw, "spec", "storage", "type") == "ephemeral" {
			s.add("strimzi", p, "ephemeral storage: a restart loses topics, and with them state")
		}
	}
	if brokers == 0 {
		s.add("strimzi", o, "no KafkaNodePool with role broker carries label strimzi.io/cluster: %s", o.Name)
	}
	cfg := func(k string) int {
		n, ok := num(o.Raw, "spec", "kafka", "config", k)
		if !ok {
			return -1
		}
		return int(n)
	}
	for _, k := range []string{"default.replication.factor", "offsets.topic.replication.factor", "transaction.state.log.replication.factor"} {
		switch n := cfg(k); {
		case n < 0:
			s.add("strimzi", o, "config %s is missing: exactly once rests on those topics", k)
		case n > brokers && brokers > 0:
			s.add("strimzi", o, "config %s = %d with %d brokers: the topic could not be created", k, n, brokers)
		}
	}
	if isr, rf := cfg("min.insync.replicas"), cfg("default.replication.factor"); isr >= rf && rf > 1 {
		s.add("strimzi", o, "min.insync.replicas %d with replication factor %d: one broker's restart stops every producer", isr, rf)
	}
	if isr, rf := cfg("transaction.state.log.min.isr"), cfg("transaction.state.log.replication.factor"); isr >= rf && rf > 1 {
		s.add("strimzi", o, "transaction.state.log.min.isr %d with replication factor %d: one broker's restart stops every transaction", isr, rf)
	}
	if v, ok := get(o.Raw, "spec", "kafka", "config", "auto.create.topics.enable").(bool); !ok || v {
		s.add("strimzi", o, "config auto.create.topics.enable must be false: a misspelt topic would come into being with one partition")
	}
	s.listeners(o)
}

func (s *Set) listeners(o *Object) {
	authorized := get(o.Raw, "spec", "kafka", "authorization") != nil
	if len(s.of("KafkaUser")) > 0 && !authorized {
		s.add("strimzi", o, "spec.kafka.authorization is missing, so the ACLs of the KafkaUsers bind nobody")
	}
	kinds := map[string]bool{}
	for _, l := range list(o.Raw, "spec", "kafka", "listeners") {
		auth := str(l, "authentication", "type")
		kinds[auth] = true
		if authorized && auth == "" {
			s.add("strimzi", o, "listener %s lets anyone in without authentication", str(l, "name"))
		}
		if tls, _ := get(l, "tls").(bool); !tls {
			s.add("strimzi", o, "listener %s carries credentials and traffic in the clear", str(l, "name"))
		}
	}
	for _, u := range s.of("KafkaUser") {
		if t := str(u.Raw, "spec", "authentication", "type"); label(u, "strimzi.io/cluster") == o.Name && !kinds[strings.TrimSuffix(t, "-external")] {
			s.add("strimzi", u, "authenticates with %q, which no listener of %s offers", t, o)
		}
	}
	if get(o.Raw, "spec", "entityOperator", "topicOperator") == nil && len(s.of("KafkaTopic")) > 0 {
		s.add("strimzi", o, "spec.entityOperator.topicOperator is missing: nobody makes the KafkaTopics")
	}
	if get(o.Raw, "spec", "entityOperator", "userOperator") == nil && len(s.of("KafkaUser")) > 0 {
		s.add("strimzi", o, "spec.entityOperator.userOperator is missing: nobody makes the KafkaUsers")
	}
}

// topics: with Strimzi, every topic of the program exists as it expects it.
func (s *Set) topics() {
	topics := s.of("KafkaTopic")
	if len(topics) == 0 {
		return
	}
	prefix, seen := s.prefix(), map[string]bool{}
	var want []string
	for _, t := range s.product.Topics {
		want = append(want, prefix+t.Name)
	}
	for _, o := range topics {
		name := topicName(o)
		if seen[name] {
			s.add("topic", o, "a second KafkaTopic for %s", name)
		}
		seen[name] = true
		t := s.product.topic(name, prefix)
		if t == nil {
			s.add("topic", o, "%q is no topic of the program%s", name, hint(name, want))
			continue
		}
		s.topicConfig(o, t)
	}
	for _, n := range want {
		if !seen[n] {
			s.add("topic", nil, "topic %s has no KafkaTopic", n)
		}
	}
	s.copartitioned(prefix)
}

func (s *Set) topicConfig(o *Object, t *Topic) {
	cfg, _ := get(o.Raw, "spec", "config").(map[string]any)
	for _, k := range sortedKeys(t.Config) {
		got, ok := cfg[k]
		if !ok {
			s.add("topic", o, "config %s is missing; the program expects %s", k, t.Config[k])
		} else if v := plain(got); v != t.Config[k] && !tunable(k, v, t.Config[k]) {
			s.add("topic", o, "config %s is %s; the program expects %s", k, v, t.Config[k])
		}
	}
	known := append(sortedKeys(t.Config), "retention.ms", "retention.bytes", "segment.bytes", "segment.ms", "compression.type",
		"min.insync.replicas", "cleanup.policy", "max.message.bytes", "message.timestamp.type", "min.cleanable.dirty.ratio",
		"delete.retention.ms", "local.retention.ms", "local.retention.bytes", "remote.storage.enable", "unclean.leader.election.enable")
	for _, k := range sortedKeys(cfg) {
		if !contains(known, k) {
			s.add("topic", o, "config %q is none that is tuned here%s", k, hint(k, known))
		}
	}
	if plain(cfg["unclean.leader.election.enable"]) == "true" {
		s.add("topic", o, "unclean.leader.election.enable loses what was acknowledged")
	}
	rf, _ := num(o.Raw, "spec", "replicas")
	isr, err := strconv.Atoi(plain(cfg["min.insync.replicas"]))
	if err == nil && isr >= int(rf) && rf > 1 {
		s.add("topic", o, "min.insync.replicas %d with %v replicas: one broker's restart stops every producer", isr, rf)
	}
	brokers := 0
	for _, p := range s.of("KafkaNodePool") {
		if n, _ := num(p.Raw, "spec", "replicas"); hasRole(p, "broker") {
			brokers += int(n)
		}
	}
	if brokers > 0 && int(rf) > brokers {
		s.add("topic", o, "%v replicas with %d brokers: the topic could not be created", rf, brokers)
	}
}

func hasRole(p *Object, role string) bool {
	for _, r := range list(p.Raw, "spec", "roles") {
		if r == role {
			return true
		}
	}
	return false
}

// tunable allows a longer retention than the program's default, and -1 (for
// ever); nothing else may differ.
func tunable(k, got, want string) bool {
	if k != "retention.ms" {
		return k == "min.insync.replicas"
	}
	g, err1 := strconv.ParseInt(got, 10, 64)
	w, err2 := strconv.ParseInt(want, 10, 64)
	return err1 == nil && err2 == nil && (g == -1 || w > 0 && g >= w)
}

// plain writes a YAML scalar as Kafka reads it.
func plain(v any) string {
	if f, ok := v.(float64); ok {
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

// copartitioned: flows and sessions share partition count, and slots divide it.
func (s *Set) copartitioned(prefix string) {
	n := map[string]int{}
	for _, o := range s.of("KafkaTopic") {
		if t := s.product.topic(topicName(o), prefix); t != nil {
			p, _ := num(o.Raw, "spec", "partitions")
			n[t.Name] = int(p)
			slots := s.product.Slots
			for _, w := range s.workloads {
				if w.service != "" {
					slots = s.slots(w)
				}
			}
			if t.Partitions > 1 && (int(p) < slots || int(p)%slots != 0) {
				s.add("topic", o, "%d partitions; the number of slots (%d) must divide it", int(p), slots)
			}
			if t.Partitions == 1 && int(p) != 1 {
				s.add("topic", o, "%d partitions; the program expects one", int(p))
			}
		}
	}
	flows, sessions := 0, 0
	parts, slots := 0, 0
	for _, w := range s.workloads {
		if w.config != nil {
			f, _ := num(w.config, "pipeline", "partitions")
			parts, slots = int(f), s.slots(w)
		}
	}
	for _, name := range sortedKeys(n) {
		want := parts
		if strings.Contains(name, ".slots.") || strings.Contains(name, ".ledger.") {
			want = slots
		}
		if p := n[name]; want > 0 && p != want {
			s.add("topic", nil, "%s has %d partitions, the services' configuration says %d: they would refuse it", prefix+name, p, want)
		}
	}
	for name, p := range n {
		if strings.Contains(name, ".flows.") {
			flows = p
		}
		if strings.Contains(name, ".sessions.") {
			sessions = p
		}
	}
	if flows != sessions {
		s.add("topic", nil, "flows has %d partitions and sessions %d: partition p of sessions has one source, partition p of flows", flows, sessions)
	}
}

// users: a service's KafkaUser may do what its service does, no less, no more.
func (s *Set) users() {
	users := s.of("KafkaUser")
	if len(users) == 0 {
		return
	}
	prefix := s.prefix()
	for _, o := range users {
		svc := o.Name
		for name := range s.product.Services {
			if o.Name == name || strings.HasSuffix(o.Name, "-"+name) {
				svc = name
			}
		}
		want, ok := s.product.ACLs[svc]
		if !ok {
			s.add("acl", o, "is named after no service (%v)", sortedKeys(s.product.ACLs))
			continue
		}
		if str(o.Raw, "spec", "authorization", "type") != "simple" {
			s.add("acl", o, "spec.authorization.type must be simple, or its ACLs are not applied")
		}
		got := map[string]bool{}
		for _, a := range list(o.Raw, "spec", "authorization", "acls") {
			if t := str(a, "type"); t == "deny" {
				s.add("acl", o, "a deny rule: ACLs here are allow lists")
			}
			if h := str(a, "host"); h != "" && h != "*" {
				s.add("acl", o, "binds to host %q: pods have no fixed addresses", h)
			}
			for _, op := range list(a, "operations") {
				got[aclLine(str(a, "resource", "type"), str(a, "resource", "name"), str(a, "resource", "patternType"), fmt.Sprint(op))] = true
			}
		}
		for _, a := range want {
			for _, op := range a.Operations {
				line := aclLine(a.Type, withPrefix(a, prefix), a.Pattern, op)
				if !got[line] {
					s.add("acl", o, "lacks %s, which %s needs", line, svc)
				}
				delete(got, line)
			}
		}
		extra := sortedKeys(got)
		sort.Strings(extra)
		for _, line := range extra {
			s.add("acl", o, "grants %s, which %s has no use for", line, svc)
		}
	}
}

func withPrefix(a ACL, prefix string) string {
	if a.Type == "cluster" {
		return ""
	}
	return prefix + a.Name
}

func aclLine(typ, name, pattern, op string) string {
	if pattern == "" {
		pattern = "literal"
	}
	return strings.TrimSpace(fmt.Sprintf("%s on %s %s %q", op, typ, pattern, name))
}

// ACL is one thing that a service may do on Kafka.
type ACL struct {
	Type       string   `json:"type"` // topic, group, transactionalId, cluster
	Name       string   `json:"name"` // without prefix
	Pattern    string   `json:"pattern"`
	Operations []string `json:"operations"`
}

// arn is an IAM role's ARN.
var arn = regexp.MustCompile(`^arn:aws(-[a-z]+)*:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]+$`)
