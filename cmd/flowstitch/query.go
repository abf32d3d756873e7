package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/flowstitch/flowstitch/pkg/config"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/flowlog"
	"github.com/flowstitch/flowstitch/pkg/query"
	"github.com/flowstitch/flowstitch/pkg/rule"
	"github.com/flowstitch/flowstitch/pkg/stage"
	"github.com/flowstitch/flowstitch/pkg/topology"
)

func queryCommand() command {
	return command{
		name:    "query",
		summary: "ask questions about sessions or flows, in files or in a running pipeline",
		usage: `Usage:  flowstitch query [flags] [FILE ...]

Filters, groups and sums up sessions (or, with -of flows, flow records) of
files, or without files of a running pipeline's topics (-brokers). A file of -
is standard input. Filters are CEL expressions over the fields that
"flowstitch fields" lists; see docs/query.md.

Times are RFC 3339 (2026-03-01T00:00:00Z), dates (2026-03-01, UTC), or how
long ago (2h). They bound a session's first packet.

Aggregates: -count, -sum f, -distinct f, -min f, -max f, -quantile f:0.95.
Without an aggregate and without -group-by and -every the answer is a list.

Examples:
  flowstitch query -filter 'server_port == 23' examples/incident.log.gz
  flowstitch query -group-by client -sum bytes -count -top 10 flows.log.gz
  flowstitch query -group-by service -sum bytes -every 1h -chart flows.log.gz
  flowstitch query -filter 'outcome == "rejected"' -group-by client,server_port -brokers kafka:9092 -from 24h
  flowstitch query -group-by server_port -compare 24h -from 24h -brokers kafka:9092
  flowstitch query -of flows -filter 'action == "REJECT"' -format parquet -o rejects.parquet *.log.gz`,
		run: runQuery,
	}
}

// queryFlags are the flags of query.
type queryFlags struct {
	source                         sourceFlags
	of, filter, order, format, out string
	groupBy, fields                listFlag
	aggregates                     []string // in the order in which they were asked for
	ascending, chart, provisional  bool
	top                            int
	every, compare                 time.Duration
}

func (q *queryFlags) register(fs *flag.FlagSet) {
	q.source.register(fs)
	fs.StringVar(&q.of, "of", "sessions", "sessions or flows")
	fs.StringVar(&q.filter, "filter", "", "CEL `expression`; empty matches everything")
	fs.Var(&q.groupBy, "group-by", "`fields` to group by, such as client,server_port; client/24 is its network")
	fs.BoolFunc("count", "count them", func(s string) error {
		if s == "true" {
			q.aggregates = append(q.aggregates, "count")
		}
		return nil
	})
	q.aggregate(fs, "sum", "`fields` to sum up")
	q.aggregate(fs, "distinct", "`fields` whose different values to count")
	q.aggregate(fs, "min", "`fields` whose smallest value to show")
	q.aggregate(fs, "max", "`fields` whose largest value to show")
	fs.Func("quantile", "`field:q` pairs, such as duration:0.95", q.quantile)
	fs.DurationVar(&q.every, "every", 0, "time buckets of this `duration`, such as 1h")
	fs.DurationVar(&q.compare, "compare", 0, "compare with the same range this `duration` earlier")
	fs.Var(&q.fields, "select", "`fields` of a list")
	fs.IntVar(&q.top, "top", 0, "at most so many `rows` (default: all; 1000 for a list)")
	fs.StringVar(&q.order, "order-by", "", "`column` to order by, largest first (default: the first aggregate)")
	fs.BoolVar(&q.ascending, "asc", false, "smallest first")
	formatFlag(fs, &q.format, query.Formats...)
	fs.StringVar(&q.out, "o", "-", "write to `file`; - is standard output")
	fs.BoolVar(&q.chart, "chart", false, "draw bars, or with -every a line over time")
	fs.BoolVar(&q.provisional, "provisional", false, "also sessions that so far are known by provisional updates only")
}

