// Command k8scheck judges rendered Kubernetes manifests without a cluster: with
// the API server's own code, and with checks of our own that no schema can
// make. It prints one line a mistake and exits with status 1 if there are any.
//
//	go run . -product ../../deploy/k8s/product.json ../../deploy/k8s/overlays/*
//
// An argument is a kustomize directory (rendered with kubectl kustomize), a
// YAML file, or - for standard input.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/flowstitch/flowstitch/tools/k8scheck/check"
)

func main() {
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	fs := flag.NewFlagSet("k8scheck", flag.ExitOnError)
	product := fs.String("product", "deploy/k8s/product.json", "what the program tells of itself, `file`")
	operations := fs.String("operations", "", "operations page whose headings runbook links must name, `file`")
	crds := fs.String("crds", "", "more CustomResourceDefinitions, a `directory` of YAML")
	bin := fs.String("bin", "", "built services, whose -check judges each configuration, a `directory`")
	rules := fs.String("rules", "", "also write the Prometheus rules of the last set to this `file`, for promtool")
	written := fs.String("write-crds", "", "also write every known CustomResourceDefinition to this `directory`, for a cluster")
	_ = fs.Parse(args)
	start := time.Now()
	docs, err := definitions(*crds)
	if err == nil && *written != "" {
		err = writeAll(*written, docs)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "k8scheck:", err)
		return 2
	}
	api, p, err := load(*product, *operations, *bin, docs)
	if err != nil {
		fmt.Fprintln(os.Stderr, "k8scheck:", err)
		return 2
	}
	bad := 0
	for _, path := range fs.Args() {
		stream, problems := check.Render(path)
		for _, f := range problems {
			fmt.Printf("%s: %s\n", path, f)
		}
		bad += len(problems)
		for _, f := range check.Check(api, p, stream) {
			fmt.Printf("%s: %s\n", path, f)
			bad++
		}
		if *rules != "" {
			if text, err := check.Rules(stream); err == nil {
				if err := os.WriteFile(*rules, text, 0o600); err != nil {
					fmt.Fprintln(os.Stderr, "k8scheck:", err)
					return 2
				}
			}
		}
	}
	fmt.Printf("k8scheck: %d sets, %d mistakes, %.1f s\n", fs.NArg(), bad, time.Since(start).Seconds())
	if bad > 0 {
		return 1
	}
	return 0
}

func load(product, operations, bin string, docs [][]byte) (*check.API, *check.Product, error) {
	p, err := check.LoadProduct(product, operations)
	if err != nil {
		return nil, nil, err
	}
	if bin != "" {
		p.CheckConfig = check.ConfigChecker(bin)
	}
	api, err := check.NewAPI(docs...)
	return api, p, err
}

// definitions returns the definitions of the Go modules and those of a directory.
func definitions(dir string) ([][]byte, error) {
	docs, err := check.ModuleCRDs()
	if err != nil || dir == "" {
		return docs, err
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		docs = append(docs, b)
	}
	return docs, nil
}

// writeAll writes the definitions into a new directory, one a file. A later one
// of a name replaces an earlier one.
func writeAll(dir string, docs [][]byte) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for i, d := range docs {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%02d.yaml", i)), d, 0o600); err != nil {
			return err
		}
	}
	return nil
}
