package check

import (
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// foreignEnv are variables of the Go runtime and of the AWS SDK that a pod may
// set; any other name that looks like one of ours or theirs is a misspelling.
func foreignEnv() []string {
	return []string{
		"GOMEMLIMIT", "GOMAXPROCS", "GOGC", "GODEBUG", "GOTRACEBACK", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR",
		"HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "NO_COLOR",
		"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_SESSION_NAME",
		"AWS_STS_REGIONAL_ENDPOINTS", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
		"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_KINESIS", "AWS_ENDPOINT_URL_STS", "AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT",
		"AWS_CA_BUNDLE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_PROFILE", "AWS_MAX_ATTEMPTS", "AWS_RETRY_MODE",
		"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_CERTIFICATE", "OTEL_RESOURCE_ATTRIBUTES",
	}
}

// environment: only variables that something reads, each once, none with a
// secret in plain text, and the two that the runtime relies on.
func (s *Set) environment() {
	for _, w := range s.workloads {
		for _, c := range w.containers() {
			seen := map[string]bool{}
			for i := range c.Env {
				e := &c.Env[i]
				if seen[e.Name] {
					s.add("env", w, "container %s: %s is set twice; the last one wins", c.Name, e.Name)
				}
				seen[e.Name] = true
				s.envVar(w, c, e)
			}
			if w.service != "" && imageName(c.Image) == w.service {
				for _, need := range []string{"FLOWSTITCH_MEMORY_LIMIT", "FLOWSTITCH_RACK"} {
					if !seen[need] {
						s.add("env", w, "container %s: %s is not set", c.Name, need)
					}
				}
			}
		}
	}
}

func (s *Set) envVar(w *workload, c *corev1.Container, e *corev1.EnvVar) {
	known := append(append([]string{}, s.product.Env...), foreignEnv()...)
	if s.ours(c) && !contains(known, e.Name) {
		s.add("env", w, "container %s: nothing reads %s%s", c.Name, e.Name, hint(e.Name, known))
	}
	up := strings.ToUpper(e.Name)
	for _, word := range []string{"PASSWORD", "SECRET", "TOKEN", "ACCESS_KEY"} {
		if strings.Contains(up, word) && e.Value != "" && !strings.HasSuffix(up, "_FILE") {
			s.add("secret", w, "container %s: %s holds a secret in plain text; mount it from a Secret", c.Name, e.Name)
		}
	}
	if e.Value != strings.TrimSpace(e.Value) {
		s.add("env", w, "container %s: %s has blanks around its value", c.Name, e.Name)
	}
	if strings.Contains(e.Value, "$(") && !strings.Contains(e.Value, "$$(") {
		s.expanded(w, c, e)
	}
	switch e.Name {
	case "AWS_REGION", "AWS_DEFAULT_REGION":
		if e.Value != "" && !region.MatchString(e.Value) {
			s.add("env", w, "container %s: %s=%q is no region", c.Name, e.Name, e.Value)
		}
	case "GOGC":
		if n, err := strconv.Atoi(e.Value); e.ValueFrom == nil && e.Value != "off" && (err != nil || n < 10) {
			s.add("env", w, "container %s: GOGC=%q is no percentage that the runtime reads (or off)", c.Name, e.Value)
		}
	case "FLOWSTITCH_MEMORY_LIMIT":
		s.memoryEnv(w, c, e)
	case "FLOWSTITCH_RACK":
		if e.ValueFrom == nil || e.ValueFrom.FieldRef == nil || e.ValueFrom.FieldRef.FieldPath != "metadata.labels['topology.kubernetes.io/zone']" {
			s.add("env", w, "container %s: FLOWSTITCH_RACK must come from metadata.labels['topology.kubernetes.io/zone']", c.Name)
		}
	case "GOMAXPROCS":
		if n, err := strconv.Atoi(e.Value); e.ValueFrom == nil && (err != nil || n < 1) {
			s.add("env", w, "container %s: GOMAXPROCS=%q is no number of threads", c.Name, e.Value)
		}
	case "GOMEMLIMIT":
		s.add("env", w, "container %s: GOMEMLIMIT overrides the share that FLOWSTITCH_MEMORY_LIMIT computes; leave it out", c.Name)
	}
}

func (s *Set) memoryEnv(w *workload, c *corev1.Container, e *corev1.EnvVar) {
	if e.ValueFrom == nil || e.ValueFrom.ResourceFieldRef == nil || e.ValueFrom.ResourceFieldRef.Resource != "limits.memory" {
		s.add("env", w, "container %s: FLOWSTITCH_MEMORY_LIMIT must come from resourceFieldRef limits.memory", c.Name)
		return
	}
	r := e.ValueFrom.ResourceFieldRef
	if !r.Divisor.IsZero() && r.Divisor.Value() != 1 {
		s.add("env", w, "container %s: FLOWSTITCH_MEMORY_LIMIT is read in bytes; divisor %s makes it something else", c.Name, r.Divisor.String())
	}
	if r.ContainerName != "" && r.ContainerName != c.Name {
		s.add("env", w, "container %s: FLOWSTITCH_MEMORY_LIMIT reads the limit of container %q", c.Name, r.ContainerName)
	}
}

// expanded: $(NAME) is replaced by a variable that stands before it, and left
// as it is written otherwise.
func (s *Set) expanded(w *workload, c *corev1.Container, e *corev1.EnvVar) {
	for i := range c.Env {
		if c.Env[i].Name == e.Name {
			s.add("env", w, "container %s: %s=%q: no variable before it has that name, so it stays as written", c.Name, e.Name, e.Value)
			return
		}
		if strings.Contains(e.Value, "$("+c.Env[i].Name+")") {
			return
		}
	}
}
