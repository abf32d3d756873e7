package sessionizer

import (
	"context"
	"fmt"
	"time"

	"github.com/segmentio/encoding/json"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/flowstitch/flowstitch/pkg/config"
	"github.com/flowstitch/flowstitch/pkg/service"
	"github.com/flowstitch/flowstitch/pkg/session"
	"github.com/flowstitch/flowstitch/pkg/stage"
	"github.com/flowstitch/flowstitch/pkg/telemetry"
)

// Config is the configuration of the sessionize service.
type Config struct {
	service.Common `yaml:",inline"`
	Sessions       Sessions `yaml:"sessions"`
}

// Sessions says when a session ends and how often it is told.
type Sessions struct {
	// IdleTCP and IdleOther are the silences that end a session: AWS's own NAT
	// gateways and load balancers forget a TCP connection after 350 s.
	IdleTCP   time.Duration `yaml:"idle_tcp"`
	IdleOther time.Duration `yaml:"idle_other"`
	// Interval is the aggregation interval of the flow logs; no idle gap is
	// below it.
	Interval time.Duration `yaml:"interval"`
	// Active is how long a running session goes untold at most: in event time
	// for final events, in wall time for provisional ones. It is also how far the
	// watermark of sessions lies behind the clock. Above idle_tcp and interval
	// together, a short session without TCP flags is told as a fact once, by its
	// close, instead of twice.
	Active time.Duration `yaml:"active"`
	// UpdateHold is how long the first, provisional update of a session waits
	// for the reply to join it. 0 tells at once.
	UpdateHold time.Duration `yaml:"update_hold"`
	// UnansweredAfter is when an attempt without an answer has failed.
	UnansweredAfter time.Duration `yaml:"unanswered_after"`
	// Corrections is how far behind the clock a record may be and still correct
	// its session; later ones go to rejects. It should equal ingest's lateness.
	Corrections time.Duration `yaml:"corrections"`
	// Memory bounds the table of the whole layout, in bytes, shared evenly by
	// its partitions: about 200 bytes an open session. At the bound the least
	// recently active sessions are told early. 0 is no bound.
	Memory int64 `yaml:"memory"`
}

// Default is the configuration for an aggregation interval of a minute.
func Default() Config {
	d := session.Default()
	seconds := func(s int64) time.Duration { return time.Duration(s) * time.Second }
	return Config{Common: service.DefaultCommon(), Sessions: Sessions{
		IdleTCP: seconds(d.IdleTCP), IdleOther: seconds(d.IdleOther), Interval: seconds(d.Interval),
		Active: seconds(d.Active), UpdateHold: time.Duration(d.UpdateHold) * time.Millisecond,
		UnansweredAfter: seconds(d.UnansweredAfter), Corrections: seconds(d.Retain),
	}}
}

// Validate returns every problem at once.
func (c *Config) Validate() error {
	var p config.Problems
	p.Join(c.Common.Validate())
	p.Check(c.Sessions.Memory == 0 || c.Sessions.Memory >= minMemory, "sessions.memory: %d bytes are less than the least that is of use, %d", c.Sessions.Memory, int64(minMemory))
	sc := c.table()
	p.Add("sessions", sc.Validate())
	return p.Err()
}

// minMemory is what a useful table needs: room for some ten thousand sessions.
const minMemory = 4 << 20

// table is the configuration of one bucket.
func (c *Config) table() session.Config {
	seconds := func(d time.Duration) int64 { return int64(d / time.Second) }
	t := session.Default()
	t.IdleTCP, t.IdleOther, t.Interval = seconds(c.Sessions.IdleTCP), seconds(c.Sessions.IdleOther), seconds(c.Sessions.Interval)
	t.Active, t.UpdateHold = seconds(c.Sessions.Active), c.Sessions.UpdateHold.Milliseconds()
	t.UnansweredAfter, t.Retain = seconds(c.Sessions.UnansweredAfter), seconds(c.Sessions.Corrections)
	t.MaxBytes = c.Sessions.Memory / int64(max(c.Pipeline.Partitions, 1)) / buckets
	return t
}

// compression is zstd at its fastest, where the other stages take lz4: events are
// mostly counts, ports and addresses, in which lz4 finds few repeats of four
// bytes. It makes sessions and snapshots a fifth smaller for half a microsecond of
// processor time an event (see TestBytesWritten and docs/performance.md).
func compression() []kgo.CompressionCodec {
	return []kgo.CompressionCodec{kgo.ZstdCompression().WithLevel(1), kgo.Lz4Compression(), kgo.NoCompression()}
}

// fetchBytes bounds what a slot has fetched ahead, compressed. In memory it is much
// more: unpacked, and with a kgo.Record for each flow. With 2 MiB, of which a
// partition could be 1 MiB, a worker with eight slots of a partition that caught up
// took 90 bytes more for each of its million sessions, and no less processor time
// (see docs/performance.md).
const fetchBytes = 256 << 10

// stage is the configuration of the stage, with what is sessionize's own.
func (c *Config) stage(tel *telemetry.Telemetry) (stage.Config, error) {
	sc, err := c.Stage("sessionize", "", tel)
	if err != nil {
		return sc, err
	}
	if c.Kafka.Codecs == nil {
		sc.Compression = compression()
	}
	sc.FetchBytes = fetchBytes
	return sc, nil
}

// Run sessionizes until ctx ends. Topics are made if they do not exist.
func Run(ctx context.Context, cfg Config, tel *telemetry.Telemetry) error {
	sc, err := cfg.stage(tel)
	if err != nil {
		return err
	}
	n := cfg.Pipeline.Partitions
	specs := append(sc.StageTopics(), stage.DataTopic(stage.FlowsTopic, n), stage.DataTopic(stage.SessionsTopic, n), stage.RejectsSpec(n))
	if err := stage.EnsureTopics(ctx, &sc, specs...); err != nil {
		return err
	}
	canonical, err := json.Marshal(foldConfig{Version: foldVersion, Session: cfg.table()})
	if err != nil {
		return fmt.Errorf("sessionize: %w", err)
	}
	m := newMetrics(tel.Registry)
	return stage.Run(ctx, sc, stage.Spec{
		Input:   stage.FlowsTopic,
		Outputs: []stage.OutputTopic{{Name: stage.SessionsTopic, Marks: stage.PerPartition}},
		Config:  canonical,
		Fold:    func(config []byte) (stage.Fold, error) { return parseFold(config, m) },
	})
}
