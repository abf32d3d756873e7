package service

import (
	"cmp"
	"os"
	"time"

	"github.com/flowstitch/flowstitch/pkg/config"
	"github.com/flowstitch/flowstitch/pkg/kafkaclient"
	"github.com/flowstitch/flowstitch/pkg/stage"
	"github.com/flowstitch/flowstitch/pkg/telemetry"
)

// Common is what every service's configuration begins with.
type Common struct {
	Kafka     kafkaclient.Config `yaml:"kafka"`
	Pipeline  Pipeline           `yaml:"pipeline"`
	Telemetry telemetry.Config   `yaml:"telemetry"`
}

// Pipeline is what all services of one deployment must agree on, and how they
// pace themselves.
type Pipeline struct {
	// Prefix begins the name of every topic, group and transactional id: it
	// keeps a staging deployment or a backfill apart from the live one.
	Prefix string `yaml:"prefix"`
	// Deployment names this deployment in the watermarks that it writes.
	Deployment string `yaml:"deployment"`
	// Layout is the generation of the partition layout. Count it up when the
	// number of partitions or slots changes; see docs/sizing.md.
	Layout int `yaml:"layout"`
	// Partitions of flows, sessions and observations: 24, 48 or 96 scale best.
	Partitions int32 `yaml:"partitions"`
	// Slots is how many pieces the work of a service is cut into. It divides
	// Partitions, and replicas beyond it idle.
	Slots int `yaml:"slots"`
	// Replication is the replication factor of topics that are made; -1 is the
	// broker's default.
	Replication int16 `yaml:"replication"`
	// CommitInterval is how long a record waits for its transaction: shorter is
	// sooner, and costs more transactions.
	CommitInterval time.Duration `yaml:"commit_interval"`
	// SnapshotPeriod is how long a round of snapshots takes; a crash refolds at
	// most so much input.
	SnapshotPeriod time.Duration `yaml:"snapshot_period"`
	// SessionTimeout is when the slots of a process that died without a word are
	// given to others: shorter is sooner, and a process that only hangs for so
	// long loses its slots. The broker's group.min.session.timeout.ms bounds it.
	SessionTimeout time.Duration `yaml:"session_timeout"`
}

// DefaultCommon is a deployment of 24 partitions on a local broker.
func DefaultCommon() Common {
	d := stage.Default()
	return Common{
		Kafka: kafkaclient.Default(),
		Pipeline: Pipeline{
			Deployment: d.Deployment, Partitions: 24, Slots: d.Slots, Replication: d.Replication,
			CommitInterval: d.CommitInterval, SnapshotPeriod: d.SnapshotPeriod,
			SessionTimeout: d.SessionTimeout,
		},
		Telemetry: telemetry.Default(),
	}
}

// Shown implements Config.
func (c *Common) Shown() telemetry.Config { return c.Telemetry }

// Validate returns every problem at once.
func (c *Common) Validate() error {
	var p config.Problems
	p.Add("kafka", c.Kafka.Validate())
	p.Add("pipeline", c.Pipeline.Validate())
	p.Add("telemetry", c.Telemetry.Validate())
	return p.Err()
}

// Validate returns every problem at once.
func (c *Pipeline) Validate() error {
	var p config.Problems
	p.Check(c.Deployment != "", "deployment: must be given")
	p.Check(c.Layout >= 0, "layout: %d counts from 0", c.Layout)
	p.Check(c.Partitions > 0, "partitions: %d is not above 0", c.Partitions)
	p.Check(c.Slots > 0, "slots: %d is not above 0", c.Slots)
	p.Check(c.Slots <= 0 || c.Partitions%int32(max(c.Slots, 1)) == 0, "slots: %d does not divide the %d partitions", c.Slots, c.Partitions)
	p.Check(c.CommitInterval >= 10*time.Millisecond && c.CommitInterval <= 5*time.Second, "commit_interval: %v is not between 10ms and 5s", c.CommitInterval)
	p.Check(c.SnapshotPeriod >= time.Second, "snapshot_period: %v is below 1s", c.SnapshotPeriod)
	p.Check(c.SessionTimeout >= time.Second && c.SessionTimeout <= 5*time.Minute, "session_timeout: %v is not between 1s and 5m", c.SessionTimeout)
	return p.Err()
}

// RackEnv names the environment variable with the zone that a pod runs in,
// filled by the downward API; kafka.rack in the configuration wins. It is empty
// where the cluster does not tell: then reads go to leaders.
const RackEnv = "FLOWSTITCH_RACK"

// Stage returns the configuration of one stage of a service.
func (c *Common) Stage(service, name string, tel *telemetry.Telemetry) (stage.Config, error) {
	kafka := c.Kafka
	zone := os.Getenv(RackEnv)
	kafka.Rack = cmp.Or(kafka.Rack, kafka.Racks[zone], zone)
	opts, err := kafka.Opts()
	if err != nil {
		return stage.Config{}, err
	}
	s := stage.Default()
	s.Client, s.Service, s.Stage, s.Telemetry = append(opts, tel.Client...), service, name, tel
	s.Prefix, s.Deployment, s.Layout, s.Slots = c.Pipeline.Prefix, c.Pipeline.Deployment, c.Pipeline.Layout, c.Pipeline.Slots
	s.Replication, s.CommitInterval = c.Pipeline.Replication, c.Pipeline.CommitInterval
	s.SnapshotPeriod, s.SessionTimeout = c.Pipeline.SnapshotPeriod, c.Pipeline.SessionTimeout
	if c.Kafka.Codecs != nil {
		s.Compression = c.Kafka.Codecs
	}
	return s, s.Validate()
}
