package aws_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// block is one block of Terraform's language.
type block struct {
	head  []string // its type and labels
	attrs map[string]string
	inner []*block
}

// Lines of a file in canonical form, which TestTerraformParses asserts.
var (
	opens  = regexp.MustCompile(`^\s*(\w+)((?: "[^"]*")*) \{(\})?$`)
	assign = regexp.MustCompile(`^\s*(\w+)\s+= (.*)$`)
)

// blocks reads every file of the module.
func blocks(t *testing.T) *block {
	t.Helper()
	files, err := filepath.Glob("terraform/*.tf")
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %d files", err, len(files))
	}
	root := &block{attrs: map[string]string{}}
	for _, name := range files {
		stack := []*block{root}
		attr, depth := "", 0 // an attribute that goes on in the next line
		for i, line := range strings.Split(read(t, name), "\n") {
			top := stack[len(stack)-1]
			text := strings.TrimSpace(line)
			switch m, a := opens.FindStringSubmatch(line), assign.FindStringSubmatch(line); {
			case text == "" || strings.HasPrefix(text, "#"):
			case depth > 0:
				top.attrs[attr] += " " + text
				depth += nesting(text)
			case m != nil:
				b := &block{head: append([]string{m[1]}, labels(m[2])...), attrs: map[string]string{}}
				top.inner = append(top.inner, b)
				if m[3] == "" {
					stack = append(stack, b)
				}
			case a != nil:
				attr, depth = a[1], nesting(a[2])
				top.attrs[attr] = a[2]
			case text == "}" && len(stack) > 1:
				stack = stack[:len(stack)-1]
			default:
				t.Fatalf("%s:%d: this test does not understand %q", name, i+1, line)
			}
		}
	}
	return root
}

func labels(s string) (out []string) {
	for _, m := range regexp.MustCompile(`"([^"]*)"`).FindAllStringSubmatch(s, -1) {
		out = append(out, m[1])
	}
	return out
}

// nesting is how many brackets a line opens more than it closes.
func nesting(s string) int {
	s = regexp.MustCompile(`"[^"]*"`).ReplaceAllString(s, "")
	return strings.Count(s, "{") + strings.Count(s, "[") + strings.Count(s, "(") - strings.Count(s, "}") - strings.Count(s, "]") - strings.Count(s, ")")
}

// providerVersion is the package on npm with the types that HashiCorp generates
// from the schema of its AWS provider, here version 6.25.0.
const providerVersion = "21.22.1"

// schema is what the provider says of its resources and data sources.
type schema struct{ dir string }

// provider fetches the types once into the user's cache.
func provider(t *testing.T) (schema, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return schema{}, err
	}
	cache = filepath.Join(cache, "flowstitch")
	dir := filepath.Join(cache, "terraform-aws-types-"+providerVersion)
	if _, err := os.Stat(dir); err == nil {
		return schema{dir}, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return schema{}, err
	}
	tmp, err := os.MkdirTemp(cache, "terraform-aws-types-")
	if err != nil {
		return schema{}, err
	}
	defer os.RemoveAll(tmp)
	for _, c := range [][]string{
		{"npm", "pack", "--silent", "@cdktf/provider-aws@" + providerVersion},
		{"tar", "-xzf", "cdktf-provider-aws-" + providerVersion + ".tgz", "--wildcards", "package/lib/*/index.d.ts"},
		{"rm", "cdktf-provider-aws-" + providerVersion + ".tgz"},
	} {
		cmd := exec.CommandContext(t.Context(), c[0], c[1:]...)
		cmd.Dir = tmp
		if out, err := cmd.CombinedOutput(); err != nil {
			return schema{}, fmt.Errorf("%s: %w: %s", strings.Join(c, " "), err, out[:min(len(out), 500)])
		}
	}
	if err := os.Rename(tmp, dir); err != nil {
		if _, there := os.Stat(dir); there != nil {
			return schema{}, err
		}
	}
	return schema{dir}, nil
}

// types returns the declarations of a resource or a data source.
func (s schema) types(t *testing.T, b *block) string {
	t.Helper()
	name := strings.TrimPrefix(b.head[1], "aws_")
	if b.head[0] == "data" {
		name = "data_aws_" + name
	}
	return read(t, filepath.Join(s.dir, "package", "lib", strings.ReplaceAll(name, "_", "-"), "index.d.ts"))
}

var property = regexp.MustCompile(`(?m)^    readonly (\w+)(\?)?: (\w*)`)

// properties returns what an interface has, by name, and which it requires.
func properties(types, name string) (kinds map[string]string, required []string) {
	_, rest, found := strings.Cut(types, "export interface "+name+" ")
	if !found {
		return nil, nil
	}
	body, _, _ := strings.Cut(rest, "\n}")
	kinds = map[string]string{}
	for _, m := range property.FindAllStringSubmatch(body, -1) {
		if kinds[m[1]] = m[3]; m[2] == "" {
			required = append(required, m[1])
		}
	}
	return kinds, required
}

