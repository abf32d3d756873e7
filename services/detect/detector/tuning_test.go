package detector

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/segmentio/encoding/json"

	"github.com/flowstitch/flowstitch/pkg/config"
	"github.com/flowstitch/flowstitch/pkg/detect"
	"github.com/flowstitch/flowstitch/pkg/telemetry"
)

const sample = `
own_networks: [198.51.100.0/24, "2001:db8:7::/48"]
allow:
  - reason: our scanner
    until: 2027-01-01T00:00:00Z
    detectors: [port-scan, host-sweep]
    clients: [10.0.9.9]
  - reason: load balancers' checks
    servers: [10.0.0.0/8]
    ports: [8080]
    tags: [role=web]
lists:
  - name: acme
    severity: medium
    addresses: [203.0.113.7, 203.0.113.128/25]
thresholds:
  brute_force: {attempts: 8}
overrides:
  - networks: [10.1.0.0/16]
    thresholds:
      brute_force: {attempts_ours: 99}
`

func TestTuning(t *testing.T) {
	tuning := DefaultTuning()
	if err := config.Parse([]byte(sample), &tuning); err != nil {
		t.Fatal(err)
	}
	set, err := tuning.settings()
	if err != nil {
		t.Fatal(err)
	}
	if len(set.Own) != 2 || set.Tuning.Brute.Attempts != 8 || set.Tuning.Brute.Hosts != 5 || len(set.Allow) != 2 || len(set.Tuning.Lists) != 1 {
		t.Errorf("read as %+v", set)
	}
	if o := set.Overrides[0].Tuning; o.Brute.Attempts != 8 || o.Brute.AttemptsOurs != 99 || len(o.Lists) != 1 {
		t.Errorf("the override is %+v", o.Brute)
	}
	// What the ledger keeps is what the folds get.
	b, err := json.Marshal(foldConfig{Version: foldVersion, Settings: *set})
	if err != nil {
		t.Fatal(err)
	}
	back, err := parseConfig(b)
	if err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(foldConfig{Version: foldVersion, Settings: *back})
	if err != nil || string(again) != string(b) {
		t.Errorf("the ledger's copy differs:\n%s\n%s", b, again)
	}
}

func TestTuningRefuses(t *testing.T) {
	for name, c := range map[string]struct{ yaml, want string }{
		"unknown key":  {"threshold: {}", "threshold"},
		"no reason":    {"allow: [{clients: [10.0.0.1]}]", "reason"},
		"no condition": {"allow: [{reason: x}]", "no condition"},
		"bad address":  {"own_networks: [10.0.0.300]", "10.0.0.300"},
		"bad detector": {"disabled: [portscan]", "portscan"},
		"bad number":   {"thresholds: {brute_force: {attempts: 0}}", "brute_force.attempts"},
		"bad override": {"overrides: [{networks: [10.0.0.0/8], thresholds: {beacon: {score: 7}}}]", "beacon.score"},
		"bad key deep": {"overrides: [{networks: [10.0.0.0/8], thresholds: {beacon: {skore: 7}}}]", "skore"},
		"bad severity": {"lists: [{name: a, severity: awful, addresses: []}]", "awful"},
	} {
		tuning := DefaultTuning()
		if err := config.Parse([]byte(c.yaml), &tuning); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestReload changes the file under running folds: first to what is
// wrong, empty or cut off, each of which is refused, then to something valid, which takes effect.
func TestReload(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tuning.yaml")
	put := func(s string) { // in one step, as Kubernetes and editors do
		err := os.WriteFile(path+".new", []byte(s), 0o600)
		if err == nil {
			err = os.Rename(path+".new", path)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	put("thresholds: {brute_force: {attempts: 7}}")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r := newReloader(path, telemetry.Quiet())
	done := errors.New("done")
	var seen []int64
	err := r.run(ctx, 20*time.Millisecond, func(ctx context.Context, set *detect.Settings) error {
		seen = append(seen, set.Tuning.Brute.Attempts)
		if len(seen) == 2 {
			return done
		}
		for i, wrong := range []string{"thresholds: {brute_force: {attempts: -7}}", "", "thresh"} {
			put(wrong)
			for testutil.ToFloat64(r.refused) <= float64(i) {
				select {
				case <-ctx.Done():
					return errors.New("a wrong tuning ended the folds, or was not refused")
				case <-time.After(5 * time.Millisecond):
				}
			}
		}
		put("thresholds: {brute_force: {attempts: 9}}")
		<-ctx.Done()
		return nil
	})
	if !errors.Is(err, done) || len(seen) != 2 || seen[0] != 7 || seen[1] != 9 {
		t.Fatalf("%v: ran under %v", err, seen)
	}
	if testutil.ToFloat64(r.reloads) != 1 {
		t.Error("the reload was not counted")
	}
}

// TestExample: the file that the documentation shows is valid.
func TestExample(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "..", "..", "examples", "tuning.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	tuning := DefaultTuning()
	if err := config.Parse(b, &tuning); err != nil {
		t.Fatal(err)
	}
	set, err := tuning.settings()
	if err != nil || len(set.Tuning.DNS.Resolvers) != 1 || len(set.Overrides) != 1 || set.Overrides[0].Tuning.Brute.AttemptsOurs != 200 {
		t.Fatalf("%v: %+v", err, set)
	}
}
