package check

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// txnTimeout is, in milliseconds, the least that brokers must grant: the
// program asks for 10 s.
const txnTimeout = 10_000

// brokerKeys are settings of a broker that people write into a Kafka resource
// for us; what is nearly one of them is a misspelling.
func brokerKeys() []string {
	return []string{"auto.create.topics.enable", "default.replication.factor", "min.insync.replicas", "offsets.topic.replication.factor",
		"transaction.state.log.replication.factor", "transaction.state.log.min.isr", "replica.selector.class", "transaction.max.timeout.ms",
		"group.min.session.timeout.ms", "group.max.session.timeout.ms", "log.cleaner.enable", "unclean.leader.election.enable",
		"message.max.bytes", "replica.fetch.max.bytes", "log.retention.hours", "log.retention.ms", "log.retention.bytes", "log.segment.bytes",
		"num.partitions", "num.network.threads", "num.io.threads", "delete.topic.enable", "compression.type", "transactional.id.expiration.ms",
		"log.cleaner.threads", "num.replica.fetchers", "group.initial.rebalance.delay.ms", "log.message.timestamp.type", "offsets.retention.minutes",
		"log.retention.minutes", "log.roll.ms", "log.roll.hours", "socket.request.max.bytes", "num.recovery.threads.per.data.dir"}
}

// brokerSettings: the brokers of Strimzi keep what they acknowledge, and let
// transactions and groups of ours be.
func (s *Set) brokerSettings() {
	for _, o := range s.of("Kafka") {
		cfg := objMap(o, "spec", "kafka", "config")
		for _, k := range sortedKeys(cfg) {
			if near := nearest(k, brokerKeys()); near != "" && near != k && !contains(brokerKeys(), k) {
				s.add("strimzi", o, "config %q is read by no broker (did you mean %q?)", k, near)
			}
		}
		s.kept(o, cfg)
		if v := plain(cfg["transaction.max.timeout.ms"]); v != "" && number(v) < txnTimeout {
			s.add("strimzi", o, "config transaction.max.timeout.ms %s: the services ask for %d and would be refused", v, txnTimeout)
		}
		if v := plain(cfg["message.max.bytes"]); v != "" && number(v) < 1048576 {
			s.add("strimzi", o, "config message.max.bytes %s is below the 1048576 that the program's topics take", v)
		}
		if v := plain(cfg["replica.selector.class"]); v != "" && v != "org.apache.kafka.common.replica.RackAwareReplicaSelector" {
			s.add("strimzi", o, "config replica.selector.class %q is no class of Kafka's; the brokers would not start", v)
		}
		known := []string{corev1.LabelTopologyZone, corev1.LabelHostname, corev1.LabelTopologyRegion}
		if k := str(o.Raw, "spec", "kafka", "rack", "topologyKey"); k == "" {
			s.add("strimzi", o, "spec.kafka.rack is missing: the copies of a partition may all lie in one zone")
		} else if !contains(known, k) && strings.Contains(k, "kubernetes.io") {
			s.add("strimzi", o, "spec.kafka.rack.topologyKey %q is no well-known node label: the brokers stay pending%s", k, hint(k, known))
		}
		if _, ok := get(o.Raw, "metadata", "annotations", "strimzi.io/pause-reconciliation").(string); ok {
			s.add("strimzi", o, "is paused by strimzi.io/pause-reconciliation: no change is carried out")
		}
		for _, op := range []string{"topicOperator", "userOperator"} {
			if ns := str(o.Raw, "spec", "entityOperator", op, "watchedNamespace"); ns != "" && ns != o.NS {
				s.add("strimzi", o, "entityOperator.%s watches namespace %q, the set lies in %q", op, ns, o.NS)
			}
		}
		s.listenerPeers(o)
	}
	for _, o := range s.of("KafkaNodePool") {
		s.pool(o)
	}
	for _, o := range s.of("KafkaTopic") {
		s.topicKept(o)
	}
}

// kept: what is acknowledged lies on two brokers and stays.
func (s *Set) kept(o *Object, cfg map[string]any) {
	for _, k := range []string{"min.insync.replicas", "transaction.state.log.min.isr"} {
		if v := plain(cfg[k]); v == "1" || v == "" && k == "min.insync.replicas" {
			s.add("strimzi", o, "config %s is %q: what one broker alone has acknowledged is lost with it; write 2", k, v)
		}
	}
	if plain(cfg["log.cleaner.enable"]) == "false" {
		s.add("strimzi", o, "config log.cleaner.enable is false: the ledgers would grow for ever")
	}
	if plain(cfg["unclean.leader.election.enable"]) == "true" {
		s.add("strimzi", o, "config unclean.leader.election.enable loses what was acknowledged")
	}
	if v := plain(cfg["log.retention.bytes"]); v != "" && v != "-1" {
		s.add("strimzi", o, "config log.retention.bytes %s deletes by size what the topics keep by time", v)
	}
}

