package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/flowstitch/flowstitch/pkg/config"
	"github.com/flowstitch/flowstitch/pkg/stage"
	"github.com/flowstitch/flowstitch/pkg/telemetry"
	"github.com/flowstitch/flowstitch/pkg/topology"
)

const topicsUsage = `
Usage:  flowstitch topics list|ensure|plan|acls|iam|strimzi [flags]

  list      the topics of this deployment, their partitions, and how far behind
            the consumer groups are; says what is missing or wrong
  ensure    make what is missing; refuse, with the command that mends it, what
            exists and would break a guarantee. Changes no existing topic
  plan      how to get to another number of partitions or slots without losing
            a session; checks first and refuses otherwise. Changes nothing
  acls      the least that each service needs, as kafka-acls.sh commands
  iam       the same as a policy for the role of one service, for Amazon MSK
  strimzi   KafkaTopic resources, or with -users KafkaUser resources

The configuration has the keys kafka, pipeline and telemetry of any service, and
alerts.also, where detect's has it: the format of the alerts on a second topic.

Examples:
  flowstitch topics list -brokers kafka:9092
  flowstitch topics list -config sessionize.yaml
  flowstitch topics ensure -config topics.yaml
  flowstitch topics plan -config sessionize.yaml -partitions 96 -new-prefix l1.
  flowstitch topics acls -principal User:CN=flowstitch-
  flowstitch topics iam -service ingest -arn arn:aws:kafka:eu-west-1:111122223333:cluster/flowstitch/0a1b-2
  flowstitch topics strimzi -cluster flowstitch -users

Exit status: 0 done, 1 refused or the cluster is away, 2 the command line is wrong.
`

func topicsCommand() command {
	return command{name: "topics", summary: "make, list and plan the Kafka topics; write ACLs and Strimzi resources", usage: topicsUsage, run: runTopics}
}

// topicsOptions are the flags of topics.
type topicsOptions struct {
	config, prefix, principal string
	newPrefix, alertsAlso     string
	service, arn              string
	brokers                   listFlag
	partitions, slots         int
	users                     bool
	strimzi                   topology.Strimzi
	timeout                   time.Duration
	common                    topology.Config
}

