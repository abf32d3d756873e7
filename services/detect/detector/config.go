package detector

import (
	"time"

	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/config"
	"github.com/flowstitch/flowstitch/pkg/detect"
	"github.com/flowstitch/flowstitch/pkg/service"
	"github.com/flowstitch/flowstitch/pkg/stage"
	"github.com/flowstitch/flowstitch/pkg/topology"
)

// Config is the configuration of the detect service.
type Config struct {
	service.Common `yaml:",inline"`
	Alerts         Alerts `yaml:"alerts"`
	// Tuning is the path of the file that users tune the detectors with (see
	// Tuning for its keys); empty: the defaults. It is looked at every
	// TuningEvery, and a valid change takes effect without a restart.
	Tuning      string        `yaml:"tuning"`
	TuningEvery time.Duration `yaml:"tuning_every"`
	// Rules are files of users' own rules, and directories of them (*.yaml);
	// see docs/rules.md. They are looked at and take effect like the tuning.
	Rules []string `yaml:"rules"`
	// EarlyHold is how long lies at least between two early looks at one address
	// from one partition, once the first has been sent at once: shorter tells
	// sooner what a burst that fell apart adds up to, and costs more
	// observations.
	EarlyHold time.Duration `yaml:"early_hold"`
}

// Alerts says how alerts are written.
type Alerts struct {
	// Format is ocsf (Detection Finding) or ecs.
	Format string `yaml:"format"`
	// SchemaVersion of OCSF: 1.8.0, or 1.5.0 and 1.1.0 for consumers that lag.
	SchemaVersion string `yaml:"schema_version"`
	// Also is a second format in which the same alerts are written, in the same
	// transaction, to a topic of its own: ecs to alerts-ecs, ocsf to
	// alerts-ocsf. Empty: one topic.
	Also string `yaml:"also"`
	// DocsBase completes the link to the page that explains an alert.
	DocsBase string `yaml:"docs_base"`
}

// Default writes OCSF 1.8.
func Default() Config {
	return Config{
		Common:      service.DefaultCommon(),
		TuningEvery: 10 * time.Second,
		EarlyHold:   time.Duration(detect.DefaultSettings().EarlyHold) * time.Millisecond,
		Alerts:      Alerts{Format: "ocsf", SchemaVersion: "1.8.0", DocsBase: alert.DefaultDocsBase},
	}
}

// Validate returns every problem at once.
func (c *Config) Validate() error {
	var p config.Problems
	p.Join(c.Common.Validate())
	format, err := alert.ParseFormat(c.Alerts.Format)
	p.Check(err == nil, "alerts.format: %v", err)
	_, err = alert.ParseSchema(c.Alerts.SchemaVersion)
	p.Check(err == nil, "alerts.schema_version: %v", err)
	if c.Alerts.Also != "" {
		also, err := alert.ParseFormat(c.Alerts.Also)
		p.Check(err == nil, "alerts.also: %v", err)
		p.Check(err != nil || also != format, "alerts.also: %s is what the first topic has already; leave it out for one topic", also)
	}
	p.Check(c.TuningEvery > 0, "tuning_every: %v must be more than 0", c.TuningEvery)
	p.Check(c.EarlyHold >= 100*time.Millisecond && c.EarlyHold <= time.Minute, "early_hold: %v is not between 100ms and 1m", c.EarlyHold)
	return p.Err()
}

// writer writes alerts to one topic in one format.
type writer struct {
	topic   string // logical
	encoder *alert.Encoder
}

// writers are what alerts are written with: one, or one for each format.
func (c *Config) writers() ([]writer, error) {
	schema, err := alert.ParseSchema(c.Alerts.SchemaVersion)
	if err != nil {
		return nil, err
	}
	names := stage.Topics{Prefix: c.Pipeline.Prefix}
	var out []writer
	for _, s := range c.alertTopics() {
		format, err := alert.ParseFormat(s.format)
		if err != nil {
			return nil, err
		}
		o := alert.Options{Format: format, Schema: schema, DocsBase: c.Alerts.DocsBase, Topic: names.Name(s.Name)}
		out = append(out, writer{topic: s.Name, encoder: alert.NewEncoder(o)})
	}
	return out, nil
}

// alertTopic is a topic of alerts and the format that is on it.
type alertTopic struct {
	stage.TopicSpec
	format string
}

// alertTopics are the topics that alerts are written to, one or two.
func (c *Config) alertTopics() []alertTopic {
	n := c.Pipeline.Partitions
	out := []alertTopic{{stage.AlertsSpec(n), c.Alerts.Format}}
	if c.Alerts.Also != "" {
		out = append(out, alertTopic{topology.AlertsIn(c.Alerts.Also, n), c.Alerts.Also})
	}
	return out
}
