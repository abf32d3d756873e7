package detector

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/segmentio/encoding/json"

	"github.com/flowstitch/flowstitch/pkg/rule"
)

// readRules returns the texts of the users' rules: of files, and of every
// *.yaml in directories and below, in the order of their paths.
func readRules(paths []string) (texts []string, err error) {
	var files []string
	for _, p := range paths {
		err := filepath.WalkDir(p, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && (path == p || strings.HasSuffix(path, ".yaml")) {
				files = append(files, path)
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("detect: rules: %w", err)
		}
	}
	slices.Sort(files)
	for _, f := range slices.Compact(files) {
		b, err := os.ReadFile(f)
		if err != nil {
			return nil, fmt.Errorf("detect: rules: %w", err)
		}
		texts = append(texts, string(b))
	}
	return texts, nil
}

// compileRules compiles the texts of rule files. An id is used once.
func compileRules(texts []string) (rules []*rule.Rule, err error) {
	if len(texts) == 0 {
		return nil, nil
	}
	l, err := rule.NewLanguage(rule.Sessions())
	if err != nil {
		return nil, err
	}
	var errs []error
	seen := map[string]bool{}
	for _, t := range texts {
		more, err := rule.Parse(l, []byte(t))
		errs = append(errs, err)
		for _, r := range more {
			if seen[r.Spec.ID] {
				errs = append(errs, fmt.Errorf("there are two rules with the id %s", r.Spec.ID))
			}
			seen[r.Spec.ID] = true
		}
		rules = append(rules, more...)
	}
	return rules, errors.Join(errs...)
}

// parseRules returns the rules of a ledger's fold configuration.
func parseRules(config []byte) ([]*rule.Rule, error) {
	var c foldConfig
	if err := json.Unmarshal(config, &c); err != nil {
		return nil, fmt.Errorf("detect: the ledger's fold configuration: %w", err)
	}
	rules, err := compileRules(c.Rules)
	if err != nil {
		return nil, fmt.Errorf("detect: the ledger's rules: %w", err)
	}
	return rules, nil
}
