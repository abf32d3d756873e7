package doctest

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

const root = "../.."

// block is one fenced block of a page.
type block struct {
	page string
	line int
	info string
	text string
}

func pages(t *testing.T) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules" || d.Name() == "testdata") {
			return fs.SkipDir
		}
		if strings.HasSuffix(path, ".md") {
			paths = append(paths, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) < 3 {
		t.Fatalf("only %d pages found", len(paths))
	}
	return paths
}

func blocks(t *testing.T, path string) (out []block) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var cur *block
	for i, line := range strings.Split(string(b), "\n") {
		fence := strings.HasPrefix(strings.TrimSpace(line), "```")
		switch {
		case fence && cur == nil:
			cur = &block{page: strings.TrimPrefix(path, root+"/"), line: i + 1, info: strings.TrimPrefix(strings.TrimSpace(line), "```")}
		case fence:
			out, cur = append(out, *cur), nil
		case cur != nil:
			cur.text += line + "\n"
		}
	}
	return out
}

// build builds the operator's program once and returns the folder it lies in.
func build(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("go", "build", "-o", filepath.Join(dir, "flowstitch"), "./cmd/flowstitch")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return dir
}

// TestBlocksRun runs every block marked "sh run" with bash, from the project's
// root, in the order of each page; what a page writes it writes to $WORK.
func TestBlocksRun(t *testing.T) {
	bin := build(t)
	for _, page := range pages(t) {
		work := t.TempDir()
		for _, b := range blocks(t, page) {
			if b.info != "sh run" {
				continue
			}
			t.Run(strings.ReplaceAll(b.page, "/", "_"), func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
				defer cancel()
				cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", b.text)
				cmd.Dir = root
				cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "WORK="+work, "NO_COLOR=1")
				var out bytes.Buffer
				cmd.Stdout, cmd.Stderr = &out, &out
				cmd.WaitDelay = 5 * time.Second
				if err := cmd.Run(); err != nil {
					t.Errorf("%s:%d: %v\n%s\n%.4000s", b.page, b.line, err, b.text, out.String())
				}
			})
		}
	}
}

var invocation = regexp.MustCompile(`(?m)(?:^|[\s|$(])(?:flowstitch|go run \./cmd/flowstitch) +([a-z]+)((?: +[^\s|;&)]+)*)`)

// TestCommandsExist checks each command line of the pages, run or not, against
// the help of the command it names.
func TestCommandsExist(t *testing.T) {
	bin := filepath.Join(build(t), "flowstitch")
	helps := map[string]string{}
	help := func(words ...string) string {
		key := strings.Join(words, " ")
		if _, ok := helps[key]; !ok {
			out, err := exec.Command(bin, append(words, "-help")...).CombinedOutput()
			if err != nil {
				helps[key] = ""
			} else {
				helps[key] = string(out)
			}
		}
		return helps[key]
	}
	seen := 0
	for _, page := range pages(t) {
		for _, b := range blocks(t, page) {
			if !strings.HasPrefix(b.info, "sh") && !strings.HasPrefix(b.info, "console") {
				continue
			}
			text := strings.ReplaceAll(b.text, "\\\n", " ")
			for _, m := range invocation.FindAllStringSubmatch(text, -1) {
				seen++
				checkInvocation(t, b, m[1], strings.Fields(m[2]), help)
			}
		}
	}
	if seen == 0 {
		t.Error("no page shows a command: is the pattern right?")
	}
}

var flagName = regexp.MustCompile(`^--?([a-z][a-z0-9-]*)`)

func checkInvocation(t *testing.T, b block, name string, args []string, help func(...string) string) {
	if name == "version" || name == "help" {
		return
	}
	text := help(name)
	if text == "" {
		t.Errorf("%s:%d: flowstitch has no command %q", b.page, b.line, name)
		return
	}
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") { // a command of commands: rules test, tail alerts
		if sub := help(name, args[0]); sub != "" {
			text += sub
		}
	}
	for _, a := range args {
		m := flagName.FindStringSubmatch(a)
		if m == nil {
			continue
		}
		if !regexp.MustCompile(`(?m)(^|[\s\[,])--?` + regexp.QuoteMeta(m[1]) + `\b`).MatchString(text) {
			t.Errorf("%s:%d: flowstitch %s has no flag -%s", b.page, b.line, name, m[1])
		}
	}
}

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

func TestLinksLeadSomewhere(t *testing.T) {
	for _, page := range pages(t) {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(b), -1) {
			target, _, _ := strings.Cut(m[1], "#")
			if target == "" || strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), target)); err != nil {
				t.Errorf("%s: the link to %s leads nowhere", strings.TrimPrefix(page, root+"/"), target)
			}
		}
	}
}
