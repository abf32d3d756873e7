package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/flowstitch/flowstitch/pkg/rule"
	"github.com/flowstitch/flowstitch/pkg/scenario"
)

func rulesCommand() command {
	return command{
		name:    "rules",
		summary: "check, test, back-test and import threshold rules",
		usage: `Usage:  flowstitch rules check FILE|DIR ...
        flowstitch rules test [flags] SCRIPT|DIR ...
        flowstitch rules backtest -rules FILE|DIR [-against FILE|DIR] [flags] [LOG ...]
        flowstitch rules import [-o FILE] SIGMA.yml|DIR ...

check     reads rules (*.yaml) and tells every mistake.
test      runs scenario scripts (*.scenario) against the rules that they name.
backtest  runs rules over flow logs, or over the sessions of a running pipeline,
          and tells what alerts they raise; with -against, what would be new and
          what would be gone.
import    makes rules of Sigma rules and correlations over network traffic; what
          has no equal is listed.

See docs/rules.md; "flowstitch rules test -help" lists the flags of test.

Examples:
  flowstitch rules check examples/rules
  flowstitch rules test examples/rules
  flowstitch rules backtest -rules examples/rules examples/incident.log.gz
  flowstitch rules backtest -rules new.yaml -against old.yaml -brokers kafka:9092 -from 24h
  flowstitch rules import -o imported.yaml examples/rules/sigma`,
		run: runRules,
	}
}

func runRules(ctx context.Context, e *env, args []string) error {
	subs := map[string]func(context.Context, *env, []string) error{
		"check": rulesCheck, "test": rulesTest, "backtest": rulesBacktest, "import": rulesImport,
	}
	if len(args) > 0 && subs[args[0]] != nil {
		return subs[args[0]](ctx, e, args[1:])
	}
	set := newFlags(e, rulesCommand())
	if err := parseFlags(set, args); err != nil {
		return err
	}
	return usagef("what to do: check, test, backtest or import")
}

// gather returns the files of a kind among paths, directories walked.
func gather(paths []string, suffix string) (files []string, err error) {
	for _, p := range paths {
		st, err := os.Stat(p)
		if err != nil {
			return nil, err
		}
		if !st.IsDir() {
			files = append(files, p)
			continue
		}
		err = filepath.WalkDir(p, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && strings.HasSuffix(path, suffix) {
				files = append(files, path)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(files)
	return slices.Compact(files), nil
}

func loadRuleFile(l *rule.Language, path string) ([]*rule.Rule, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	rules, err := rule.Parse(l, text)
	if err != nil {
		return rules, fmt.Errorf("%s:\n%w", path, err)
	}
	return rules, nil
}

// loadRules reads every rule of files and directories. Ids are unique across
// all of them.
func loadRules(paths []string) (rules []*rule.Rule, err error) {
	l, err := rule.NewLanguage(rule.Sessions())
	if err != nil {
		return nil, err
	}
	files, err := gather(paths, ".yaml")
	if err != nil {
		return nil, err
	}
	var errs []error
	where := map[string]string{}
	for _, f := range files {
		more, err := loadRuleFile(l, f)
		if err != nil {
			errs = append(errs, err)
		}
		for _, r := range more {
			if other := where[r.Spec.ID]; other != "" {
				errs = append(errs, fmt.Errorf("%s: rule %s: is in %s already", f, r.Spec.ID, other))
			}
			where[r.Spec.ID] = f
		}
		rules = append(rules, more...)
	}
	return rules, errors.Join(errs...)
}

func rulesCheck(_ context.Context, e *env, args []string) error {
	set := newFlags(e, rulesCommand())
	verbose := set.Bool("v", false, "show each rule: its cost and what is left to cel-go")
	paths, err := parseMixed(set, args)
	if err != nil {
		return err
	}
	if len(paths) == 0 {
		return usagef("check what: files or directories of rules")
	}
	rules, err := loadRules(paths)
	if *verbose {
		for _, r := range rules {
			cost, slow := r.Cost()
			fmt.Fprintf(e.stdout, "%-32s %-13s cost at most %d, %d parts for cel-go\n", r.Spec.ID, r.Severity, cost, slow)
		}
	}
	if err != nil {
		return err
	}
	if len(rules) == 0 {
		return fmt.Errorf("there is no rule in %s", strings.Join(paths, ", "))
	}
	fmt.Fprintf(e.stdout, "%d rules are sound\n", len(rules))
	return nil
}

func rulesTest(_ context.Context, e *env, args []string) error {
	set := newFlags(e, rulesCommand())
	verbose := set.Bool("v", false, "name each script")
	paths, err := parseMixed(set, args)
	if err != nil {
		return err
	}
	scripts, err := gather(paths, ".scenario")
	if err != nil {
		return err
	}
	if len(scripts) == 0 {
		return usagef("test what: there is no script (*.scenario) in %q", paths)
	}
	l, err := rule.NewLanguage(rule.Sessions())
	if err != nil {
		return err
	}
	failed := 0
	for _, path := range scripts {
		text := testScript(l, path)
		switch {
		case text != "":
			failed++
			fmt.Fprintf(e.stdout, "FAIL %s\n%s", path, text)
		case *verbose:
			fmt.Fprintf(e.stdout, "ok   %s\n", path)
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d scripts failed", failed, len(scripts))
	}
	fmt.Fprintf(e.stdout, "%d scripts passed\n", len(scripts))
	return nil
}

// testScript runs one script and returns what is wrong, or "".
func testScript(l *rule.Language, path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return "     " + err.Error() + "\n"
	}
	script, err := scenario.Parse(string(text))
	if err != nil {
		return "     " + err.Error() + "\n"
	}
	target := rule.NewScript(func(name string) ([]*rule.Rule, error) {
		return loadRuleFile(l, filepath.Join(filepath.Dir(path), name))
	})
	failures, err := script.Run(target)
	if err != nil {
		return "     " + err.Error() + "\n"
	}
	var b strings.Builder
	for _, f := range failures {
		fmt.Fprintf(&b, "     %s\n", strings.ReplaceAll(f.String(), "\n", "\n     "))
	}
	return b.String()
}

func newRulesFlags(e *env) (*flag.FlagSet, *backtestFlags) {
	set := newFlags(e, rulesCommand())
	b := &backtestFlags{}
	b.source.register(set)
	set.Var(&b.rules, "rules", "`files` or directories of rules")
	set.Var(&b.against, "against", "`files` or directories of the rules to compare with")
	set.IntVar(&b.examples, "examples", 3, "alerts to show of each rule")
	formatFlag(set, &b.format, "text", "json")
	return set, b
}
