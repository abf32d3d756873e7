package check

import (
	"fmt"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// kafkaVersion is how KEDA reads the version of the brokers.
var kafkaVersion = regexp.MustCompile(`^[0-9]+\.[0-9]+(\.[0-9]+){1,2}$`)

// scaling: a scaler can go up, comes down slowly, and sees all that its service
// consumes.
func (s *Set) scaling() {
	for _, o := range s.of("ScaledObject") {
		behavior := get(o.Raw, "spec", "advanced", "horizontalPodAutoscalerConfig", "behavior")
		if str(behavior, "scaleUp", "selectPolicy") == "Disabled" {
			s.add("scaler", o, "scaleUp.selectPolicy Disabled: it would never grow")
		}
		if _, ok := num(behavior, "scaleDown", "stabilizationWindowSeconds"); !ok {
			s.add("scaler", o, "behavior.scaleDown.stabilizationWindowSeconds is missing: after the default, 300 s, all surplus pods leave at once, and their slots move together")
		}
		w := s.targetOf(o)
		if n, ok := num(o.Raw, "spec", "fallback", "replicas"); ok && (n < 1 || w != nil && int(n) > s.slots(w)) {
			s.add("scaler", o, "fallback.replicas %v is not between 1 and the number of slots", n)
		}
		s.watches(o, w)
	}
	for _, o := range s.of("TriggerAuthentication") {
		p := str(o.Raw, "spec", "podIdentity", "provider")
		if p != "" && p != "aws" && s.asksIAM(o) {
			s.add("trigger", o, "podIdentity.provider %q; MSK IAM wants aws (aws-eks and aws-kiam are gone)", p)
		}
	}
}

func (s *Set) targetOf(o *Object) *workload {
	for _, w := range s.workloads {
		if w.obj.NS == o.NS && w.obj.Name == str(o.Raw, "spec", "scaleTargetRef", "name") {
			return w
		}
	}
	return nil
}

// watches: each input of the service has one trigger, as KEDA can read it.
func (s *Set) watches(o *Object, w *workload) {
	seen, kafka := map[string]bool{}, false
	for i, t := range list(o.Raw, "spec", "triggers") {
		if typ := str(t, "type"); typ != "kafka" && typ != "apache-kafka" {
			continue
		}
		kafka = true
		topic := str(t, "metadata", "topic")
		if seen[topic] {
			s.add("trigger", o, "trigger %d: topic %s is watched twice", i, topic)
		}
		seen[topic] = true
		if m := str(t, "metricType"); m != "" && m != "AverageValue" {
			s.add("trigger", o, "trigger %d: metricType %q; lag is an AverageValue", i, m)
		}
		if v := str(t, "metadata", "version"); v != "" && !kafkaVersion.MatchString(v) {
			s.add("trigger", o, "trigger %d: version %q is none of Kafka's, such as 3.6.0", i, v)
		}
		if v := str(t, "metadata", "lagThreshold"); len(v) > 0 && len(v) < 3 {
			s.add("trigger", o, "trigger %d: lagThreshold %s is what one commit holds many times over: it would always be at the ceiling", i, v)
		}
	}
	if w == nil || w.service == "" || !kafka {
		return
	}
	for _, in := range s.product.Services[w.service].Inputs {
		if topic := str(w.config, "pipeline", "prefix") + in.Topic; !seen[topic] {
			s.add("trigger", o, "no trigger watches %s, which %s also consumes: it could fall behind unseen", topic, w.service)
		}
	}
}

func (s *Set) asksIAM(auth *Object) bool {
	for _, o := range s.of("ScaledObject") {
		for _, t := range list(o.Raw, "spec", "triggers") {
			if o.NS == auth.NS && str(t, "authenticationRef", "name") == auth.Name && str(t, "metadata", "saslTokenProvider") == "aws_msk_iam" {
				return true
			}
		}
	}
	return false
}

// leastMemory is below what a service needs with its slots and clients alone.
const leastMemory = 128 << 20

// budgeted: quotas of the namespace have room, and so have the pods.
func (s *Set) budgeted() {
	total := corev1.ResourceList{}
	for _, w := range s.workloads {
		n := int64(1)
		if w.replicas != nil {
			n = int64(*w.replicas) + 1 // one more while it rolls out
		}
		for _, c := range w.containers() {
			sum(total, "requests.cpu", c.Resources.Requests, corev1.ResourceCPU, n)
			sum(total, "requests.memory", c.Resources.Requests, corev1.ResourceMemory, n)
			sum(total, "limits.memory", c.Resources.Limits, corev1.ResourceMemory, n)
			s.withinRanges(w, c)
		}
		if m := s.memoryLimit(w); w.service != "" && m > 32<<20 && m < leastMemory {
			s.add("resources", w, "limits.memory %.0f MiB: a service needs %d MiB before it has read a record", m/(1<<20), leastMemory>>20)
		}
		if n, ok := num(w.config, "sessions", "memory"); ok && w.replicas != nil && n > 0.75*s.memoryLimit(w)*float64(*w.replicas) {
			s.add("config", w, "sessions.memory %.0f is over three quarters of what its pods have together: a rollout or a lost pod would end in an out-of-memory kill", n)
		}
	}
	for _, o := range s.of("ResourceQuota") {
		hard := objMap(o, "spec", "hard")
		for _, k := range sortedKeys(hard) {
			q, err := resource.ParseQuantity(plain(hard[k]))
			if used, ok := total[corev1.ResourceName(strings.TrimPrefix(k, "default."))]; ok && err == nil && q.Cmp(used) < 0 {
				s.add("quota", o, "%s %s is less than what the set asks for while it rolls out, %s", k, plain(hard[k]), used.String())
			}
			if k == "limits.cpu" {
				s.add("quota", o, "limits.cpu makes a CPU limit a must for every container, and none of ours has one: no pod would be admitted")
			}
		}
	}
}

func sum(total corev1.ResourceList, name corev1.ResourceName, l corev1.ResourceList, r corev1.ResourceName, times int64) {
	q := l[r]
	q.Mul(times)
	t := total[name]
	t.Add(q)
	total[name] = t
}

// withinRanges: no LimitRange of the set refuses the container.
func (s *Set) withinRanges(w *workload, c *corev1.Container) {
	for _, o := range s.of("LimitRange") {
		for _, l := range list(o.Raw, "spec", "limits") {
			for _, r := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
				most, err := resource.ParseQuantity(fmt.Sprint(get(l, "max", string(r))))
				if got, ok := c.Resources.Limits[r]; err == nil && str(l, "type") == "Container" && o.NS == w.obj.NS && (!ok || got.Cmp(most) > 0) {
					s.add("quota", o, "max %s %s refuses container %s of %s", r, most.String(), c.Name, w)
				}
			}
		}
	}
}
