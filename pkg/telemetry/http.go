package telemetry

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/pprof"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Handler serves /metrics, /livez, /readyz and /debug/pprof/.
func (t *Telemetry) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(t.Registry, promhttp.HandlerOpts{Registry: t.Registry, EnableOpenMetrics: true}))
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		bad := t.Health.Live()
		answer(w, bad, len(bad) == 0)
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		waiting, ok := t.Health.Ready()
		answer(w, waiting, ok)
	})
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

// answer says ok, or each part's sentence on a line of its own with status 503.
func answer(w http.ResponseWriter, bad map[string]error, ok bool) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if ok {
		fmt.Fprintln(w, "ok")
		return
	}
	w.WriteHeader(http.StatusServiceUnavailable)
	for _, name := range slices.Sorted(maps.Keys(bad)) {
		fmt.Fprintf(w, "%s: %v\n", name, bad[name])
	}
	if len(bad) == 0 {
		fmt.Fprintln(w, "starting")
	}
}

// Serve serves Handler on addr until ctx ends; an empty addr serves nothing.
// It returns once the port is open; wait ends when the server has stopped.
func (t *Telemetry) Serve(ctx context.Context, addr string) (wait func() error, err error) {
	if addr == "" {
		return func() error { return nil }, nil
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("telemetry.listen: %w; choose a free address or \"\" for none", err)
	}
	srv := &http.Server{Handler: t.Handler(), ReadHeaderTimeout: 10 * time.Second}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	stop := context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = srv.Shutdown(grace)
	})
	t.Log.Info("telemetry listens", "addr", l.Addr().String())
	return func() error {
		err := <-done
		stop()
		if errors.Is(err, http.ErrServerClosed) {
			return nil
		}
		return err
	}, nil
}
