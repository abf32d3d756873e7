package bench

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/stage"
)

// probe is one burst of password guessing from an address of its own.
type probe struct {
	addr flow.Addr
	text string // the address as alerts and the keys of observations have it
	// given is when ingest was handed its last line, told when the first alert
	// that names it could be read; zero: not yet.
	given, told time.Time
	// sent is when the last of its records was produced that could still make
	// that alert, by hop; in milliseconds, as Kafka keeps them.
	sent [len(hops)]time.Time
}

// hops are the topics between a probe and its alert.
var hops = [...]string{stage.FlowsTopic, stage.SessionsTopic, stage.ObservationsTopic}

// Probe is the delay of one probe, in seconds. The parts tell where it waited:
// each is from the one before (the first from being given), and contains the
// commit of the stage before, the fetch, the fold, and the wait for the
// transaction to be full or due. They are what the clock of the records says, in
// whole milliseconds, and absent where the topics could not be read again.
type Probe struct {
	At           float64 `json:"at_seconds"` // since the first record was given
	Delay        float64 `json:"delay_seconds"`
	Flows        float64 `json:"to_flows_seconds"`
	Sessions     float64 `json:"to_sessions_seconds"`
	Observations float64 `json:"to_observations_seconds"`
	Alert        float64 `json:"to_alert_seconds"`
}

func newProbe(n int) *probe {
	a := flow.AddrFrom4([4]byte{198, 18, byte(n >> 8), byte(n)})
	return &probe{addr: a, text: a.String()}
}

// alerted notes which probes an alert that could be read at a time names, the
// first time. value is the alert's JSON.
func (s *source) alerted(value []byte, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.probes {
		if p.told.IsZero() && !p.given.IsZero() && bytes.Contains(value, []byte(`"`+p.text+`"`)) {
			p.told = at
		}
	}
}

// delays are those of the probes that were told, in the order they were given.
func (s *source) delays() (out []time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.probes {
		if !p.told.IsZero() {
			out = append(out, p.told.Sub(p.given))
		}
	}
	return out
}

// trace reads the topics between the probes and their alerts once more, for when
// each stage had produced what a probe caused. A broker that does not give them
// within the time leaves the parts of the delays out.
func (r *run) trace(ctx context.Context) error {
	if len(r.src.probes) == 0 {
		return nil
	}
	opts, err := r.o.Pipeline.Detect.Kafka.Opts()
	if err != nil {
		return err
	}
	names := stage.Topics{Prefix: r.o.Pipeline.Detect.Pipeline.Prefix}
	topics := make([]string, len(hops))
	for i, h := range hops {
		topics[i] = names.Name(h)
	}
	// The last record of a partition is the end of a transaction, which a reader is not shown otherwise.
	cl, err := kgo.NewClient(append(opts, kgo.ConsumeTopics(topics...), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.KeepControlRecords())...)
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, topics...)
	if err != nil {
		return nil //nolint:nilerr // the parts are left out
	}
	left := 0
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left++
		}
	})
	for left > 0 && ctx.Err() == nil {
		fs := cl.PollFetches(ctx)
		fs.EachPartition(func(p kgo.FetchTopicPartition) {
			i := slices.Index(topics, p.Topic)
			for _, rec := range p.Records {
				r.src.sent(i, rec)
				if end, _ := ends.Lookup(p.Topic, p.Partition); rec.Offset+1 == end.Offset {
					left--
				}
			}
		})
	}
	return nil
}

// sent notes when a record of a hop was produced, if it is of a probe and early
// enough to have had a part in its alert.
func (s *source) sent(hop int, rec *kgo.Record) {
	for _, p := range s.probes {
		if p.told.IsZero() || rec.Timestamp.After(p.told) || !rec.Timestamp.After(p.sent[hop]) {
			continue
		}
		if bytes.Contains(rec.Key, p.addr[12:]) || strings.Contains(string(rec.Key), p.text) {
			p.sent[hop] = rec.Timestamp
		}
	}
}

// results are the probes that were told, in the order they were given.
func (s *source) results() (out []Probe) {
	for _, p := range s.probes {
		if p.told.IsZero() {
			continue
		}
		one := Probe{At: p.given.Sub(s.first).Seconds(), Delay: p.told.Sub(p.given).Seconds()}
		if !slices.ContainsFunc(p.sent[:], time.Time.IsZero) {
			one.Flows = p.sent[0].Sub(p.given).Seconds()
			one.Sessions = p.sent[1].Sub(p.sent[0]).Seconds()
			one.Observations = p.sent[2].Sub(p.sent[1]).Seconds()
			one.Alert = p.told.Sub(p.sent[2]).Seconds()
		}
		out = append(out, one)
	}
	return out
}

// slowest is how many probes the table shows.
const slowest = 5

// writeProbes writes the slowest probes and where they waited.
func writeProbes(w io.Writer, probes []Probe) {
	if len(probes) == 0 {
		return
	}
	probes = slices.SortedFunc(slices.Values(probes), func(a, b Probe) int { return cmp.Compare(b.Delay, a.Delay) })
	fmt.Fprintf(w, "\nslowest probes, at s\tdelay s\tto flows\tto sessions\tto observations\tto alert\n")
	for _, p := range probes[:min(len(probes), slowest)] {
		fmt.Fprintf(w, "%.1f\t%.3f\t%.3f\t%.3f\t%.3f\t%.3f\n", p.At, p.Delay, p.Flows, p.Sessions, p.Observations, p.Alert)
	}
}
