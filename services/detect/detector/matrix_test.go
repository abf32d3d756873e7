package detector

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/flowstitch/flowstitch/pkg/detect"
)

const source = "../../../pkg/detect"

// table is the table of detectors that the project promises, without the users'
// own rules; a row may name two.
var table = [][]string{
	{"outbound-callout"}, {"beacon"}, {"inbound-icmp-errors"}, {"session-excess"}, {"port-scan", "host-sweep"}, {"brute-force"},
	{"data-excess"}, {"traffic-surge"}, {"crafted-probe"}, {"new-service"}, {"external-dns"}, {"listed-address"}, {"coverage-gap"},
}

// TestMatrix holds that every detector of the table exists and has what each
// must have: a file of its own for its row, a method, a hint of false alarms,
// ATT&CK techniques, and a scenario that fires with a look-alike that stays
// silent, which TestScenarios plays over IPv4 and IPv6, with tcp-flags and
// without. TestPages and TestParameters hold its page.
func TestMatrix(t *testing.T) {
	set := detect.DefaultSettings()
	have := map[string]detect.Detector{}
	for _, d := range detect.Detectors(&set) {
		have[d.Spec().ID] = d
	}
	files, scenarios, taken := declared(t), scenarioIDs(t), map[string]string{}
	for _, row := range table {
		for _, id := range row {
			d, ok := have[id]
			if !ok {
				t.Errorf("there is no %s", id)
				continue
			}
			delete(have, id)
			spec := d.Spec()
			file := files[reflect.TypeOf(d).Name()]
			if other, ok := taken[file]; file == "" || ok && other != row[0] {
				t.Errorf("%s shares %q with %s", id, file, other)
			}
			taken[file] = row[0]
			if spec.Method == 0 || len(spec.FalseAlarm) < 20 || len(spec.Attacks) == 0 && id != "coverage-gap" || spec.Bucket <= 0 || spec.Version == "" {
				t.Errorf("%s: method, false alarm, ATT&CK, bucket or version is missing: %+v", id, spec)
			}
			if !slices.Contains(scenarios, id) {
				t.Errorf("%s has no scenario and look-alike in scenario_test.go", id)
			}
		}
	}
	for id := range have {
		t.Errorf("%s is not in the table", id)
	}
}

// declared maps the name of each type with a method Spec to its file.
func declared(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	list, err := filepath.Glob(filepath.Join(source, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range list {
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Name.Name == "Spec" && fn.Recv != nil {
				if name, ok := fn.Recv.List[0].Type.(*ast.Ident); ok {
					out[name.Name] = filepath.Base(path)
				}
			}
		}
	}
	return out
}

// scenarioIDs are the detectors in the list of scenarios: entries of an id and
// two functions, what fires and what looks like it.
func scenarioIDs(t *testing.T) (out []string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(source, "scenario_test.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		lit, ok := n.(*ast.CompositeLit)
		if !ok || len(lit.Elts) != 3 {
			return true
		}
		id, isID := lit.Elts[0].(*ast.BasicLit)
		_, fires := lit.Elts[1].(*ast.FuncLit)
		_, silent := lit.Elts[2].(*ast.FuncLit)
		if isID && fires && silent {
			out = append(out, strings.Trim(id.Value, `"`))
		}
		return true
	})
	return out
}

var parameter = regexp.MustCompile("(?m)^\\| `([^`]+)` \\| ([^|]+) \\| ([^|]+) \\| ([^|]+) \\|$")

// TestParameters: every threshold is on a page, with the default that it has,
// its unit and why it has that value.
func TestParameters(t *testing.T) {
	pages := map[string][]string{"scan": {"port-scan", "host-sweep"}, "crafted_probe": {"crafted-probe", "inbound-icmp-errors"}}
	tuning := reflect.ValueOf(detect.DefaultTuning())
	for i := range tuning.NumField() {
		name := tuning.Type().Field(i).Tag.Get("yaml")
		if name == "-" {
			continue
		}
		ids := pages[name]
		if ids == nil {
			ids = []string{strings.ReplaceAll(name, "_", "-")}
		}
		rows := map[string]string{}
		for _, id := range ids {
			maps.Copy(rows, parameters(t, id))
		}
		v := tuning.Field(i)
		for j := range v.NumField() {
			key, _, _ := strings.Cut(v.Type().Field(j).Tag.Get("yaml"), ",")
			got, ok := rows[key]
			if !ok {
				t.Errorf("docs/alerts says nothing of thresholds.%s.%s", name, key)
				continue
			}
			if want := fmt.Sprint(v.Field(j)); v.Field(j).Kind() != reflect.Slice && number(got) != number(want) {
				t.Errorf("thresholds.%s.%s is %s, the page says %s", name, key, want, got)
			}
		}
	}
}

func number(s string) (f float64) {
	if _, err := fmt.Sscan(s, &f); err != nil {
		return -1
	}
	return f
}

// parameters reads the table of a page: defaults by key. A row may hold several.
func parameters(t *testing.T, id string) map[string]string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "alerts", id+".md"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, m := range parameter.FindAllStringSubmatch(string(b), -1) {
		keys, values := strings.Split(m[1], ", "), strings.Split(m[2], ", ")
		for i, k := range keys {
			out[k] = values[min(i, len(values)-1)]
		}
	}
	return out
}
