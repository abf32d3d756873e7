package check

import (
	"fmt"
	"maps"
	"net"
	"path"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// configs: each service finds its file, the file agrees with the pod, and the
// services agree with each other.
func (s *Set) configs() {
	for _, w := range s.workloads {
		for _, c := range w.containers() {
			file := flagValue(c.Args, "config")
			if file == "" || !s.ours(c) {
				continue
			}
			text, ok := s.fileInPod(w, c.Name, file)
			if !ok {
				s.add("config", w, "container %s: no ConfigMap is mounted so that %s exists", c.Name, file)
				continue
			}
			cfg := map[string]any{}
			if err := yaml.UnmarshalStrict([]byte(text), &cfg); err != nil {
				s.add("config", w, "%s: %v", path.Base(file), err)
				continue
			}
			w.config = cfg
			s.configFile(w, c.Name, path.Base(file), cfg)
			if s.product.CheckConfig != nil && w.service != "" {
				if err := s.product.CheckConfig(w.service, []byte(text)); err != nil {
					s.add("config", w, "the service refuses %s: %v", path.Base(file), err)
				}
			}
		}
	}
	s.agree()
	s.alsoAlerts()
}

// alsoAlerts: the topic of alerts in a second format is made, and may be
// written to, like any other.
func (s *Set) alsoAlerts() {
	format := ""
	for _, w := range s.workloads {
		if w.service == "detect" {
			format = str(w.config, "alerts", "also")
		}
	}
	for _, w := range s.workloads {
		if w.batch && w.config != nil && str(w.config, "alerts", "also") != format {
			s.add("config", w, "alerts.also is %q and detect's is %q: the topic of the second format would be missing or idle", str(w.config, "alerts", "also"), format)
		}
	}
	if format == "" {
		return
	}
	p := *s.product
	p.Topics, p.ACLs = slices.Clone(p.Topics), maps.Clone(p.ACLs)
	for _, t := range s.product.Topics {
		if t.Name == alertsTopic {
			t.Name = strings.Replace(alertsTopic, ".alerts.", ".alerts-"+format+".", 1)
			p.Topics = append(p.Topics, t)
			p.ACLs["detect"] = append(slices.Clone(p.ACLs["detect"]), ACL{"topic", t.Name, "literal", []string{"Describe", "DescribeConfigs", "Write"}})
		}
	}
	s.product = &p
}

// alertsTopic is where detect writes, without prefix.
const alertsTopic = "flowstitch.alerts.v1"

// fileInPod returns the text of a file that a ConfigMap volume puts into a
// container.
func (s *Set) fileInPod(w *workload, container, file string) (string, bool) {
	for _, c := range w.containers() {
		if c.Name != container {
			continue
		}
		for _, m := range c.VolumeMounts {
			for i := range w.template.Spec.Volumes {
				v := &w.template.Spec.Volumes[i]
				if v.Name != m.Name || v.ConfigMap == nil {
					continue
				}
				o := s.find("ConfigMap", w.obj.NS, v.ConfigMap.Name)
				if o == nil {
					continue
				}
				rel, ok := strings.CutPrefix(file, strings.TrimSuffix(m.MountPath, "/")+"/")
				if m.SubPath != "" {
					rel, ok = m.SubPath, file == m.MountPath
				}
				if !ok {
					continue
				}
				if rel = itemKey(v.ConfigMap.Items, rel); rel == "" {
					continue
				}
				if text, ok := get(o.Raw, "data", rel).(string); ok {
					return text, true
				}
			}
		}
	}
	return "", false
}

// itemKey is the key that lies at a path of a ConfigMap volume, or "".
func itemKey(items []corev1.KeyToPath, path string) string {
	for _, it := range items {
		if it.Path == path {
			return it.Key
		}
	}
	if len(items) > 0 {
		return "" // only what is listed is there
	}
	return path
}

func (s *Set) configFile(w *workload, container, file string, cfg map[string]any) {
	if want := s.product.Services[w.service].Port; w.service != "" {
		listen := str(cfg, "telemetry", "listen")
		host, port, err := net.SplitHostPort(listen)
		if err != nil || port != strconv.Itoa(int(want)) {
			s.add("config", w, "%s: telemetry.listen is %q; the pod declares port %d", file, listen, want)
		}
		if host != "" && host != "0.0.0.0" && host != "::" {
			s.add("config", w, "%s: telemetry.listen %q is not reachable from outside the pod: probes and Prometheus would fail", file, listen)
		}
	}
	s.brokers(w, file, cfg)
	s.configKeys(w, file, cfg)
	s.identity(w, file, cfg)
	slots, ok1 := num(cfg, "pipeline", "slots")
	parts, ok2 := num(cfg, "pipeline", "partitions")
	if ok1 && ok2 && (slots < 1 || int(parts)%int(slots) != 0) {
		s.add("config", w, "%s: pipeline.slots %v does not divide the %v partitions", file, slots, parts)
	}
	walk("", cfg, func(key string, v any) {
		leaf := key[strings.LastIndex(key, ".")+1:]
		text, _ := v.(string)
		if secretKey(leaf) && text != "" {
			s.add("secret", w, "%s: %s holds a secret in plain text in a ConfigMap; use %s_file", file, key, leaf)
		}
		if strings.HasPrefix(text, "/") && !strings.HasPrefix(text, "//") && (strings.HasSuffix(leaf, "file") || leaf == "ca" || leaf == "cert" || leaf == "key") {
			s.pathInPod(w, container, file, key, text)
		}
	})
}

// configKeys: only keys that the service reads.
func (s *Set) configKeys(w *workload, file string, cfg map[string]any) {
	keys := s.product.JobKeys
	if w.service != "" {
		keys = s.product.Services[w.service].Keys
	}
	walk("", cfg, func(key string, _ any) {
		if !knownKey(key, keys) {
			s.add("config", w, "%s: nothing reads %s%s", file, key, hint(key, keys))
		}
	})
}

// knownKey matches a dotted key, list positions apart, against keys of which
// some end in .* .
func knownKey(key string, keys []string) bool {
	var parts []string
	for _, p := range strings.Split(key, ".") {
		if _, err := strconv.Atoi(p); err != nil {
			parts = append(parts, p)
		}
	}
	key = strings.Join(parts, ".")
	for _, k := range keys {
		any, ok := strings.CutSuffix(k, ".*")
		if k == key || strings.HasPrefix(k, key+".") || ok && strings.HasPrefix(key, any+".") {
			return true
		}
	}
	return false
}

// identity: who calls AWS has a role, through IRSA or Pod Identity.
func (s *Set) identity(w *workload, file string, cfg map[string]any) {
	iam := strings.Contains(strings.ToUpper(str(cfg, "kafka", "sasl", "mechanism")), "IAM")
	if !iam && get(cfg, "kinesis") == nil {
		return
	}
	for _, o := range s.of("NetworkPolicy") {
		if strings.Contains(string(o.YAML), podIdentity) {
			return
		}
	}
	sa := s.find("ServiceAccount", w.obj.NS, w.template.Spec.ServiceAccountName)
	if sa != nil && str(sa.Raw, "metadata", "annotations", "eks.amazonaws.com/role-arn") == "" {
		s.add("irsa", w, "%s wants an AWS identity, but %s names no role (eks.amazonaws.com/role-arn) and no policy opens the Pod Identity agent", file, sa)
	}
}

func secretKey(leaf string) bool {
	switch leaf {
	case "password", "secret", "token", "secret_key", "secret_access_key", "access_key", "client_secret":
		return true
	}
	return false
}

// walk calls f for each leaf with its dotted key.
func walk(at string, v any, f func(key string, v any)) {
	switch t := v.(type) {
	case map[string]any:
		for _, k := range sortedKeys(t) {
			walk(strings.TrimPrefix(at+"."+k, "."), t[k], f)
		}
	case []any:
		for i, e := range t {
			walk(fmt.Sprintf("%s.%d", at, i), e, f)
		}
	default:
		f(at, v)
	}
}

// pathInPod: a file that the configuration names is mounted.
func (s *Set) pathInPod(w *workload, container, file, key, p string) {
	for _, c := range w.containers() {
		if c.Name != container {
			continue
		}
		for _, m := range c.VolumeMounts {
			rel, ok := strings.CutPrefix(p, strings.TrimSuffix(m.MountPath, "/")+"/")
			if !ok {
				continue
			}
			keys, known := s.volumeKeys(w, m.Name)
			if known && !contains(keys, rel) {
				s.add("config", w, "%s: %s is %q, but volume %s holds no file %q%s", file, key, p, m.Name, rel, hint(rel, keys))
			}
			return
		}
	}
	s.add("config", w, "%s: %s is %q, under which no volume is mounted", file, key, p)
}

// volumeKeys lists the files of a volume, where they can be known.
func (s *Set) volumeKeys(w *workload, name string) ([]string, bool) {
	for i := range w.template.Spec.Volumes {
		v := &w.template.Spec.Volumes[i]
		if v.Name != name {
			continue
		}
		var k keyed
		switch {
		case v.ConfigMap != nil && len(v.ConfigMap.Items) == 0:
			k = s.configMap(w.obj.NS, v.ConfigMap.Name)
		case v.Secret != nil && len(v.Secret.Items) == 0:
			k = s.secret(w.obj.NS, v.Secret.SecretName)
		case v.Secret != nil:
			for _, it := range v.Secret.Items {
				k.keys = append(k.keys, it.Path)
			}
		}
		return k.keys, k.keys != nil
	}
	return nil, false
}

func (s *Set) brokers(w *workload, file string, cfg map[string]any) {
	brokers := list(cfg, "kafka", "brokers")
	if len(brokers) == 0 {
		s.add("config", w, "%s: kafka.brokers is empty", file)
	}
	for _, b := range brokers {
		t, _ := b.(string)
		host, port, err := net.SplitHostPort(t)
		n, perr := strconv.Atoi(port)
		if err != nil || perr != nil || n < 1 || n > 65535 || host == "" {
			s.add("config", w, "%s: kafka.brokers: %q is not host:port", file, t)
			continue
		}
		if host == "localhost" || strings.HasPrefix(host, "127.") {
			s.add("config", w, "%s: kafka.brokers: %q is the pod itself", file, t)
		}
		tls := tlsOn(cfg)
		if strings.HasSuffix(host, ".amazonaws.com") && (port == "9094" || port == "9096" || port == "9098") && !tls {
			s.add("config", w, "%s: port %s of an MSK broker speaks TLS; kafka.tls.enabled is not true", file, port)
		}
		if strings.HasSuffix(host, ".amazonaws.com") && port == "9098" && !strings.Contains(strings.ToUpper(str(cfg, "kafka", "sasl", "mechanism")), "IAM") {
			s.add("config", w, "%s: port 9098 of an MSK broker wants IAM; kafka.sasl.mechanism is %q", file, str(cfg, "kafka", "sasl", "mechanism"))
		}
		if strings.HasSuffix(host, ".svc") || strings.Contains(host, ".svc.") {
			s.clusterHost(w, file, host, n)
		}
	}
}

// tlsOn reports that a configuration encrypts its connections.
func tlsOn(cfg map[string]any) bool {
	on, _ := get(cfg, "kafka", "tls", "enabled").(bool)
	return on
}

// clusterHost: a broker address that points at a Strimzi cluster of the set
// names an existing listener.
func (s *Set) clusterHost(w *workload, file, host string, port int) {
	parts := strings.Split(host, ".")
	name, ns := parts[0], ""
	if len(parts) > 1 {
		ns = parts[1]
	}
	for _, k := range s.of("Kafka") {
		if name != k.Name+"-kafka-bootstrap" {
			if ns == k.NS {
				s.add("config", w, "%s: kafka.brokers: %q is not the bootstrap service of %s (%s-kafka-bootstrap)", file, host, k, k.Name)
			}
			continue
		}
		if ns != k.NS {
			s.add("config", w, "%s: kafka.brokers: %q names namespace %q, the cluster lies in %q", file, host, ns, k.NS)
		}
		found := false
		for _, l := range list(k.Raw, "spec", "kafka", "listeners") {
			if p, _ := num(l, "port"); int(p) == port {
				found = true
				if tls, _ := get(l, "tls").(bool); tls != tlsOn(w.config) {
					s.add("config", w, "%s: listener %s has tls: %v, kafka.tls.enabled disagrees", file, str(l, "name"), tls)
				}
			}
		}
		if !found {
			s.add("config", w, "%s: kafka.brokers: %s has no listener on port %d", file, k, port)
		}
	}
}

// agree: one pipeline is one prefix, deployment, layout and number of slots.
func (s *Set) agree() {
	for _, key := range []string{"pipeline.prefix", "pipeline.deployment", "pipeline.layout", "pipeline.slots", "pipeline.partitions", "pipeline.replication", "kafka.brokers", "kafka.tls.enabled", "kafka.sasl.mechanism"} {
		by := map[string][]string{}
		for _, w := range s.workloads {
			if w.config != nil {
				v := fmt.Sprint(get(w.config, strings.Split(key, ".")...))
				by[v] = append(by[v], w.String())
			}
		}
		if len(by) > 1 {
			s.add("config", nil, "%s differs between workloads of one pipeline: %v", key, by)
		}
	}
}
