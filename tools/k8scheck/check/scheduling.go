package check

import (
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/labels"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// scheduling: pods of a service may run in every zone, leave a node that is
// gone or drained, and see the files of their image.
func (s *Set) scheduling() {
	for _, w := range s.workloads {
		s.pinned(w)
		s.tolerations(w)
		s.attracted(w)
		spec := &w.template.Spec
		if spec.Hostname != "" && !w.batch {
			s.add("pod", w, "hostname %q is the same in every pod: logs and metrics could not be told apart", spec.Hostname)
		}
		if d := spec.DNSConfig; d != nil && len(d.Nameservers) > 0 {
			s.add("pod", w, "dnsConfig.nameservers %v: no NetworkPolicy lets it out to them, and they do not know the cluster's names", d.Nameservers)
		}
		if sc := spec.SecurityContext; sc != nil {
			s.groups(w, sc)
		}
		for _, c := range w.containers() {
			s.mounts(w, c)
			s.scratch(w, c)
		}
	}
}

// pinned: a choice of one zone or one host undoes the spread.
func (s *Set) pinned(w *workload) {
	one := func(key, value string) {
		switch {
		case key == corev1.LabelHostname:
			s.add("node", w, "is pinned to the node %q: it dies with that node", value)
		case key == corev1.LabelTopologyZone && w.service != "":
			s.add("node", w, "is pinned to the zone %q: its failure takes every pod", value)
		}
	}
	for k, v := range w.template.Spec.NodeSelector {
		one(k, v)
	}
	a := w.template.Spec.Affinity
	if a == nil || a.NodeAffinity == nil || a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return
	}
	for _, t := range a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
		for _, e := range t.MatchExpressions {
			if e.Operator == corev1.NodeSelectorOpIn && len(e.Values) == 1 {
				one(e.Key, e.Values[0])
			}
		}
	}
}

// maxAway is how long, in seconds, a pod may stay bound to a node that does not
// answer. Kubernetes itself waits 300 s; its slots stand still meanwhile.
const maxAway = 600

func (s *Set) tolerations(w *workload) {
	for _, t := range w.template.Spec.Tolerations {
		switch t.Key {
		case corev1.TaintNodeUnschedulable:
			s.add("node", w, "tolerates %s, so it comes back to a node that is being drained", t.Key)
		case corev1.TaintNodeUnreachable, corev1.TaintNodeNotReady:
			if t.Effect != corev1.TaintEffectNoSchedule && (t.TolerationSeconds == nil || *t.TolerationSeconds > maxAway) {
				s.add("node", w, "tolerates %s for longer than %d s: the slots of a lost node would stand still", t.Key, maxAway)
			}
		}
	}
}

// attracted: a required affinity to other pods leaves a pod pending, or puts
// all of them on one node.
func (s *Set) attracted(w *workload) {
	a := w.template.Spec.Affinity
	if a == nil || a.PodAffinity == nil {
		return
	}
	for _, t := range a.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution {
		m, err := metav1.LabelSelectorAsSelector(t.LabelSelector)
		if err == nil && m.Matches(labels.Set(w.template.Labels)) {
			s.add("spread", w, "required pod affinity over %s puts every pod where the first one is", t.TopologyKey)
		} else if len(s.selected(w.obj.NS, t.LabelSelector)) == 0 && len(t.Namespaces) == 0 && t.NamespaceSelector == nil {
			s.add("spread", w, "required pod affinity to pods that the set does not have: it would stay pending")
		}
	}
}

// groups: root's group reads what only root should.
func (s *Set) groups(w *workload, sc *corev1.PodSecurityContext) {
	if sc.RunAsGroup != nil && *sc.RunAsGroup == 0 || sc.FSGroup != nil && *sc.FSGroup == 0 {
		s.add("pod", w, "securityContext: group 0 is root's; the images' group is 65532")
	}
	for _, g := range sc.SupplementalGroups {
		if g == 0 {
			s.add("pod", w, "securityContext.supplementalGroups holds root's group")
		}
	}
}

// mounts: nothing lies over the files of the image, or inside of a volume that
// is read only.
func (s *Set) mounts(w *workload, c *corev1.Container) {
	if u := c.SecurityContext; u != nil && u.RunAsUser != nil && *u.RunAsUser != 65532 && s.ours(c) {
		s.add("pod", w, "container %s: securityContext.runAsUser %d; 65532 is the user of the images", c.Name, *u.RunAsUser)
	}
	for _, m := range c.VolumeMounts {
		at := path.Clean(m.MountPath)
		for _, f := range []string{"/ko-app/" + imageName(c.Image), "/etc/ssl/certs/ca-certificates.crt", "/etc/passwd"} {
			if s.ours(c) && (at == "/" || at == f || strings.HasPrefix(f, at+"/")) {
				s.add("pod", w, "container %s: a volume at %s hides %s of the image", c.Name, m.MountPath, f)
				break
			}
		}
		for _, outer := range c.VolumeMounts {
			if o := path.Clean(outer.MountPath); outer.ReadOnly && o != at && strings.HasPrefix(at, o+"/") && m.SubPath == "" {
				s.add("pod", w, "container %s: %s lies in %s, a volume that is read only: the mount point cannot be made", c.Name, m.MountPath, outer.MountPath)
			}
		}
	}
}

// scratch: the pod's logs and temporary files fit.
func (s *Set) scratch(w *workload, c *corev1.Container) {
	least := resource.MustParse("64Mi")
	if q, ok := c.Resources.Limits[corev1.ResourceEphemeralStorage]; ok && q.Cmp(least) < 0 {
		s.add("resources", w, "container %s: limits.ephemeral-storage %s: its log alone would have it evicted", c.Name, q.String())
	}
	for _, name := range sortedKeys(quantities(c.Resources.Limits)) {
		if strings.Contains(name, "/") && s.ours(c) {
			s.add("resources", w, "container %s: asks for %s, which no program of ours uses: it would wait for a node that has it", c.Name, name)
		}
	}
}

func quantities(l corev1.ResourceList) map[string]resource.Quantity {
	out := map[string]resource.Quantity{}
	for k, v := range l {
		out[string(k)] = v
	}
	return out
}

// ours reports that a container runs an image of ours, or what looks like a
// misspelt one; anything else is a sidecar, which we judge less strictly.
func (s *Set) ours(c *corev1.Container) bool {
	name := imageName(c.Image)
	for _, own := range s.product.Images {
		if distance(name, own) < 3 {
			return true
		}
	}
	return false
}

// sidecars reports that a workload also runs what is not ours.
func (s *Set) sidecars(w *workload) bool {
	for _, c := range w.containers() {
		if !s.ours(c) {
			return true
		}
	}
	return false
}

// mainContainer is the one that a workload is for: the first that runs an image
// of ours, else the first of all.
func (s *Set) mainContainer(w *workload) *corev1.Container {
	for i := range w.template.Spec.Containers {
		if c := &w.template.Spec.Containers[i]; contains(s.product.Images, imageName(c.Image)) {
			return c
		}
	}
	if len(w.template.Spec.Containers) == 0 {
		return nil
	}
	return &w.template.Spec.Containers[0]
}
