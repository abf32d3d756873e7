package check

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

const k8s = "../../../deploy/k8s"

// fixture is what all tests share: compiled schemas and rendered overlays.
type fixture struct {
	api     *API
	product *Product
	streams map[string]string
	strimzi bool // the Strimzi schemas were there
	bin     bool // the services were there
}

var load = sync.OnceValues(func() (*fixture, error) {
	f := &fixture{streams: map[string]string{}}
	docs, err := ModuleCRDs()
	if err != nil {
		return nil, err
	}
	// Strimzi releases its schemas in no Go module: those of the shared data
	// are used where they are.
	files, _ := filepath.Glob("../../../../shared/data/crds/strimzi-*.yaml")
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		docs = append(docs, b)
	}
	f.strimzi = len(files) > 0
	if f.api, err = NewAPI(docs...); err != nil {
		return nil, err
	}
	if f.product, err = LoadProduct(k8s+"/product.json", "../../../docs/operations.md"); err != nil {
		return nil, err
	}
	// The services' own -check judges configurations where they are built, as
	// hack/k8s-test.sh does first.
	if bin := os.Getenv("K8SCHECK_BIN"); bin != "" {
		f.product.CheckConfig = ConfigChecker(bin)
		f.bin = true
	}
	return f, nil
})

// setup loads the fixture and renders an overlay once.
func setup(t *testing.T, overlay string) (*fixture, string) {
	t.Helper()
	f, err := load()
	if err != nil {
		t.Fatal(err)
	}
	if overlay == "strimzi" && !f.strimzi {
		if os.Getenv("FLOWSTITCH_CI_STRICT") == "1" {
			t.Fatal("no Strimzi schemas in ../shared/data/crds")
		}
		t.Skip("no Strimzi schemas in ../shared/data/crds")
	}
	if _, ok := f.streams[overlay]; !ok {
		stream, problems := Render(filepath.Join(k8s, "overlays", overlay))
		for _, p := range problems {
			t.Errorf("%s: %s", overlay, p)
		}
		f.streams[overlay] = string(stream)
	}
	return f, f.streams[overlay]
}

func TestOverlaysAreClean(t *testing.T) {
	for _, o := range []string{"local", "msk", "high-volume", "strimzi"} {
		t.Run(o, func(t *testing.T) {
			f, stream := setup(t, o)
			for _, p := range Check(f.api, f.product, []byte(stream)) {
				t.Error(p)
			}
		})
	}
}

// mutation is one mistake: in the first document that holds all of in, old
// becomes new.
type mutation struct {
	name, overlay string
	in            string // words that the document holds, separated by blanks
	old, new      string // old is a regular expression, its first match is replaced
	want          string // the check that must find it; after "-check " only the services can
}

func (m mutation) apply(t *testing.T, stream string) string {
	t.Helper()
	docs := strings.Split(stream, "\n---\n")
	re := regexp.MustCompile(m.old)
	for i, d := range docs {
		ok := true
		for _, w := range strings.Fields(m.in) {
			ok = ok && strings.Contains(d, strings.ReplaceAll(w, "~", " "))
		}
		if at := re.FindStringSubmatchIndex(d); ok && at != nil {
			new := string(re.ExpandString(nil, m.new, d, at))
			docs[i] = d[:at[0]] + new + d[at[1]:]
			return strings.Join(docs, "\n---\n")
		}
	}
	t.Fatalf("nothing to break: no document with %q holds %q", m.in, m.old)
	return ""
}

func TestMutations(t *testing.T) {
	for _, m := range mutations() {
		t.Run(strings.ReplaceAll(m.name, " ", "-"), func(t *testing.T) {
			overlay := m.overlay
			if overlay == "" {
				overlay = "msk"
			}
			f, stream := setup(t, overlay)
			if strings.HasPrefix(m.want, "-check") && !f.bin {
				t.Skip("the built services are not at $K8SCHECK_BIN")
			}
			m.want = strings.TrimPrefix(m.want, "-check ")
			found := Check(f.api, f.product, []byte(m.apply(t, stream)))
			for _, p := range found {
				if p.Check == m.want {
					return
				}
			}
			t.Errorf("not caught by %q; findings: %v", m.want, found)
		})
	}
}
