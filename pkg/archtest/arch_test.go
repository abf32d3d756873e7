package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/flowstitch/flowstitch/"

// root is the module's directory, two above this package.
const root = "../.."

// file is one parsed Go file of the project.
type file struct {
	path string // from the module's root, with slashes
	pkg  string // its directory
	test bool
	ast  *ast.File
	fset *token.FileSet
	src  []byte
}

func (f *file) imports() (paths []string) {
	for _, s := range f.ast.Imports {
		p, _ := strconv.Unquote(s.Path.Value) // the parser has accepted it
		paths = append(paths, p)
	}
	return paths
}

func load(t *testing.T) (files []*file) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return skipDir(path, d)
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		fset := token.NewFileSet()
		parsed, err := parser.ParseFile(fset, path, src, parser.ParseComments)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		files = append(files, &file{
			path: rel, pkg: filepath.ToSlash(filepath.Dir(rel)), test: strings.HasSuffix(rel, "_test.go"),
			ast: parsed, fset: fset, src: src,
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 50 {
		t.Fatalf("only %d files found: is the root right?", len(files))
	}
	return files
}

// skipDir passes over what is not of this module: hidden folders, testdata and
// nested modules.
func skipDir(path string, d fs.DirEntry) error {
	if path == root {
		return nil
	}
	if strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "node_modules" {
		return fs.SkipDir
	}
	if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil {
		return fs.SkipDir
	}
	return nil
}

// pure is the pure ring: a function of its arguments, so that the same log
// gives the same sessions and findings wherever and whenever it is read.
var pure = []string{"flow", "flowlog", "session", "window", "detect", "rule", "alert", "wire", "scenario"}

// impure is what the pure ring must not import, and why.
var impure = map[string]string{
	"os": "files are the runtime ring's", "net": "use net/netip", "net/http": "I/O is the runtime ring's",
	"context": "nothing pure waits", "sync": "nothing pure is shared", "sync/atomic": "nothing pure is shared",
	"log": "return what happened", "log/slog": "return what happened",
	"math/rand": "not repeatable", "math/rand/v2": "not repeatable", "crypto/rand": "not repeatable",
}

func ring(pkg string) string {
	name, ok := strings.CutPrefix(pkg, "pkg/")
	if !ok {
		return strings.SplitN(pkg, "/", 2)[0]
	}
	if slices.Contains(pure, strings.SplitN(name, "/", 2)[0]) {
		return "pure"
	}
	return "runtime"
}

func TestPurity(t *testing.T) {
	for _, f := range load(t) {
		if ring(f.pkg) != "pure" || f.test {
			continue
		}
		for _, p := range f.imports() {
			if why, bad := impure[p]; bad {
				t.Errorf("%s imports %s: %s", f.path, p, why)
			}
			if own, ok := strings.CutPrefix(p, module); ok && ring(own) != "pure" {
				t.Errorf("%s imports %s, which is not of the pure ring", f.path, own)
			}
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%s: a goroutine in the pure ring", f.fset.Position(n.Pos()))
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains([]string{"Now", "Since", "Until", "Sleep", "After", "Tick", "NewTimer", "NewTicker"}, n.Sel.Name) {
					t.Errorf("%s: time.%s in the pure ring: time is an argument", f.fset.Position(n.Pos()), n.Sel.Name)
				}
			}
			return true
		})
	}
}

func TestRings(t *testing.T) {
	for _, f := range load(t) {
		for _, p := range f.imports() {
			own, ok := strings.CutPrefix(p, module)
			if !ok {
				continue
			}
			from, to := ring(f.pkg), ring(own)
			if (from == "pure" || from == "runtime") && (to == "services" || to == "cmd") {
				t.Errorf("%s imports %s: pkg never imports what is built on it", f.path, own)
			}
			if from == "services" && to == "cmd" {
				t.Errorf("%s imports %s", f.path, own)
			}
			if f.pkg == "pkg/flow" && !f.test {
				t.Errorf("%s imports %s: flow imports nothing of ours", f.path, own)
			}
		}
	}
}

func TestPackageDocs(t *testing.T) {
	docs := map[string]string{}
	for _, f := range load(t) {
		if f.test {
			continue
		}
		if _, ok := docs[f.pkg]; !ok {
			docs[f.pkg] = ""
		}
		if f.ast.Doc != nil {
			docs[f.pkg] += f.ast.Doc.Text()
		}
	}
	for pkg, doc := range docs {
		if len(doc) < 60 {
			t.Errorf("%s: the package does not say what it guarantees", pkg)
		}
	}
}

// TestHouseRules holds the budgets and bans of CONTRIBUTING.md.
func TestHouseRules(t *testing.T) {
	for _, f := range load(t) {
		if n := strings.Count(string(f.src), "\n"); n > 600 {
			t.Errorf("%s has %d lines: is there a seam?", f.path, n)
		}
		if filepath.Base(f.path) == "main.go" && strings.HasPrefix(f.path, "services/") && strings.Count(string(f.src), "\n") > 25 {
			t.Errorf("%s: a service's main is 25 lines at most", f.path)
		}
		for _, mark := range []string{"TO" + "DO", "FIX" + "ME", "X" + "XX"} {
			if strings.Contains(string(f.src), mark+":") || strings.Contains(string(f.src), "// "+mark) {
				t.Errorf("%s: an unfinished mark, %s", f.path, mark)
			}
		}
		for _, d := range f.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if fn.Name.Name == "init" && fn.Recv == nil {
				t.Errorf("%s: no init functions", f.fset.Position(fn.Pos()))
			}
			if lines := f.fset.Position(fn.End()).Line - f.fset.Position(fn.Pos()).Line; lines > 100 && !f.test {
				t.Errorf("%s: %s has %d lines", f.fset.Position(fn.Pos()), fn.Name.Name, lines)
			}
		}
		if f.test {
			noSleep(t, f)
		}
	}
}

func noSleep(t *testing.T, f *file) {
	ast.Inspect(f.ast, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Name == "Sleep" {
			if x, ok := s.X.(*ast.Ident); ok && x.Name == "time" {
				t.Errorf("%s: tests never sleep to wait for something", f.fset.Position(n.Pos()))
			}
		}
		return true
	})
}

// TestBannedImports names what the project decided against.
func TestBannedImports(t *testing.T) {
	banned := map[string]string{
		"encoding/json":              "JSON goes through github.com/segmentio/encoding/json",
		"io/ioutil":                  "os and io have it",
		"github.com/pkg/errors":      "errors and fmt have it",
		"github.com/golang/protobuf": "google.golang.org/protobuf",
	}
	for _, f := range load(t) {
		for _, p := range f.imports() {
			if why, bad := banned[p]; bad && !f.test {
				t.Errorf("%s imports %s: %s", f.path, p, why)
			}
		}
	}
}
