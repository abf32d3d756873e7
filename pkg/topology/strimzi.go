package topology

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// Strimzi says for which cluster the resources are written.
type Strimzi struct {
	Cluster  string // the name of the Kafka resource
	Replicas int    // replication factor
	MinISR   int    // min.insync.replicas
	Auth     string // tls, tls-external or scram-sha-512
}

// WriteTopics writes a KafkaTopic (kafka.strimzi.io/v1) for every topic.
func (z Strimzi) WriteTopics(w io.Writer, l Layout) error {
	var b strings.Builder
	b.WriteString("# Written by `flowstitch topics strimzi`; edit the program's topology, not this file.\n")
	for _, t := range Topics(l) {
		name := l.Names().Name(t.Name)
		fmt.Fprintf(&b, "apiVersion: kafka.strimzi.io/v1\nkind: KafkaTopic\nmetadata:\n  name: %s\n  labels:\n    strimzi.io/cluster: %s\nspec:\n  topicName: %s\n  partitions: %d\n  replicas: %d\n  config:\n",
			resourceName(name), z.Cluster, name, t.Partitions, z.Replicas)
		cfg := maps.Clone(t.Configs)
		cfg["min.insync.replicas"] = fmt.Sprint(z.MinISR)
		for _, k := range slices.Sorted(maps.Keys(cfg)) {
			fmt.Fprintf(&b, "    %s: %q\n", k, cfg[k])
		}
		b.WriteString("---\n")
	}
	_, err := io.WriteString(w, strings.TrimSuffix(b.String(), "---\n"))
	return err
}

// WriteUsers writes a KafkaUser for every service, with the least that it needs.
// Topics are made by Strimzi's own operator from WriteTopics.
func (z Strimzi) WriteUsers(w io.Writer, l Layout) error {
	var b strings.Builder
	b.WriteString("# Written by `flowstitch topics strimzi -users`; edit the program's topology, not this file.\n")
	for _, s := range Services() {
		fmt.Fprintf(&b, "apiVersion: kafka.strimzi.io/v1\nkind: KafkaUser\nmetadata:\n  name: flowstitch-%s\n  labels:\n    strimzi.io/cluster: %s\nspec:\n  authentication:\n    type: %s\n  authorization:\n    type: simple\n    acls:\n",
			s, z.Cluster, z.Auth)
		for _, a := range ACLs(s, l) {
			fmt.Fprintf(&b, "      - resource:\n          type: %s\n          name: %s\n          patternType: %s\n        operations: [%s]\n", a.Type, a.Name, a.Pattern, strings.Join(a.Operations, ", "))
		}
		b.WriteString("---\n")
	}
	_, err := io.WriteString(w, strings.TrimSuffix(b.String(), "---\n"))
	return err
}

// resourceName makes a topic's name one that Kubernetes accepts.
func resourceName(topic string) string {
	return strings.ToLower(strings.NewReplacer("_", "-").Replace(topic))
}

// WriteCommands writes the kafka-acls.sh commands for a cluster without
// Strimzi; principal is what comes before the service's name, for example
// "User:flowstitch-".
func WriteCommands(w io.Writer, l Layout, principal string) error {
	flag := map[string]string{"topic": "--topic", "group": "--group", "transactionalId": "--transactional-id"}
	for _, s := range append(Services(), Admin) {
		for _, a := range ACLs(s, l) {
			pattern := ""
			if a.Pattern == "prefix" {
				pattern = " --resource-pattern-type prefixed"
			}
			var ops strings.Builder
			for _, o := range a.Operations {
				ops.WriteString(" --operation " + o)
			}
			if _, err := fmt.Fprintf(w, "kafka-acls.sh --bootstrap-server \"$BROKER\" --command-config client.properties --add --allow-principal '%s%s'%s %s '%s'%s\n",
				principal, s, ops.String(), flag[a.Type], a.Name, pattern); err != nil {
				return err
			}
		}
	}
	return nil
}
