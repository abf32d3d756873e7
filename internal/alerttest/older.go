package alerttest

import (
	"embed"
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/segmentio/encoding/json"
)

// schemas are OCSF versions before 1.8 as far as alerts use them, resolved from
// the schema's own repository; each file says where it comes from.
//
//go:embed testdata/ocsf-1.5.0.json testdata/ocsf-1.1.0.json
var schemas embed.FS

// older is a version of OCSF: its objects by name.
type older struct {
	Version string
	Objects map[string]object
}

type object struct {
	Attributes  map[string]attribute
	Constraints map[string][]string
}

// attribute has either a Type, whose base type it is, or an Object.
type attribute struct {
	Type, Object, Profile string
	Array, Required       bool
	Enum                  []string
}

// Older returns a function that validates one Detection Finding of OCSF 1.5.0 or
// 1.1.0: attributes, types, arrays, required ones, constraints, profiles and the
// values of enumerations.
func Older(t testing.TB, version string) func(line []byte) error {
	t.Helper()
	b, err := schemas.ReadFile("testdata/ocsf-" + version + ".json")
	if err != nil {
		t.Fatal(err)
	}
	o := &older{}
	if err := json.Unmarshal(b, o); err != nil {
		t.Fatal(err)
	}
	return o.finding
}

// All returns the validators of every form in which alerts are written, by the
// name of the form: "ecs", or a version of OCSF.
func All(t testing.TB) map[string]func(line []byte) error {
	t.Helper()
	return map[string]func([]byte) error{
		"ecs": ECS(t), "1.8.0": OCSF(t), "1.5.0": Older(t, "1.5.0"), "1.1.0": Older(t, "1.1.0"),
	}
}

func (o *older) finding(line []byte) error {
	var doc map[string]any
	if err := json.Unmarshal(line, &doc); err != nil {
		return err
	}
	meta, _ := doc["metadata"].(map[string]any)
	if meta["version"] != o.Version {
		return fmt.Errorf("metadata.version is %v, not %s", meta["version"], o.Version)
	}
	var profiles []string
	list, _ := meta["profiles"].([]any)
	for _, p := range list {
		profiles = append(profiles, fmt.Sprint(p))
	}
	if class, activity := doc["class_uid"], doc["activity_id"]; class != 2004.0 || doc["type_uid"] != 200400+activity.(float64) {
		return fmt.Errorf("class %v, activity %v and type %v do not belong together", class, activity, doc["type_uid"])
	}
	return o.object("detection_finding", "detection_finding", doc, profiles)
}

func (o *older) object(path, name string, doc map[string]any, profiles []string) error {
	spec, ok := o.Objects[name]
	if !ok {
		return fmt.Errorf("%s: OCSF %s has no object %s, or alerts did not use it so far", path, o.Version, name)
	}
	for k, v := range doc {
		a, ok := spec.Attributes[k]
		if !ok || a.Profile != "" && !slices.Contains(profiles, a.Profile) {
			return fmt.Errorf("%s: OCSF %s has no attribute %s under the profiles %v", path, o.Version, k, profiles)
		}
		if err := o.value(path+"."+k, &a, v, profiles); err != nil {
			return err
		}
	}
	for k, a := range spec.Attributes {
		if _, ok := doc[k]; a.Required && !ok && (a.Profile == "" || slices.Contains(profiles, a.Profile)) {
			return fmt.Errorf("%s: %s is required", path, k)
		}
	}
	for kind, names := range spec.Constraints {
		n := 0
		for _, k := range names {
			if _, ok := doc[k]; ok {
				n++
			}
		}
		if n == 0 || kind == "just_one" && n != 1 {
			return fmt.Errorf("%s: %s of %v, and there are %d", path, kind, names, n)
		}
	}
	return nil
}

func (o *older) value(path string, a *attribute, v any, profiles []string) error {
	list, isList := v.([]any)
	if isList != a.Array {
		return fmt.Errorf("%s: an array is %v, OCSF %s says %v", path, isList, o.Version, a.Array)
	}
	if !isList {
		list = []any{v}
	}
	for _, x := range list {
		if err := o.one(path, a, x, profiles); err != nil {
			return err
		}
	}
	return nil
}

func (o *older) one(path string, a *attribute, x any, profiles []string) error {
	m, isObject := x.(map[string]any)
	switch {
	case a.Object == "object" && isObject || a.Type == "json_t":
		return nil // anything
	case a.Object != "" && isObject:
		return o.object(path, a.Object, m, profiles)
	}
	ok := false
	switch x := x.(type) {
	case string:
		ok = a.Type == "string_t"
	case bool:
		ok = a.Type == "boolean_t"
	case float64:
		whole := x == float64(int64(x))
		ok = a.Type == "float_t" || whole && (a.Type == "integer_t" || a.Type == "long_t")
		if len(a.Enum) > 0 && !slices.Contains(a.Enum, strconv.Itoa(int(x))) {
			return fmt.Errorf("%s: OCSF %s does not list %v", path, o.Version, x)
		}
	}
	if !ok {
		return fmt.Errorf("%s is %T, OCSF %s says %s%s", path, x, o.Version, a.Type, a.Object)
	}
	return nil
}
