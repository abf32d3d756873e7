package operations

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/flowstitch/flowstitch/pkg/config"
	"github.com/flowstitch/flowstitch/pkg/kafkaclient"
	"github.com/flowstitch/flowstitch/pkg/kafkatest"
	"github.com/flowstitch/flowstitch/pkg/telemetry"
	"github.com/flowstitch/flowstitch/services/sessionize/sessionizer"
)

// syncBuffer takes the log of several goroutines.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// TestSecretsAreNeverShown: a service whose password is refused logs, at debug,
// dumps and fails without a word of it, and so does one whose token is.
func TestSecretsAreNeverShown(t *testing.T) {
	const secret = "hunter2-not-to-be-seen"
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cluster := kafkatest.Embedded(t)
	for _, sasl := range []kafkaclient.SASL{
		{Mechanism: kafkaclient.Plain, Username: "flowstitch", PasswordFile: file},
		{Mechanism: kafkaclient.Scram512, Username: "flowstitch", PasswordFile: file},
	} {
		cfg := sessionizer.Default()
		cfg.Kafka.Brokers, cfg.Kafka.SASL = cluster.Addrs, sasl
		if err := cfg.Validate(); err != nil {
			t.Fatal(err)
		}
		var out syncBuffer
		if err := config.Dump(&out, cfg); err != nil {
			t.Fatal(err)
		}
		tel := &telemetry.Telemetry{Registry: prometheus.NewRegistry(), Health: &telemetry.Health{},
			Log: slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		err := sessionizer.Run(ctx, cfg, tel)
		cancel()
		if err == nil {
			t.Errorf("%s: a password that nobody knows was taken", sasl.Mechanism)
		} else {
			out.Write([]byte(err.Error()))
		}
		if text := out.String(); strings.Contains(text, secret) {
			t.Errorf("%s: the secret is in the output:\n%s", sasl.Mechanism, text)
		} else if !strings.Contains(text, file) {
			t.Errorf("%s: the dump does not even name the file: is it the right output?", sasl.Mechanism)
		}
	}
}
