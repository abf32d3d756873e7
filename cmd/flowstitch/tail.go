package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/segmentio/encoding/json"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/rule"
	"github.com/flowstitch/flowstitch/pkg/session"
	"github.com/flowstitch/flowstitch/pkg/stage"
	"github.com/flowstitch/flowstitch/pkg/wire"
)

func tailCommand() command {
	return command{
		name:    "tail",
		summary: "watch the alerts, sessions, flows or rejects of a running pipeline",
		usage: `Usage:  flowstitch tail [flags] alerts|sessions|flows|rejects

Prints what a running pipeline says, as it says it, committed records only.
Filters are CEL expressions: "flowstitch fields -of alerts" lists the fields.

Examples:
  flowstitch tail alerts
  flowstitch tail -filter 'severity >= 4' -format json alerts
  flowstitch tail -filter 'server_port == 22 && kind == "close"' sessions
  flowstitch tail -from 1h -n 20 -filter 'action == "REJECT"' flows
  flowstitch tail -config topics.yaml -from 2h rejects
  flowstitch tail -from 2h -format raw -idle 10s rejects > rejected.log`,
		run: runTail,
	}
}

type tailFlags struct {
	source         sourceFlags
	filter, format string
	n              int
	idle           time.Duration
}

func (t *tailFlags) register(fs *flag.FlagSet) {
	t.source.registerTopics(fs)
	fs.StringVar(&t.source.from, "from", "", "begin with what was written at this `time` (default: now)")
	fs.StringVar(&t.filter, "filter", "", "CEL `expression`; empty matches everything")
	formatFlag(fs, &t.format, "text", "json", "raw")
	fs.IntVar(&t.n, "n", 0, "stop after so many `lines` (default: never)")
	fs.DurationVar(&t.idle, "idle", 0, "stop when nothing has come for this `long` (default: never)")
}

func runTail(ctx context.Context, e *env, args []string) error {
	var t tailFlags
	fs := newFlags(e, tailCommand())
	t.register(fs)
	rest, err := parseMixed(fs, args)
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return usagef("what to watch: alerts, sessions, flows or rejects")
	}
	filter, err := t.compile(rest[0])
	if err != nil {
		return err
	}
	from, err := parseWhen("-from", t.source.from, time.Now())
	if err != nil {
		return err
	}
	opts, names, err := t.source.client()
	if err != nil {
		return err
	}
	start := kgo.NewOffset().AtEnd()
	if from != 0 {
		start = kgo.NewOffset().AfterMilli(int64(from) * 1000)
		if rest[0] == "alerts" { // their timestamps are event times
			start = kgo.NewOffset().AtStart()
		}
	}
	if err := reachable(ctx, opts, t.source.brokers); err != nil {
		return err
	}
	cl, err := kgo.NewClient(append(opts, kgo.ConsumeTopics(names.Name(rest[0])), kgo.ConsumeResetOffset(start),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxWait(500*time.Millisecond))...)
	if err != nil {
		return err
	}
	defer cl.Close()
	w := &tailer{env: e, flags: &t, of: rest[0], filter: filter, from: from}
	return w.follow(ctx, cl)
}

// compile returns the filter over what is watched; rejects have none.
func (t *tailFlags) compile(of string) (*rule.Filter, error) {
	if t.format == "raw" && of != stage.RejectsTopic {
		return nil, usagef("-format raw is for rejects, whose raw bytes it writes")
	}
	if of == stage.RejectsTopic {
		if t.filter != "" {
			return nil, usagef("rejects take no -filter: they are no records")
		}
		return nil, nil
	}
	lang, err := languageOf(of)
	if err != nil {
		return nil, err
	}
	filter, err := lang.Compile(t.filter)
	if err != nil {
		return nil, usageError{"filter: " + err.Error()}
	}
	return filter, nil
}

// reachWithin is how long a broker may take to answer at all.
const reachWithin = 10 * time.Second

// reachable tells whoever watches, asks or measures that there is nothing there:
// the client itself would try for ever.
func reachable(ctx context.Context, opts []kgo.Opt, brokers []string) error {
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, reachWithin)
	defer cancel()
	if err := cl.Ping(ctx); err != nil {
		return fmt.Errorf("there is no Kafka at %s; name the pipeline's with -brokers: %w", strings.Join(brokers, ","), err)
	}
	return nil
}

