package check

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// Object is one document of a rendered manifest.
type Object struct {
	Raw   map[string]any // as decoded from YAML, never modified
	YAML  []byte         // the document's own bytes
	Typed runtime.Object // the defaulted external type; nil for a custom resource
	GVK   schema.GroupVersionKind
	NS    string
	Name  string
}

// String names the object as findings do: Kind/name.
func (o *Object) String() string { return o.GVK.Kind + "/" + o.Name }

// get walks maps by key; it returns nil where the path ends early.
func get(v any, path ...string) any {
	for _, p := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[p]
	}
	return v
}

// str is get for a string; "" where there is none.
func str(v any, path ...string) string {
	s, _ := get(v, path...).(string)
	return s
}

// list is get for a list.
func list(v any, path ...string) []any {
	l, _ := get(v, path...).([]any)
	return l
}

// num is get for a number, whichever type the decoder chose.
func num(v any, path ...string) (float64, bool) {
	switch n := get(v, path...).(type) {
	case int64:
		return float64(n), true
	case float64:
		return n, true
	case int:
		return float64(n), true
	}
	return 0, false
}

// sortedKeys returns the keys of m in order, so that findings come in order.
func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// Finding is one mistake.
type Finding struct {
	Check  string // the check that made it, for example "probe-port"
	Object string // Kind/name, or "" where it is about the set
	Msg    string
}

// String is the line that the program prints.
func (f Finding) String() string {
	if f.Object == "" {
		return fmt.Sprintf("[%s] %s", f.Check, f.Msg)
	}
	return fmt.Sprintf("[%s] %s: %s", f.Check, f.Object, f.Msg)
}

// Parse splits a YAML stream into objects. A key that is written twice, a
// document without kind, apiVersion or name is an error.
func Parse(stream []byte) ([]*Object, []Finding) {
	var objs []*Object
	var bad []Finding
	r := kyaml.NewYAMLReader(bufReader(stream))
	for n := 1; ; n++ {
		doc, err := r.Read()
		if errors.Is(err, io.EOF) {
			return objs, bad
		}
		if err != nil {
			return objs, append(bad, Finding{"yaml", "", fmt.Sprintf("document %d: %v", n, err)})
		}
		if len(bytes.TrimSpace(doc)) == 0 {
			continue
		}
		o, err := parseOne(doc)
		if err != nil {
			bad = append(bad, Finding{"yaml", "", fmt.Sprintf("document %d: %v", n, err)})
			continue
		}
		if o != nil {
			objs = append(objs, o)
		}
	}
}

func parseOne(doc []byte) (*Object, error) {
	js, err := yaml.YAMLToJSONStrict(doc)
	if err != nil {
		return nil, err
	}
	if string(js) == "null" {
		return nil, nil
	}
	raw := map[string]any{}
	if err := yaml.Unmarshal(doc, &raw); err != nil {
		return nil, err
	}
	api, kind := str(raw, "apiVersion"), str(raw, "kind")
	if api == "" || kind == "" {
		return nil, fmt.Errorf("apiVersion or kind is missing")
	}
	gv, err := schema.ParseGroupVersion(api)
	if err != nil {
		return nil, err
	}
	o := &Object{Raw: raw, YAML: doc, GVK: gv.WithKind(kind),
		NS: str(raw, "metadata", "namespace"), Name: str(raw, "metadata", "name")}
	if o.Name == "" {
		return nil, fmt.Errorf("%s without metadata.name", kind)
	}
	return o, nil
}

// nearest returns the candidate that differs least from s, for hints; "" where
// none is near.
func nearest(s string, candidates []string) string {
	best, bestD := "", 4
	for _, c := range candidates {
		if d := distance(strings.ToLower(s), strings.ToLower(c)); d < bestD {
			best, bestD = c, d
		}
	}
	return best
}

// hint is " (did you mean X?)" or nothing.
func hint(s string, candidates []string) string {
	if n := nearest(s, candidates); n != "" {
		return fmt.Sprintf(" (did you mean %q?)", n)
	}
	return ""
}

// distance is Levenshtein's.
func distance(a, b string) int {
	prev := make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur := make([]int, len(b)+1)
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
		}
		prev = cur
	}
	return prev[len(b)]
}
