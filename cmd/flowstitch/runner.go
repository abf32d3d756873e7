package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/flowstitch/flowstitch/internal/pipeline"
	"github.com/flowstitch/flowstitch/pkg/service"
	"github.com/flowstitch/flowstitch/pkg/stage"
	"github.com/flowstitch/flowstitch/pkg/telemetry"
	"github.com/flowstitch/flowstitch/pkg/wire"
)

// runner is one run: the services in the background, the alerts topic and the
// progress in front.
type runner struct {
	o     *runOptions
	e     *env
	cfg   pipeline.Config
	tel   *telemetry.Telemetry
	began time.Time

	alerts *alertPrinter
	at     map[position]int64
	told   int       // rejects that were told one by one
	shown  time.Time // when progress was last shown
	lines  float64   // as of then
	drawn  bool      // a progress line stands on the terminal
	judged bool      // everything in the files has been judged
}

// position is a partition that the runner reads.
type position struct {
	topic     string
	partition int32
}

// lookEvery is how often progress and the end are looked for.
const lookEvery = 200 * time.Millisecond

// run works until everything has been judged, or ctx ends, and prints the
// summary of what was seen until then.
func (r *runner) run(ctx context.Context) error {
	defer service.RelaxCollector()()
	services, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- pipeline.Run(services, r.cfg, r.tel) }()

	cl, err := r.reader()
	if err != nil {
		return err
	}
	defer cl.Close()
	r.alerts, r.at = newAlertPrinter(r.e, r.o.format), map[position]int64{}

	err = r.follow(ctx, cl, ended)
	interrupted := ctx.Err() != nil && !r.judged
	stop()
	if err == nil {
		err = <-ended // the services commit what they have and leave
		r.drain(cl)
	}
	r.clearProgress()
	if !r.o.quiet {
		r.summary(interrupted)
	}
	if err != nil {
		return err
	}
	return r.nothingDone(interrupted)
}

// reader reads alerts and rejects from their start, committed records only.
func (r *runner) reader() (*kgo.Client, error) {
	topics := stage.Topics{Prefix: r.cfg.Detect.Pipeline.Prefix}
	opts, err := r.cfg.Detect.Kafka.Opts()
	if err != nil {
		return nil, err
	}
	return kgo.NewClient(append(opts,
		kgo.ConsumeTopics(topics.Name(stage.AlertsTopic), topics.Name(stage.RejectsTopic)),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.FetchMaxWait(lookEvery),
		kgo.MetadataMinAge(lookEvery), // the topic is made while we wait for it
		kgo.UnknownTopicRetries(-1),
		kgo.KeepControlRecords(), // so that the position reaches the end
	)...)
}

// follow prints alerts until all is judged (unless serving), ctx ends, or a
// service fails.
func (r *runner) follow(ctx context.Context, cl *kgo.Client, ended chan error) error {
	for {
		select {
		case err := <-ended:
			ended <- nil
			return errors.Join(err, fmt.Errorf("the services ended early"))
		case <-ctx.Done():
			return nil
		default:
		}
		r.poll(ctx, cl, lookEvery)
		r.progress()
		if !r.judged && pipeline.Finished(r.tel.Registry, runPartitions) && len(r.o.files) > 0 {
			if r.judged = true; r.o.serve == "" {
				return nil
			}
			r.clearProgress()
			fmt.Fprintf(r.e.stderr, "Everything in the files has been judged. The broker stays at %s; Ctrl-C ends it.\n", r.cfg.Detect.Kafka.Brokers[0])
		}
	}
}

// poll reads what has come within wait.
func (r *runner) poll(ctx context.Context, cl *kgo.Client, wait time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	names := stage.Topics{Prefix: r.cfg.Detect.Pipeline.Prefix}
	cl.PollFetches(ctx).EachRecord(func(rec *kgo.Record) {
		r.at[position{rec.Topic, rec.Partition}] = rec.Offset + 1
		if rec.Attrs.IsControl() {
			return
		}
		r.clearProgress()
		if rec.Topic == names.Name(stage.AlertsTopic) {
			r.alerts.print(rec.Value)
		} else {
			r.reject(rec)
		}
	})
}

// tellRejects is how many rejects are told one by one before the summary has
// to do.
const tellRejects = 5

// reject tells of a line that could not be read.
func (r *runner) reject(rec *kgo.Record) {
	if r.told++; r.told > tellRejects || r.o.quiet {
		return
	}
	headers := make([]wire.Header, len(rec.Headers))
	for i, h := range rec.Headers {
		headers[i] = wire.Header{Key: h.Key, Value: string(h.Value)}
	}
	j := wire.ParseReject(headers)
	where := j.Origin.Source
	if j.Origin.Line > 0 {
		where += ":" + strconv.FormatInt(j.Origin.Line, 10)
	}
	fmt.Fprintf(r.e.stderr, "rejected %s: %s\n", where, j.Reason)
	if r.told == tellRejects {
		fmt.Fprintln(r.e.stderr, "More rejects are counted in the summary and kept on the rejects topic.")
	}
}

// drain reads what the services committed last: they have ended, so the end
// of the topic does not move any more.
func (r *runner) drain(cl *kgo.Client) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	topics := stage.Topics{Prefix: r.cfg.Detect.Pipeline.Prefix}
	ends, err := kadm.NewClient(cl).ListCommittedOffsets(ctx, topics.Name(stage.AlertsTopic), topics.Name(stage.RejectsTopic))
	if err != nil {
		r.tel.Log.Warn("the last alerts may be missing", "error", err)
		return
	}
	behind := func() (yes bool) {
		ends.Each(func(l kadm.ListedOffset) { yes = yes || r.at[position{l.Topic, l.Partition}] < l.Offset })
		return yes
	}
	for ctx.Err() == nil && behind() {
		r.poll(ctx, cl, lookEvery)
	}
}
