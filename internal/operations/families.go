package operations

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// Family is one metric family as a registry declares and exports it.
type Family struct {
	Name, Type, Help string
	Labels           []string
	Services         []string
	Exported         bool // a running pipeline had a value for it
}

// desc is how client_golang prints a Desc: the only way to see its parts.
var desc = regexp.MustCompile(`fqName: "([^"]*)", help: "((?:[^"\\]|\\.)*)"(?:, unit: "[^"]*")?, constLabels: \{([^}]*)\}, variableLabels: \{([^}]*)\}`)

// constLabel is name="value" in a Desc.
var constLabel = regexp.MustCompile(`([a-zA-Z_][a-zA-Z0-9_]*)="`)

// families returns what a registry declares, with the types of what it exports.
// A family that was never observed has its type from its name: _total is a
// counter, anything else a gauge.
func families(service string, reg *prometheus.Registry) (map[string]*Family, error) {
	ch := make(chan *prometheus.Desc)
	go func() {
		reg.Describe(ch)
		close(ch)
	}()
	out := map[string]*Family{}
	for d := range ch {
		m := desc.FindStringSubmatch(d.String())
		if m == nil {
			return nil, fmt.Errorf("cannot read the description %s", d)
		}
		f := out[m[1]]
		if f == nil {
			f = &Family{Name: m[1], Type: "gauge", Help: strings.ReplaceAll(m[2], `\"`, `"`), Services: []string{service}}
			if strings.HasSuffix(f.Name, "_total") {
				f.Type = "counter"
			}
			out[m[1]] = f
		}
		for _, c := range constLabel.FindAllStringSubmatch(m[3], -1) {
			f.Labels = append(f.Labels, c[1])
		}
		f.Labels = append(f.Labels, strings.FieldsFunc(m[4], func(r rune) bool { return r == ',' || r == ' ' })...)
		slices.Sort(f.Labels)
		f.Labels = slices.Compact(f.Labels)
	}
	got, err := reg.Gather()
	if err != nil {
		return nil, err
	}
	for _, g := range got {
		f := out[g.GetName()]
		if f == nil {
			f = &Family{Name: g.GetName(), Help: g.GetHelp(), Services: []string{service}}
			out[f.Name] = f
		}
		f.Type, f.Exported = strings.ToLower(dto.MetricType_name[int32(g.GetType())]), true
	}
	return out, nil
}

// merge adds the families of one service to those of all.
func merge(all, more map[string]*Family) {
	for name, f := range more {
		have := all[name]
		if have == nil {
			all[name] = f
			continue
		}
		have.Services = slices.Compact(slices.Sorted(slices.Values(append(have.Services, f.Services...))))
		have.Labels = slices.Compact(slices.Sorted(slices.Values(append(have.Labels, f.Labels...))))
		if f.Exported {
			have.Type, have.Exported = f.Type, true
		}
	}
}

// own drops the families of the Go runtime and of the process: their own
// projects document them.
func own(all map[string]*Family) map[string]*Family {
	out := map[string]*Family{}
	for name, f := range all {
		if strings.HasPrefix(name, "flowstitch_") {
			out[name] = f
		}
	}
	return out
}
