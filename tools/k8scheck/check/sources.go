package check

import (
	"net"
	"regexp"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// streamName is what Kinesis takes as a name.
var streamName = regexp.MustCompile(`^[a-zA-Z0-9_.-]{1,128}$`)

// sourcesReal: what ingest is told to read can be read from a pod.
func (s *Set) sourcesReal() {
	for _, w := range s.workloads {
		if w.config == nil {
			continue
		}
		file := w.service + ".yaml"
		for i, st := range list(w.config, "kinesis", "streams") {
			if r := str(st, "role_arn"); r != "" && !arn.MatchString(r) {
				s.add("config", w, "%s: kinesis.streams.%d.role_arn %q is no role ARN (arn:aws:iam::111122223333:role/name)", file, i, r)
			}
			if n := str(st, "stream"); !streamName.MatchString(n) && !strings.HasPrefix(n, "arn:aws") || strings.HasPrefix(n, "arn:aws") && !strings.Contains(n, ":stream/") {
				s.add("config", w, "%s: kinesis.streams.%d.stream %q is no name of a stream", file, i, n)
			}
			s.endpointReal(w, file, i, st)
		}
		for _, f := range list(w.config, "files") {
			text, _ := f.(string)
			if c := s.mainContainer(w); c != nil && !under(c.VolumeMounts, text) {
				s.add("config", w, "%s: files: %q lies under no volume of the pod", file, text)
			}
		}
		if r := str(w.config, "kafka", "rack"); r != "" {
			s.add("config", w, "%s: kafka.rack %q is the same for the pods of every zone; leave it to FLOWSTITCH_RACK", file, r)
		}
		s.cluster1(w, file)
	}
}

func (s *Set) endpointReal(w *workload, file string, i int, st any) {
	e := str(st, "endpoint")
	switch {
	case e == "":
	case strings.Contains(e, "//localhost") || strings.Contains(e, "//127."):
		s.add("config", w, "%s: kinesis.streams.%d.endpoint %q is the pod itself", file, i, e)
	case strings.HasPrefix(e, "http://") && strings.Contains(e, ".amazonaws.com"):
		s.add("config", w, "%s: kinesis.streams.%d.endpoint %q is in the clear; write https", file, i, e)
	}
}

// under reports that a file's directory is mounted.
func under(mounts []corev1.VolumeMount, file string) bool {
	for _, m := range mounts {
		if strings.HasPrefix(file, strings.TrimSuffix(m.MountPath, "/")+"/") {
			return true
		}
	}
	return false
}

// mskName tells the cluster in the address of an MSK broker, without the
// broker's number.
var mskName = regexp.MustCompile(`^b-[0-9]+(-public)?\.`)

// cluster1: the brokers are of one cluster, keep copies, and run as the
// configuration says.
func (s *Set) cluster1(w *workload, file string) {
	names, ports, msk := map[string]bool{}, map[string]bool{}, false
	for _, b := range list(w.config, "kafka", "brokers") {
		text, _ := b.(string)
		host, port, err := net.SplitHostPort(text)
		if err != nil {
			continue
		}
		ports[port] = true
		if mskName.MatchString(host) {
			msk = true
			names[mskName.ReplaceAllString(host, "")] = true
		}
	}
	if len(names) > 1 {
		s.add("config", w, "%s: kafka.brokers are of different clusters: %v", file, sortedKeys(names))
	}
	if len(ports) > 1 {
		s.add("config", w, "%s: kafka.brokers have different ports %v: each has one way to authenticate", file, sortedKeys(ports))
	}
	if n, ok := num(w.config, "pipeline", "replication"); ok && n == 1 && (msk || len(list(w.config, "kafka", "brokers")) > 1) {
		s.add("config", w, "%s: pipeline.replication 1 on a cluster: the loss of one broker would be the loss of data and of state", file)
	}
	for _, o := range s.of("Kafka") {
		s.strimziClient(w, file, o)
	}
}

// strimziClient: the files with which a pod speaks to a Strimzi cluster are of
// that cluster and of its own user.
func (s *Set) strimziClient(w *workload, file string, k *Object) {
	tls := get(w.config, "kafka", "tls")
	if !tlsOn(w.config) {
		return
	}
	want := k.Name + "-cluster-ca-cert"
	if got := s.secretAt(w, str(tls, "ca_file")); got != want {
		s.add("config", w, "%s: kafka.tls.ca_file %q is not from Secret %q: %s signs its brokers with an authority of its own", file, str(tls, "ca_file"), want, k)
	}
	mutual := false
	for _, l := range list(k.Raw, "spec", "kafka", "listeners") {
		mutual = mutual || str(l, "authentication", "type") == "tls"
	}
	if !mutual || str(w.config, "kafka", "sasl", "mechanism") != "" {
		return
	}
	cert, key := str(tls, "cert_file"), str(tls, "key_file")
	if !strings.HasSuffix(cert, ".crt") || !strings.HasSuffix(key, ".key") {
		s.add("config", w, "%s: kafka.tls.cert_file %q and key_file %q: the listener wants a client certificate (user.crt) with its key (user.key)", file, cert, key)
		return
	}
	if u := s.secretAt(w, cert); u != "" && w.service != "" && u != w.service && !strings.HasSuffix(u, "-"+w.service) {
		s.add("config", w, "%s: kafka.tls.cert_file is of user %q: %s would have the rights of another", file, u, w.service)
	}
}

// secretAt names the Secret of which a path in the workload's pods is a file,
// or "".
func (s *Set) secretAt(w *workload, file string) string {
	c := s.mainContainer(w)
	if c == nil || file == "" {
		return ""
	}
	for _, m := range c.VolumeMounts {
		if !strings.HasPrefix(file, strings.TrimSuffix(m.MountPath, "/")+"/") {
			continue
		}
		for i := range w.template.Spec.Volumes {
			if v := &w.template.Spec.Volumes[i]; v.Name == m.Name && v.Secret != nil {
				return v.Secret.SecretName
			}
		}
	}
	return ""
}

// Kafka's defaults for what a consumer group may ask, which MSK shares
// (group.min.session.timeout.ms, group.max.session.timeout.ms).
const (
	minSession = 6 * time.Second
	maxSession = 30 * time.Minute
)

// timing: what the configuration asks of time can be had.
func (s *Set) timing() {
	lo, hi := minSession, maxSession
	for _, o := range s.of("Kafka") {
		if n, ok := num(o.Raw, "spec", "kafka", "config", "group.min.session.timeout.ms"); ok {
			lo = time.Duration(n) * time.Millisecond
		}
		if n, ok := num(o.Raw, "spec", "kafka", "config", "group.max.session.timeout.ms"); ok {
			hi = time.Duration(n) * time.Millisecond
		}
	}
	for _, w := range s.workloads {
		if w.config == nil || w.service == "" {
			continue
		}
		d := duration(w, 10*time.Second, "pipeline", "session_timeout") // the program's default
		if d < lo || d > hi {
			s.add("config", w, "pipeline.session_timeout %v: the brokers take %v to %v, and refuse to let a member join otherwise", d, lo, hi)
		}
		if p := duration(w, time.Hour, "pipeline", "snapshot_period"); p < time.Minute {
			s.add("config", w, "pipeline.snapshot_period %v: below a minute it writes the whole table over and over", p)
		}
	}
}

func duration(w *workload, otherwise time.Duration, at ...string) time.Duration {
	d, err := time.ParseDuration(str(w.config, at...))
	if err != nil {
		return otherwise
	}
	return d
}
