package check

import (
	"strconv"
	"strings"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
)

// triggerKeys are the metadata keys that KEDA 2.21 reads, per trigger type. The
// operator ignores any other key without a word, so a misspelt one silently
// means the default.
func triggerKeys() map[string][]string {
	kafka := []string{"bootstrapServers", "consumerGroup", "topic", "partitionLimitation", "lagThreshold", "activationLagThreshold",
		"offsetResetPolicy", "allowIdleConsumers", "excludePersistentLag", "scaleToZeroOnInvalidOffset", "limitToPartitionsWithLag",
		"ensureEvenDistributionOfPartitions", "version", "tls", "unsafeSsl", "sasl", "saslTokenProvider", "awsRegion",
		"bootstrapServersFromEnv", "consumerGroupFromEnv", "topicFromEnv"}
	return map[string][]string{
		"kafka":              kafka,
		"apache-kafka":       kafka,
		"cpu":                {"value", "containerName"},
		"memory":             {"value", "containerName"},
		"cron":               {"timezone", "start", "end", "desiredReplicas"},
		"prometheus":         {"serverAddress", "query", "threshold", "activationThreshold", "namespace", "authModes", "ignoreNullValues", "unsafeSsl", "customHeaders", "timeout", "queryParameters"},
		"aws-kinesis-stream": {"streamName", "shardCount", "activationShardCount", "awsRegion", "awsEndpoint", "identityOwner"},
	}
}

// requiredKeys per trigger type.
func requiredKeys() map[string][]string {
	return map[string][]string{
		"kafka":              {"bootstrapServers", "consumerGroup", "topic", "lagThreshold", "allowIdleConsumers"},
		"apache-kafka":       {"bootstrapServers", "consumerGroup", "topic", "lagThreshold", "allowIdleConsumers"},
		"cpu":                {"value"},
		"memory":             {"value"},
		"cron":               {"timezone", "start", "end", "desiredReplicas"},
		"prometheus":         {"serverAddress", "query", "threshold"},
		"aws-kinesis-stream": {"streamName", "awsRegion"},
	}
}

// scalersOf returns the ScaledObjects and HPAs that aim at w.
func (s *Set) scalersOf(w *workload) []*Object {
	var out []*Object
	for _, o := range s.objs {
		if (o.GVK.Kind == "ScaledObject" || o.GVK.Kind == "HorizontalPodAutoscaler") && o.NS == w.obj.NS {
			if str(o.Raw, "spec", "scaleTargetRef", "name") == w.obj.Name {
				out = append(out, o)
			}
		}
	}
	return out
}

// scalers: each aims at one workload, within what the partitions allow, and
// asks for what it means.
func (s *Set) scalers() {
	for _, w := range s.workloads {
		by := s.scalersOf(w)
		if len(by) > 1 {
			s.add("scaler", w, "is scaled by %v at once: they would fight", by)
		}
		if len(by) > 0 && w.declared {
			s.add("scaler", w, "sets spec.replicas although %s owns it: each apply would reset the scale", by[0])
		}
	}
	for _, o := range s.objs {
		switch o.GVK.Kind {
		case "ScaledObject":
			s.scaledObject(o)
		case "HorizontalPodAutoscaler":
			s.hpa(o)
		case "TriggerAuthentication":
			s.triggerAuth(o)
		case "ScaledJob":
			s.add("scaler", o, "the services are Deployments, not jobs")
		}
	}
}

// target finds what a scaler aims at.
func (s *Set) target(o *Object) *workload {
	name, kind := str(o.Raw, "spec", "scaleTargetRef", "name"), str(o.Raw, "spec", "scaleTargetRef", "kind")
	if kind == "" {
		kind = "Deployment"
	}
	var names []string
	for _, w := range s.workloads {
		names = append(names, w.obj.Name)
		if w.obj.Name == name && w.obj.GVK.Kind == kind && w.obj.NS == o.NS {
			return w
		}
	}
	s.add("scaler", o, "scaleTargetRef %s/%s does not exist%s", kind, name, hint(name, names))
	return nil
}

