package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/term"

	"github.com/flowstitch/flowstitch/pkg/telemetry"
)

// env is what a command may touch of the world.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	// terminal reports that stdout is a terminal: colour and redrawn progress
	// are welcome.
	terminal bool
}

func newEnv() *env {
	return &env{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, terminal: isTerminal(os.Stdout)}
}

func isTerminal(f *os.File) bool {
	return term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// command is one subcommand. Its usage holds the synopsis, a paragraph and
// examples; the flags are added by its flag set.
type command struct {
	name, summary, usage string
	run                  func(ctx context.Context, e *env, args []string) error
}

// usageError is a mistake in the command line: status 2 and a pointer to help.
type usageError struct{ msg string }

func (u usageError) Error() string { return u.msg }

func usagef(format string, args ...any) error { return usageError{fmt.Sprintf(format, args...)} }

// execute runs the command line and returns the exit status: 0 done, 1 nothing
// could be done, 2 the command line is wrong.
func execute(ctx context.Context, e *env, args []string) int {
	if len(args) == 0 {
		printHelp(e.stderr)
		return 2
	}
	name, rest := args[0], args[1:]
	switch name {
	case "help", "-h", "-help", "--help":
		if len(rest) > 0 {
			name, rest = rest[0], []string{"-help"}
			break
		}
		printHelp(e.stdout)
		return 0
	case "version", "-version", "--version":
		fmt.Fprintln(e.stdout, "flowstitch", telemetry.Version())
		return 0
	}
	cmds := commands()
	i := slices.IndexFunc(cmds, func(c command) bool { return c.name == name })
	if i < 0 {
		fmt.Fprintf(e.stderr, "flowstitch: there is no command %q; see flowstitch --help\n", name)
		return 2
	}
	return report(e, cmds[i].name, cmds[i].run(ctx, e, rest))
}

func report(e *env, name string, err error) int {
	var u usageError
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return 0
	case errors.As(err, &u):
		join := "; "
		if strings.Contains(err.Error(), "\n") { // the last line marks a column
			join = "\n"
		}
		fmt.Fprintf(e.stderr, "flowstitch %s: %v%ssee flowstitch %s -help\n", name, err, join, name)
		return 2
	}
	fmt.Fprintf(e.stderr, "flowstitch %s: %v\n", name, err)
	return 1
}

func printHelp(w io.Writer) {
	fmt.Fprint(w, `Flowstitch turns AWS VPC Flow Logs into sessions and security alerts.

Usage:  flowstitch COMMAND [flags] [arguments]

Commands:
`)
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-10s %s\n", c.name, c.summary)
	}
	fmt.Fprint(w, `  version    print the version

Examples:
  flowstitch run examples/incident.log.gz        the whole pipeline on one machine
  flowstitch read -format csv flows.log.gz       sessions of a file, without a broker
  zcat *.log.gz | flowstitch run -format json -  alerts as JSON lines

flowstitch COMMAND -help tells about one command, its flags and examples.
`)
}

// newFlags returns a flag set that prints c's help.
func newFlags(e *env, c command) *flag.FlagSet {
	fs := flag.NewFlagSet(c.name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {
		fmt.Fprintln(e.stdout, strings.TrimSpace(c.usage))
		some := false
		fs.VisitAll(func(*flag.Flag) { some = true })
		if !some {
			return
		}
		fmt.Fprint(e.stdout, "\nFlags:\n")
		fs.SetOutput(e.stdout)
		fs.PrintDefaults()
		fs.SetOutput(io.Discard)
	}
	return fs
}

// parseFlags parses args and turns a mistake into a usageError. Help is printed
// to who asks for it: a mistake gets one sentence.
func parseFlags(fs *flag.FlagSet, args []string) error {
	help := fs.Usage
	fs.Usage = func() {}
	err := fs.Parse(args)
	fs.Usage = help
	switch {
	case err == nil:
		return nil
	case errors.Is(err, flag.ErrHelp):
		help()
		return err
	}
	return usageError{err.Error()}
}

// parseMixed is parseFlags for commands whose flags may also follow their
// arguments, as people type them. What follows -- is arguments.
func parseMixed(fs *flag.FlagSet, args []string) (rest []string, err error) {
	for {
		if err := parseFlags(fs, args); err != nil {
			return nil, err
		}
		if at := len(args) - fs.NArg(); fs.NArg() == 0 || at > 0 && args[at-1] == "--" {
			return append(rest, fs.Args()...), nil
		}
		rest, args = append(rest, fs.Arg(0)), fs.Args()[1:]
	}
}
