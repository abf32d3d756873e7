package detector

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/flowstitch/flowstitch/pkg/config"
	"github.com/flowstitch/flowstitch/pkg/detect"
	"github.com/flowstitch/flowstitch/pkg/telemetry"
)

// reloader watches the tuning file. A valid change ends the stages in order,
// which writes every bucket's state, and starts them again under the new
// settings: the ledger records the offset from which they hold. A change that is
// not valid is refused, and what holds goes on.
type reloader struct {
	path  string
	rules []string // files and directories of rules
	tel   *telemetry.Telemetry
	seen  []byte   // the files as they were last read
	texts []string // of the rules that hold

	reloads, refused prometheus.Counter
	loaded           prometheus.Gauge
}

func newReloader(path string, tel *telemetry.Telemetry) *reloader {
	f := promauto.With(tel.Registry)
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "flowstitch", Subsystem: "detect", Name: name, Help: help}
	}
	return &reloader{
		path: path, tel: tel,
		reloads: f.NewCounter(prometheus.CounterOpts(opts("tuning_reloads_total", "Changes of the tuning file that took effect."))),
		refused: f.NewCounter(prometheus.CounterOpts(opts("tuning_refused_total", "Changes of the tuning file that were refused; the old tuning holds."))),
		loaded:  f.NewGauge(prometheus.GaugeOpts(opts("tuning_loaded_timestamp_seconds", "When the tuning that holds was loaded."))),
	}
}

// read returns the tuning file, the texts of the rules, and all of it in one,
// to be compared.
func (r *reloader) read() (tuning []byte, texts []string, all []byte, err error) {
	if r.path != "" {
		if tuning, err = os.ReadFile(r.path); err != nil {
			return nil, nil, nil, fmt.Errorf("detect: the tuning file: %w", err)
		}
	}
	if texts, err = readRules(r.rules); err != nil {
		return nil, nil, nil, err
	}
	return tuning, texts, append(append([]byte(nil), tuning...), strings.Join(texts, "\x00")...), nil
}

// load reads the files. Without a path the defaults hold.
func (r *reloader) load() (*detect.Settings, error) {
	b, texts, all, err := r.read()
	if err != nil {
		return nil, err
	}
	r.seen = all
	t := DefaultTuning()
	if r.path != "" {
		if err := config.Parse(b, &t); err != nil {
			return nil, fmt.Errorf("detect: tuning %s: %w", r.path, err)
		}
	}
	if _, err := compileRules(texts); err != nil {
		return nil, fmt.Errorf("detect: rules: %w", err)
	}
	set, err := t.settings()
	if err == nil {
		r.texts = texts
	}
	return set, err
}

// changed waits until the file holds another valid tuning, and returns it.
func (r *reloader) changed(ctx context.Context, every time.Duration) (*detect.Settings, error) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	last := r.seen
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tick.C:
		}
		_, _, b, err := r.read()
		settled := bytes.Equal(b, last)
		if last = b; err != nil || !settled || bytes.Equal(b, r.seen) {
			continue // while it is being written a file is missing, or half there
		}
		set, err := r.load()
		if err != nil {
			r.refused.Inc()
			r.tel.Log.Error("the changed tuning is refused; the old one holds", "error", err)
			continue
		}
		return set, nil
	}
}

// run runs the folds under the tuning that holds, again and again as it changes.
func (r *reloader) run(ctx context.Context, every time.Duration, folds func(context.Context, *detect.Settings) error) error {
	set, err := r.load()
	if err != nil {
		return err
	}
	for {
		r.loaded.SetToCurrentTime()
		next, err := r.once(ctx, every, set, folds)
		if next == nil {
			return err
		}
		set = next
		r.reloads.Inc()
		r.tel.Log.Info("the tuning has changed", "path", r.path)
	}
}

// once runs the folds until they end, or until the tuning changes: then it ends
// them in order and returns the new settings.
func (r *reloader) once(ctx context.Context, every time.Duration, set *detect.Settings, folds func(context.Context, *detect.Settings) error) (*detect.Settings, error) {
	inner, stop := context.WithCancel(ctx)
	defer stop()
	var next *detect.Settings
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		if r.path == "" && len(r.rules) == 0 {
			return
		}
		if s, err := r.changed(inner, every); err == nil {
			next = s
			stop()
		}
	}()
	err := folds(inner, set)
	stop()
	<-watched
	if next == nil || ctx.Err() != nil {
		return nil, err
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		return nil, err
	}
	return next, nil
}