func (s *Set) scaledObject(o *Object) {
	if v := str(o.Raw, "spec", "scaleTargetRef", "apiVersion"); v != "" && v != "apps/v1" {
		s.add("scaler", o, "scaleTargetRef.apiVersion %q; a Deployment is apps/v1", v)
	}
	for k := range annotationsOf(o) {
		known := []string{"autoscaling.keda.sh/paused", "autoscaling.keda.sh/paused-replicas", "autoscaling.keda.sh/paused-scale-in", "scaledobject.keda.sh/transfer-hpa-ownership", "validations.keda.sh/hpa-ownership"}
		if strings.Contains(k, "keda.sh/") {
			if !contains(known, k) {
				s.add("scaler", o, "annotation %q is none of KEDA's%s", k, hint(k, known))
			} else if strings.Contains(k, "paused") {
				s.add("scaler", o, "is paused by annotation %q", k)
			}
		}
	}
	w := s.target(o)
	s.bounds(o, w)
	if _, ok := get(o.Raw, "spec", "idleReplicaCount").(float64); ok {
		s.add("scaler", o, "idleReplicaCount lets every pod go: open sessions and findings would freeze")
	}
	if p, ok := num(o.Raw, "spec", "pollingInterval"); ok && (p < 5 || p > 120) {
		s.add("scaler", o, "pollingInterval %v s: below 5 s it loads the brokers, above 120 s a surge is over before it is seen", p)
	}
	triggers := list(o.Raw, "spec", "triggers")
	for i, t := range triggers {
		s.trigger(o, w, i, t)
	}
	if b := get(o.Raw, "spec", "advanced", "horizontalPodAutoscalerConfig", "behavior"); b != nil {
		if v, ok := num(b, "scaleDown", "stabilizationWindowSeconds"); ok && v < 120 {
			s.add("scaler", o, "scaleDown.stabilizationWindowSeconds %v: below 120 s each wave of traffic moves slots to and fro", v)
		}
	}
}

func (s *Set) bounds(o *Object, w *workload) {
	lo, okLo := num(o.Raw, "spec", "minReplicaCount")
	hi, okHi := num(o.Raw, "spec", "maxReplicaCount")
	if !okLo || lo < 1 {
		s.add("scaler", o, "minReplicaCount must be at least 1 (KEDA's default is 0): with no pod the watermark stands still and windows never close")
	}
	if !okHi {
		s.add("scaler", o, "maxReplicaCount is missing (KEDA's default is 100); it must be the number of slots")
	}
	if okLo && okHi && lo > hi {
		s.add("scaler", o, "minReplicaCount %v exceeds maxReplicaCount %v", lo, hi)
	}
	if w == nil || !okHi {
		return
	}
	if slots := s.slots(w); int(hi) > slots {
		s.add("scaler", o, "maxReplicaCount %v exceeds the %d slots: the pods above idle", hi, slots)
	}
	for _, t := range list(o.Raw, "spec", "triggers") {
		full := str(t, "metadata", "topic")
		if n := s.partitions(full); n > 0 && int(hi) > n {
			s.add("scaler", o, "maxReplicaCount %v exceeds the %d partitions of %s", hi, n, full)
		}
	}
}

// partitions of a topic by its full name: as the set declares it, else the
// product's default; 0 if unknown.
func (s *Set) partitions(full string) int {
	for _, o := range s.of("KafkaTopic") {
		if topicName(o) == full {
			n, _ := num(o.Raw, "spec", "partitions")
			return int(n)
		}
	}
	for _, w := range s.workloads {
		t := s.product.topic(full, s.prefix())
		if n, ok := num(w.config, "pipeline", "partitions"); ok && t != nil {
			return int(n)
		}
	}
	if t := s.product.topic(full, s.prefix()); t != nil {
		return t.Partitions
	}
	return 0
}

func (s *Set) trigger(o *Object, w *workload, i int, t any) {
	typ := str(t, "type")
	keys, ok := triggerKeys()[typ]
	if !ok {
		s.add("trigger", o, "trigger %d: type %q is not one that fits this product%s", i, typ, hint(typ, sortedKeys(triggerKeys())))
		return
	}
	meta, _ := get(t, "metadata").(map[string]any)
	for _, k := range sortedKeys(meta) {
		if !contains(keys, k) {
			s.add("trigger", o, "trigger %d (%s): KEDA does not read %q and would take the default without a word%s", i, typ, k, hint(k, keys))
		}
		if v, ok := meta[k].(string); ok && v != strings.TrimSpace(v) {
			s.add("trigger", o, "trigger %d (%s): %s has blanks around its value", i, typ, k)
		}
	}
	for _, k := range requiredKeys()[typ] {
		if v, _ := meta[k].(string); v == "" {
			s.add("trigger", o, "trigger %d (%s): %s is missing", i, typ, k)
		}
	}
	if ref := str(t, "authenticationRef", "name"); ref != "" {
		kind := str(t, "authenticationRef", "kind")
		if kind == "" {
			kind = "TriggerAuthentication"
		}
		if s.find(kind, o.NS, ref) == nil && kind == "TriggerAuthentication" {
			s.add("trigger", o, "trigger %d: %s %q does not exist%s", i, kind, ref, hint(ref, s.names(kind)))
		}
	}
	switch typ {
	case "kafka", "apache-kafka":
		s.kafkaTrigger(o, w, i, t)
	case "cpu", "memory":
		s.resourceTrigger(o, w, i, t)
	}
}

