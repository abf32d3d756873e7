package config_test

import (
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/flowstitch/flowstitch/pkg/config"
	"github.com/flowstitch/flowstitch/pkg/kafkaclient"
)

var update = flag.Bool("update", false, "write fields.txt")

// TestFields holds fields.txt to the comments of all fields with a yaml tag:
// go test ./pkg/config -run Fields -update writes it.
func TestFields(t *testing.T) {
	var lines []string
	root := filepath.Join("..", "..")
	for _, top := range []string{"pkg", "services"} {
		err := filepath.WalkDir(filepath.Join(root, top), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			rel, err := filepath.Rel(root, filepath.Dir(path))
			if err != nil {
				return err
			}
			f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
			if err != nil {
				return err
			}
			lines = append(lines, fieldsOf(f, filepath.ToSlash(rel))...)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(lines)
	text := strings.Join(lines, "")
	if *update {
		if err := os.WriteFile("fields.txt", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if is, err := os.ReadFile("fields.txt"); err != nil || string(is) != text {
		t.Errorf("fields.txt is out of date: go test ./pkg/config -run Fields -update (%v)", err)
	}
	if len(lines) < 50 {
		t.Errorf("only %d fields have a comment", len(lines))
	}
}

// fieldsOf returns the lines of a file's struct types.
func fieldsOf(f *ast.File, pkg string) (lines []string) {
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		s, ok := spec.Type.(*ast.StructType)
		if !ok {
			return true
		}
		for _, field := range s.Fields.List {
			if field.Tag == nil {
				continue
			}
			tag, err := strconv.Unquote(field.Tag.Value)
			text := strings.Join(strings.Fields(field.Doc.Text()+" "+field.Comment.Text()), " ")
			if err != nil || reflect.StructTag(tag).Get("yaml") == "" || text == "" {
				continue
			}
			for _, name := range field.Names {
				lines = append(lines, pkg+"."+spec.Name.Name+"."+name.Name+"\t"+text+"\n")
			}
		}
		return true
	})
	return lines
}

// TestDumpExplains: a key stands under its comment, and all that is dumped loads
// again.
func TestDumpExplains(t *testing.T) {
	var b strings.Builder
	want := kafkaclient.Default()
	if err := config.Dump(&b, &want); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "# Brokers are the seed brokers, host:port; any of them will do.\nbrokers:") {
		t.Errorf("the key is not explained:\n%s", b.String())
	}
	var got kafkaclient.Config
	var again strings.Builder
	if err := config.Parse([]byte(b.String()), &got); err != nil {
		t.Fatal(err)
	}
	if err := config.Dump(&again, &got); err != nil || again.String() != b.String() {
		t.Errorf("%v: dumped\n%sand again\n%s", err, b.String(), again.String())
	}
	for i, line := range strings.Split(b.String(), "\n") {
		if len(line) > 120 {
			t.Errorf("line %d has %d bytes", i+1, len(line))
		}
	}
}
