package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/flowstitch/flowstitch/internal/pipeline"
	"github.com/flowstitch/flowstitch/pkg/config"
	"github.com/flowstitch/flowstitch/pkg/service"
	"github.com/flowstitch/flowstitch/pkg/telemetry"
)

const runUsage = `
Usage:  flowstitch run [flags] FILE...

Runs the whole pipeline on this machine: an embedded broker that speaks the
Kafka protocol, and the same ingest, sessionize and detect services that the
three binaries run. It reads the flow logs in the files (text, gzip or Parquet;
"-" is standard input), prints each alert as it is raised, as text or as OCSF
JSON, and ends with a summary when everything has been judged. Several files
merge by event time.

With -serve it stays after the files until it is interrupted, so that other
programs can read the topics; the embedded broker keeps them in memory.

Examples:
  flowstitch run examples/incident.log.gz
  zcat logs/*.gz | flowstitch run -format json - | jq .finding_info.title
  flowstitch run -serve 127.0.0.1:9092 examples/incident.log.gz
  flowstitch run -log-format '${version} ${account-id} ...' flows.log

Exit status: 0 done, 1 nothing could be done, 2 the command line is wrong.
`

func runCommand() command {
	return command{name: "run", summary: "run the whole pipeline on this machine, over files or standard input", usage: runUsage, run: runRun}
}

// runOptions are the flags of run.
type runOptions struct {
	format, serve, logFormat, config string
	own                              listFlag
	lateness                         time.Duration
	quiet, verbose                   bool
	files                            []string
}

func parseRun(e *env, args []string) (*runOptions, error) {
	o := &runOptions{}
	fs := newFlags(e, runCommand())
	formatFlag(fs, &o.format, "text", "json")
	fs.StringVar(&o.serve, "serve", "", "stay after the files and let other programs reach the broker at this loopback `address`, such as 127.0.0.1:9092")
	fs.StringVar(&o.logFormat, "log-format", "", logFormatHelp)
	fs.StringVar(&o.config, "config", "", "configuration of detect, a YAML `file` as services/detect reads it")
	fs.Var(&o.own, "own", ownHelp)
	fs.DurationVar(&o.lateness, "lateness", 0, "how far records may be out of order in event time; 0 is the aggregation interval plus 5 minutes")
	fs.BoolVar(&o.quiet, "quiet", false, "no progress and no summary")
	fs.BoolVar(&o.verbose, "verbose", false, "log what the services do, on standard error")
	var err error
	if o.files, err = parseMixed(fs, args); err != nil {
		return nil, err
	}
	if len(o.files) == 0 && o.serve == "" {
		return nil, usagef("name at least one flow log, or - for standard input")
	}
	return o, nil
}

func runRun(ctx context.Context, e *env, args []string) error {
	o, err := parseRun(e, args)
	if err != nil {
		return err
	}
	if err := checkReadable(o.files); err != nil {
		return err
	}
	broker, err := startBroker(o.serve)
	if err != nil {
		return err
	}
	defer broker.Close()
	cfg, err := o.pipeline(e, broker.ListenAddrs())
	if err != nil {
		return err
	}
	r := &runner{o: o, e: e, cfg: cfg, tel: o.telemetry(), began: time.Now()}
	return r.run(ctx)
}

// checkReadable tells of a missing file before anything is started.
func checkReadable(files []string) error {
	var errs []error
	for _, f := range files {
		if f == "-" {
			continue
		}
		h, err := os.Open(f)
		if err == nil {
			var info os.FileInfo
			if info, err = h.Stat(); err == nil && info.IsDir() {
				err = fmt.Errorf("%s is a directory; name the files in it", f)
			}
			h.Close()
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// runPartitions is small: one machine has few cores, and every partition costs
// marks.
const runPartitions = 4

// pipeline is the configuration of the services for these options.
func (o *runOptions) pipeline(e *env, brokers []string) (pipeline.Config, error) {
	common := service.DefaultCommon()
	common.Kafka.Brokers = brokers
	common.Pipeline.Partitions, common.Pipeline.Slots = runPartitions, runPartitions
	common.Pipeline.Deployment = "run"
	common.Pipeline.CommitInterval = 100 * time.Millisecond
	common.Telemetry.Listen = ""
	cfg := pipeline.Default(common)
	if err := config.Load(o.config, &cfg.Detect); err != nil {
		return cfg, usagef("%v", err)
	}
	cfg.Detect.Common = common
	cfg.Ingest.Files, cfg.Ingest.Stdin = o.files, e.stdin
	cfg.Ingest.Logs.Format, cfg.Ingest.Logs.Lateness = o.logFormat, o.lateness
	cfg.Ingest.Networks.Own = o.own
	if err := cfg.Ingest.Validate(); err != nil {
		return cfg, usagef("%v", err)
	}
	return cfg, nil
}

func (o *runOptions) telemetry() *telemetry.Telemetry {
	if !o.verbose {
		return telemetry.Quiet()
	}
	c := telemetry.Default()
	c.LogFormat = "text"
	return telemetry.New("run", c)
}

// startBroker starts the embedded broker, on addr if there is one. The
// settings let a group settle at once: everybody is in this process.
func startBroker(addr string) (*kfake.Cluster, error) {
	opts := []kfake.Opt{
		kfake.NumBrokers(1),
		kfake.GroupMinSessionTimeout(time.Second),
		kfake.BrokerConfigs(map[string]string{"group.initial.rebalance.delay.ms": "0"}),
	}
	if addr != "" {
		port, err := loopbackPort(addr)
		if err != nil {
			return nil, err
		}
		opts = append(opts, kfake.Ports(port))
	}
	c, err := kfake.NewCluster(opts...)
	if err != nil {
		return nil, fmt.Errorf("starting the embedded broker: %w; is another program using the port?", err)
	}
	return c, nil
}
