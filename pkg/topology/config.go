package topology

import (
	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/config"
	"github.com/flowstitch/flowstitch/pkg/service"
)

// Config is the configuration of who makes the topics: the part of every
// service's that topics depend on.
type Config struct {
	service.Common `yaml:",inline"`
	Alerts         Alerts `yaml:"alerts"`
}

// Alerts is the part of detect's configuration of that name.
type Alerts struct {
	// Also is the format of the alerts on a second topic; see detect's
	// alerts.also. Empty: there is none.
	Also string `yaml:"also"`
}

// Default is the configuration without a file.
func Default() Config { return Config{Common: service.DefaultCommon()} }

// Validate returns every problem at once.
func (c *Config) Validate() error {
	var p config.Problems
	p.Join(c.Common.Validate())
	if c.Alerts.Also != "" {
		_, err := alert.ParseFormat(c.Alerts.Also)
		p.Check(err == nil, "alerts.also: %v", err)
	}
	return p.Err()
}

// Layout is what c says of the topics.
func (c *Config) Layout() Layout {
	return Layout{Prefix: c.Pipeline.Prefix, Partitions: c.Pipeline.Partitions, Slots: c.Pipeline.Slots, AlertsAlso: c.Alerts.Also}
}
