// Package alerttest holds encoded alerts against the standards that they claim
// to follow, for the tests of every package that makes some.
//
// It guarantees that a line which passes is valid against the strict OCSF 1.8
// schema of class 2004, or uses only fields of ECS 9 with their types, arrays
// and values. The standards are read from ../shared/facts beside the checkout;
// where they are not, tests that need them are skipped.
package alerttest

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/segmentio/encoding/json"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// Facts returns the path of a file of checked facts, or skips the test.
func Facts(t testing.TB, name string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("there is no go.mod above the test's directory")
		}
		dir = up
	}
	p := filepath.Join(filepath.Dir(dir), "shared", "facts", filepath.FromSlash(name))
	if _, err := os.Stat(p); err != nil {
		t.Skipf("../shared/facts/%s is not beside this checkout: nothing to validate against", name)
	}
	return p
}

// OCSF returns a function that validates one OCSF 1.8 Detection Finding.
func OCSF(t testing.TB) func(line []byte) error {
	t.Helper()
	schema, err := jsonschema.NewCompiler().Compile(Facts(t, "ocsf-schema/ocsf-detection_finding.strict.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	return func(line []byte) error {
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(line))
		if err != nil {
			return err
		}
		return schema.Validate(doc)
	}
}

// ECS returns a function that validates one ECS alert.
func ECS(t testing.TB) func(line []byte) error {
	t.Helper()
	f, err := os.Open(Facts(t, "ecs-fields.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	fields := ecs{}
	for _, r := range rows[1:] {
		fields[r[0]] = r
	}
	return fields.alert
}

// ecs maps a field's name to its row: name, type, level, normalize, allowed
// values, ignore_above.
type ecs map[string][]string

func (e ecs) alert(line []byte) error {
	var doc map[string]any
	if err := json.Unmarshal(line, &doc); err != nil {
		return err
	}
	delete(doc, "flowstitch") // a namespace of our own
	event, _ := doc["event"].(map[string]any)
	if event["kind"] != "alert" {
		return fmt.Errorf("event.kind is %v; producers write alert", event["kind"])
	}
	module, _ := event["module"].(string)
	if dataset, _ := event["dataset"].(string); !strings.HasPrefix(dataset, module+".") {
		return fmt.Errorf("event.dataset %q does not start with event.module %q and a dot", dataset, module)
	}
	return e.check("", doc)
}

func (e ecs) check(path string, v any) error {
	row, isField := e[path]
	if m, ok := v.(map[string]any); ok && (!isField || row[1] == "object") {
		return e.object(path, isField, m)
	}
	if !isField {
		return fmt.Errorf("%s is no field of ECS", path)
	}
	list, isList := v.([]any)
	if isList != (row[3] == "array") {
		return fmt.Errorf("%s: an array is %v, ECS says %q", path, isList, row[3])
	}
	if !isList {
		list = []any{v}
	}
	for _, x := range list {
		if err := value(row, x); err != nil {
			return err
		}
	}
	return nil
}

// object checks the members of an object; those of a field of type object, the
// labels, are keywords.
func (e ecs) object(path string, labels bool, m map[string]any) error {
	for k, x := range m {
		if labels {
			if _, ok := x.(string); !ok || strings.Contains(k, ".") {
				return fmt.Errorf("%s.%s is no keyword", path, k)
			}
			continue
		}
		if err := e.check(strings.TrimPrefix(path+"."+k, "."), x); err != nil {
			return err
		}
	}
	return nil
}

func value(row []string, x any) error {
	s, isString := x.(string)
	switch row[1] {
	case "long", "float":
		if _, ok := x.(float64); !ok {
			return fmt.Errorf("%s is %T, ECS says %s", row[0], x, row[1])
		}
	case "ip":
		if _, err := flow.ParseAddr(s); err != nil {
			return fmt.Errorf("%s: %w", row[0], err)
		}
	default:
		if !isString {
			return fmt.Errorf("%s is %T, ECS says %s", row[0], x, row[1])
		}
	}
	allowed := strings.FieldsFunc(row[4], func(r rune) bool { return r == '|' || r == ';' || r == ',' })
	if len(allowed) > 0 && !slices.Contains(allowed, s) {
		return fmt.Errorf("%s is %q, allowed are %s", row[0], s, row[4])
	}
	return nil
}
