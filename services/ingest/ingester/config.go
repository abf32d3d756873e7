package ingester

import (
	"io"
	"path/filepath"
	"slices"
	"time"

	"github.com/flowstitch/flowstitch/pkg/config"
	"github.com/flowstitch/flowstitch/pkg/flowlog"
	"github.com/flowstitch/flowstitch/pkg/kinesis"
	"github.com/flowstitch/flowstitch/pkg/service"
)

// Logs says how the flow logs are written.
type Logs struct {
	// Format is the layout in AWS's own ${field} syntax, as DescribeFlowLogs
	// shows it; alternatives are separated by "|". Empty: a header line tells
	// it, or it is inferred from a sample and pinned.
	Format string `yaml:"format"`
	// Formats gives the layout for each log group that has its own.
	Formats map[string]string `yaml:"formats"`
	// MaxPayload caps what one payload may decompress to, in bytes.
	MaxPayload int64 `yaml:"max_payload"`
	// Interval is the aggregation interval of the flow logs, at most 10 minutes.
	Interval time.Duration `yaml:"interval"`
	// Lateness is how long after its end a record may still arrive before the
	// clock passes it; what comes later corrects a session or is rejected as
	// late. 0 means the interval plus 5 minutes, what AWS needs for delivery.
	Lateness time.Duration `yaml:"lateness"`
}

// Validate checks the layouts and the times.
func (l *Logs) Validate() error {
	var p config.Problems
	_, err := flowlog.New(l.decoder())
	p.Check(err == nil, "format: %v", err)
	p.Check(l.Interval >= time.Minute && l.Interval <= 10*time.Minute, "interval: %v is not an aggregation interval; AWS has 1m and 10m", l.Interval)
	p.Check(l.Lateness >= 0, "lateness: %v is negative", l.Lateness)
	return p.Err()
}

func (l *Logs) decoder() flowlog.Config {
	return flowlog.Config{Format: l.Format, Formats: l.Formats, MaxPayload: l.MaxPayload}
}

// latenessSeconds is the lateness in event time, the default worked out.
func (l *Logs) latenessSeconds() int64 {
	if l.Lateness > 0 {
		return int64(l.Lateness / time.Second)
	}
	return int64((l.Interval + 5*time.Minute) / time.Second)
}

// Config is the configuration of the ingest service.
type Config struct {
	service.Common `yaml:",inline"`
	Logs           Logs     `yaml:"logs"`
	Networks       Networks `yaml:"networks"`
	// Files are flow logs to read once: text, gzip or Parquet, "-" for standard
	// input. They merge by event time. Give backfills a prefix of their own.
	Files []string `yaml:"files"`
	// Kinesis are the data streams to read.
	Kinesis kinesis.Config `yaml:"kinesis"`
	// Stdin is what "-" reads; nil is the process's own.
	Stdin io.Reader `yaml:"-"`
}

// Default is the configuration without a source.
func Default() Config {
	return Config{Common: service.DefaultCommon(), Logs: Logs{Interval: time.Minute, MaxPayload: flowlog.DefaultMaxPayload}, Kinesis: kinesis.Default()}
}

// Validate returns every problem at once.
func (c *Config) Validate() error {
	var p config.Problems
	p.Join(c.Common.Validate())
	p.Add("logs", c.Logs.Validate())
	p.Add("networks", c.Networks.Validate())
	p.Add("kinesis", c.Kinesis.Validate())
	checkFiles(c.Files, &p)
	return p.Err()
}

// checkFiles refuses a file that is named twice: its lines would be too.
func checkFiles(files []string, p *config.Problems) {
	var seen []string
	for _, f := range files {
		clean := filepath.Clean(f)
		p.Check(!slices.Contains(seen, clean), "files: %s is named twice", f)
		seen = append(seen, clean)
	}
}
