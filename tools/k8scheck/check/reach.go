package check

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/labels"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// clusterBlock reports that a block of addresses may hold the cluster's DNS.
func clusterBlock(cidr string) bool {
	p, err := netip.ParsePrefix(cidr)
	shared := netip.MustParsePrefix("100.64.0.0/10") // what EKS gives to pods of custom networking
	return err == nil && (p.Addr().IsPrivate() || p.Overlaps(shared) || cidr == nodeLocalDNS || p.Bits() == 0)
}

// otlpPort is where OpenTelemetry's exporter over HTTP sends by default.
const otlpPort = 4318

// tracePorts are the ports to which a workload sends its traces, none where it
// traces nothing or sends them to a sidecar.
func (s *Set) tracePorts(w *workload) []int {
	if share, _ := num(w.config, "telemetry", "traces"); share <= 0 {
		return nil
	}
	at := ""
	for _, c := range w.containers() {
		for _, e := range c.Env {
			if e.Name == "OTEL_EXPORTER_OTLP_ENDPOINT" && at == "" || e.Name == "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" {
				at = e.Value
			}
		}
	}
	u, err := url.Parse(at)
	if host := ""; err == nil {
		if host = u.Hostname(); host == "localhost" || host == "127.0.0.1" || host == "" {
			if !s.sidecars(w) {
				s.add("config", w, "telemetry.traces is on and OTEL_EXPORTER_OTLP_ENDPOINT is %q: the traces go to the pod itself", at)
			}
			return nil
		}
	}
	if err == nil {
		if n, err := strconv.Atoi(u.Port()); err == nil {
			return []int{n}
		}
	}
	return []int{otlpPort}
}

// reached: a rule for a port also names the peers that listen there.
func (s *Set) reached() {
	for _, w := range s.workloads {
		for _, b := range list(w.config, "kafka", "brokers") {
			text, _ := b.(string)
			host, port, err := net.SplitHostPort(text)
			name := strings.Split(host, ".")
			if err == nil && len(name) >= 3 && name[2] == "svc" && !s.mayReach(w, name[1], port) {
				s.add("network", w, "the NetworkPolicies open port %s, but to no peer in namespace %q, where %s is", port, name[1], host)
			}
		}
	}
	for _, o := range s.of("Kafka") {
		s.strimziEgress(o)
	}
}

// mayReach reports that a rule for a port has a peer that may lie in a
// namespace, or that there is no rule at all, which is said elsewhere.
func (s *Set) mayReach(w *workload, ns, port string) bool {
	opened := false
	for _, o := range s.of("NetworkPolicy") {
		np, ok := o.Typed.(*networkingv1.NetworkPolicy)
		if !ok || !has(s.selected(o.NS, &np.Spec.PodSelector), w) {
			continue
		}
		for _, r := range np.Spec.Egress {
			if !hasPolicyPort(r.Ports, port) {
				continue
			}
			opened = true
			for _, p := range r.To {
				if mayLieIn(p, ns, o.NS) {
					return true
				}
			}
		}
	}
	return !opened
}

func hasPolicyPort(ports []networkingv1.NetworkPolicyPort, port string) bool {
	for _, p := range ports {
		if p.Port != nil && p.Port.String() == port {
			return true
		}
	}
	return false
}

// mayLieIn reports that a peer may be in namespace ns; own is the policy's.
func mayLieIn(p networkingv1.NetworkPolicyPeer, ns, own string) bool {
	if p.IPBlock != nil {
		return true
	}
	if p.NamespaceSelector == nil {
		return ns == own
	}
	m, err := metav1.LabelSelectorAsSelector(p.NamespaceSelector)
	return err == nil && m.Matches(labels.Set{"kubernetes.io/metadata.name": ns})
}

// strimziEgress: where everything is denied, the brokers and their operators
// need a way to each other, to names and to the API server.
func (s *Set) strimziEgress(k *Object) {
	open := map[string]bool{}
	denied := false
	for _, o := range s.of("NetworkPolicy") {
		np, ok := o.Typed.(*networkingv1.NetworkPolicy)
		if !ok || o.NS != k.NS {
			continue
		}
		_, egress := policyTypes(o, np)
		if all := len(np.Spec.PodSelector.MatchLabels)+len(np.Spec.PodSelector.MatchExpressions) == 0; all && egress {
			denied = true
		}
		m, err := metav1.LabelSelectorAsSelector(&np.Spec.PodSelector)
		if err != nil || !egress || !m.Matches(labels.Set{"strimzi.io/cluster": k.Name}) {
			continue
		}
		for _, r := range np.Spec.Egress {
			for _, p := range r.Ports {
				if p.Port != nil {
					open[fmt.Sprintf("%s %s", protocol(p.Protocol), p.Port.String())] = true
				}
			}
		}
	}
	for _, need := range []struct{ port, why string }{{"TCP 9090", "controllers"}, {"TCP 9091", "replication"}, {"UDP 53", "DNS"}, {"TCP 53", "DNS"}, {"TCP 443", "the API server"}} {
		if denied && !open[need.port] {
			s.add("network", k, "no NetworkPolicy lets its pods out to %s (%s)", need.port, need.why)
		}
	}
}
