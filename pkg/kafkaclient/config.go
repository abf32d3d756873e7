// Package kafkaclient turns the `kafka` block of a configuration into client
// options.
//
// It guarantees that every service and the operator's program reach a cluster
// in the same way, and that what is wrong with the block is told before the
// cluster is.
package kafkaclient

import (
	"net"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/flowstitch/flowstitch/pkg/config"
)

// Config is the `kafka` block.
type Config struct {
	// Brokers are the seed brokers, host:port; any of them will do.
	Brokers []string `yaml:"brokers"`
}

// Default is a broker on this machine.
func Default() Config { return Config{Brokers: []string{"127.0.0.1:9092"}} }

// Validate returns every problem at once.
func (c *Config) Validate() error {
	var p config.Problems
	p.Check(len(c.Brokers) > 0, "brokers: at least one is needed, host:port")
	for _, b := range c.Brokers {
		_, _, err := net.SplitHostPort(b)
		p.Check(err == nil, "brokers: %q is not host:port", b)
	}
	return p.Err()
}

// Opts returns the client options that reach the cluster.
func (c *Config) Opts() ([]kgo.Opt, error) {
	return []kgo.Opt{kgo.SeedBrokers(c.Brokers...), kgo.ClientID("flowstitch")}, nil
}