func (s *Set) resourceTrigger(o *Object, w *workload, i int, t any) {
	if m := str(t, "metricType"); m != "Utilization" && m != "AverageValue" {
		s.add("trigger", o, "trigger %d: metricType %q must be Utilization or AverageValue", i, m)
	}
	if w == nil {
		return
	}
	for _, c := range w.containers() {
		if _, ok := c.Resources.Requests[corev1.ResourceName(str(t, "type"))]; !ok {
			s.add("trigger", o, "trigger %d: container %s requests no %s to be measured against", i, c.Name, str(t, "type"))
		}
	}
}

func (s *Set) kafkaTrigger(o *Object, w *workload, i int, t any) {
	get := func(k string) string { return str(t, "metadata", k) }
	for _, k := range []string{"lagThreshold", "activationLagThreshold"} {
		if v := get(k); v != "" {
			if n, err := strconv.ParseInt(v, 10, 64); err != nil || n < 0 || k == "lagThreshold" && n < 1 {
				s.add("trigger", o, "trigger %d: %s %q is no positive whole number", i, k, v)
			}
		}
	}
	lag, err1 := strconv.ParseInt(get("lagThreshold"), 10, 64)
	if activation, err2 := strconv.ParseInt(get("activationLagThreshold"), 10, 64); err1 == nil && err2 == nil && activation >= lag {
		s.add("trigger", o, "trigger %d: activationLagThreshold %d is not below lagThreshold %d", i, activation, lag)
	}
	if get("excludePersistentLag") == "true" {
		s.add("trigger", o, "trigger %d: excludePersistentLag hides the lag of a partition that stands still", i)
	}
	if get("version") == "" {
		s.add("trigger", o, "trigger %d: version is missing: KEDA then speaks Kafka 1.0.0", i)
	}
	if get("allowIdleConsumers") != "true" {
		s.add("trigger", o, "trigger %d: allowIdleConsumers must be \"true\": without it KEDA caps the lag at partitions x threshold and the HPA's tolerance keeps the last pods away", i)
	}
	if get("limitToPartitionsWithLag") == "true" {
		s.add("trigger", o, "trigger %d: limitToPartitionsWithLag contradicts allowIdleConsumers", i)
	}
	if get("partitionLimitation") != "" {
		s.add("trigger", o, "trigger %d: partitionLimitation hides the lag of the other partitions", i)
	}
	for _, c := range []struct {
		key    string
		values []string
	}{{"offsetResetPolicy", []string{"earliest", "latest"}}, {"tls", []string{"enable", "disable"}},
		{"sasl", []string{"none", "plaintext", "scram_sha256", "scram_sha512", "oauthbearer", "gssapi", "aws_msk_iam"}},
		{"saslTokenProvider", []string{"bearer", "aws_msk_iam"}}, {"excludePersistentLag", []string{"true", "false"}}} {
		if v := get(c.key); v != "" && !contains(c.values, v) {
			s.add("trigger", o, "trigger %d: %s %q is none of %v%s", i, c.key, v, c.values, hint(v, c.values))
		}
	}
	if get("unsafeSsl") == "true" {
		s.add("trigger", o, "trigger %d: unsafeSsl accepts any certificate", i)
	}
	if w != nil && w.service != "" {
		s.triggerMatches(o, w, i, t)
	}
}

// triggerMatches: what KEDA watches is what the service consumes, where and how
// it consumes it.
func (s *Set) triggerMatches(o *Object, w *workload, i int, t any) {
	prefix := str(w.config, "pipeline", "prefix")
	topic, group := str(t, "metadata", "topic"), str(t, "metadata", "consumerGroup")
	var topics, groups []string
	for _, in := range s.product.Services[w.service].Inputs {
		topics, groups = append(topics, prefix+in.Topic), append(groups, prefix+in.Group)
	}
	at := -1
	for j := range topics {
		if topics[j] == topic {
			at = j
		}
	}
	if at < 0 {
		s.add("trigger", o, "trigger %d: %s does not consume topic %q, but %v%s", i, w.service, topic, topics, hint(topic, topics))
	} else if groups[at] != group {
		s.add("trigger", o, "trigger %d: %s commits %s under group %q, not %q", i, w.service, topic, groups[at], group)
	}
	var brokers []string
	for _, b := range list(w.config, "kafka", "brokers") {
		t, _ := b.(string)
		brokers = append(brokers, t)
	}
	if got := str(t, "metadata", "bootstrapServers"); got != strings.Join(brokers, ",") {
		s.add("trigger", o, "trigger %d: bootstrapServers %q differ from the service's kafka.brokers %q", i, got, strings.Join(brokers, ","))
	}
	s.triggerSecurity(o, w, i, t)
}