// aggregate registers an aggregate of fields.
func (q *queryFlags) aggregate(fs *flag.FlagSet, name, usage string) {
	fs.Func(name, usage, func(s string) error {
		for f := range strings.SplitSeq(s, ",") {
			q.aggregates = append(q.aggregates, name+"("+strings.TrimSpace(f)+")")
		}
		return nil
	})
}

// quantile makes "duration:0.95" the aggregate p95(duration).
func (q *queryFlags) quantile(s string) error {
	for p := range strings.SplitSeq(s, ",") {
		f, v, ok := strings.Cut(strings.TrimSpace(p), ":")
		if n, err := strconv.ParseFloat(v, 64); !ok || err != nil || !strings.HasPrefix(v, "0.") || n <= 0 {
			return fmt.Errorf("%q is not field:q with q between 0 and 1, such as duration:0.95", p)
		}
		digits := (v[2:] + "0")[:max(2, len(v)-2)]
		name := "p" + digits[:2]
		if len(digits) > 2 {
			name += "." + digits[2:]
		}
		q.aggregates = append(q.aggregates, name+"("+f+")")
	}
	return nil
}

// listLimit bounds a list that nobody bounded: what a person reads.
const listLimit = 1000

func (q *queryFlags) spec(now time.Time) (s query.Spec, err error) {
	s = query.Spec{
		Filter: q.filter, Select: q.fields, GroupBy: q.groupBy, Every: q.every, Aggregates: q.aggregates,
		Compare: q.compare, OrderBy: q.order, Ascending: q.ascending, Top: q.top,
	}
	if s.From, s.To, err = q.source.span(now); err != nil {
		return s, err
	}
	if q.compare != 0 && s.From == 0 {
		return s, usagef("-compare needs -from: the range to compare")
	}
	if q.compare != 0 && s.To == 0 {
		s.To = flow.Time(now.Unix())
	}
	if s.Top == 0 && len(s.GroupBy)+len(s.Aggregates) == 0 && s.Every == 0 && q.format == "table" {
		s.Top = listLimit
	}
	return s, nil
}

func runQuery(ctx context.Context, e *env, args []string) error {
	var q queryFlags
	fs := newFlags(e, queryCommand())
	q.register(fs)
	files, err := parseMixed(fs, args)
	if err != nil {
		return err
	}
	if q.of == "alerts" {
		return usagef("-of: sessions or flows; flowstitch tail alerts shows alerts")
	}
	lang, err := languageOf(q.of)
	if err != nil {
		return err
	}
	spec, err := q.spec(time.Now())
	if err != nil {
		return err
	}
	engine, err := query.New(lang, spec)
	if err != nil {
		return usageError{err.Error()}
	}
	out, err := q.output(e, engine)
	if err != nil {
		return err
	}
	defer func() { _ = out.close() }() // finish tells what went wrong
	done := q.scan(ctx, e, engine, files)
	if done != nil && !errors.Is(done, context.Canceled) {
		return done
	}
	if err := out.finish(engine.Result()); err != nil {
		return err
	}
	if engine.Merged > 0 {
		fmt.Fprintf(e.stderr, "PARTIAL: more than %d groups; the rest is summed up as (other)\n", query.DefaultMaxGroups)
	}
	q.remark(e, engine, spec, len(files) == 0)
	if done != nil {
		fmt.Fprintf(e.stderr, "PARTIAL: stopped after %d of what there is to read; %d matched\n", engine.Scanned, engine.Matched)
		return errors.New("stopped before the end; the answer is partial")
	}
	return nil
}

// remark says why an answer is empty: a question that is off by a year looks
// like one that is answered with no.
func (q *queryFlags) remark(e *env, engine *query.Engine, spec query.Spec, topics bool) {
	from, _ := engine.Range()
	switch {
	case q.source.quiet || engine.Matched > 0:
	case engine.Scanned == 0 && topics && from != 0:
		fmt.Fprintf(e.stderr, "There was nothing to read: nothing was written to the topic after %s.\n", from)
	case engine.Scanned == 0:
		fmt.Fprintf(e.stderr, "There was nothing to read.\n")
	case engine.Inside == 0:
		fmt.Fprintf(e.stderr, "None of the %d %s that were read began in the range; they began between %s and %s.\n", engine.Scanned, q.of, engine.Earliest, engine.Latest)
	case spec.Filter != "":
		where := ""
		if spec.From != 0 || spec.To != 0 {
			where = " in the range"
		}
		fmt.Fprintf(e.stderr, "None of the %d %s%s matches the filter.\n", engine.Inside, q.of, where)
	}
}

