package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/flowstitch/flowstitch/pkg/config"
	"github.com/flowstitch/flowstitch/pkg/flowlog"
	"github.com/flowstitch/flowstitch/pkg/gen"
)

func genCommand() command {
	return command{
		name:    "gen",
		summary: "write synthetic VPC flow logs, with attacks if you like",
		usage: `Usage:  flowstitch gen [flags]

Writes the flow log of a synthetic VPC: ordinary office, web and database
traffic, both directions, at every interface that saw it, and attacks on a
timeline. The same scenario and seed give the same bytes on every machine.
Without -scenario it is the incident of examples/: two hours, six attacks.

A scenario is a YAML file; what it leaves out is as in the incident. See the
whole of it with -print. Times count from the start.

  roles of hosts:    balancer web database cache bastion files intranet
                     workstation monitor idle
  kinds of attacks:  probe-sweep port-scan host-sweep ssh-guessing beacon
                     exfiltration surge callout icmp-errors external-dns
                     new-service gap

Examples:
  flowstitch gen -o incident.log.gz -truth incident.truth.csv
  flowstitch gen -no-attacks -duration 24h -rate 50 | flowstitch run -
  flowstitch gen -header -log-format '${version} ${srcaddr} ${dstaddr} ${srcport}
      ${dstport} ${protocol} ${packets} ${bytes} ${start} ${end} ${tcp-flags}'
  flowstitch gen -log-format v5 -lines 1000
  flowstitch gen -print > mine.yaml; flowstitch gen -scenario mine.yaml`,
		run: runGen,
	}
}

// genFlags are the flags of gen. The scenario's own are applied over the file
// only where they were given.
type genFlags struct {
	scenario, start, logFormat, out, truth string
	seed                                   uint64
	duration, interval                     time.Duration
	rate                                   float64
	ipv6, lines                            int64
	noAttacks, header, print               bool
}

func (g *genFlags) register(fs *flag.FlagSet) {
	fs.StringVar(&g.scenario, "scenario", "", "YAML `file` with the scenario (default: the incident)")
	fs.Uint64Var(&g.seed, "seed", 0, "choose another, equally ordinary day")
	fs.StringVar(&g.start, "start", "", "event `time` of the first session, such as 2026-03-02T08:00:00Z")
	fs.DurationVar(&g.duration, "duration", 0, "how long sessions start; later attacks are left out")
	fs.Float64Var(&g.rate, "rate", 0, "ordinary `sessions` a second, about four lines each")
	fs.DurationVar(&g.interval, "interval", 0, "aggregation interval of the flow log, up to 10m")
	fs.Int64Var(&g.ipv6, "ipv6", 0, "`percent` of Internet clients that come by IPv6")
	fs.BoolVar(&g.noAttacks, "no-attacks", false, "the same ordinary traffic, without the attacks")
	fs.StringVar(&g.logFormat, "log-format", "v2", "v2 to v11, or a custom `format` in AWS's ${field} syntax")
	fs.BoolVar(&g.header, "header", false, "begin with a line of the field names, as files in S3 do")
	fs.Int64Var(&g.lines, "lines", 0, "stop after so many `lines` (default: no bound)")
	fs.StringVar(&g.out, "o", "-", "write to `file`, compressed if it ends in .gz; - is standard output")
	fs.StringVar(&g.truth, "truth", "", "write what the attacks did to this CSV `file`")
	fs.BoolVar(&g.print, "print", false, "print the scenario as YAML and do nothing else")
}

