package detector

import (
	"time"

	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/config"
	"github.com/flowstitch/flowstitch/pkg/service"
	"github.com/flowstitch/flowstitch/pkg/stage"
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
}

// Alerts says how alerts are written.
type Alerts struct {
	// Format is ocsf (Detection Finding) or ecs.
	Format string `yaml:"format"`
	// SchemaVersion of OCSF: 1.8.0, or 1.5.0 and 1.1.0 for consumers that lag.
	SchemaVersion string `yaml:"schema_version"`
	// DocsBase completes the link to the page that explains an alert.
	DocsBase string `yaml:"docs_base"`
}

// Default writes OCSF 1.8.
func Default() Config {
	return Config{
		Common:      service.DefaultCommon(),
		TuningEvery: 10 * time.Second,
		Alerts:      Alerts{Format: "ocsf", SchemaVersion: "1.8.0", DocsBase: alert.DefaultDocsBase},
	}
}

// Validate returns every problem at once.
func (c *Config) Validate() error {
	var p config.Problems
	p.Join(c.Common.Validate())
	_, err := alert.ParseFormat(c.Alerts.Format)
	p.Check(err == nil, "alerts.format: %v", err)
	_, err = alert.ParseSchema(c.Alerts.SchemaVersion)
	p.Check(err == nil, "alerts.schema_version: %v", err)
	p.Check(c.TuningEvery > 0, "tuning_every: %v must be more than 0", c.TuningEvery)
	return p.Err()
}

// encoder is what alerts are written with.
func (c *Config) encoder() (*alert.Encoder, error) {
	format, err := alert.ParseFormat(c.Alerts.Format)
	if err != nil {
		return nil, err
	}
	schema, err := alert.ParseSchema(c.Alerts.SchemaVersion)
	if err != nil {
		return nil, err
	}
	names := stage.Topics{Prefix: c.Pipeline.Prefix}
	return alert.NewEncoder(alert.Options{Format: format, Schema: schema, DocsBase: c.Alerts.DocsBase, Topic: names.Name(stage.AlertsTopic)}), nil
}
