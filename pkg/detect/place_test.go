package detect

import (
	"testing"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// TestContext: an alert says where in the cloud the end that is ours is, of one
// of our hosts as of a stranger, with flags and where the roles were the wrong
// way round.
func TestContext(t *testing.T) {
	set := DefaultSettings()
	p := newPipe(t, &set, 3, 2)
	p.crash = nil
	shots := guessing(40, "198.51.100.7", "10.0.0.3")
	shots = append(shots, world{flags: true}.talk(t0+100, "10.0.0.9", "203.0.113.5", 4444, 3000, 9000))
	p.run(shots)
	for id, point := range map[string]string{"brute-force": "eni-1-far", "outbound-callout": "eni-1"} {
		got := p.fired(id)
		if len(got) != 1 {
			t.Fatalf("%s: %d findings", id, len(got))
		}
		c := got[0].Context
		if c.InterfaceID != point || c.AccountID != "123456789012" || c.VPCID != "vpc-1" || c.SubnetID != "subnet-1" || c.Region != "eu-west-1" ||
			len(c.Tags) != 1 || c.Tags[0] != (flow.Attr{Name: "role", Value: "web"}) {
			t.Errorf("%s: the context is %+v", id, c)
		}
	}
	if c := contextOf([]byte{0xff, 0xff}); c.AccountID != "" {
		t.Errorf("nonsense was read as %+v", c)
	}
}
