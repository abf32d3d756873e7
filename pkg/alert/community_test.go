package alert

import (
	"encoding/csv"
	"os"
	"strconv"
	"testing"

	"github.com/flowstitch/flowstitch/internal/alerttest"
	"github.com/flowstitch/flowstitch/pkg/flow"
)

func TestCommunityID(t *testing.T) {
	f, err := os.Open(alerttest.Facts(t, "community-id-vectors.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, r := range rows[1:] {
		seed, _ := strconv.ParseUint(r[1], 10, 16)
		proto, _ := strconv.ParseUint(r[3], 10, 8)
		sport, _ := strconv.ParseUint(r[6], 10, 16)
		dport, _ := strconv.ParseUint(r[7], 10, 16)
		a := flow.Endpoint{Addr: flow.MustAddr(r[4]), Port: uint16(sport)}
		b := flow.Endpoint{Addr: flow.MustAddr(r[5]), Port: uint16(dport)}
		got := CommunityID(uint16(seed), uint8(proto), a, b)
		if proto == protoICMP || proto == protoICMPv6 {
			if got != "" {
				t.Errorf("ICMP has no Community ID without type and code, got %s", got)
			}
			continue
		}
		if r[2] != "base64" {
			continue // the same hash, written in hex
		}
		n++
		if got != r[9] || CommunityID(uint16(seed), uint8(proto), b, a) != r[9] {
			t.Errorf("%v: %s, want %s", r[:8], got, r[9])
		}
	}
	if n < 20 {
		t.Errorf("only %d vectors were compared", n)
	}
}

// TestPinnedCommunityID needs no facts: the example of the specification's README.
func TestPinnedCommunityID(t *testing.T) {
	a := flow.Endpoint{Addr: flow.MustAddr("128.232.110.120"), Port: 34855}
	b := flow.Endpoint{Addr: flow.MustAddr("66.35.250.204"), Port: 80}
	if got := CommunityID(0, 6, a, b); got != "1:LQU9qZlK+B5F3KDmev6m5PMibrg=" {
		t.Error(got)
	}
	if CommunityID(0, 6, a, flow.Endpoint{}) != "" {
		t.Error("an address that is none has a Community ID")
	}
}
