package operations

import (
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/flowstitch/flowstitch/pkg/topology"
	"github.com/flowstitch/flowstitch/services/detect/detector"
	"github.com/flowstitch/flowstitch/services/ingest/ingester"
	"github.com/flowstitch/flowstitch/services/sessionize/sessionizer"
)

// configKeys lists the keys of every configuration file, by service.
func configKeys() map[string][]string {
	out := map[string][]string{}
	for name, cfg := range map[string]any{
		"ingest": ingester.Config{}, "sessionize": sessionizer.Config{}, "detect": detector.Config{}, topology.Admin: topology.Config{},
	} {
		keys := fields("", reflect.TypeOf(cfg))
		slices.Sort(keys)
		out[name] = slices.Compact(keys)
	}
	return out
}

// fields lists the dotted YAML keys of a type; a map takes any key below it.
func fields(at string, t reflect.Type) []string {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	switch {
	case t.Kind() == reflect.Map || t.Kind() == reflect.Interface:
		return []string{at + ".*"}
	case t.Kind() != reflect.Struct || t == reflect.TypeFor[time.Time]() || opaque(t):
		return []string{at}
	}
	out := []string{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, opts, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case name == "-" || !f.IsExported():
		case f.Anonymous && strings.Contains(opts, "inline"):
			out = append(out, fields(at, f.Type)...)
		default:
			if name == "" {
				name = strings.ToLower(f.Name)
			}
			out = append(out, fields(strings.TrimPrefix(at+"."+name, "."), f.Type)...)
		}
	}
	if len(out) == 0 {
		return []string{at}
	}
	return out
}

// opaque reports a type that reads its own YAML: its fields are not keys.
func opaque(t reflect.Type) bool {
	for _, m := range []string{"UnmarshalYAML", "UnmarshalText"} {
		if _, ok := reflect.PointerTo(t).MethodByName(m); ok {
			return true
		}
	}
	return false
}
