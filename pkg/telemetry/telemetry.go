// Package telemetry is how a service is seen: its log, its metrics and its
// health, on one HTTP port.
//
// It guarantees that every service serves the same paths (/metrics, /livez,
// /readyz, /debug/pprof/), that liveness depends on the loops of the process
// alone and never on a broker, and that nothing is registered globally, so that
// several services run in one process.
package telemetry

import (
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/flowstitch/flowstitch/pkg/config"
)

// Config says where a service shows itself.
type Config struct {
	// Listen is the address of the HTTP port, "" for none. The default is
	// loopback; in a pod it is ":9600".
	Listen string `yaml:"listen"`
	// LogLevel is debug, info, warn or error.
	LogLevel string `yaml:"log_level"`
	// LogFormat is json (for collectors) or text (for people).
	LogFormat string `yaml:"log_format"`
	// Traces is the share of the Kafka records, 0 to 1, that are followed as
	// OpenTelemetry traces; 0 traces nothing and costs nothing. A drawn record
	// carries a header of 55 bytes. Where the traces go is told by the standard
	// environment: OTEL_EXPORTER_OTLP_ENDPOINT, OTLP over HTTP.
	Traces float64 `yaml:"traces"`
}

// Default serves on loopback and logs JSON at info.
func Default() Config {
	return Config{Listen: "127.0.0.1:9600", LogLevel: "info", LogFormat: "json"}
}

// Validate checks the level and the format.
func (c *Config) Validate() error {
	var p config.Problems
	var l slog.Level
	p.Check(l.UnmarshalText([]byte(c.LogLevel)) == nil, "log_level: %q is none of debug, info, warn, error", c.LogLevel)
	p.Check(c.LogFormat == "json" || c.LogFormat == "text", "log_format: %q is neither json nor text", c.LogFormat)
	p.Check(c.Traces >= 0 && c.Traces <= 1, "traces: %g is no share between 0 and 1", c.Traces)
	return p.Err()
}

// Telemetry is handed to everything that wants to be seen.
type Telemetry struct {
	Log      *slog.Logger
	Registry *prometheus.Registry
	Health   *Health
	// Client are options that every Kafka client of a stage gets, such as hooks.
	Client []kgo.Opt
}

// New returns the telemetry of a service: a logger on standard error and a
// registry with the Go runtime's and the process's own collectors.
func New(service string, c Config) *Telemetry {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.LogLevel)) // Validate has seen it
	opts := &slog.HandlerOptions{Level: level}
	var h slog.Handler = slog.NewJSONHandler(os.Stderr, opts)
	if c.LogFormat == "text" {
		h = slog.NewTextHandler(os.Stderr, opts)
	}
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), buildInfo(service))
	return &Telemetry{Log: slog.New(h).With("service", service), Registry: reg, Health: &Health{}}
}

// Quiet returns telemetry that logs nothing, for embedding and for tests.
func Quiet() *Telemetry {
	return &Telemetry{Log: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry(), Health: &Health{}}
}

func buildInfo(service string) prometheus.Collector {
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "flowstitch_build_info",
		Help:        "Always 1; the labels tell what runs.",
		ConstLabels: prometheus.Labels{"service": service, "version": Version()},
	})
	g.Set(1)
	return g
}

// Version returns the module version that the program was built from, or
// "devel".
func Version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}