func schemaOf(of string) (*rule.Schema, error) {
	switch of {
	case "sessions":
		return rule.Sessions(), nil
	case "flows":
		return rule.Flows(), nil
	case "alerts":
		return rule.Alerts(), nil
	}
	return nil, usagef("there is no %q: sessions, flows or alerts", of)
}

func languageOf(of string) (*rule.Language, error) {
	schema, err := schemaOf(of)
	if err != nil {
		return nil, err
	}
	return rule.NewLanguage(schema)
}

func (q *queryFlags) scan(ctx context.Context, e *env, engine *query.Engine, files []string) error {
	from, to := engine.Range()
	src, err := q.source.open(e, q.of, files, from, to)
	if err != nil {
		return err
	}
	if q.of == "flows" {
		return src.run(ctx, query.NewFlows(engine))
	}
	folder := query.NewFolder(engine)
	folder.Provisional = q.provisional
	err = src.run(ctx, folder)
	if err == nil || errors.Is(err, context.Canceled) {
		if ferr := folder.Finish(); ferr != nil && !errors.Is(ferr, query.ErrEnough) {
			return ferr
		}
	}
	return err
}

// output is where the answer goes.
type output struct {
	flags *queryFlags
	w     io.Writer
	file  *os.File     // nil for standard output
	rows  query.Writer // of a list that is written while it is read
}

// output opens what -o names, before a long scan rather than after it.
func (q *queryFlags) output(e *env, engine *query.Engine) (*output, error) {
	o := &output{flags: q, w: e.stdout}
	var err error
	if q.out != "-" {
		if o.file, err = os.Create(q.out); err != nil {
			return nil, err
		}
		o.w = o.file
	}
	if q.chart || q.format == "table" || !engine.Stream(func(rows [][]query.Value) error { return o.rows.Rows(rows) }) {
		return o, nil
	}
	o.rows, err = query.NewWriter(o.w, q.format, engine.Columns())
	return o, err
}

// chartWidth is the width of a chart in characters: an ordinary terminal.
const chartWidth = 100

// finish writes what was not written yet.
func (o *output) finish(r *query.Result) (err error) {
	switch {
	case o.flags.chart:
		err = r.Chart(o.w, chartWidth)
	case o.rows == nil:
		err = r.Write(o.w, o.flags.format)
	default:
		if err = o.rows.Rows(r.Rows); err == nil {
			err = o.rows.Close()
		}
	}
	return errors.Join(err, o.close())
}

// close closes the file, once.
func (o *output) close() error {
	if o.file == nil {
		return nil
	}
	err := o.file.Close()
	o.file = nil
	return err
}

// sourceFlags say what a query, a back-test or a tail reads.
type sourceFlags struct {
	brokers          listFlag
	config           string
	prefix, from, to string
	slack            time.Duration
	logFormat        string
	own              listFlag
	quiet            bool
}

func (s *sourceFlags) register(fs *flag.FlagSet) {
	s.registerTopics(fs)
	fs.StringVar(&s.from, "from", "", "only what began at or after this `time`")
	fs.StringVar(&s.to, "to", "", "only what began before this `time`")
	fs.DurationVar(&s.slack, "slack", query.DefaultSlack, "how far the topic's clock must have passed -to before reading ends: sessions that last longer count as they stood")
	fs.StringVar(&s.logFormat, "log-format", "", "of files: "+logFormatHelp)
	fs.Var(&s.own, "own", "of files: "+ownHelp)
	fs.BoolVar(&s.quiet, "quiet", false, "no progress")
}

