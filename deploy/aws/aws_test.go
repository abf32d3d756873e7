// Package aws_test judges the files for the AWS side: that they are what their
// tools accept, that they agree with each other, and that the rights for the
// reader are those of the calls that it makes.
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

	"github.com/goccy/go-yaml"
	"github.com/segmentio/encoding/json"

	"github.com/flowstitch/flowstitch/pkg/flowlog"
	"github.com/flowstitch/flowstitch/pkg/kafkatest"
)

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestPolicyIsWhatTheReaderCalls holds the policy against the calls in the code.
func TestPolicyIsWhatTheReaderCalls(t *testing.T) {
	var policy struct {
		Statement []struct{ Action any }
	}
	if err := json.Unmarshal([]byte(read(t, "iam/reader-policy.json")), &policy); err != nil {
		t.Fatal(err)
	}
	var allowed []string
	for _, s := range policy.Statement {
		list, _ := s.Action.([]any)
		for _, a := range list {
			allowed = append(allowed, strings.TrimPrefix(a.(string), "kinesis:"))
		}
	}
	sources, err := filepath.Glob("../../pkg/kinesis/*.go")
	if err != nil || len(sources) == 0 {
		t.Fatalf("%v, %d sources", err, len(sources))
	}
	call := regexp.MustCompile(`\.client\.([A-Z]\w+)\(`)
	var called []string
	for _, path := range sources {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		for _, m := range call.FindAllStringSubmatch(read(t, path), -1) {
			called = append(called, m[1])
		}
	}
	slices.Sort(called)
	slices.Sort(allowed)
	if called = slices.Compact(called); !slices.Equal(called, allowed) {
		t.Errorf("the reader calls %v, the policy allows %v", called, allowed)
	}
	reader := read(t, "terraform/reader.tf")
	for _, a := range allowed {
		if !strings.Contains(reader, `"kinesis:`+a+`"`) {
			t.Errorf("terraform/reader.tf does not allow %s", a)
		}
	}
}

// formats returns the log format of the template, of the module and of the page.
func formats(t *testing.T) map[string]string {
	t.Helper()
	var template struct {
		Resources map[string]struct {
			Properties map[string]any `yaml:"Properties"`
		} `yaml:"Resources"`
	}
	// The tags of CloudFormation's functions are of no interest here.
	plain := regexp.MustCompile(`!(Ref|GetAtt|Sub)\b`).ReplaceAllString(read(t, "cloudformation/flowstitch.yaml"), "")
	if err := yaml.Unmarshal([]byte(plain), &template); err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	out["cloudformation"], _ = template.Resources["FlowLog"].Properties["LogFormat"].(string)
	var module []string
	for _, m := range regexp.MustCompile(`"\$(\$\{[a-z-]+\})"`).FindAllStringSubmatch(read(t, "terraform/main.tf"), -1) {
		module = append(module, m[1])
	}
	out["terraform"] = strings.Join(module, " ")
	page := regexp.MustCompile(`(?s)format: >-\n(.*?)\n  interval`).FindStringSubmatch(read(t, "../../docs/connect-your-vpc.md"))
	if page == nil {
		t.Fatal("the page shows no format")
	}
	out["page"] = strings.Join(strings.Fields(page[1]), " ")
	return out
}

func TestOneFormatEverywhere(t *testing.T) {
	all := formats(t)
	for where, s := range all {
		f, err := flowlog.ParseFormat(s)
		if err != nil {
			t.Fatalf("%s: %v", where, err)
		}
		if u := f.Unknown(); len(u) > 0 {
			t.Errorf("%s: AWS has no field %v", where, u)
		}
		if lacks := f.Lacks(); lacks != "" {
			t.Errorf("%s: %s is missing", where, lacks)
		}
		if s != all["page"] {
			t.Errorf("%s: %s\npage: %s", where, s, all["page"])
		}
	}
}

// wantReal skips a test of a tool from outside Go unless the environment asks for
// wantReal components; it reports whether a missing one is a failure.
func wantReal(t *testing.T) (strict bool) {
	t.Helper()
	strict = os.Getenv(kafkatest.EnvStrict) == "1"
	if !strict && os.Getenv(kafkatest.EnvReal) != "1" {
		t.Skipf("%s=1 asks for it", kafkatest.EnvReal)
	}
	return strict
}

// check runs a checker.
func check(t *testing.T, env []string, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// hclfmt is the parser and the canonical form of Terraform's language, where
// there is no Terraform.
const hclfmt = "github.com/hashicorp/hcl/v2/cmd/hclfmt@v2.24.0"

// TestTerraformParses has Terraform read every file and hold it against its
// canonical form; terraform validate needs the AWS provider, which it fetches.
func TestTerraformParses(t *testing.T) {
	wantReal(t)
	if _, err := exec.LookPath("terraform"); err == nil {
		check(t, nil, "terraform", "fmt", "-check", "-diff", "terraform")
		return
	}
	files, err := filepath.Glob("terraform/*.tf")
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %d files", err, len(files))
	}
	check(t, nil, "go", append([]string{"run", hclfmt, "-check"}, files...)...)
}

const cfnLintVersion = "1.51.0" // from PyPI

func TestCloudFormationLint(t *testing.T) {
	strict := wantReal(t)
	dir, err := cfnLint(t)
	switch {
	case err == nil:
		check(t, []string{"PYTHONPATH=" + dir}, "python3", filepath.Join(dir, "bin", "cfn-lint"), "cloudformation/flowstitch.yaml")
	case strict:
		t.Fatal(err)
	default:
		t.Skip(err)
	}
}

// cfnLint returns the folder of the user's cache that holds cfn-lint, which it
// fetches once.
func cfnLint(t *testing.T) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	cache = filepath.Join(cache, "flowstitch")
	dir := filepath.Join(cache, "cfn-lint-"+cfnLintVersion)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	// It gets its name when it is whole, whoever else installs it meanwhile.
	tmp, err := os.MkdirTemp(cache, "cfn-lint-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	pip := exec.CommandContext(t.Context(), "python3", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", tmp, "cfn-lint=="+cfnLintVersion)
	if out, err := pip.CombinedOutput(); err != nil {
		return "", fmt.Errorf("pip can not install cfn-lint %s: %w: %s", cfnLintVersion, err, out[:min(len(out), 500)])
	}
	if err := os.Rename(tmp, dir); err != nil {
		if _, there := os.Stat(dir); there != nil {
			return "", err
		}
	}
	return dir, nil
}
