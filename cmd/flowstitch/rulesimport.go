package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/flowstitch/flowstitch/pkg/rule/sigma"
)

func rulesImport(_ context.Context, e *env, args []string) error {
	set := newFlags(e, rulesCommand())
	out := set.String("o", "-", "write the rules to `file`; - is standard output")
	paths, err := parseMixed(set, args)
	if err != nil {
		return err
	}
	if len(paths) == 0 {
		return usagef("import what: files of Sigma rules (*.yml), or directories of them")
	}
	if paths, err = gather(paths, ".yml"); err != nil {
		return err
	}
	var texts [][]byte
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		texts = append(texts, b)
	}
	res, err := sigma.Import(texts...)
	if err != nil {
		return err
	}
	for _, n := range res.Notes {
		fmt.Fprintln(e.stderr, n)
	}
	fmt.Fprintf(e.stderr, "%d rules imported, %d not\n", len(res.File.Rules), res.Skipped)
	yaml, err := res.File.Marshal()
	if err != nil {
		return err
	}
	w := e.stdout
	if *out != "-" {
		f, err := os.Create(*out)
		if err != nil {
			return err
		}
		defer f.Close()
		w = io.Writer(f)
	}
	_, err = w.Write(yaml)
	return err
}