func (s *Set) triggerSecurity(o *Object, w *workload, i int, t any) {
	tls := tlsOn(w.config)
	authTLS, authSASL := false, false
	if a := s.find("TriggerAuthentication", o.NS, str(t, "authenticationRef", "name")); a != nil {
		for _, r := range list(a.Raw, "spec", "secretTargetRef") {
			authTLS = authTLS || str(r, "parameter") == "tls"
			authSASL = authSASL || str(r, "parameter") == "sasl"
		}
	}
	if on := str(t, "metadata", "tls") == "enable" || authTLS; on != tls {
		s.add("trigger", o, "trigger %d: tls is %v here and %v in the service's configuration", i, on, tls)
	}
	mech := strings.ToUpper(str(w.config, "kafka", "sasl", "mechanism"))
	if mech == "NONE" {
		mech = ""
	}
	sasl := str(t, "metadata", "sasl")
	if (mech != "") != (sasl != "" && sasl != "none" || authSASL) {
		s.add("trigger", o, "trigger %d: sasl is %q here and %q in the service's configuration", i, sasl, mech)
	}
	if strings.Contains(mech, "IAM") {
		if str(t, "type") == "kafka" && (sasl != "oauthbearer" || str(t, "metadata", "saslTokenProvider") != "aws_msk_iam") {
			s.add("trigger", o, "trigger %d: MSK IAM is sasl: oauthbearer with saslTokenProvider: aws_msk_iam", i)
		}
		if str(t, "metadata", "awsRegion") == "" {
			s.add("trigger", o, "trigger %d: awsRegion is missing for MSK IAM", i)
		}
		if str(t, "authenticationRef", "name") == "" {
			s.add("trigger", o, "trigger %d: MSK IAM needs an authenticationRef with podIdentity aws", i)
		}
	}
}

func (s *Set) triggerAuth(o *Object) {
	used := false
	for _, so := range s.of("ScaledObject") {
		for _, t := range list(so.Raw, "spec", "triggers") {
			used = used || so.NS == o.NS && str(t, "authenticationRef", "name") == o.Name
		}
	}
	if !used {
		s.add("unused", o, "no trigger refers to it")
	}
	params := []string{"ca", "cert", "key", "keyPassword", "sasl", "tls", "username", "password", "scopes", "oauthTokenEndpointUri", "oauthExtensions", "saslTokenProvider", "awsRegion", "awsAccessKeyID", "awsSecretAccessKey", "awsRoleArn"}
	for _, r := range list(o.Raw, "spec", "secretTargetRef") {
		if p := str(r, "parameter"); !contains(params, p) {
			s.add("trigger", o, "parameter %q is none that a kafka trigger reads%s", p, hint(p, params))
		}
		k := s.secret(o.NS, str(r, "name"))
		if !k.found {
			s.add("reference", o, "Secret %q does not exist%s", str(r, "name"), hint(str(r, "name"), s.secretNames(o.NS)))
		} else if k.keys != nil && !contains(k.keys, str(r, "key")) {
			s.add("reference", o, "Secret %q has no key %q%s", str(r, "name"), str(r, "key"), hint(str(r, "key"), k.keys))
		}
	}
}

func (s *Set) hpa(o *Object) {
	h, ok := o.Typed.(*autoscalingv2.HorizontalPodAutoscaler)
	w := s.target(o)
	if !ok || w == nil {
		return
	}
	if h.Spec.ScaleTargetRef.APIVersion != "apps/v1" {
		s.add("scaler", o, "scaleTargetRef.apiVersion %q; a Deployment is apps/v1", h.Spec.ScaleTargetRef.APIVersion)
	}
	if slots := s.slots(w); int(h.Spec.MaxReplicas) > slots {
		s.add("scaler", o, "maxReplicas %d exceeds the %d slots: the pods above idle", h.Spec.MaxReplicas, slots)
	}
	for _, m := range h.Spec.Metrics {
		if m.Resource == nil {
			continue
		}
		for _, c := range w.containers() {
			if _, ok := c.Resources.Requests[m.Resource.Name]; !ok {
				s.add("scaler", o, "container %s requests no %s to be measured against", c.Name, m.Resource.Name)
			}
		}
		if m.Resource.Name == corev1.ResourceMemory {
			s.add("scaler", o, "scales on memory: the session table's size follows the traffic's, not the load")
		}
	}
}
