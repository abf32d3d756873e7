package telemetry_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/flowstitch/flowstitch/pkg/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func get(t *testing.T, h http.Handler, path string) (int, string) {
	t.Helper()
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil))
	return rec.Code, rec.Body.String()
}

func TestHealthPaths(t *testing.T) {
	tel := telemetry.New("test", telemetry.Default())
	h := tel.Handler()
	if code, _ := get(t, h, "/livez"); code != 200 {
		t.Errorf("a process without parts is live, got %d", code)
	}
	if code, body := get(t, h, "/readyz"); code != 503 || body != "starting\n" {
		t.Errorf("nobody has said that it is ready: %d %q", code, body)
	}
	waiting := errors.New("refolding partition 3")
	tel.Health.Register("loop", func() error { return nil }, func() error { return waiting })
	if code, body := get(t, h, "/readyz"); code != 503 || !strings.Contains(body, "loop: refolding partition 3") {
		t.Errorf("%d %q", code, body)
	}
	waiting = nil
	if code, _ := get(t, h, "/readyz"); code != 200 {
		t.Errorf("ready is %d", code)
	}
	tel.Health.Register("stuck", func() error { return errors.New("no turn for 60s") }, nil)
	if code, body := get(t, h, "/livez"); code != 503 || !strings.Contains(body, "stuck: no turn") {
		t.Errorf("%d %q", code, body)
	}
	tel.Health.Register("stuck", func() error { return nil }, nil)
	if code, body := get(t, h, "/livez"); code != 200 {
		t.Errorf("a part that was started again still answers for its predecessor: %d %q", code, body)
	}
}

func TestMetricsAndPprof(t *testing.T) {
	h := telemetry.New("test", telemetry.Default()).Handler()
	if _, body := get(t, h, "/metrics"); !strings.Contains(body, `flowstitch_build_info{service="test"`) || !strings.Contains(body, "go_goroutines") {
		t.Errorf("metrics lack what every service shows:\n%.300s", body)
	}
	if code, _ := get(t, h, "/debug/pprof/heap"); code != 200 {
		t.Errorf("pprof is %d", code)
	}
}

func TestServe(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	tel := telemetry.Quiet()
	wait, err := tel.Serve(ctx, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stop()
	if err := wait(); err != nil {
		t.Error(err)
	}
	if _, err := tel.Serve(t.Context(), "256.0.0.1:1"); err == nil || !strings.Contains(err.Error(), "telemetry.listen") {
		t.Errorf("a wrong address: %v", err)
	}
	if wait, err := tel.Serve(t.Context(), ""); err != nil || wait() != nil {
		t.Error("no address serves nothing")
	}
}

func TestValidate(t *testing.T) {
	c := telemetry.Default()
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	c.LogLevel, c.LogFormat = "loud", "xml"
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "loud") || !strings.Contains(err.Error(), "xml") {
		t.Errorf("got %v", err)
	}
}