// camel is how the types spell a name.
func camel(s string) string {
	parts := strings.Split(s, "_")
	for i := 1; i < len(parts); i++ {
		parts[i] = strings.ToUpper(parts[i][:1]) + parts[i][1:]
	}
	return strings.Join(parts, "")
}

// meta are the arguments that Terraform itself gives to every block.
var meta = []string{"count", "for_each", "depends_on", "provider"}

// fits holds a block against an interface of the provider's types.
func fits(t *testing.T, types, name, where string, b *block) {
	t.Helper()
	kinds, required := properties(types, name)
	if kinds == nil {
		t.Errorf("%s: the provider has no %s", where, name)
		return
	}
	var have []string
	for a := range b.attrs {
		have = append(have, camel(a))
		if _, known := kinds[camel(a)]; !known && !slices.Contains(meta, a) {
			t.Errorf("%s: the provider has no argument %s", where, a)
		}
	}
	for _, in := range b.inner {
		kind, body := in.head[0], in
		if kind == "dynamic" {
			kind, body = in.head[1], in.inner[0]
		}
		have = append(have, camel(kind))
		if _, known := kinds[camel(kind)]; !known {
			t.Errorf("%s: the provider has no block %s", where, kind)
			continue
		}
		key := camel(kind)
		fits(t, types, strings.TrimSuffix(name, "Config")+strings.ToUpper(key[:1])+key[1:], where+"."+kind, body)
	}
	for _, r := range required {
		if !slices.Contains(have, r) {
			t.Errorf("%s: %s is required", where, r)
		}
	}
}

var (
	class     = regexp.MustCompile(`export interface (\w+Config) `)
	reference = regexp.MustCompile(`\b(data\.)?(aws_\w+)\.(\w+)(?:\[[^\]]*\])?(?:\.(\w+))?|\b(var|local)\.(\w+)`)
)

// validate is the real thing, where there is a terraform that can fetch the
// provider; the test's own look at the schema needs neither. Without a way to the
// registry TF_CLI_ARGS_init=-plugin-dir=... names a folder with the provider.
func validate(t *testing.T) {
	if _, err := exec.LookPath("terraform"); err != nil {
		t.Logf("terraform validate is left out: %v", err)
		return
	}
	dir := t.TempDir() // init writes beside the files
	if err := os.CopyFS(dir, os.DirFS("terraform")); err != nil {
		t.Fatal(err)
	}
	init := exec.CommandContext(t.Context(), "terraform", "-chdir="+dir, "init", "-backend=false", "-input=false", "-no-color")
	if out, err := init.CombinedOutput(); err != nil {
		t.Logf("terraform validate is left out, the provider can not be fetched: %v: %s", err, out)
		return
	}
	check(t, nil, "terraform", "-chdir="+dir, "validate", "-no-color")
	t.Log("terraform validate: the configuration is valid")
}

// TestTerraformFitsTheProvider does what terraform validate would: arguments and
// blocks are those of the provider's schema, what it requires is there, and each
// reference leads to something that exists.
func TestTerraformFitsTheProvider(t *testing.T) {
	strict := wantReal(t)
	validate(t)
	s, err := provider(t)
	switch {
	case err == nil:
	case strict:
		t.Fatal(err)
	default:
		t.Skip(err)
	}
	root := blocks(t)
	declared, types := map[string]bool{}, map[string]string{}
	for _, b := range root.inner {
		switch b.head[0] {
		case "resource", "data":
			where := strings.TrimPrefix(strings.Join(b.head, "."), "resource.")
			types[where] = s.types(t, b)
			fits(t, types[where], class.FindStringSubmatch(types[where])[1], where, b)
		case "variable":
			declared["var."+b.head[1]] = true
		case "locals":
			for a := range b.attrs {
				declared["local."+a] = true
			}
		}
	}
	if len(types) < 10 {
		t.Fatalf("only %d resources were looked at", len(types))
	}
	refer(t, root, declared, types)
}

// refer checks the references in a block and what is in it.
func refer(t *testing.T, b *block, declared map[string]bool, types map[string]string) {
	t.Helper()
	for name, text := range b.attrs {
		for _, m := range reference.FindAllStringSubmatch(text, -1) {
			if m[5] != "" {
				if !declared[m[5]+"."+m[6]] {
					t.Errorf("%s: there is no %s.%s", name, m[5], m[6])
				}
				continue
			}
			of, there := types[m[1]+m[2]+"."+m[3]]
			if !there {
				t.Errorf("%s: there is no %s%s.%s", name, m[1], m[2], m[3])
			} else if m[4] != "" && !strings.Contains(of, " get "+camel(m[4])+"()") {
				t.Errorf("%s: %s%s has no attribute %s", name, m[1], m[2], m[4])
			}
		}
	}
	for _, in := range b.inner {
		refer(t, in, declared, types)
	}
}
