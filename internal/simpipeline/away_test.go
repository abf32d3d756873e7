package simpipeline

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flowstitch/flowstitch/internal/facts"
	"github.com/flowstitch/flowstitch/pkg/simtest"
)

// lines keeps what members log, from a warning on and the news of the broker.
type lines struct {
	slog.Handler

	mu   sync.Mutex
	said map[string][]string // by stage
}

func newLines() *lines {
	return &lines{Handler: slog.DiscardHandler, said: map[string][]string{}}
}

// stageLines is a member's lines with the stage that they are of.
type stageLines struct {
	*lines
	stage string
}

// Enabled implements slog.Handler.
func (l *lines) Enabled(context.Context, slog.Level) bool { return true }

// WithAttrs implements slog.Handler; the stage names itself so.
func (l *lines) WithAttrs(attrs []slog.Attr) slog.Handler { return stageOf(l, "", attrs) }

// WithAttrs implements slog.Handler.
func (l *stageLines) WithAttrs(attrs []slog.Attr) slog.Handler {
	return stageOf(l.lines, l.stage, attrs)
}

func stageOf(l *lines, stage string, attrs []slog.Attr) slog.Handler {
	for _, a := range attrs {
		if a.Key == "stage" {
			stage = a.Value.String()
		}
	}
	return &stageLines{l, stage}
}

// Handle implements slog.Handler.
func (l *stageLines) Handle(_ context.Context, r slog.Record) error {
	if r.Level < slog.LevelWarn && !strings.Contains(r.Message, "broker") {
		return nil
	}
	text := r.Message
	r.Attrs(func(a slog.Attr) bool {
		text += " " + a.String()
		return true
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.said[l.stage] = append(l.said[l.stage], text)
	return nil
}

// taken returns what was said since the last call.
func (l *lines) taken() map[string][]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := l.said
	l.said = map[string][]string{}
	return out
}

// stages are all that a pipeline has.
var stages = []string{"detect.combine", "detect.evaluate", "ingest", "sessionize"}

// checkSaid holds what was said against one line of each stage that begins so.
func checkSaid(t *testing.T, what string, said map[string][]string, begins string) {
	t.Helper()
	if got := slices.Sorted(maps.Keys(said)); !slices.Equal(got, stages) {
		t.Errorf("%s: of %v only %v say something", what, stages, got)
	}
	for stage, lines := range said {
		if len(lines) != 1 || !strings.HasPrefix(lines[0], begins) {
			t.Errorf("%s: %s says %d lines, want one that begins with %q:\n%s", what, stage, len(lines), begins, strings.Join(lines, "\n"))
		}
	}
}

// TestBrokerAwayForTenMinutes: no broker answers for eleven minutes in the
// middle of the log, because there is no way to it, or because every packet is
// lost. Each stage says so once, shows it in readiness, stays live, goes on by
// itself, and the facts are the same.
func TestBrokerAwayForTenMinutes(t *testing.T) {
	log := flowLog(t)
	want, _ := run(t, log, 0, 0)
	for name, c := range map[string]struct {
		away func(l *simtest.Link, away bool)
		seen time.Duration // in which it is noticed: what is silent is waited for
	}{
		"refused": {(*simtest.Link).Away, 20 * time.Second},
		"silent":  {(*simtest.Link).Swallow, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { brokerAway(t, log, want, c.away, c.seen) })
		})
	}
}

func brokerAway(t *testing.T, log []byte, want *facts.Facts, away func(*simtest.Link, bool), seen time.Duration) {
	w := newWorld(t, log, 20*time.Second)
	w.lines = newLines()
	for s := range services {
		w.join(s)
	}
	wait(context.Background(), 10*time.Second)
	w.checkReady(true)
	if said := w.lines.taken(); len(said) != 0 {
		t.Errorf("before: %v", said)
	}
	w.all(func(m *member) { away(m.link, true) })
	for passed := seen; passed < 11*time.Minute; passed += seen {
		wait(context.Background(), seen)
		w.checkReady(false)
	}
	checkSaid(t, "while it is away", w.lines.taken(), "no broker answers; waiting")
	w.all(func(m *member) { away(m.link, false) })
	wait(context.Background(), 30*time.Second)
	w.checkReady(true)
	checkSaid(t, "when it is back", w.lines.taken(), "a broker answers again")
	if err := facts.Check(want, w.finish(limit)); err != nil {
		t.Error(err)
	}
	if w.restarts != 0 {
		t.Errorf("%d services ended by themselves", w.restarts)
	}
}

// TestBrokerAwayAtStart: services that start while no broker answers wait for one
// in the same way, and go on.
func TestBrokerAwayAtStart(t *testing.T) {
	log := flowLog(t)
	want, _ := run(t, log, 0, 0)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, log, 0)
		w.lines = newLines()
		for s := range services {
			w.join(s).link.Away(true)
		}
		for range 18 {
			wait(context.Background(), 10*time.Second)
			w.checkReady(false)
		}
		said := w.lines.taken()
		said["detect.evaluate"] = said["detect.combine"] // one of the two looks at the topics
		checkSaid(t, "while it is away", said, "no broker answers; waiting")
		w.all(func(m *member) { m.link.Away(false) })
		if err := facts.Check(want, w.finish(limit)); err != nil {
			t.Error(err)
		}
		if w.restarts != 0 {
			t.Errorf("%d services ended by themselves", w.restarts)
		}
	})
}

func (w *world) all(do func(*member)) {
	for _, m := range w.members {
		do(m)
	}
}

// checkReady holds readiness against what it should be; liveness never depends
// on a broker.
func (w *world) checkReady(want bool) {
	w.t.Helper()
	for _, m := range w.members {
		waiting, ok := m.tel.Health.Ready()
		if ok != want {
			w.t.Errorf("%s: ready is %v, %v", m.id, ok, waiting)
		}
		for stage, err := range waiting {
			if err != nil && !strings.HasPrefix(err.Error(), "no broker answers since ") {
				w.t.Errorf("%s: readiness says %q", stage, err)
			}
		}
		if bad := m.tel.Health.Live(); len(bad) != 0 {
			w.t.Errorf("%s is not live: %v", m.id, bad)
		}
	}
}
