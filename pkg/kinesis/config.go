package kinesis

import (
	"fmt"
	"net/url"
	"regexp"
	"time"

	"github.com/flowstitch/flowstitch/pkg/config"
	"github.com/flowstitch/flowstitch/pkg/kinesis/shard"
)

// Config says which streams are read and how.
type Config struct {
	// Streams to read; none switches the source off.
	Streams []Stream `yaml:"streams"`
	// Start is where a stream begins that this deployment has never read:
	// "oldest", "latest" or a time of arrival in RFC 3339. Reading a live
	// deployment's stream from its oldest record makes much of it late: give a
	// backfill a prefix of its own.
	Start string `yaml:"start"`
	// MemoryBytes bounds the records that are read and not yet handed over, in
	// bytes for the process. A call may return 10 MiB: less is refused, and less
	// than that times the shards that are read at once makes them take turns.
	MemoryBytes int64 `yaml:"memory_bytes"`
	// ListEvery is how often the shards of a stream are listed. The end of a
	// shard asks for a listing at once, so this is only for what is not noticed.
	ListEvery time.Duration `yaml:"list_every"`
	// IdlePoll is how long a shard with nothing new is left alone at most.
	IdlePoll time.Duration `yaml:"idle_poll"`
	// StuckAfter is after what time of failing a shard or a listing is given
	// up: it is tried on, but the clock of everything else goes on without it,
	// with a coverage gap. 0 means never.
	StuckAfter time.Duration `yaml:"stuck_after"`
}

// Stream is one stream to read.
type Stream struct {
	// Name names the stream in checkpoints and metrics: never change it. It is
	// free to choose and defaults to nothing, so that the same stream name in
	// two regions cannot be mixed up.
	Name string `yaml:"name"`
	// Stream is the stream's own name, or its ARN (needed for another account's
	// stream that a resource policy shares).
	Stream string `yaml:"stream"`
	// Region of the stream; empty is the environment's.
	Region string `yaml:"region"`
	// RoleARN is a role to assume, for another account; empty reads with the
	// credentials of the default chain (IRSA, Pod Identity, profile, ...).
	RoleARN string `yaml:"role_arn"`
	// ExternalID goes with RoleARN where its trust policy asks for one.
	ExternalID string `yaml:"external_id"`
	// Endpoint is another endpoint, such as a VPC endpoint or an emulator.
	Endpoint string `yaml:"endpoint"`
	// FanOut is the name of an enhanced fan-out consumer, which is registered if
	// it does not exist. It costs extra and has 2 MiB/s a shard of its own;
	// empty means polling. Each deployment needs a name of its own.
	FanOut string `yaml:"fan_out"`
	// ReadsPerSecond is this deployment's share of the 5 reads a second that a
	// shard allows to all its readers together.
	ReadsPerSecond float64 `yaml:"reads_per_second"`
	// BytesPerSecond is its share of the 2 MiB/s that a shard allows.
	BytesPerSecond int64 `yaml:"bytes_per_second"`
}

// Default reads nothing, and what is added with AWS's limits.
func Default() Config {
	return Config{Start: "latest", MemoryBytes: 256 << 20, ListEvery: 30 * time.Second, IdlePoll: time.Second, StuckAfter: 30 * time.Minute}
}

// What AWS allows all readers of a shard together (facts of the Kinesis API
// reference, GetRecords).
const (
	awsReadsPerSecond = 5
	awsBytesPerSecond = 2 << 20
	maxResponse       = 10 << 20
)

// namePattern keeps names fit for ledger names and metric labels; '@' and '/'
// separate the parts of a checkpoint's name.
var namePattern = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,128}$`)

// Validate reports every problem at once.
func (c *Config) Validate() error {
	var p config.Problems
	_, err := c.start(time.Time{})
	p.Check(err == nil, "start: %v", err)
	p.Check(c.MemoryBytes >= maxResponse, "memory_bytes: %d is below the %d that one call may return", c.MemoryBytes, maxResponse)
	p.Check(c.ListEvery >= 100*time.Millisecond, "list_every: %v is below 100ms", c.ListEvery)
	p.Check(c.IdlePoll > 0, "idle_poll: %v is not above 0", c.IdlePoll)
	p.Check(c.StuckAfter >= 0, "stuck_after: %v is negative", c.StuckAfter)
	seen := map[string]bool{}
	for i := range c.Streams {
		s := &c.Streams[i]
		p.Add(fmt.Sprintf("streams[%d]", i), s.Validate())
		p.Check(!seen[s.Name], "streams[%d].name: %q is used twice", i, s.Name)
		seen[s.Name] = true
	}
	return p.Err()
}

// Validate reports every problem of one stream at once.
func (s *Stream) Validate() error {
	var p config.Problems
	p.Check(namePattern.MatchString(s.Name), "name: %q; give 1 to 128 letters, digits, dots, colons, dashes and underscores", s.Name)
	p.Check(s.Stream != "", "stream: the stream's own name or ARN is missing")
	p.Check(s.ExternalID == "" || s.RoleARN != "", "external_id: there is no role_arn that it could go with")
	p.Check(s.ReadsPerSecond >= 0, "reads_per_second: %g is negative", s.ReadsPerSecond)
	p.Check(s.BytesPerSecond >= 0, "bytes_per_second: %d is negative", s.BytesPerSecond)
	if s.Endpoint != "" {
		u, err := url.Parse(s.Endpoint)
		p.Check(err == nil && u.Host != "", "endpoint: %q is not a URL with a host", s.Endpoint)
	} else {
		p.Check(s.ReadsPerSecond <= awsReadsPerSecond, "reads_per_second: %g is above the %d that AWS allows all readers of a shard", s.ReadsPerSecond, awsReadsPerSecond)
		p.Check(s.BytesPerSecond <= awsBytesPerSecond, "bytes_per_second: %d is above the %d that AWS allows all readers of a shard", s.BytesPerSecond, awsBytesPerSecond)
	}
	return p.Err()
}

// start returns the arrival time, in milliseconds, from which an unknown
// stream is read; 0 is its oldest record.
func (c *Config) start(now time.Time) (int64, error) {
	switch c.Start {
	case "oldest":
		return 0, nil
	case "latest":
		return now.UnixMilli(), nil
	}
	t, err := time.Parse(time.RFC3339, c.Start)
	if err != nil {
		return 0, fmt.Errorf("%q is neither oldest, latest nor a time such as 2026-01-31T12:00:00Z", c.Start)
	}
	return t.UnixMilli(), nil
}

// Policy returns the clock's policy for flow logs of an aggregation interval. A
// lateness above 0 replaces the default, and the longest delay grows with it.
func (c *Config) Policy(interval, lateness time.Duration) shard.Policy {
	p := shard.PolicyFor(interval)
	if lateness > 0 {
		slack := p.MaxDelay - p.Lateness
		p.Lateness = int64(lateness / time.Second)
		p.MaxDelay = max(p.MaxDelay, p.Lateness+slack)
	}
	p.StuckAfter = c.StuckAfter.Milliseconds()
	return p
}
