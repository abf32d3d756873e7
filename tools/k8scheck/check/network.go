package check

import (
	"fmt"
	"net"
	"sort"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// need is a port that a workload talks to, and why.
type need struct {
	port  int
	proto corev1.Protocol
	why   string
}

func (n need) String() string { return fmt.Sprintf("%s %d (%s)", n.proto, n.port, n.why) }

// needs derives from a workload's configuration what it talks to.
func (s *Set) needs(w *workload) []need {
	out := []need{{53, corev1.ProtocolUDP, "DNS"}, {53, corev1.ProtocolTCP, "DNS"}}
	seen := map[int]bool{}
	for _, b := range list(w.config, "kafka", "brokers") {
		t, _ := b.(string)
		if _, port, err := net.SplitHostPort(t); err == nil {
			if n, err := strconv.Atoi(port); err == nil && !seen[n] {
				seen[n] = true
				out = append(out, need{n, corev1.ProtocolTCP, "Kafka"})
			}
		}
	}
	for _, n := range s.tracePorts(w) {
		if !seen[n] {
			seen[n] = true
			out = append(out, need{n, corev1.ProtocolTCP, "traces"})
		}
	}
	if w.service == "ingest" || strings.Contains(strings.ToUpper(str(w.config, "kafka", "sasl", "mechanism")), "IAM") {
		out = append(out, need{443, corev1.ProtocolTCP, "AWS APIs"})
	}
	return out
}

// podIdentity is the address of the EKS Pod Identity agent.
const podIdentity = "169.254.170.23/32"

// nodeLocalDNS is where NodeLocal DNSCache listens, a common add-on.
const nodeLocalDNS = "169.254.20.10/32"

// networkNeeds: default deny is on, and what each workload needs is allowed,
// no less and no more.
func (s *Set) networkNeeds() {
	for _, ns := range s.names("Namespace") {
		s.defaultDeny(ns)
	}
	for _, w := range s.workloads {
		if w.config == nil {
			continue
		}
		allowed, metrics := s.allowed(w)
		needs := s.needs(w)
		wanted := map[string]bool{}
		for _, n := range needs {
			k := fmt.Sprintf("%s %d", n.proto, n.port)
			wanted[k] = true
			if !allowed[k] {
				s.add("network", w, "no NetworkPolicy lets it out to %s", n)
			}
		}
		keys := make([]string, 0, len(allowed))
		for k := range allowed {
			keys = append(keys, k)
		}
		sort.Strings(keys)
		for _, k := range keys {
			if !wanted[k] && !s.sidecars(w) {
				s.add("network", w, "a NetworkPolicy lets it out to %s, which its configuration has no use for", k)
			}
		}
		if w.service != "" && !metrics {
			s.add("network", w, "no NetworkPolicy lets Prometheus reach its port \"metrics\"")
		}
	}
}

func (s *Set) defaultDeny(ns string) {
	in, eg := false, false
	for _, o := range s.of("NetworkPolicy") {
		np, ok := o.Typed.(*networkingv1.NetworkPolicy)
		if !ok || o.NS != ns || len(np.Spec.PodSelector.MatchLabels)+len(np.Spec.PodSelector.MatchExpressions) > 0 {
			continue
		}
		i, e := policyTypes(o, np)
		in = in || i && len(np.Spec.Ingress) == 0
		eg = eg || e && len(np.Spec.Egress) == 0
	}
	if !in || !eg {
		s.add("network", nil, "namespace %s has no NetworkPolicy that denies all ingress and egress of every pod (podSelector {}, both policyTypes, no rules)", ns)
	}
}

// allowed gathers the egress ports of every policy that selects w ("TCP 443"),
// and whether some policy opens its metrics port.
func (s *Set) allowed(w *workload) (egress map[string]bool, metrics bool) {
	egress = map[string]bool{}
	for _, o := range s.of("NetworkPolicy") {
		np, ok := o.Typed.(*networkingv1.NetworkPolicy)
		if !ok || !has(s.selected(o.NS, &np.Spec.PodSelector), w) {
			continue
		}
		in, eg := policyTypes(o, np)
		for _, r := range np.Spec.Egress {
			for _, p := range r.Ports {
				if eg && p.Port != nil && p.Port.Type == intstr.Int && !toPodIdentity(r) {
					egress[fmt.Sprintf("%s %d", protocol(p.Protocol), p.Port.IntVal)] = true
				}
			}
		}
		for _, r := range np.Spec.Ingress {
			for _, p := range r.Ports {
				metrics = metrics || in && p.Port != nil && (p.Port.StrVal == "metrics" || p.Port.IntVal != 0 && p.Port.IntVal == w.port("metrics"))
			}
		}
	}
	return egress, metrics
}

func has(ws []*workload, w *workload) bool {
	for _, x := range ws {
		if x == w {
			return true
		}
	}
	return false
}

func protocol(p *corev1.Protocol) corev1.Protocol {
	if p == nil {
		return corev1.ProtocolTCP
	}
	return *p
}

func toPodIdentity(r networkingv1.NetworkPolicyEgressRule) bool {
	for _, p := range r.To {
		if p.IPBlock == nil || p.IPBlock.CIDR != podIdentity {
			return false
		}
	}
	return len(r.To) > 0
}

// egressRule judges one rule by itself.
func (s *Set) egressRule(o *Object, r networkingv1.NetworkPolicyEgressRule) {
	if len(r.Ports) == 0 {
		s.add("network", o, "an egress rule without ports opens every port")
	}
	dns := false
	for _, p := range r.Ports {
		switch {
		case p.Port == nil:
			s.add("network", o, "an egress rule without a port number opens every port")
		case p.Port.Type == intstr.String:
			s.add("network", o, "egress port %q is a name: names mean the peer's container ports, which an address or Service outside has none of", p.Port.StrVal)
		case p.EndPort != nil:
			s.add("network", o, "egress opens a range of ports from %d", p.Port.IntVal)
		}
		dns = dns || p.Port != nil && p.Port.IntVal == 53
	}
	for _, p := range r.To {
		if p.IPBlock == nil {
			continue
		}
		if p.IPBlock.CIDR == "0.0.0.0/0" && !contains(p.IPBlock.Except, "169.254.0.0/16") && !contains(p.IPBlock.Except, "169.254.169.254/32") {
			s.add("network", o, "egress to 0.0.0.0/0 includes the instance metadata service; except 169.254.0.0/16")
		}
		if strings.HasPrefix(p.IPBlock.CIDR, "169.254.") && p.IPBlock.CIDR != podIdentity && !(dns && p.IPBlock.CIDR == nodeLocalDNS) {
			s.add("network", o, "egress to %s: only the Pod Identity agent (%s) is a link-local address that a pod needs", p.IPBlock.CIDR, podIdentity)
		}
	}
	if toPodIdentity(r) {
		for _, p := range r.Ports {
			if p.Port == nil || p.Port.IntVal != 80 {
				s.add("network", o, "the Pod Identity agent listens on port 80")
			}
		}
	}
	if dns {
		s.dnsPeers(o, r)
	}
}

func (s *Set) dnsPeers(o *Object, r networkingv1.NetworkPolicyEgressRule) {
	ok := false
	for _, p := range r.To {
		inSystem := p.NamespaceSelector != nil && p.NamespaceSelector.MatchLabels[corev1.LabelMetadataName] == "kube-system"
		alone := inSystem && len(p.NamespaceSelector.MatchLabels) == 1
		ok = ok || p.IPBlock != nil && clusterBlock(p.IPBlock.CIDR) || alone && (p.PodSelector == nil || p.PodSelector.MatchLabels["k8s-app"] == "kube-dns" && len(p.PodSelector.MatchLabels) == 1)
	}
	if !ok {
		s.add("network", o, "egress on port 53 does not reach the cluster's DNS (namespace kube-system, pods k8s-app: kube-dns, and no other label)")
	}
}