// registerTopics registers the flags that find the topics of a pipeline.
func (s *sourceFlags) registerTopics(fs *flag.FlagSet) {
	fs.Var(&s.brokers, "brokers", "read the topics of a running pipeline: `host:port` of its Kafka (default 127.0.0.1:9092)")
	fs.StringVar(&s.config, "config", "", "how to reach that Kafka (TLS, SASL) and the prefix: YAML `file` as of flowstitch topics")
	fs.StringVar(&s.prefix, "prefix", "", "`prefix` of the pipeline's topics, instead of the configuration's")
}

func (s *sourceFlags) span(now time.Time) (from, to flow.Time, err error) {
	if from, err = parseWhen("-from", s.from, now); err != nil {
		return 0, 0, err
	}
	to, err = parseWhen("-to", s.to, now)
	if err == nil && to != 0 && to <= from {
		err = usagef("-to %s is not after -from %s", to, from)
	}
	return from, to, err
}

// parseWhen reads a time, a date, or how long ago; 0 for an empty text.
func parseWhen(name, s string, now time.Time) (flow.Time, error) {
	if s == "" {
		return 0, nil
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return flow.Time(now.Add(-d).Unix()), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04", "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			return flow.Time(t.Unix()), nil
		}
	}
	return 0, usagef("%s: %q is no time: 2026-03-01T08:00:00Z, 2026-03-01, or 2h for two hours ago", name, s)
}

// opened is a source that is ready to run.
type opened struct {
	env      *env
	files    *query.Files
	topics   *query.Topics
	brokers  []string // of topics
	progress *progress
}

func (s *sourceFlags) open(e *env, of string, files []string, from, to flow.Time) (*opened, error) {
	o := &opened{env: e, progress: newProgress(e, s.quiet)}
	if len(files) > 0 {
		o.progress.unit = "bytes"
		own, err := s.own.networks("own")
		o.files = &query.Files{
			Paths: files, Stdin: e.stdin, Sessions: of == stage.SessionsTopic,
			Config: flowlog.Config{Format: s.logFormat}, Owners: flowlog.OwnersConfig{Own: own}, Progress: o.progress.tell,
		}
		return o, err
	}
	opts, names, err := s.client()
	if err != nil {
		return nil, err
	}
	o.brokers = s.brokers
	o.topics = &query.Topics{
		Client: opts, Names: names, Topic: of,
		From: from, To: to, Slack: s.slack, Progress: o.progress.tell,
	}
	return o, nil
}

// client returns how to reach the pipeline's Kafka and what its topics are
// called: as the configuration says, and the command line instead of it. It
// leaves the brokers in s.
func (s *sourceFlags) client() ([]kgo.Opt, stage.Topics, error) {
	c := topology.Default()
	if err := config.Load(s.config, &c); err != nil {
		return nil, stage.Topics{}, err
	}
	if len(s.brokers) > 0 {
		c.Kafka.Brokers = s.brokers
	}
	s.brokers = c.Kafka.Brokers
	if s.prefix != "" {
		c.Pipeline.Prefix = s.prefix
	}
	opts, err := c.Kafka.Opts()
	return opts, stage.Topics{Prefix: c.Pipeline.Prefix}, err
}

func (o *opened) run(ctx context.Context, sink query.Sink) error {
	defer o.progress.clear()
	if o.files == nil {
		err := reachable(ctx, o.topics.Client, o.brokers)
		if err == nil {
			err = o.topics.Run(ctx, sink)
		}
		o.progress.clear()
		if o.topics.Damaged > 0 {
			fmt.Fprintf(o.env.stderr, "%d records could not be read; the first: %s\n", o.topics.Damaged, o.topics.FirstDamage)
		}
		return err
	}
	err := o.files.Run(ctx, sink)
	o.progress.clear()
	if o.files.Rejects > 0 {
		fmt.Fprintf(o.env.stderr, "%d lines could not be read; the first: %s\n", o.files.Rejects, o.files.FirstReject)
	}
	return err
}