// tailer prints what matches.
type tailer struct {
	env    *env
	flags  *tailFlags
	of     string
	filter *rule.Filter
	from   flow.Time
	shown  int
	buf    []byte
	event  session.Event
	record flow.Record
	row    rule.Row
}

// follow ends without an error when ctx does: that is how people stop it.
func (t *tailer) follow(ctx context.Context, cl *kgo.Client) error {
	for {
		polling, cancel := ctx, context.CancelFunc(func() {})
		if t.flags.idle > 0 {
			polling, cancel = context.WithTimeout(ctx, t.flags.idle)
		}
		fetches := cl.PollFetches(polling)
		ended := polling.Err() != nil
		cancel()
		if ended {
			return nil
		}
		for _, fe := range fetches.Errors() {
			if !errors.Is(fe.Err, context.Canceled) {
				return fmt.Errorf("%s partition %d: %w", fe.Topic, fe.Partition, fe.Err)
			}
		}
		for it := fetches.RecordIter(); !it.Done(); {
			if err := t.show(it.Next()); err != nil {
				return err
			}
			if t.flags.n > 0 && t.shown >= t.flags.n {
				return nil
			}
		}
	}
}

func (t *tailer) show(r *kgo.Record) error {
	t.buf = t.buf[:0]
	var raw []byte
	switch {
	case t.of == stage.RejectsTopic:
		return t.reject(r)
	case t.of == "alerts":
		a, err := alert.Parse(r.Value)
		if err != nil {
			fmt.Fprintf(t.env.stderr, "partition %d offset %d: %v\n", r.Partition, r.Offset, err)
			return nil
		}
		t.row.Alert = a
		if a.Time < t.from || !t.filter.Match(&t.row) {
			return nil
		}
		t.buf, raw = alert.AppendText(t.buf, a, t.env.terminal), r.Value
	case wire.IsMark(r.Value):
		return nil
	case t.of == "sessions":
		if err := wire.ParseSession(r.Key, r.Value, &t.event); err != nil {
			fmt.Fprintf(t.env.stderr, "partition %d offset %d: %v\n", r.Partition, r.Offset, err)
			return nil
		}
		t.row.Session = &t.event
	default:
		if _, err := wire.ParseFlow(r.Key, r.Value, &t.record); err != nil {
			fmt.Fprintf(t.env.stderr, "partition %d offset %d: %v\n", r.Partition, r.Offset, err)
			return nil
		}
		t.row.Flow = &t.record
	}
	if t.of != "alerts" {
		if !t.filter.Match(&t.row) {
			return nil
		}
		if t.of == "sessions" {
			t.buf = sessionLine(t.buf, &t.event)
		} else {
			t.buf = flowLine(t.buf, &t.record)
		}
	}
	return t.print(raw)
}

// print writes one line: the text, or in JSON the record itself, or the values
// of all fields where it is no JSON.
func (t *tailer) print(raw []byte) error {
	if t.flags.format == "json" {
		if raw == nil {
			var err error
			if raw, err = json.Marshal(t.filter.Values(&t.row)); err != nil {
				return err
			}
		}
		t.buf = append(t.buf[:0], raw...)
	}
	return t.line()
}

// line writes what t.buf holds, and counts it.
func (t *tailer) line() error {
	if n := len(t.buf); n == 0 || t.buf[n-1] != '\n' {
		t.buf = append(t.buf, '\n')
	}
	t.shown++
	_, err := t.env.stdout.Write(t.buf)
	return err
}

func sessionLine(b []byte, e *session.Event) []byte {
	return fmt.Appendf(b, "%s %-8s %s > %s %s %s %s out %s in %s %s",
		e.First, e.Kind, e.Client, e.Server, alert.ProtocolName(e.Key.Protocol), e.Direction, e.Outcome,
		rule.FormatNumber(float64(e.Out.Bytes+e.Out.RejectBytes), "bytes"), rule.FormatNumber(float64(e.In.Bytes+e.In.RejectBytes), "bytes"),
		(time.Duration(e.Last-e.First) * time.Second).String())
}

func flowLine(b []byte, r *flow.Record) []byte {
	src, dst := r.Ends()
	return fmt.Appendf(b, "%s %s > %s %s %s %d packets %s %s",
		r.Start, src, dst, alert.ProtocolName(r.Protocol), r.Action, r.Packets, rule.FormatNumber(float64(r.Bytes), "bytes"), r.Point())
}
