package stage

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/flowstitch/flowstitch/pkg/telemetry"
)

// Config says who a stage is and how it paces itself. Default fills everything
// but Client and Service.
type Config struct {
	// Client reaches the cluster: seed brokers, TLS, SASL, rack. The stage adds
	// its own options to them; see pkg/kafkaclient.
	Client []kgo.Opt
	// Prefix keeps deployments apart: it begins every topic, group and
	// transactional id.
	Prefix string
	// Service and Stage name the stage; Stage is empty where a service has one.
	Service, Stage string
	// Deployment names this pipeline in its marks.
	Deployment string
	// Layout is the generation of the layout; a change of the partition count
	// needs a new one.
	Layout int
	// Slots is how many slots the stage's work is cut into; it divides the
	// partition count of the input. More replicas than slots idle.
	Slots int

	// CommitInterval is how long records wait for their transaction. Shorter is
	// sooner and costs more transactions.
	CommitInterval time.Duration
	// MaxTxnBytes ends a transaction early. A slot holds two of them in memory.
	MaxTxnBytes int
	// FetchBytes bounds what a slot has fetched ahead.
	FetchBytes int
	// SnapshotPeriod is how long a round of snapshots takes; a crash refolds at
	// most so much wall time of input. What is written for it falls as it grows:
	// at 40 minutes it is a quarter of a byte for each byte of flows (see
	// TestBytesWritten of pkg/session).
	SnapshotPeriod time.Duration
	// SnapshotRecords also bounds a round, in records of a slot, so that a
	// catch-up at full speed does not make a long tail.
	SnapshotRecords int
	// TxnTimeout is when the broker aborts the transaction of a hung member,
	// which holds back every reader until then.
	TxnTimeout time.Duration
	// SessionTimeout is when the group gives the slots of a dead member away.
	SessionTimeout time.Duration
	// HandoverTimeout bounds the snapshots of an orderly hand-over; what it cuts
	// off the successor refolds.
	HandoverTimeout time.Duration

	// Compression is how batches are compressed, the first codec that the broker
	// knows. Lz4 costs least time; see sessionize for where zstd earns its own.
	Compression []kgo.CompressionCodec
	// Replication is the replication factor of topics that EnsureTopics makes;
	// -1 is the broker's default.
	Replication int16
	// Telemetry is where the stage shows itself.
	Telemetry *telemetry.Telemetry
	// Now tells the wall time, for marks and pacing; tests replace it.
	Now func() time.Time
}

// Default is the configuration that the design settled on.
func Default() Config {
	return Config{
		Deployment:      "default",
		Slots:           24,
		CommitInterval:  250 * time.Millisecond,
		MaxTxnBytes:     4 << 20,
		FetchBytes:      8 << 20,
		SnapshotPeriod:  40 * time.Minute,
		SnapshotRecords: 20_000_000,
		TxnTimeout:      10 * time.Second,
		SessionTimeout:  10 * time.Second,
		HandoverTimeout: 30 * time.Second,
		Compression:     []kgo.CompressionCodec{kgo.Lz4Compression(), kgo.NoCompression()},
		Replication:     -1,
		Telemetry:       telemetry.Quiet(),
		Now:             time.Now,
	}
}

// Validate returns every problem of c at once.
func (c *Config) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("stage: "+format, args...))
		}
	}
	check(len(c.Client) > 0, "no client options: give at least the seed brokers")
	check(c.Service != "", "no service name")
	check(c.Slots > 0 && c.Slots <= maxSourceSlots, "%d slots; choose 1 to %d", c.Slots, maxSourceSlots)
	check(c.Layout >= 0, "layout %d; it counts from 0", c.Layout)
	check(c.CommitInterval > 0, "commit interval %v; it must be above 0", c.CommitInterval)
	check(c.MaxTxnBytes > 0, "transactions of %d bytes; it must be above 0", c.MaxTxnBytes)
	check(c.FetchBytes >= 64<<10, "fetches of %d bytes; it must be at least 64 KiB", c.FetchBytes)
	check(c.SnapshotPeriod > 0 && c.SnapshotRecords > 0, "snapshot period %v, %d records; both must be above 0", c.SnapshotPeriod, c.SnapshotRecords)
	check(c.TxnTimeout >= time.Second, "transaction timeout %v; it must be at least 1s", c.TxnTimeout)
	check(c.SessionTimeout > 0, "session timeout %v; it must be above 0", c.SessionTimeout)
	check(c.Telemetry != nil && c.Now != nil, "telemetry or clock missing: begin with Default()")
	return errors.Join(errs...)
}

// id is the stage's name with dots: "sessionize", "detect.combine".
func (c *Config) id() string {
	if c.Stage == "" {
		return c.Service
	}
	return c.Service + "." + c.Stage
}

// Group is the consumer group that hands out the slots and carries the offsets
// that lag tools read.
func (c *Config) Group() string { return c.Prefix + "flowstitch." + c.id() }

// handover bounds an orderly hand-over: the snapshots, and a transaction on
// each side of them.
func (c *Config) handover() time.Duration { return c.HandoverTimeout + 2*c.TxnTimeout }

func (c *Config) transactionalID(slot int) string {
	stage := c.Stage
	if stage == "" {
		stage = "main"
	}
	return fmt.Sprintf("%sflowstitch.%s.%s.%d.%d", c.Prefix, c.Service, stage, c.Layout, slot)
}

// topics returns the names under c's prefix.
func (c *Config) topics() *Topics { return &Topics{Prefix: c.Prefix} }

// SlotsTopic is the logical name of the control topic of this stage.
func (c *Config) SlotsTopic() string { return c.id() + ".slots" }

// LedgerTopic is the logical name of the ledger of this stage.
func (c *Config) LedgerTopic() string { return c.id() + ".ledger" }

// Topics maps logical names ("sessions") to topics ("staging.flowstitch.sessions.v1").
type Topics struct{ Prefix string }

// The logical names of the topics between stages.
const (
	FlowsTopic        = "flows"
	SessionsTopic     = "sessions"
	ObservationsTopic = "observations"
	AlertsTopic       = "alerts"
	RejectsTopic      = "rejects"
)

// wireVersion is the version of the formats on the topics.
const wireVersion = ".v1"

// Name returns the topic of a logical name.
func (t *Topics) Name(logical string) string {
	return t.Prefix + "flowstitch." + logical + wireVersion
}

// Logical returns the logical name of a topic, and whether it is one of ours.
func (t *Topics) Logical(topic string) (string, bool) {
	rest, ok := strings.CutPrefix(topic, t.Prefix+"flowstitch.")
	if !ok {
		return "", false
	}
	return strings.CutSuffix(rest, wireVersion)
}
