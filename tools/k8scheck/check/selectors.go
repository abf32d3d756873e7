package check

import (
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// selectors: a workload owns its pods alone.
func (s *Set) selectors() {
	for _, w := range s.workloads {
		if w.selector == nil {
			continue
		}
		m, err := metav1.LabelSelectorAsSelector(w.selector)
		if err != nil {
			continue
		}
		for _, other := range s.workloads {
			if other != w && other.obj.NS == w.obj.NS && m.Matches(labels.Set(other.template.Labels)) {
				s.add("selector", w, "its selector also matches the pods of %s: the two would fight over them", other)
			}
		}
		if _, ok := w.selector.MatchLabels["app.kubernetes.io/version"]; ok {
			s.add("selector", w, "selects by version, but a selector is immutable: the next upgrade could not be applied")
		}
	}
}

// budgets: each service has exactly one disruption budget, which lets a drain
// go on, one pod at a time.
func (s *Set) budgets() {
	covered := map[*workload]int{}
	for _, o := range s.of("PodDisruptionBudget") {
		b, ok := o.Typed.(*policyv1.PodDisruptionBudget)
		if !ok {
			continue
		}
		sel := s.selected(o.NS, b.Spec.Selector)
		if len(sel) != 1 {
			s.add("budget", o, "selects %d workloads %v; it must select exactly one", len(sel), sel)
		}
		for _, w := range sel {
			covered[w]++
			s.budget(o, b, w)
		}
	}
	for _, w := range s.workloads {
		if w.service == "" {
			continue
		}
		if covered[w] == 0 {
			s.add("budget", w, "has no PodDisruptionBudget: a drain may take every pod at once")
		}
		if covered[w] > 1 {
			s.add("budget", w, "has %d PodDisruptionBudgets: the eviction API refuses pods with more than one", covered[w])
		}
	}
}

func (s *Set) budget(o *Object, b *policyv1.PodDisruptionBudget, w *workload) {
	if w.batch {
		s.add("budget", o, "covers %s, which runs to its end", w)
	}
	if un := b.Spec.MaxUnavailable; un == nil || un.Type != intstr.Int || un.IntVal != 1 {
		if un != nil && (un.StrVal == "0%" || un.Type == intstr.Int && un.IntVal == 0) || b.Spec.MinAvailable != nil && w.replicas != nil && b.Spec.MinAvailable.IntValue() >= int(*w.replicas) {
			s.add("budget", o, "forbids every eviction of %s: a node could never be drained", w)
		} else {
			s.add("budget", o, "must say maxUnavailable: 1 for %s, so that it holds at any number of replicas", w)
		}
	}
	if b.Spec.UnhealthyPodEvictionPolicy == nil || *b.Spec.UnhealthyPodEvictionPolicy != policyv1.AlwaysAllow {
		s.add("budget", o, "unhealthyPodEvictionPolicy must be AlwaysAllow: a pod that is catching up would block a drain")
	}
}

// services: a Service selects one workload, reaches a declared port, and opens
// nothing to the outside.
func (s *Set) services() {
	for _, o := range s.of("Ingress") {
		s.add("exposure", o, "nothing of ours is served to the outside; the telemetry port has pprof on it")
	}
	for _, o := range s.of("Service") {
		svc, ok := o.Typed.(*corev1.Service)
		if !ok {
			continue
		}
		if svc.Spec.Type != corev1.ServiceTypeClusterIP {
			s.add("exposure", o, "type %s opens the telemetry port, pprof included, beyond the cluster", svc.Spec.Type)
		}
		if len(svc.Spec.Selector) == 0 {
			s.add("selector", o, "has no selector, so it has no endpoints")
			continue
		}
		sel := s.selected(o.NS, &metav1.LabelSelector{MatchLabels: svc.Spec.Selector})
		if len(sel) != 1 {
			s.add("selector", o, "selects %d workloads %v; it must select exactly one", len(sel), sel)
		}
		for _, w := range sel {
			for _, p := range svc.Spec.Ports {
				if !s.targetExists(w, p.TargetPort) {
					s.add("port", o, "targetPort %s is declared by no container of %s", p.TargetPort.String(), w)
				}
			}
		}
	}
}

func (s *Set) targetExists(w *workload, p intstr.IntOrString) bool {
	if p.Type == intstr.String {
		return w.port(p.StrVal) != 0
	}
	return w.hasPort(p.IntVal)
}

// networkPolicies: each selects something, its ports exist, and it does what
// its rules look like.
func (s *Set) networkPolicies() {
	for _, o := range s.of("NetworkPolicy") {
		np, ok := o.Typed.(*networkingv1.NetworkPolicy)
		if !ok {
			continue
		}
		sel := s.selected(o.NS, &np.Spec.PodSelector)
		if len(sel) == 0 && !s.strimziPods(o.NS, &np.Spec.PodSelector) {
			s.add("network", o, "selects no pod of the set")
		}
		in, eg := policyTypes(o, np)
		if len(np.Spec.Egress) > 0 && !eg {
			s.add("network", o, "has egress rules but policyTypes lacks Egress: they are ignored")
		}
		if len(np.Spec.Ingress) > 0 && !in {
			s.add("network", o, "has ingress rules but policyTypes lacks Ingress: they are ignored")
		}
		for _, r := range np.Spec.Ingress {
			s.peers(o, "ingress from", r.From)
			s.ingressPorts(o, r.Ports, sel)
		}
		for _, r := range np.Spec.Egress {
			s.peers(o, "egress to", r.To)
			s.egressRule(o, r)
		}
	}
}

func policyTypes(o *Object, np *networkingv1.NetworkPolicy) (in, eg bool) {
	if len(list(o.Raw, "spec", "policyTypes")) == 0 {
		return true, len(np.Spec.Egress) > 0
	}
	for _, t := range np.Spec.PolicyTypes {
		in = in || t == networkingv1.PolicyTypeIngress
		eg = eg || t == networkingv1.PolicyTypeEgress
	}
	return in, eg
}

func (s *Set) peers(o *Object, what string, peers []networkingv1.NetworkPolicyPeer) {
	if len(peers) == 0 {
		s.add("network", o, "%s anywhere: a rule without peers allows the whole world", what)
	}
	for _, p := range peers {
		if p.IPBlock != nil && p.IPBlock.CIDR == "0.0.0.0/0" && what == "ingress from" {
			s.add("network", o, "ingress from 0.0.0.0/0: a rule that allows the whole world")
		}
		if p.IPBlock == nil && p.NamespaceSelector != nil && len(p.NamespaceSelector.MatchLabels)+len(p.NamespaceSelector.MatchExpressions) == 0 && p.PodSelector == nil {
			s.add("network", o, "%s an empty namespaceSelector: that is every pod of the cluster", what)
		}
		s.peerLabels(o, what, p)
		if p.PodSelector != nil && p.NamespaceSelector == nil && p.IPBlock == nil && len(s.selected(o.NS, p.PodSelector)) == 0 && !s.strimziPods(o.NS, p.PodSelector) {
			s.add("network", o, "%s pods %v of its own namespace, where there are none; is namespaceSelector a separate list item by mistake?", what, p.PodSelector.MatchLabels)
		}
	}
}

// peerLabels: namespaces are named by the one label that the API server sets.
func (s *Set) peerLabels(o *Object, what string, p networkingv1.NetworkPolicyPeer) {
	if p.NamespaceSelector == nil {
		return
	}
	for k := range p.NamespaceSelector.MatchLabels {
		if k != corev1.LabelMetadataName {
			s.add("network", o, "%s namespaces with label %q, which no namespace is sure to have; use %s%s", what, k, corev1.LabelMetadataName, hint(k, []string{corev1.LabelMetadataName}))
		}
	}
}

// strimziPods reports that a selector means the brokers of a cluster of the set.
func (s *Set) strimziPods(ns string, sel *metav1.LabelSelector) bool {
	for _, k := range s.of("Kafka") {
		if k.NS == ns && sel.MatchLabels["strimzi.io/cluster"] == k.Name {
			return true
		}
	}
	return false
}

func (s *Set) ingressPorts(o *Object, ports []networkingv1.NetworkPolicyPort, sel []*workload) {
	if len(ports) == 0 {
		s.add("network", o, "an ingress rule without ports opens every port")
	}
	for _, p := range ports {
		if p.Protocol != nil && *p.Protocol != corev1.ProtocolTCP {
			s.add("network", o, "ingress port %v over %s: the programs listen on TCP only", p.Port, *p.Protocol)
		}
		if p.EndPort != nil {
			s.add("network", o, "ingress opens a range of ports")
		}
		for _, w := range sel {
			if p.Port == nil {
				s.add("network", o, "an ingress rule without a port number opens every port")
			} else if !w.batch && !s.targetExists(w, *p.Port) {
				s.add("network", o, "ingress port %s is declared by no container of %s", p.Port.String(), w)
			}
		}
	}
}
