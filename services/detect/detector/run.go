package detector

import (
	"context"
	"fmt"

	"github.com/segmentio/encoding/json"
	"golang.org/x/sync/errgroup"

	"github.com/flowstitch/flowstitch/pkg/detect"
	"github.com/flowstitch/flowstitch/pkg/stage"
	"github.com/flowstitch/flowstitch/pkg/telemetry"
)

// Run detects until ctx ends. Topics are made if they do not exist.
func Run(ctx context.Context, cfg Config, tel *telemetry.Telemetry) error {
	combining, err := cfg.Stage("detect", "combine", tel)
	if err != nil {
		return err
	}
	evaluating, err := cfg.Stage("detect", "evaluate", tel)
	if err != nil {
		return err
	}
	n := cfg.Pipeline.Partitions
	specs := append(combining.StageTopics(), evaluating.StageTopics()...)
	specs = append(specs, stage.DataTopic(stage.SessionsTopic, n), stage.DataTopic(stage.ObservationsTopic, n),
		stage.RejectsSpec(n))
	for _, t := range cfg.alertTopics() {
		specs = append(specs, t.TopicSpec)
	}
	if err := stage.EnsureTopics(ctx, &combining, specs...); err != nil {
		return err
	}
	writers, err := cfg.writers()
	if err != nil {
		return err
	}
	r := newReloader(cfg.Tuning, tel)
	r.rules = cfg.Rules
	m := newMetrics(tel.Registry)
	return r.run(ctx, cfg.TuningEvery, func(ctx context.Context, set *detect.Settings) error {
		set.EarlyHold = cfg.EarlyHold.Milliseconds()
		return runFolds(ctx, combining, evaluating, writers, m, foldConfig{Version: foldVersion, Settings: *set, Rules: r.texts})
	})
}

// runFolds runs both stages under the given settings and rules.
func runFolds(ctx context.Context, combining, evaluating stage.Config, writers []writer, m *metrics, cfg foldConfig) error {
	canonical, err := json.Marshal(cfg)
	if err != nil {
		return fmt.Errorf("detect: %w", err)
	}
	outputs := []stage.OutputTopic{}
	for _, w := range writers {
		outputs = append(outputs, stage.OutputTopic{Name: w.topic})
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return stage.Run(ctx, combining, stage.Spec{
			Input:   stage.SessionsTopic,
			Outputs: []stage.OutputTopic{{Name: stage.ObservationsTopic, Marks: stage.PerSlot}},
			Config:  canonical,
			Fold: func(config []byte) (stage.Fold, error) {
				set, err := parseConfig(config)
				if err != nil {
					return nil, err
				}
				rules, err := parseRules(config)
				return &combineFold{set: set, rules: rules, metrics: m}, err
			},
		})
	})
	g.Go(func() error {
		return stage.Run(ctx, evaluating, stage.Spec{
			Input:   stage.ObservationsTopic,
			Outputs: outputs,
			Config:  canonical,
			Fold: func(config []byte) (stage.Fold, error) {
				set, err := parseConfig(config)
				if err != nil {
					return nil, err
				}
				rules, err := parseRules(config)
				return &evaluateFold{set: set, rules: rules, writers: writers, metrics: m, now: evaluating.Now}, err
			},
		})
	})
	return g.Wait()
}

// foldConfig is what both folds depend on, as the ledgers keep it.
type foldConfig struct {
	Version  int             `json:"version"`
	Settings detect.Settings `json:"settings"`
	Rules    []string        `json:"rules,omitempty"` // texts of rule files
}

// foldVersion counts up when the same input would fold differently, that is,
// with any change of meaning in pkg/detect.
const foldVersion = 5

func parseConfig(config []byte) (*detect.Settings, error) {
	var c foldConfig
	if err := json.Unmarshal(config, &c); err != nil {
		return nil, fmt.Errorf("detect: the ledger's fold configuration: %w", err)
	}
	if c.Version != foldVersion {
		return nil, fmt.Errorf("detect: the ledger's snapshots were made by version %d of the fold and this program has version %d; let the old version end in order (SIGTERM), so that nothing is left to refold", c.Version, foldVersion)
	}
	return &c.Settings, nil
}