func runGen(ctx context.Context, e *env, args []string) error {
	var g genFlags
	fs := newFlags(e, genCommand())
	g.register(fs)
	if err := parseFlags(fs, args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return usagef("it takes no arguments, but there is %q", fs.Arg(0))
	}
	sc, err := g.apply(fs)
	if err != nil {
		return err
	}
	if g.print {
		return config.Dump(e.stdout, sc)
	}
	format, err := formatOf(g.logFormat)
	if err != nil {
		return usageError{err.Error()}
	}
	s, err := gen.NewStream(sc)
	if err != nil {
		return err
	}
	lines, err := g.write(ctx, e, s, format)
	if err != nil {
		return err
	}
	if g.truth != "" {
		if err := toFile(g.truth, func(w io.Writer) error { return gen.WriteTruth(w, s.Truth()) }); err != nil {
			return err
		}
	}
	fmt.Fprintf(e.stderr, "flowstitch gen: %d lines from %s on, %d attacks, seed %d\n",
		lines, sc.Start.UTC().Format(time.RFC3339), len(s.Truth()), sc.Seed)
	return nil
}

// apply reads the scenario and the flags over it.
func (g *genFlags) apply(fs *flag.FlagSet) (gen.Scenario, error) {
	sc := gen.Incident()
	if err := config.Load(g.scenario, &sc); err != nil {
		return sc, err
	}
	var err error
	fs.Visit(func(f *flag.Flag) {
		switch f.Name {
		case "seed":
			sc.Seed = g.seed
		case "start":
			sc.Start, err = time.Parse(time.RFC3339, g.start)
		case "duration":
			sc.Duration = g.duration
			sc.Trim()
		case "rate":
			sc.Rate = g.rate
		case "interval":
			sc.Interval = g.interval
		case "ipv6":
			sc.IPv6Percent = g.ipv6
		case "no-attacks":
			if g.noAttacks {
				sc.Attacks = nil
			}
		}
	})
	if err != nil {
		return sc, usagef("-start: %q is no time such as 2026-03-02T08:00:00Z", g.start)
	}
	if math.IsNaN(sc.Rate) {
		return sc, usagef("-rate: not a number")
	}
	if err := sc.Validate(); err != nil {
		return sc, usageError{strings.ReplaceAll(err.Error(), "\n", "; ")}
	}
	return sc, nil
}

// formatOf reads v2 to v11 or a custom format, of fields that AWS defines.
func formatOf(s string) (*flowlog.Format, error) {
	if digits, ok := strings.CutPrefix(s, "v"); ok {
		if v, err := strconv.ParseUint(digits, 10, 8); err == nil {
			if v < 2 || v > 11 {
				return nil, fmt.Errorf("-log-format: there is no version %d of the format; use v2 to v11", v)
			}
			return flowlog.UpTo(uint8(v)), nil
		}
	}
	f, err := flowlog.ParseFormat(s)
	if err != nil {
		return nil, err
	}
	if names := f.Unknown(); len(names) > 0 {
		return nil, fmt.Errorf("-log-format: %s is no field of VPC flow logs", strings.Join(names, ", "))
	}
	return f, nil
}

func (g *genFlags) write(ctx context.Context, e *env, s *gen.Stream, f *flowlog.Format) (lines int64, err error) {
	opt := gen.Lines{Format: f, Header: g.header, Max: g.lines}
	to := func(w io.Writer) error {
		lines, err = gen.Write(untilDone{ctx, w}, s, opt)
		return err
	}
	switch {
	case g.out == "-":
		err = to(e.stdout)
	case strings.HasSuffix(g.out, ".gz"):
		err = toFile(g.out, func(w io.Writer) error {
			z, err := gzip.NewWriterLevel(w, gzip.BestCompression)
			if err != nil {
				return err
			}
			if err := to(z); err != nil {
				return err
			}
			return z.Close()
		})
	default:
		err = toFile(g.out, to)
	}
	return lines, err
}

// untilDone ends a long write when the user interrupts it.
type untilDone struct {
	ctx context.Context
	w   io.Writer
}

func (u untilDone) Write(b []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.w.Write(b)
}

// toFile creates a file and writes it.
func toFile(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 256<<10)
	if err := write(w); err != nil {
		f.Close()
		return err
	}
	if err := w.Flush(); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
