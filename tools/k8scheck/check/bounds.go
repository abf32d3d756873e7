package check

import (
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// region is how AWS names regions.
var region = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]$`)

// bounded: what the configuration lets a service use fits into its pod, the
// files that it names exist, and regions are regions.
func (s *Set) bounded() {
	for _, w := range s.workloads {
		if w.service == "" || w.config == nil {
			continue
		}
		file := w.service + ".yaml"
		limit := s.memoryLimit(w)
		if n, ok := num(w.config, "kinesis", "memory_bytes"); ok && limit > 0 && n > limit/2 {
			s.add("config", w, "%s: kinesis.memory_bytes %.0f is over half of the pod's %.0f bytes", file, n, limit)
		}
		pods := 1.0
		if w.replicas != nil {
			pods = max(pods, float64(*w.replicas))
		}
		for _, o := range s.scalersOf(w) {
			if n, ok := num(o.Raw, "spec", "minReplicaCount"); ok {
				pods = max(pods, n)
			}
		}
		if n, ok := num(w.config, "sessions", "memory"); ok && limit > 0 && n > limit*pods {
			s.add("config", w, "%s: sessions.memory %.0f is more than its %.0f pods have together, %.0f bytes", file, n, pods, limit*pods)
		}
		s.namedFiles(w, file)
		s.sources(w, file)
	}
}

// memoryLimit of the workload's service, in bytes; 0 where there is none.
func (s *Set) memoryLimit(w *workload) float64 {
	for i := range w.template.Spec.Containers {
		if c := &w.template.Spec.Containers[i]; imageName(c.Image) == w.service {
			return c.Resources.Limits.Memory().AsApproximateFloat64()
		}
	}
	return 0
}

// namedFiles: rules and tuning are mounted.
func (s *Set) namedFiles(w *workload, file string) {
	paths := list(w.config, "rules")
	if t := str(w.config, "tuning"); t != "" {
		paths = append(paths, t)
	}
	for i := range w.template.Spec.Containers {
		c := &w.template.Spec.Containers[i]
		if imageName(c.Image) != w.service {
			continue
		}
		for _, p := range paths {
			text, _ := p.(string)
			if !s.mountPoint(c.VolumeMounts, text) {
				s.pathInPod(w, c.Name, file, "a file of rules or tuning", text)
			}
		}
	}
}

// sources: ingest has something to read, from regions that exist.
func (s *Set) sources(w *workload, file string) {
	streams := list(w.config, "kinesis", "streams")
	copies, _ := num(w.config, "pipeline", "replication")
	trial := copies == 1 // its owner names the source
	if w.service == "ingest" && !trial && len(streams)+len(list(w.config, "files")) == 0 {
		s.add("config", w, "%s: names neither kinesis.streams nor files: there is nothing to ingest", file)
	}
	for i, st := range streams {
		if r := str(st, "region"); r != "" && !region.MatchString(r) {
			s.add("config", w, "%s: kinesis.streams.%d.region %q is no region", file, i, r)
		}
	}
}

// sameRegion: a trigger asks for tokens of the region that the brokers lie in.
func (s *Set) sameRegion() {
	for _, o := range s.of("ScaledObject") {
		for i, t := range list(o.Raw, "spec", "triggers") {
			r, at := str(t, "metadata", "awsRegion"), str(t, "metadata", "bootstrapServers")
			if r != "" && strings.Contains(at, ".amazonaws.com") && !strings.Contains(at, "."+r+".") {
				s.add("trigger", o, "trigger %d: awsRegion %q is not where the brokers are, %s", i, r, at)
			}
		}
	}
}

// mountPoint reports that a path is a directory that is mounted as a whole.
func (s *Set) mountPoint(mounts []corev1.VolumeMount, path string) bool {
	for _, m := range mounts {
		if strings.TrimSuffix(m.MountPath, "/") == strings.TrimSuffix(path, "/") {
			return true
		}
	}
	return false
}
