// Package service is the frame of a service's main: flags, configuration,
// signals, telemetry, ordered start and reverse stop.
//
// It guarantees that every service answers to the same flags, that bad
// configuration ends it with one clear sentence and status 2 before anything is
// touched, and that SIGTERM and SIGINT end it cleanly with status 0.
package service

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/flowstitch/flowstitch/pkg/config"
	"github.com/flowstitch/flowstitch/pkg/telemetry"
	"github.com/flowstitch/flowstitch/pkg/tracing"
)

// Config is what a service's configuration must tell about itself.
type Config interface {
	config.Validator
	// Shown returns where the service shows itself.
	Shown() telemetry.Config
}

// Run is a service: it works until ctx ends and returns nil then, or the error
// that stopped it.
type Run[C any] func(ctx context.Context, cfg C, tel *telemetry.Telemetry) error

// Exit statuses.
const (
	ExitOK     = 0
	ExitFailed = 1 // the service stopped on an error
	ExitUsage  = 2 // flags or configuration are wrong; nothing was touched
)

// usage is the help of a service of this name, before its flags.
const usage = `Usage:  %[1]s [flags]

Runs the %[1]s service of Flowstitch until it is told to end (SIGTERM, Ctrl-C).
Everything else is in its configuration: -dump shows each key with its default.

Examples:
  %[1]s -dump > %[1]s.yaml
  %[1]s -config %[1]s.yaml -check
  %[1]s -config %[1]s.yaml

Exit status: 0 ended in order, 1 stopped on an error, 2 flags or configuration
are wrong and nothing was touched.

Flags:
`

// Main runs a service as a program of its own and exits. PC is the pointer to C.
func Main[C any, PC interface {
	*C
	Config
}](name string, def C, run Run[C]) {
	os.Exit(runArgs[C, PC](name, def, run, os.Args[1:], os.Stdout, os.Stderr))
}

func runArgs[C any, PC interface {
	*C
	Config
}](name string, cfg C, run Run[C], args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(io.Discard) // a mistake gets one sentence, below
	path := fs.String("config", "", "read the configuration from this YAML `file`; without it the defaults hold")
	check := fs.Bool("check", false, "check the configuration and exit")
	dump := fs.Bool("dump", false, "print the whole configuration, defaults included, and exit")
	version := fs.Bool("version", false, "print the version and exit")
	err := fs.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(stdout, usage, name)
		fs.SetOutput(stdout)
		fs.PrintDefaults()
		return ExitOK
	}
	if err == nil && fs.NArg() > 0 {
		err = fmt.Errorf("it takes no arguments, but there is %q", fs.Arg(0))
	}
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v; see %s -help\n", name, err, name)
		return ExitUsage
	}
	if *version {
		fmt.Fprintln(stdout, name, telemetry.Version())
		return ExitOK
	}
	if err := config.Load(*path, PC(&cfg)); err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", name, err)
		return ExitUsage
	}
	if *dump {
		if err := config.Dump(stdout, cfg); err != nil {
			fmt.Fprintf(stderr, "%s: %v\n", name, err)
			return ExitFailed
		}
		return ExitOK
	}
	if *check {
		fmt.Fprintf(stdout, "%s: configuration is good\n", name)
		return ExitOK
	}
	if err := serve(name, PC(&cfg).Shown(), func(ctx context.Context, tel *telemetry.Telemetry) error { return run(ctx, cfg, tel) }); err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", name, err)
		return ExitFailed
	}
	return ExitOK
}

// serve opens the telemetry port, runs, and closes in reverse order.
func serve(name string, shown telemetry.Config, run func(context.Context, *telemetry.Telemetry) error) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	tel := telemetry.New(name, shown)
	if err := limitMemory(os.Getenv(MemoryLimitEnv)); err != nil {
		return err
	}
	defer RelaxCollector()()
	// The port outlives the service, so that its last state can be read.
	httpCtx, closeHTTP := context.WithCancel(context.WithoutCancel(ctx))
	defer closeHTTP()
	wait, err := tel.Serve(httpCtx, shown.Listen)
	if err != nil {
		return err
	}
	flush := func(context.Context) error { return nil }
	if shown.Traces > 0 {
		if tel.Client, flush, err = tracing.Start(ctx, name, shown.Traces); err != nil {
			return err
		}
	}
	tel.Log.Info("started", "version", telemetry.Version())
	err = run(ctx, tel)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil
	}
	if err != nil {
		tel.Log.Error("stopped", "error", err)
	} else {
		tel.Log.Info("stopped")
	}
	flushing, cancel := context.WithTimeout(httpCtx, flushWithin)
	defer cancel()
	if err := flush(flushing); err != nil {
		tel.Log.Warn("the last traces are lost", "error", err)
	}
	closeHTTP()
	return errors.Join(err, wait())
}

// flushWithin is how long the last traces may take to be sent; nothing else
// waits for a collector.
const flushWithin = 3 * time.Second
