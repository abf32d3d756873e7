package check

import (
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// ExternalSecrets is the annotation, on the Namespace, that names the Secrets
// which an operator or a secret store creates outside of the set.
const ExternalSecrets = "flowstitch.io/external-secrets"

// keyed is a ConfigMap or Secret as a reference sees it.
type keyed struct {
	found bool
	keys  []string // nil: not known, anything may be there
}

// configMap looks a ConfigMap up.
func (s *Set) configMap(ns, name string) keyed {
	if o := s.find("ConfigMap", ns, name); o != nil {
		return keyed{true, dataKeys(o, "data", "binaryData")}
	}
	return keyed{}
}

// secret looks a Secret up: in the set, among those that Strimzi makes for
// users and clusters of the set, and among those declared external.
func (s *Set) secret(ns, name string) keyed {
	if o := s.find("Secret", ns, name); o != nil {
		return keyed{true, dataKeys(o, "data", "stringData")}
	}
	if u := s.find("KafkaUser", ns, name); u != nil {
		if str(u.Raw, "spec", "authentication", "type") == "scram-sha-512" {
			return keyed{true, []string{"password", "sasl.jaas.config"}}
		}
		return keyed{true, []string{"ca.crt", "user.crt", "user.key", "user.p12", "user.password"}}
	}
	if cluster, ok := strings.CutSuffix(name, "-cluster-ca-cert"); ok && s.find("Kafka", ns, cluster) != nil {
		return keyed{true, []string{"ca.crt", "ca.p12", "ca.password"}}
	}
	return keyed{found: contains(s.externalSecrets(ns), name)}
}

func (s *Set) externalSecrets(ns string) []string {
	o := s.find("Namespace", "", ns)
	if o == nil {
		return nil
	}
	return strings.FieldsFunc(str(o.Raw, "metadata", "annotations", ExternalSecrets), func(r rune) bool { return r == ',' || r == ' ' })
}

// secretNames lists what secret would find, for hints.
func (s *Set) secretNames(ns string) []string {
	out := append(s.names("Secret"), s.names("KafkaUser")...)
	for _, k := range s.names("Kafka") {
		out = append(out, k+"-cluster-ca-cert")
	}
	return append(out, s.externalSecrets(ns)...)
}

func dataKeys(o *Object, fields ...string) []string {
	keys := []string{}
	for _, f := range fields {
		m, _ := get(o.Raw, f).(map[string]any)
		keys = append(keys, sortedKeys(m)...)
	}
	return keys
}

// references: whatever a pod names exists, with the key that it names; what
// nobody names is dead weight or, more often, a misspelling on the other side.
func (s *Set) references() {
	used := map[string]bool{}
	for _, w := range s.workloads {
		s.podReferences(w, used)
	}
	for _, o := range s.objs {
		switch o.GVK.Kind {
		case "ConfigMap":
			if !used["ConfigMap/"+o.NS+"/"+o.Name] && label(o, "grafana_dashboard") == "" {
				s.add("unused", o, "no pod refers to this ConfigMap")
			}
		case "ServiceAccount":
			if !used["ServiceAccount/"+o.NS+"/"+o.Name] {
				s.add("unused", o, "no pod runs as this ServiceAccount")
			}
			if v, ok := get(o.Raw, "automountServiceAccountToken").(bool); !ok || v {
				s.add("pod", o, "automountServiceAccountToken must be false")
			}
		case "Secret":
			s.add("secret", o, "a Secret in a manifest ends up in version control; create it outside and declare it with the annotation %s of the Namespace", ExternalSecrets)
		}
	}
}

func (s *Set) podReferences(w *workload, used map[string]bool) {
	ns, spec := w.obj.NS, &w.template.Spec
	if sa := spec.ServiceAccountName; sa == "" || sa == "default" {
		s.add("reference", w, "runs as the default ServiceAccount; it needs one of its own")
	} else if s.find("ServiceAccount", ns, sa) == nil {
		s.add("reference", w, "ServiceAccount %q does not exist%s", sa, hint(sa, s.names("ServiceAccount")))
	} else {
		used["ServiceAccount/"+ns+"/"+sa] = true
	}
	for _, p := range spec.ImagePullSecrets {
		if !s.secret(ns, p.Name).found {
			s.add("reference", w, "imagePullSecret %q does not exist%s", p.Name, hint(p.Name, s.secretNames(ns)))
		}
	}
	if pc := spec.PriorityClassName; pc != "" && !strings.HasPrefix(pc, "system-") && s.find("PriorityClass", "", pc) == nil {
		s.add("reference", w, "PriorityClass %q does not exist%s", pc, hint(pc, s.names("PriorityClass")))
	}
	mounted := map[string]bool{}
	for _, c := range w.containers() {
		for _, m := range c.VolumeMounts {
			mounted[m.Name] = true
		}
		s.envReferences(w, c, used)
	}
	for i := range spec.Volumes {
		v := &spec.Volumes[i]
		if !mounted[v.Name] {
			s.add("unused", w, "volume %q is mounted by no container", v.Name)
		}
		s.volume(w, v, used)
	}
}

// octal catches file modes that were written in octal where YAML reads decimal:
// 400 means 0620.
func (s *Set) octal(w *workload, v *corev1.Volume) {
	var mode *int32
	switch {
	case v.ConfigMap != nil:
		mode = v.ConfigMap.DefaultMode
	case v.Secret != nil:
		mode = v.Secret.DefaultMode
	case v.Projected != nil:
		mode = v.Projected.DefaultMode
	}
	if mode != nil && (*mode&0o440 != 0o440 || *mode&0o022 != 0) && *mode != 0o400 {
		s.add("pod", w, "volume %s: defaultMode %d is %#o; group must read, nobody else write (write 0440)", v.Name, *mode, *mode)
	}
}

func (s *Set) volume(w *workload, v *corev1.Volume, used map[string]bool) {
	s.octal(w, v)
	if v.ConfigMap != nil {
		s.useConfigMap(w, "volume "+v.Name, v.ConfigMap.Name, itemKeys(v.ConfigMap.Items), v.ConfigMap.Optional, used)
	}
	if v.Secret != nil {
		s.useSecret(w, "volume "+v.Name, v.Secret.SecretName, itemKeys(v.Secret.Items), v.Secret.Optional)
	}
	if v.PersistentVolumeClaim != nil && s.find("PersistentVolumeClaim", w.obj.NS, v.PersistentVolumeClaim.ClaimName) == nil {
		s.add("reference", w, "volume %s: PersistentVolumeClaim %q does not exist", v.Name, v.PersistentVolumeClaim.ClaimName)
	}
	if v.EmptyDir != nil && v.EmptyDir.SizeLimit == nil {
		s.add("pod", w, "volume %s: emptyDir without sizeLimit can fill the node's disk", v.Name)
	}
	if v.Projected == nil {
		return
	}
	for _, p := range v.Projected.Sources {
		if p.ConfigMap != nil {
			s.useConfigMap(w, "volume "+v.Name, p.ConfigMap.Name, itemKeys(p.ConfigMap.Items), p.ConfigMap.Optional, used)
		}
		if p.Secret != nil {
			s.useSecret(w, "volume "+v.Name, p.Secret.Name, itemKeys(p.Secret.Items), p.Secret.Optional)
		}
	}
}

func itemKeys(items []corev1.KeyToPath) []string {
	var out []string
	for _, i := range items {
		out = append(out, i.Key)
	}
	return out
}

func (s *Set) envReferences(w *workload, c *corev1.Container, used map[string]bool) {
	at := "container " + c.Name + " env"
	for _, e := range c.Env {
		if e.ValueFrom == nil {
			continue
		}
		if r := e.ValueFrom.ConfigMapKeyRef; r != nil {
			s.useConfigMap(w, at+" "+e.Name, r.Name, []string{r.Key}, r.Optional, used)
		}
		if r := e.ValueFrom.SecretKeyRef; r != nil {
			s.useSecret(w, at+" "+e.Name, r.Name, []string{r.Key}, r.Optional)
		}
	}
	for _, f := range c.EnvFrom {
		if f.ConfigMapRef != nil {
			s.useConfigMap(w, at+"From", f.ConfigMapRef.Name, nil, f.ConfigMapRef.Optional, used)
			for _, k := range s.configMap(w.obj.NS, f.ConfigMapRef.Name).keys {
				if !contains(append(s.product.Env, foreignEnv()...), f.Prefix+k) {
					s.add("env", w, "%sFrom: nothing reads %s%s", at, f.Prefix+k, hint(f.Prefix+k, s.product.Env))
				}
			}
		}
		if f.SecretRef != nil {
			s.useSecret(w, at+"From", f.SecretRef.Name, nil, f.SecretRef.Optional)
		}
	}
}

// hashSuffix is what kustomize's generators append to a name.
var hashSuffix = regexp.MustCompile(`-[bcdfghkmt2456789]{10}$`)

func (s *Set) useConfigMap(w *workload, at, name string, keys []string, optional *bool, used map[string]bool) {
	k := s.configMap(w.obj.NS, name)
	used["ConfigMap/"+w.obj.NS+"/"+name] = true
	if !k.found {
		s.add("reference", w, "%s: ConfigMap %q does not exist%s", at, name, hint(name, s.names("ConfigMap")))
		return
	}
	if !hashSuffix.MatchString(name) {
		s.add("config-hash", w, "%s: ConfigMap %q has no hash in its name: a change would reach no running pod", at, name)
	}
	s.useKeys(w, at, "ConfigMap "+name, k, keys, optional)
}

func (s *Set) useSecret(w *workload, at, name string, keys []string, optional *bool) {
	k := s.secret(w.obj.NS, name)
	if !k.found {
		s.add("reference", w, "%s: Secret %q does not exist; create it or declare it with the annotation %s%s", at, name, ExternalSecrets, hint(name, s.secretNames(w.obj.NS)))
		return
	}
	s.useKeys(w, at, "Secret "+name, k, keys, optional)
}

func (s *Set) useKeys(w *workload, at, what string, k keyed, keys []string, optional *bool) {
	if optional != nil && *optional {
		s.add("reference", w, "%s: %s is optional, so a pod would start without it", at, what)
	}
	for _, key := range keys {
		if k.keys != nil && !contains(k.keys, key) {
			s.add("reference", w, "%s: %s has no key %q%s", at, what, key, hint(key, k.keys))
		}
	}
}
