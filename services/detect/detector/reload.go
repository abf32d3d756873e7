package detector

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
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
	seen  files    // as they were last used, or refused
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

// files are the contents of the files that a reloader watches.
type files struct {
	tuning []byte
	rules  []string
}

func (f *files) equal(o *files) bool {
	return bytes.Equal(f.tuning, o.tuning) && slices.Equal(f.rules, o.rules)
}

// read reads the files.
func (r *reloader) read() (f files, err error) {
	if r.path != "" {
		if f.tuning, err = os.ReadFile(r.path); err != nil {
			return files{}, fmt.Errorf("detect: the tuning file: %w", err)
		}
	}
	if f.rules, err = readRules(r.rules); err != nil {
		return files{}, err
	}
	return f, nil
}

// use makes settings of what was read, and nothing else: the files may have
// changed since. Without a path the defaults hold.
func (r *reloader) use(f files) (*detect.Settings, error) {
	r.seen = f
	t := DefaultTuning()
	if r.path != "" {
		if len(bytes.TrimSpace(f.tuning)) == 0 {
			return nil, fmt.Errorf("detect: tuning %s is empty, as a file is that is about to be written; write {} for the defaults", r.path)
		}
		if err := config.Parse(f.tuning, &t); err != nil {
			return nil, fmt.Errorf("detect: tuning %s: %w", r.path, err)
		}
	}
	if _, err := compileRules(f.rules); err != nil {
		return nil, fmt.Errorf("detect: rules: %w", err)
	}
	set, err := t.settings()
	if err == nil {
		r.texts = f.rules
	}
	return set, err
}

// changed waits until the file holds another valid tuning, and returns it. It
// sleeps between two looks instead of following a ticker: after a stall a ticker
// fires twice in a row, and a file that is half written looks the same twice.
func (r *reloader) changed(ctx context.Context, every time.Duration) (*detect.Settings, error) {
	wait := time.NewTimer(every)
	defer wait.Stop()
	last := r.seen
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-wait.C:
		}
		now, err := r.read()
		wait.Reset(every)
		settled := now.equal(&last)
		if last = now; err != nil || !settled || now.equal(&r.seen) {
			continue // while it is being written a file is missing, or half there
		}
		set, err := r.use(now)
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
	f, err := r.read()
	if err != nil {
		return err
	}
	set, err := r.use(f)
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
