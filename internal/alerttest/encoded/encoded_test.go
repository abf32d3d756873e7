package encoded

import (
	"bytes"
	"strings"
	"testing"

	"github.com/flowstitch/flowstitch/internal/alerttest"
	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/flow"
)

func sample() *alert.Alert {
	source := flow.MustAddr("198.51.100.7")
	a := &alert.Alert{
		Detector: alert.Detector{ID: "port-scan", Name: "Port scan", Version: "1", Method: alert.MethodFingerprinting, Doc: "docs/alerts/port-scan.md"},
		Activity: alert.Create, Sequence: 1, Verdict: alert.Confirmed, Title: "Port scan", Sentence: "A scan.", Severity: alert.Low, Confidence: 90,
		Entity: alert.AddressEntity(0, source, false, alert.RoleActor), Time: 1_772_440_800, First: 1_772_440_800, Last: 1_772_441_400,
		Ports:    []alert.Port{{Protocol: 6, Port: 22, Sessions: 1}},
		Counts:   []alert.Count{{Name: "ports", Unit: "ports", Observed: 40, Baseline: 3, HasBaseline: true}},
		Evidence: []alert.Evidence{{Topic: "sessions", Protocol: 6, Client: flow.Endpoint{Addr: source, Port: 40000}, Server: flow.Endpoint{Addr: flow.MustAddr("10.0.0.5"), Port: 22}}},
		Attacks:  alert.AttacksOf("T1595.001"), Context: alert.Context{AccountID: "123456789012", Region: "eu-west-1", InterfaceID: "eni-1"},
	}
	a.UID = alert.NewUID(a.Detector.ID, a.Entity, a.First, 86400)
	return a
}

// TestValidators: an alert is valid in every form, and the validators of older
// versions refuse what those versions do not have.
func TestValidators(t *testing.T) {
	older := map[string]func([]byte) error{}
	for _, v := range []string{"1.5.0", "1.1.0"} {
		older[v] = alerttest.Older(t, v)
		schema, err := alert.ParseSchema(v)
		if err != nil {
			t.Fatal(err)
		}
		good, err := alert.NewEncoder(alert.Options{Schema: schema}).Append(nil, sample())
		if err != nil {
			t.Fatal(err)
		}
		if err := older[v](good); err != nil {
			t.Error(err)
		}
		newest, err := alert.NewEncoder(alert.Options{}).Append(nil, sample())
		if err != nil {
			t.Fatal(err)
		}
		for name, bad := range map[string][]byte{
			"another version":       newest,
			"newer attributes":      bytes.Replace(newest, []byte(`"version":"1.8.0"`), []byte(`"version":"`+v+`"`), 1),
			"a missing attribute":   bytes.Replace(good, []byte(`"finding_info":`), []byte(`"unmapped":`), 1),
			"a wrong type":          bytes.Replace(good, []byte(`"severity_id":2`), []byte(`"severity_id":"2"`), 1),
			"an unlisted value":     bytes.Replace(good, []byte(`"severity_id":2`), []byte(`"severity_id":77`), 1),
			"no array":              bytes.Replace(good, []byte(`"types":["port-scan"]`), []byte(`"types":"port-scan"`), 1),
			"an undeclared profile": bytes.Replace(good, []byte(`"cloud"]`), []byte(`"osint"]`), 1),
			"another class":         bytes.Replace(good, []byte(`"class_uid":2004`), []byte(`"class_uid":2005`), 1),
		} {
			if bytes.Equal(bad, good) {
				t.Errorf("%s: nothing was changed in %s", name, good)
			}
			if err := older[v](bad); err == nil {
				t.Errorf("%s: %s is accepted", v, name)
			}
		}
	}
	t.Run("all", func(t *testing.T) {
		valid := Validator(t)
		if err := valid(sample()); err != nil {
			t.Error(err)
		}
		wrong := sample()
		wrong.Severity = 77
		if err := valid(wrong); err == nil || !strings.Contains(err.Error(), "1.1.0") {
			t.Errorf("an unknown severity is accepted: %v", err)
		}
	})
}
