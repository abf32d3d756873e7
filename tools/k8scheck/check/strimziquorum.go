package check

// durable: what Strimzi runs survives the loss of a broker, and nobody is above
// the ACLs.
func (s *Set) durable() {
	for _, o := range s.of("Kafka") {
		brokers, controllers := 0, 0
		for _, p := range s.of("KafkaNodePool") {
			if label(p, "strimzi.io/cluster") != o.Name {
				continue
			}
			n, _ := num(p.Raw, "spec", "replicas")
			if hasRole(p, "broker") {
				brokers += int(n)
			}
			if hasRole(p, "controller") {
				controllers += int(n)
			}
			for _, v := range list(p.Raw, "spec", "storage", "volumes") {
				if str(v, "type") == "ephemeral" {
					s.add("strimzi", p, "ephemeral storage: a restart loses topics, and with them state")
				}
			}
		}
		if controllers == 0 {
			s.add("strimzi", o, "no KafkaNodePool has the role controller: the cluster has no quorum")
		}
		for _, k := range []string{"default.replication.factor", "offsets.topic.replication.factor", "transaction.state.log.replication.factor"} {
			if n, ok := num(o.Raw, "spec", "kafka", "config", k); ok && int(n) < min(brokers, 3) {
				s.add("strimzi", o, "config %s = %v with %d brokers: the loss of one broker would be the loss of data", k, n, brokers)
			}
		}
		s.guarded(o)
		for _, t := range s.of("KafkaTopic") {
			if rf, ok := num(t.Raw, "spec", "replicas"); ok && int(rf) < min(brokers, 3) {
				s.add("topic", t, "%v replicas with %d brokers: the loss of one broker would be the loss of data", rf, brokers)
			}
		}
	}
	for _, u := range s.of("KafkaUser") {
		if get(u.Raw, "spec", "quotas") != nil {
			s.add("acl", u, "quotas throttle a service in the middle of a transaction")
		}
	}
}

// guarded: the cluster is reached from inside, under its ACLs.
func (s *Set) guarded(o *Object) {
	if len(list(o.Raw, "spec", "kafka", "authorization", "superUsers")) > 0 {
		s.add("strimzi", o, "superUsers are above every ACL; no service of ours needs to be")
	}
	for _, l := range list(o.Raw, "spec", "kafka", "listeners") {
		if t := str(l, "type"); t != "internal" && t != "cluster-ip" {
			s.add("strimzi", o, "listener %s of type %s is reached from outside of the cluster", str(l, "name"), t)
		}
	}
}
