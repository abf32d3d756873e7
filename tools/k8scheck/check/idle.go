package check

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"sigs.k8s.io/yaml"
)

// kustomization is what can silently miss its mark in one.
type kustomization struct {
	dir        string
	Resources  []string `json:"resources"`
	Components []string `json:"components"`
	Patches    []struct {
		Patch  string `json:"patch"`
		Path   string `json:"path"`
		Target *struct {
			Kind string `json:"kind"`
			Name string `json:"name"`
		} `json:"target"`
	} `json:"patches"`
	Images []struct {
		Name    string `json:"name"`
		NewName string `json:"newName"`
	} `json:"images"`
}

// idle finds patches and images of a kustomization, and of those that it is
// made of, which nothing in the rendered set answers to: kustomize applies them
// to nothing and says nothing.
func idle(dir string, stream []byte) []Finding {
	objs, _ := Parse(stream)
	all, out := kustomizations(dir, map[string]bool{})
	places := map[string][]string{} // where an image's name leads
	for _, k := range all {
		for _, i := range k.Images {
			places[i.Name] = append(places[i.Name], i.Name)
			if i.NewName != "" {
				places[i.Name] = append(places[i.Name], i.NewName)
			}
		}
	}
	for _, k := range all {
		for _, p := range k.Patches {
			if p.Target == nil || strings.Contains(p.Patch, "$patch: delete") {
				continue
			}
			if !targeted(objs, p.Target.Kind, p.Target.Name) {
				var names []string
				for _, o := range objs {
					if o.GVK.Kind == p.Target.Kind {
						names = append(names, o.Name)
					}
				}
				out = append(out, Finding{"render", "", fmt.Sprintf("%s: a patch of %s/%s hits nothing%s", filepath.Join(k.dir, "kustomization.yaml"), p.Target.Kind, p.Target.Name, hint(p.Target.Name, names))})
			}
		}
		for _, i := range k.Images {
			if !pictured(stream, places[i.Name]) {
				out = append(out, Finding{"render", "", fmt.Sprintf("%s: images: no container has %s", filepath.Join(k.dir, "kustomization.yaml"), i.Name)})
			}
		}
	}
	return out
}

// kustomizations reads the one in dir and all that it is made of.
func kustomizations(dir string, seen map[string]bool) ([]kustomization, []Finding) {
	dir = filepath.Clean(dir)
	if seen[dir] {
		return nil, nil
	}
	seen[dir] = true
	b, err := os.ReadFile(filepath.Join(dir, "kustomization.yaml"))
	if err != nil {
		return nil, nil // a file, or said by kustomize itself
	}
	k := kustomization{dir: dir}
	if err := yaml.Unmarshal(b, &k); err != nil {
		return nil, []Finding{{"render", "", fmt.Sprintf("%s: %v", filepath.Join(dir, "kustomization.yaml"), err)}}
	}
	all, out := []kustomization{k}, []Finding(nil)
	for _, r := range append(append([]string{}, k.Resources...), k.Components...) {
		more, bad := kustomizations(filepath.Join(dir, r), seen)
		all, out = append(all, more...), append(out, bad...)
	}
	return all, out
}

// targeted reports that an object answers to a patch's target, whose kind and
// name are regular expressions.
func targeted(objs []*Object, kind, name string) bool {
	k, err1 := regexp.Compile("^(?:" + kind + ")$")
	n, err2 := regexp.Compile("^(?:" + name + ")$")
	if err1 != nil || err2 != nil {
		return true // kustomize says so
	}
	for _, o := range objs {
		before := hashSuffix.ReplaceAllString(o.Name, "")
		// Another kustomization may have put a prefix or a suffix to the name.
		if (kind == "" || k.MatchString(o.GVK.Kind)) && (name == "" || n.MatchString(o.Name) || n.MatchString(before) ||
			!strings.ContainsAny(name, "(|*+") && (strings.HasSuffix(before, "-"+name) || strings.HasPrefix(before, name+"-"))) {
			return true
		}
	}
	return false
}

// pictured reports that a container has one of the images.
func pictured(stream []byte, names []string) bool {
	for _, n := range names {
		if regexp.MustCompile(`image: ["']?` + regexp.QuoteMeta(n) + `(["':@\s]|$)`).Match(stream) {
			return true
		}
	}
	return false
}
