package check

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestKustomizations: what a person writes into an overlay of their own.
func TestKustomizations(t *testing.T) {
	msk, local := "resources: [ROOT/overlays/msk]\n", "resources: [ROOT/overlays/local]\n"
	podIdentity := strings.NewReplacer("../../", "ROOT/", "components/irsa", "components/pod-identity")
	for _, c := range []struct{ name, text, want string }{
		{"patch of a misspelt name", msk + "patches:\n- target: {kind: Deployment, name: ingset}\n  patch: |-\n    - {op: replace, path: /spec/replicas, value: 4}\n", "hits nothing"},
		{"patch of a misspelt kind", msk + "patches:\n- target: {kind: Deployments}\n  patch: |-\n    - {op: replace, path: /spec/replicas, value: 4}\n", "hits nothing"},
		{"image misspelt", msk + "images:\n- {name: flowstitch/ingset, newTag: 0.2.0}\n", "no container has"},
		{"one image forgotten", msk + "images:\n- {name: flowstitch/ingest, newName: r.example.com/x/ingest}\n", "different places"},
		{"label in every selector", msk + "labels:\n- {pairs: {env: prod}, includeSelectors: true}\n", "no other label"},
		{"map that no pod mounts", msk + "configMapGenerator:\n- {name: extra, literals: [a=b]}\n", "no pod refers"},
		{"prefix, of which a scaler knows nothing", "resources: [ROOT/overlays/high-volume]\nnamePrefix: staging-\n", "does not exist"},
		{"more replicas", msk + "replicas:\n- {name: ingest, count: 4}\n", ""},
		{"patch that hits", msk + "patches:\n- target: {kind: Deployment, name: (ingest|detect)}\n  patch: |-\n    - {op: replace, path: /spec/replicas, value: 4}\n", ""},
		{"policy deleted by a patch", local + "patches:\n- target: {kind: NetworkPolicy, name: ingest-aws}\n  patch: |-\n    $patch: delete\n    kind: NetworkPolicy\n    apiVersion: networking.k8s.io/v1\n    metadata: {name: ingest-aws}\n", "AWS APIs"},
		{"another namespace", msk + "namespace: staging\n", ""},
		{"another registry", msk + "images:\n- {name: flowstitch/ingest, newName: r.example.com/x/ingest}\n- {name: flowstitch/sessionize, newName: r.example.com/x/sessionize}\n- {name: flowstitch/detect, newName: r.example.com/x/detect}\n- {name: flowstitch/flowstitch, newName: r.example.com/x/flowstitch}\n", ""},
		{"labels beside the selectors", msk + "labels:\n- {pairs: {env: prod}, includeTemplates: true}\ncommonAnnotations: {owner: sec}\n", ""},
		{"prefix of every name", msk + "namePrefix: staging-\n", ""},
		{"pod identity", "copy", ""},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			f, _ := setup(t, "msk")
			dir, err := filepath.EvalSymlinks(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			root, err := filepath.Abs(k8s)
			if err != nil {
				t.Fatal(err)
			}
			rel, err := filepath.Rel(dir, root)
			if err != nil {
				t.Fatal(err)
			}
			if c.text == "copy" { // as the overlay's own comment says to do it
				if err := os.CopyFS(dir, os.DirFS(filepath.Join(root, "overlays", "msk"))); err != nil {
					t.Fatal(err)
				}
				b, err := os.ReadFile(filepath.Join(dir, "kustomization.yaml"))
				if err != nil {
					t.Fatal(err)
				}
				c.text = podIdentity.Replace(string(b))
			}
			if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(strings.ReplaceAll(c.text, "ROOT", rel)), 0o600); err != nil {
				t.Fatal(err)
			}
			stream, found := Render(dir)
			found = append(found, Check(f.api, f.product, stream)...)
			all := ""
			for _, p := range found {
				all += p.String() + "\n"
			}
			if c.want == "" && all != "" {
				t.Errorf("false alarms:\n%s", all)
			}
			if !strings.Contains(all, c.want) {
				t.Errorf("nothing says %q:\n%s", c.want, all)
			}
		})
	}
}
