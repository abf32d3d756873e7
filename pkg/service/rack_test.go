package service

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/flowstitch/flowstitch/pkg/telemetry"
)

// TestRack: the zone that a pod is told becomes the brokers' word for it.
func TestRack(t *testing.T) {
	for _, c := range []struct{ configured, zone, want string }{
		{"", "eu-west-1a", "euw1-az1"},
		{"", "eu-west-1c", "eu-west-1c"}, // not listed
		{"mine", "eu-west-1a", "mine"},
		{"", "", ""},
	} {
		t.Setenv(RackEnv, c.zone)
		common := DefaultCommon()
		common.Kafka.Rack, common.Kafka.Racks = c.configured, map[string]string{"eu-west-1a": "euw1-az1"}
		s, err := common.Stage("ingest", "", telemetry.Quiet())
		if err != nil {
			t.Fatal(err)
		}
		cl, err := kgo.NewClient(s.Client...)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := cl.OptValue(kgo.Rack).(string); got != c.want {
			t.Errorf("%+v: rack %q", c, got)
		}
		cl.Close()
	}
}
