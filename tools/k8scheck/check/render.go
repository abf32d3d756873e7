package check

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// Render returns the YAML stream of a kustomize directory, a file or standard
// input ("-"). What kustomize warns of is a finding, and so is a file in the
// directory that nothing uses.
func Render(path string) ([]byte, []Finding) {
	fail := func(err error) ([]byte, []Finding) { return nil, []Finding{{"render", "", err.Error()}} }
	info, err := os.Stat(path)
	switch {
	case path == "-":
		path = "/dev/stdin"
	case err != nil:
		return fail(err)
	case info.IsDir():
		return kustomize(path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return fail(err)
	}
	return b, nil
}

// kustomize renders with kubectl, as an operator does, or where there is none
// with the library that kubectl links.
func kustomize(dir string) ([]byte, []Finding) {
	if _, err := exec.LookPath("kubectl"); err != nil {
		m, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
		if err != nil {
			return nil, []Finding{{"render", "", "kustomize: " + err.Error()}}
		}
		text, err := m.AsYaml()
		if err != nil {
			return nil, []Finding{{"render", "", "kustomize: " + err.Error()}}
		}
		return text, append(unusedFiles(dir), idle(dir, text)...)
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.Command("kubectl", "kustomize", dir)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	var out []Finding
	if err := cmd.Run(); err != nil {
		msg := err.Error()
		if errors.As(err, new(*exec.ExitError)) {
			msg = strings.TrimSpace(stderr.String())
		}
		return nil, []Finding{{"render", "", "kubectl kustomize: " + msg}}
	}
	for _, l := range strings.Split(strings.TrimSpace(stderr.String()), "\n") {
		if l != "" {
			out = append(out, Finding{"render", "", "kubectl kustomize warns: " + l})
		}
	}
	return stdout.Bytes(), append(append(out, unusedFiles(dir)...), idle(dir, stdout.Bytes())...)
}

// unusedFiles: a file that its kustomization does not name is not applied.
func unusedFiles(dir string) []Finding {
	b, err := os.ReadFile(filepath.Join(dir, "kustomization.yaml"))
	if err != nil {
		return []Finding{{"render", "", err.Error()}}
	}
	k := map[string]any{}
	if err := yaml.UnmarshalStrict(b, &k); err != nil {
		return []Finding{{"render", "", err.Error()}}
	}
	named := map[string]bool{"kustomization.yaml": true, "README.md": true}
	var out []Finding
	walk("", k, func(_ string, v any) {
		t, ok := v.(string)
		if !ok {
			return
		}
		if _, file, ok := strings.Cut(t, "="); ok {
			t = file
		}
		named[filepath.Clean(t)] = true
		if info, err := os.Stat(filepath.Join(dir, t)); err == nil && info.IsDir() && strings.HasPrefix(t, "../") {
			out = append(out, unusedFiles(filepath.Join(dir, t))...)
		}
	})
	err = filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		if !d.IsDir() && !named[rel] {
			out = append(out, Finding{"render", "", fmt.Sprintf("%s is named by no kustomization.yaml: it is not applied", p)})
		}
		return nil
	})
	if err != nil {
		out = append(out, Finding{"render", "", err.Error()})
	}
	return out
}

// The modules that carry the CustomResourceDefinitions, and where. Only files
// are read from them, so they are not dependencies of this program.
const (
	kedaModule     = "github.com/kedacore/keda/v2@v2.21.0"
	kedaCRDs       = "config/crd/bases/keda.sh_*.yaml"
	operatorModule = "github.com/prometheus-operator/prometheus-operator@v0.85.0"
	operatorCRDs   = "example/prometheus-operator-crd/monitoring.coreos.com_*.yaml"
)

// ModuleCRDs returns the definitions of KEDA and of the Prometheus operator
// from their released Go modules; the go command checks their sums.
func ModuleCRDs() ([][]byte, error) {
	var docs [][]byte
	for _, m := range []struct{ module, glob string }{{kedaModule, kedaCRDs}, {operatorModule, operatorCRDs}} {
		cmd := exec.Command("go", "mod", "download", "-json", m.module)
		cmd.Dir = os.TempDir()
		text, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("go mod download %s: %w: %s", m.module, err, text)
		}
		var got struct{ Dir string }
		if err := json.Unmarshal(text, &got); err != nil {
			return nil, fmt.Errorf("go mod download %s: %w", m.module, err)
		}
		files, err := filepath.Glob(filepath.Join(got.Dir, filepath.FromSlash(m.glob)))
		if err != nil || len(files) == 0 {
			return nil, fmt.Errorf("%s holds no %s", m.module, m.glob)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				return nil, err
			}
			docs = append(docs, b)
		}
	}
	return docs, nil
}

// ConfigChecker asks the built services in dir whether they take a
// configuration, with their own -check.
func ConfigChecker(dir string) func(service string, file []byte) error {
	return func(service string, file []byte) error {
		f, err := os.CreateTemp("", service+"-*.yaml")
		if err != nil {
			return err
		}
		defer os.Remove(f.Name())
		if _, err := f.Write(file); err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
		text, err := exec.Command(filepath.Join(dir, service), "-config", f.Name(), "-check").CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s", strings.TrimSpace(strings.ReplaceAll(string(text), f.Name(), service+".yaml")))
		}
		return nil
	}
}
