package stage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// brokerWatch sees whether any broker answers, from the connections of all
// clients, and says once when none does and once when one does again. One broker
// of several that is away is no news: the others answer.
type brokerWatch struct {
	log *slog.Logger
	now func() time.Time

	mu       sync.Mutex
	answered time.Time // the last answer of any broker; zero before the first
	failed   bool      // a connection has failed since
	since    time.Time // no broker answers; zero when one does
	back     time.Time // when one did again
	err      error
}

// Both are hooks of franz-go.
var (
	_ kgo.HookBrokerConnect = (*brokerWatch)(nil)
	_ kgo.HookBrokerRead    = (*brokerWatch)(nil)
)

// answerGrace is how long no answer is no news while a connection fails: above
// the 5 s for which a broker may keep an empty poll waiting.
const answerGrace = 6 * time.Second

// OnBrokerConnect is told of a connection that was made or failed.
func (w *brokerWatch) OnBrokerConnect(meta kgo.BrokerMetadata, took time.Duration, _ net.Conn, err error) {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, kgo.ErrClientClosed) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	if now.Add(-took).Before(w.answered) {
		return // begun before the last answer, which knows better
	}
	w.failed = true
	if !w.since.IsZero() || now.Sub(w.answered) < answerGrace {
		return
	}
	w.since, w.err = now, err
	w.log.Warn("no broker answers; waiting", "broker", net.JoinHostPort(meta.Host, fmt.Sprint(meta.Port)), "error", err)
}

// OnBrokerRead is told of an answer, or of one that did not come.
func (w *brokerWatch) OnBrokerRead(_ kgo.BrokerMetadata, _ int16, _ int, _, _ time.Duration, err error) {
	if err != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answered, w.failed = w.now(), false
	if w.since.IsZero() {
		return
	}
	w.log.Info("a broker answers again", "after", w.answered.Sub(w.since))
	w.since, w.err, w.back = time.Time{}, nil, w.answered
}

func (w *brokerWatch) away() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.since.IsZero() {
		return nil
	}
	return fmt.Errorf("no broker answers since %s: %w", w.since.UTC().Format(time.RFC3339), w.err)
}

// lateTrouble is how long after a broker is back a part may still learn that it was
// away: the 10 s in which a connection of franz-go is given up, and some.
const lateTrouble = 12 * time.Second

// level is that at which the trouble of one part is told: while brokers can not be
// reached, all have it, and the watch says so once for all.
func (w *brokerWatch) level() slog.Level {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed || w.now().Sub(w.back) < lateTrouble {
		return slog.LevelDebug
	}
	return slog.LevelWarn
}

// awaitBroker waits while no broker can be reached. One that can be reached and
// still does not let us in has some time to change its mind; then it returns nil,
// and whoever asks for something next gets to hear why.
func awaitBroker(ctx context.Context, cl *kgo.Client, w *brokerWatch) error {
	t := time.NewTimer(0)
	defer t.Stop()
	for refused := time.Now(); ; t.Reset(brokerPause) {
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		err := ping(ctx, cl)
		away := w.away()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("stage: waiting for a broker: %w", errors.Join(ctx.Err(), away))
		case away != nil:
			refused = time.Now()
		case time.Since(refused) > refusalPatience:
			return nil
		}
	}
}

// refusalPatience is how long a broker that is there may fail to answer, as one
// does that is starting.
const refusalPatience = 15 * time.Second

// brokerPause is how long a broker that does not answer is left alone.
const brokerPause = 200 * time.Millisecond

func ping(ctx context.Context, cl *kgo.Client) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return cl.Ping(ctx)
}
