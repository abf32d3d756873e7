package check

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// An edit changes a rendered set as one reads it, not as it is written:
//
//	Deployment/ingest spec/replicas = 6    sets a value (YAML); none removes it
//	pod/ingest tolerations += {key: a}     appends to a list; pod is the template's spec
//	main/ingest env += {name: A}           main is the pod's first container
//	config/ingest kafka/rack = a           config is the file in the workload's ConfigMap; * is every one
//	board uid =                            board is the dashboard's JSON
//	- NetworkPolicy/sts                    removes an object
//	+ {apiVersion: v1, ...}                adds one
//
// In a path ~1 stands for a / within a key, and a number for a place in a list.
type edit struct {
	name, overlay string
	want          string // the check that must find it; "" where nothing may be found
	edits         []string
}

// editable is a set that is being changed.
type editable struct {
	t    *testing.T
	docs []map[string]any
}

func (e *editable) find(kind, name string) int {
	return slices.IndexFunc(e.docs, func(d map[string]any) bool {
		n := str(d, "metadata", "name")
		return d["kind"] == kind && (n == name || name == "" || kind == "ConfigMap" && hashSuffix.ReplaceAllString(n, "") == name)
	})
}

func (m *edit) apply(t *testing.T, stream string) string {
	t.Helper()
	e := &editable{t: t}
	for _, d := range strings.Split(stream, "\n---\n") {
		doc := map[string]any{}
		if err := yaml.Unmarshal([]byte(d), &doc); err != nil {
			t.Fatal(err)
		}
		e.docs = append(e.docs, doc)
	}
	for _, text := range m.edits {
		e.one(text)
	}
	var out []string
	for _, d := range e.docs {
		text, err := yaml.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(text))
	}
	return strings.Join(out, "---\n")
}

func (e *editable) one(text string) {
	e.t.Helper()
	target, rest, _ := strings.Cut(text, " ")
	switch target {
	case "+":
		doc := map[string]any{}
		if err := yaml.Unmarshal([]byte(rest), &doc); err != nil {
			e.t.Fatalf("%s: %v", text, err)
		}
		meta := doc["metadata"].(map[string]any)
		meta["labels"] = map[string]any{"app.kubernetes.io/part-of": "flowstitch", "strimzi.io/cluster": "flowstitch"}
		meta["namespace"] = "flowstitch"
		if doc["kind"] == "PriorityClass" {
			delete(meta, "namespace")
		}
		e.docs = append(e.docs, doc)
		return
	case "-":
		kind, name, _ := strings.Cut(rest, "/")
		i := e.find(kind, name)
		if i < 0 {
			e.t.Fatalf("%s: there is none", text)
		}
		e.docs = slices.Delete(e.docs, i, i+1)
		return
	}
	path, value, ok := strings.Cut(rest, " =")
	add := strings.HasSuffix(path, " +")
	if !ok {
		path, value, _ = strings.Cut(rest, " +=")
		add = true
	}
	var v any
	if err := yaml.Unmarshal([]byte(value), &v); err != nil {
		e.t.Fatalf("%s: %v", text, err)
	}
	e.set(target, strings.TrimSpace(strings.TrimSuffix(path, " +")), v, add)
}

func (e *editable) set(target, path string, v any, add bool) {
	e.t.Helper()
	kind, name, _ := strings.Cut(target, "/")
	switch kind {
	case "pod", "main":
		kind = "Deployment"
		if name == "topics" {
			kind = "Job"
		}
		path = map[string]string{"pod": "", "main": "containers/0/"}[strings.SplitN(target, "/", 2)[0]] + path
		path = "spec/template/spec/" + path
	case "config":
		for _, n := range []string{"ingest", "sessionize", "detect", "topics"} {
			if i := e.find("ConfigMap", n+"-config"); i >= 0 && (name == "*" || name == n) {
				e.inside(i, n+".yaml", path, v, add)
			}
		}
		return
	case "board":
		e.inside(e.find("ConfigMap", "flowstitch-dashboard"), "dashboard.json", path, v, add)
		return
	}
	i := e.find(kind, name)
	if i < 0 {
		e.t.Fatalf("no %s", target)
	}
	e.docs[i] = e.put(e.docs[i], strings.Split(path, "/"), v, add).(map[string]any)
}

// inside edits a file within a ConfigMap.
func (e *editable) inside(i int, key, path string, v any, add bool) {
	e.t.Helper()
	data := e.docs[i]["data"].(map[string]any)
	file := map[string]any{}
	if err := yaml.Unmarshal([]byte(data[key].(string)), &file); err != nil {
		e.t.Fatal(err)
	}
	text, err := yaml.Marshal(e.put(file, strings.Split(path, "/"), v, add))
	if key == "dashboard.json" && err == nil {
		text, err = yaml.YAMLToJSON(text)
	}
	if err != nil {
		e.t.Fatal(err)
	}
	data[key] = string(text)
}

// put returns in with the value at path set, removed (nil) or appended to.
func (e *editable) put(in any, path []string, v any, add bool) any {
	e.t.Helper()
	if len(path) == 0 {
		if l, ok := in.([]any); add && (ok || in == nil) {
			return append(l, v)
		}
		return v
	}
	if l, ok := in.([]any); ok {
		i, err := strconv.Atoi(path[0])
		if err != nil || i >= len(l) {
			e.t.Fatalf("no place %q in a list of %d", path[0], len(l))
		}
		l[i] = e.put(l[i], path[1:], v, add)
		return slices.DeleteFunc(l, func(x any) bool { return x == nil })
	}
	m, ok := in.(map[string]any)
	if !ok {
		if in != nil {
			e.t.Fatalf("%v is no map to find %q in", in, path[0])
		}
		m = map[string]any{}
	}
	key := strings.ReplaceAll(path[0], "~1", "/")
	if m[key] = e.put(m[key], path[1:], v, add); m[key] == nil {
		delete(m, key)
	}
	return m
}

// TestEdits: what a person changes by mistake is found, and what a person
// changes with reason is not.
func TestEdits(t *testing.T) {
	for _, m := range append(append(mistakes(), brokerMistakes()...), intended()...) {
		t.Run(strings.ReplaceAll(m.name, " ", "-"), func(t *testing.T) {
			overlay := m.overlay
			if overlay == "" {
				overlay = "msk"
			}
			f, stream := setup(t, overlay)
			found := Check(f.api, f.product, []byte(m.apply(t, stream)))
			if m.want == "" && len(found) > 0 {
				t.Errorf("false alarms: %v", found)
			}
			if m.want != "" && !slices.ContainsFunc(found, func(p Finding) bool { return p.Check == m.want }) {
				t.Errorf("not caught by %q; findings: %v", m.want, found)
			}
		})
	}
}

// egress is a list of TCP ports of a policy.
func egress(ports ...int) string {
	var out []string
	for _, p := range ports {
		out = append(out, fmt.Sprintf("{protocol: TCP, port: %d}", p))
	}
	return "[" + strings.Join(out, ", ") + "]"
}
