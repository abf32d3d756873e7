package operations

import (
	"os"
	"testing"

	"github.com/goccy/go-yaml"
)

// TestEveryAlertWasSeenToFire: promtool's unit tests, which hack/k8s-test.sh
// runs, hold for each alert a time at which it fires.
func TestEveryAlertWasSeenToFire(t *testing.T) {
	var rules struct {
		Spec struct {
			Groups []struct {
				Rules []struct{ Alert string }
			}
		}
	}
	read(t, "../../deploy/k8s/components/monitoring/rules.yaml", &rules)
	var units struct {
		Tests []struct {
			AlertRuleTest []struct {
				Alertname string
				ExpAlerts []any `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	read(t, "../../deploy/monitoring/rules_test.yaml", &units)
	fires := map[string]bool{}
	for _, u := range units.Tests {
		for _, a := range u.AlertRuleTest {
			fires[a.Alertname] = fires[a.Alertname] || len(a.ExpAlerts) > 0
		}
	}
	n := 0
	for _, g := range rules.Spec.Groups {
		for _, r := range g.Rules {
			n++
			if !fires[r.Alert] {
				t.Errorf("no unit test in deploy/monitoring/rules_test.yaml shows %s firing", r.Alert)
			}
		}
	}
	if n < 30 {
		t.Errorf("only %d alerts were read", n)
	}
}

func read(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}