func runTopics(ctx context.Context, e *env, args []string) error {
	o := &topicsOptions{common: topology.Default()}
	fs := newFlags(e, topicsCommand())
	fs.Var(&o.brokers, "brokers", "`host:port` of Kafka, instead of the configuration's")
	fs.StringVar(&o.prefix, "prefix", "", "`prefix` of the pipeline's topics, instead of the configuration's")
	fs.StringVar(&o.config, "config", "", "read kafka, pipeline and alerts.also from this YAML `file`; without it the defaults hold")
	fs.IntVar(&o.partitions, "partitions", 0, "plan: the `number` of partitions to get to")
	fs.IntVar(&o.slots, "slots", 0, "plan: the `number` of slots to get to; 0 is one a partition")
	fs.StringVar(&o.newPrefix, "new-prefix", "", "plan: the `prefix` of the pipeline that takes over")
	fs.StringVar(&o.alertsAlso, "alerts-also", "", "`format` of the alerts on a second topic, instead of the configuration's alerts.also")
	fs.StringVar(&o.principal, "principal", "User:flowstitch-", "acls: what comes before a service's name in its `principal`")
	fs.StringVar(&o.service, "service", "", "iam: whose `role`: ingest, sessionize, detect or topics")
	fs.StringVar(&o.arn, "arn", "", "iam: the `ARN` of the MSK cluster")
	fs.BoolVar(&o.users, "users", false, "strimzi: write KafkaUsers instead of KafkaTopics")
	fs.StringVar(&o.strimzi.Cluster, "cluster", "flowstitch", "strimzi: `name` of the Kafka resource")
	fs.IntVar(&o.strimzi.Replicas, "replicas", 3, "strimzi: replication factor")
	fs.IntVar(&o.strimzi.MinISR, "min-isr", 2, "strimzi: min.insync.replicas")
	fs.StringVar(&o.strimzi.Auth, "auth", "tls", "strimzi: how users authenticate: tls, tls-external or scram-sha-512")
	fs.DurationVar(&o.timeout, "timeout", 30*time.Second, "how long to try to reach the cluster")
	verb := ""
	if len(args) > 0 && args[0] != "" && args[0][0] != '-' {
		verb, args = args[0], args[1:]
	}
	if err := parseFlags(fs, args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return usagef("%q is one argument too many", fs.Arg(0))
	}
	if err := o.load(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	switch verb {
	case "list":
		return o.list(ctx, e.stdout)
	case "ensure":
		return o.ensure(ctx, e)
	case "plan":
		return o.plan(ctx, e.stdout)
	case "acls":
		return topology.WriteCommands(e.stdout, o.common.Layout(), o.principal)
	case "iam":
		return topology.WriteIAM(e.stdout, o.common.Layout(), o.service, o.arn)
	case "strimzi":
		if o.users {
			return o.strimzi.WriteUsers(e.stdout, o.common.Layout())
		}
		return o.strimzi.WriteTopics(e.stdout, o.common.Layout())
	}
	return usagef("say what to do: list, ensure, plan, acls, iam or strimzi, not %q", verb)
}

// load reads the configuration; what the command line says is instead of it.
func (o *topicsOptions) load() error {
	if err := config.Load(o.config, &o.common); err != nil {
		return err
	}
	if len(o.brokers) > 0 {
		o.common.Kafka.Brokers = o.brokers
	}
	if o.prefix != "" {
		o.common.Pipeline.Prefix = o.prefix
	}
	if o.alertsAlso != "" {
		o.common.Alerts.Also = o.alertsAlso
	}
	return o.common.Validate()
}

// observe reads the state of a layout from the cluster.
func (o *topicsOptions) observe(ctx context.Context, l topology.Layout) (*topology.State, error) {
	opts, err := o.common.Kafka.Opts()
	if err != nil {
		return nil, err
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	return topology.Observe(ctx, kadm.NewClient(cl), l)
}

func (o *topicsOptions) list(ctx context.Context, w io.Writer) error {
	l := o.common.Layout()
	s, err := o.observe(ctx, l)
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "TOPIC\tPARTITIONS\tCLEANUP")
	for _, spec := range topology.Topics(l) {
		name := l.Names().Name(spec.Name)
		if n, ok := s.Partitions[name]; ok {
			fmt.Fprintf(t, "%s\t%d\t%s\n", name, n, spec.Configs["cleanup.policy"])
		} else {
			fmt.Fprintf(t, "%s\tmissing\t%s\n", name, spec.Configs["cleanup.policy"])
		}
	}
	fmt.Fprintln(t, "\nGROUP\tMEMBERS\tLAG")
	for _, g := range topology.Groups(l) {
		fmt.Fprintf(t, "%s\t%d\t%d\n", g, s.Members[g], s.Lag[g])
	}
	if err := t.Flush(); err != nil {
		return err
	}
	var errs []error
	missing, wrong := s.Missing(l)
	if len(missing) > 0 {
		errs = append(errs, fmt.Errorf("%d topics are missing; make them with flowstitch topics ensure", len(missing)))
	}
	for _, m := range wrong {
		errs = append(errs, errors.New(m))
	}
	return errors.Join(errs...)
}

func (o *topicsOptions) ensure(ctx context.Context, e *env) error {
	l := o.common.Layout()
	tel := telemetry.Quiet()
	sc, err := o.common.Stage("topics", "", tel)
	if err != nil {
		return err
	}
	specs := topology.Topics(l)
	if err := stage.EnsureTopics(ctx, &sc, specs...); err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "%d topics are as they should be\n", len(specs))
	return nil
}

func (o *topicsOptions) plan(ctx context.Context, w io.Writer) error {
	if o.partitions == 0 && o.slots == 0 {
		return usagef("say where to: -partitions and, where it is not the same, -slots")
	}
	from := o.common.Layout()
	to := topology.Layout{Prefix: o.newPrefix, Partitions: int32(o.partitions), Slots: o.slots, AlertsAlso: from.AlertsAlso}
	if to.Partitions == 0 {
		to.Partitions = from.Partitions
	}
	if to.Slots == 0 {
		to.Slots = int(to.Partitions)
	}
	s, err := o.observe(ctx, from)
	if err != nil {
		return err
	}
	target, err := o.observe(ctx, to)
	if err != nil {
		return err
	}
	steps, err := s.Move(from, to, target)
	if err != nil {
		return fmt.Errorf("refused: %w", err)
	}
	fmt.Fprintf(w, "From %d partitions and %d slots under prefix %q to %d and %d under %q:\n\n", from.Partitions, from.Slots, from.Prefix, to.Partitions, to.Slots, to.Prefix)
	for i, step := range steps {
		fmt.Fprintf(w, "%d. %s\n", i+1, step)
	}
	return nil
}