func number(v string) float64 {
	q, err := resource.ParseQuantity(v)
	if err != nil {
		return 0
	}
	return q.AsApproximateFloat64()
}

// listenerPeers: who may reach a listener includes the services.
func (s *Set) listenerPeers(o *Object) {
	ports := map[any]string{}
	for _, l := range list(o.Raw, "spec", "kafka", "listeners") {
		if other, ok := ports[get(l, "port")]; ok {
			s.add("strimzi", o, "listeners %s and %s share port %v", other, str(l, "name"), get(l, "port"))
		}
		ports[get(l, "port")] = str(l, "name")
		peers := list(l, "networkPolicyPeers")
		for _, w := range s.workloads {
			in := len(peers) == 0
			for _, p := range peers {
				sel := get(p, "podSelector")
				in = in || get(p, "namespaceSelector") != nil || sel != nil && has(s.selected(o.NS, labelSelector(sel)), w) || get(p, "ipBlock") != nil
			}
			if !in {
				s.add("strimzi", o, "networkPolicyPeers of listener %s leave out %s", str(l, "name"), w)
			}
		}
	}
}

// pool: the brokers' disks outlive the pool, and their heap fits.
func (s *Set) pool(o *Object) {
	volumes := list(o.Raw, "spec", "storage", "volumes")
	if str(o.Raw, "spec", "storage", "type") == "persistent-claim" {
		volumes = append(volumes, get(o.Raw, "spec", "storage"))
	}
	for _, v := range volumes {
		if on, _ := get(v, "deleteClaim").(bool); on {
			s.add("strimzi", o, "storage deleteClaim: true deletes the data with the pool")
		}
		if size := plain(get(v, "size")); size != "" && number(size) < 1<<30 {
			s.add("strimzi", o, "storage size %s: is the unit right?", size)
		}
	}
	limit := number(plain(get(o.Raw, "spec", "resources", "limits", "memory")))
	if limit > 0 && limit < 1<<30 {
		s.add("strimzi", o, "limits.memory %s: a broker needs a gigabyte", plain(get(o.Raw, "spec", "resources", "limits", "memory")))
	}
	if heap := javaBytes(str(o.Raw, "spec", "jvmOptions", "-Xmx")); limit > 0 && heap > 0.8*limit {
		s.add("strimzi", o, "jvmOptions -Xmx %s leaves no room in the limit of %s", str(o.Raw, "spec", "jvmOptions", "-Xmx"), plain(get(o.Raw, "spec", "resources", "limits", "memory")))
	}
}

// javaBytes reads a size as the JVM writes it: 512m, 4g.
func javaBytes(v string) float64 {
	if v == "" {
		return 0
	}
	unit := strings.ToUpper(v[len(v)-1:])
	if strings.Contains("KMG", unit) {
		return number(v[:len(v)-1] + unit + "i")
	}
	return number(v)
}

// topicKept: a topic keeps by time, on two brokers at least, as it was written.
func (s *Set) topicKept(o *Object) {
	cfg := objMap(o, "spec", "config")
	rf, _ := num(o.Raw, "spec", "replicas")
	if v := plain(cfg["min.insync.replicas"]); v == "1" && rf > 1 {
		s.add("topic", o, "min.insync.replicas 1: what one broker alone has acknowledged is lost with it; write 2")
	}
	if v := plain(cfg["retention.bytes"]); v != "" && v != "-1" {
		s.add("topic", o, "retention.bytes %s deletes by size what must be kept by time", v)
	}
	codecs := []string{"producer", "uncompressed", "zstd", "lz4", "snappy", "gzip"}
	if v := plain(cfg["compression.type"]); v != "" && !contains(codecs, v) {
		s.add("topic", o, "compression.type %q is none of %v%s", v, codecs, hint(v, codecs))
	} else if v != "" && v != "producer" {
		s.add("topic", o, "compression.type %s has the broker compress anew what producers have compressed; leave it out", v)
	}
	if v := plain(get(o.Raw, "metadata", "annotations", "strimzi.io/managed")); v == "false" {
		s.add("topic", o, "strimzi.io/managed is false: nobody makes or changes it")
	}
}
