package stage

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestBrokerWatch: one of several brokers that is away is no news; when none
// answers that is said once, and once when one does again.
func TestBrokerWatch(t *testing.T) {
	var out bytes.Buffer
	now := time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)
	w := &brokerWatch{log: slog.New(slog.NewTextHandler(&out, nil)), now: func() time.Time { return now }}
	refused := errors.New("connection refused")
	fails := func(err error) { w.OnBrokerConnect(kgo.BrokerMetadata{Host: "b", Port: 9092}, 0, nil, err) }
	answer := func(err error) { w.OnBrokerRead(kgo.BrokerMetadata{}, 0, 0, 0, 0, err) }
	said := func() int { return strings.Count(out.String(), "\n") }

	fails(nil)
	answer(nil)
	for range 10 { // one broker is away, another answers
		now = now.Add(time.Second)
		fails(refused)
		answer(nil)
	}
	fails(context.Canceled)
	if w.level() != slog.LevelWarn {
		t.Error("the trouble of a part is not told while brokers answer")
	}
	if w.away() != nil || said() != 0 {
		t.Fatalf("with one broker of two away: %v, said %s", w.away(), &out)
	}
	for range 600 {
		now = now.Add(time.Second)
		fails(refused)
		answer(errors.New("EOF"))
	}
	if err := w.away(); err == nil || err.Error() != "no broker answers since 2026-03-02T08:00:16Z: connection refused" || said() != 1 {
		t.Fatalf("after ten minutes: %v, said %s", err, &out)
	}
	if w.level() != slog.LevelDebug {
		t.Error("the trouble of each part is told while no broker answers")
	}
	answer(nil)
	fails(refused)
	if w.away() != nil || said() != 2 || !strings.Contains(out.String(), "answers again") {
		t.Fatalf("when one answers again: %v, said %s", w.away(), &out)
	}
	answer(nil)
	if w.level() != slog.LevelDebug {
		t.Error("a connection that was begun while no broker answered is told when it is given up")
	}
	if now = now.Add(lateTrouble); w.level() != slog.LevelWarn {
		t.Error("the trouble of a part is not told after brokers are back for long")
	}
	answer(nil)
	now = now.Add(answerGrace + time.Second)
	w.OnBrokerConnect(kgo.BrokerMetadata{Host: "b", Port: 9092}, 10*time.Second, nil, refused)
	if w.away() != nil || w.level() != slog.LevelWarn {
		t.Errorf("a connection begun before the last answer says that none comes: %v", w.away())
	}
	first := &brokerWatch{log: slog.New(slog.DiscardHandler), now: w.now}
	first.OnBrokerConnect(kgo.BrokerMetadata{}, 0, nil, refused)
	if first.away() == nil {
		t.Error("a broker that never answered is not away")
	}
}
