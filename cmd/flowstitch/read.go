package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"runtime"
	"time"

	"github.com/flowstitch/flowstitch/internal/hugepages"
	"github.com/flowstitch/flowstitch/pkg/detect"
	"github.com/flowstitch/flowstitch/pkg/flowlog"
	"github.com/flowstitch/flowstitch/pkg/service"
	"github.com/flowstitch/flowstitch/pkg/session"
)

func readCommand() command {
	return command{
		name:    "read",
		summary: "print the sessions of flow log files, without a broker",
		usage: `Usage:  flowstitch read [flags] FILE...

Stitches the flow records of files into sessions in memory and prints each when
it has ended: who started it and how sure that is, both directions counted
once, the outcome. The ids are those that the pipeline gives. With -alerts it
prints the findings of all detectors at their defaults. Several files are one
log, in the order given. FILE may be text, gzip, Parquet, or - for standard
input. All cores are used, and the output does not depend on how many.

Examples:
  flowstitch read flows.log.gz
  flowstitch read -format csv flows.log.gz > sessions.csv
  flowstitch read -format json -events flows.log.gz | head
  flowstitch read -alerts flows.log.gz
  flowstitch read -own 10.0.0.0/8,2001:db8::/32 flows.log.gz`,
		run: runRead,
	}
}

// readFlags are the flags of read.
type readFlags struct {
	format, logFormat string
	events, quiet     bool
	alerts            bool
	own               listFlag
	lateness          time.Duration
	idleTCP, idleAny  time.Duration
}

func (o *readFlags) register(fs *flag.FlagSet) {
	d := session.Default()
	formatFlag(fs, &o.format, "table", "json", "csv")
	fs.StringVar(&o.logFormat, "log-format", "", logFormatHelp)
	fs.BoolVar(&o.events, "events", false, "print every final event, what long sessions tell on their way too")
	fs.BoolVar(&o.alerts, "alerts", false, "print what the detectors find instead of the sessions")
	fs.BoolVar(&o.quiet, "quiet", false, "no summary on standard error")
	fs.Var(&o.own, "own", ownHelp)
	fs.DurationVar(&o.lateness, "lateness", time.Duration(d.Retain)*time.Second, "how far out of order records may be")
	fs.DurationVar(&o.idleTCP, "idle-tcp", time.Duration(d.IdleTCP)*time.Second, "silence that ends a TCP session")
	fs.DurationVar(&o.idleAny, "idle-other", time.Duration(d.IdleOther)*time.Second, "silence that ends any other session")
}

// config returns the configurations that the flags make.
func (o *readFlags) config() (session.Config, flowlog.OwnersConfig, error) {
	cfg := session.Default()
	cfg.IdleTCP, cfg.IdleOther = int64(o.idleTCP/time.Second), int64(o.idleAny/time.Second)
	cfg.Retain = int64(o.lateness / time.Second)
	var err error
	if cfg.Owned, err = o.own.networks("own"); err != nil {
		return cfg, flowlog.OwnersConfig{}, err
	}
	if err := cfg.Validate(); err != nil {
		return cfg, flowlog.OwnersConfig{}, usageError{err.Error()}
	}
	return cfg, flowlog.OwnersConfig{Own: cfg.Owned}, nil
}

// hugeHeap is for how much memory read asks for huge pages: what it takes for a
// million sessions at a time. More works as well, in small pages.
const hugeHeap = 1 << 29

func runRead(ctx context.Context, e *env, args []string) error {
	fs := newFlags(e, readCommand())
	var o readFlags
	o.register(fs)
	files, err := parseMixed(fs, args)
	if err != nil {
		return err
	}
	cfg, known, err := o.config()
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return usagef("name at least one flow log, or - for standard input")
	}
	d, err := flowlog.New(flowlog.Config{Format: o.logFormat})
	if err != nil {
		return usageError{err.Error()}
	}
	owners, err := flowlog.NewOwners(known)
	if err != nil {
		return usageError{err.Error()}
	}
	defer service.RelaxCollector()()
	hugepages.ForHeap(hugeHeap)
	s := newStitcher(e, &o, &cfg, owners, runtime.GOMAXPROCS(0))
	s.start()
	var failed error
	for _, name := range files {
		failed = errors.Join(failed, decodeFile(ctx, e, d, name, s))
	}
	s.end()
	if nothingRead(d, failed) {
		return failed
	}
	if s.judge != nil {
		if s.judge.err != nil {
			return s.judge.err
		}
		if err := printAlerts(s.out, s.judge.confirmed(), o.format == "json", e.terminal); err != nil {
			return err
		}
	}
	if err := s.out.Flush(); err != nil {
		return err
	}
	if !o.quiet {
		s.summary(e, d)
	}
	return errors.Join(failed, allRejected(d))
}

// newStitcher makes a stitcher with so many workers.
func newStitcher(e *env, o *readFlags, cfg *session.Config, owners *flowlog.Owners, workers int) *stitcher {
	s := &stitcher{owners: owners, cfg: cfg, out: bufio.NewWriterSize(e.stdout, 64<<10)}
	if o.alerts {
		s.judge = newJudge(cfg)
	} else {
		printHeader(s.out, o.format)
	}
	for range workers {
		w := &worker{cfg: cfg, table: session.NewTable(*cfg), print: newSessionPrinter(o.format), events: o.events}
		if o.alerts {
			w.combiner = detect.NewCombiner(s.judge.set)
			w.combiner.FinalOnly()
			w.chunks = s.judge.chunks
		}
		s.workers = append(s.workers, w)
	}
	return s
}

// Reject implements flowlog.Sink.
func (s *stitcher) Reject(r *flowlog.Reject) {
	if s.rejects == 0 {
		s.reason = fmt.Sprintf("%s line %d: %s", r.Origin.Source, r.Origin.Line, r.Reason)
	}
	s.rejects++
}

func (s *stitcher) summary(e *env, d *flowlog.Decoder) {
	st := d.Stats()
	table, sessions := s.stats()
	fmt.Fprintf(e.stderr, "%s sessions of %s records; %s silent intervals, %s gaps, %s repeats, %s late, %s rejected\n",
		count(float64(sessions)), count(float64(st.Records)), count(float64(st.NoData)), count(float64(table.Gaps)),
		count(float64(table.Verdicts[session.Duplicate])), count(float64(table.Verdicts[session.Late])),
		count(float64(s.rejects+table.Verdicts[session.Invalid])))
	if s.judge != nil {
		fmt.Fprintf(e.stderr, "%d findings\n", len(s.judge.confirmed()))
	}
	if s.rejects > 0 {
		fmt.Fprintf(e.stderr, "the first reject: %s; flowstitch decode -rejects shows all\n", s.reason)
	}
}
