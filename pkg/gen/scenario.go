package gen

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/flowstitch/flowstitch/pkg/config"
)

// Scenario says what to generate. The zero value is not useful: start from
// [Incident] or from a file read over it.
type Scenario struct {
	Name string `yaml:"name"`
	// Seed chooses among the equally ordinary days.
	Seed uint64 `yaml:"seed"`
	// Start is the event time of the first session.
	Start time.Time `yaml:"start"`
	// Duration is how long sessions start; those that are open then end soon.
	Duration time.Duration `yaml:"duration"`
	// Rate is how many ordinary sessions start a second; each is about four
	// lines. The housekeeping of the hosts (health checks, time, pools to the
	// database) comes on top and does not depend on it.
	Rate float64 `yaml:"rate"`
	// Interval is the aggregation interval of the flow log: 60s or 600s at AWS.
	Interval time.Duration `yaml:"interval"`
	// IPv6Percent is how many of a hundred Internet clients come by IPv6.
	IPv6Percent int64 `yaml:"ipv6_percent"`
	// Delay is the longest delivery delay of an interface's interval.
	Delay   time.Duration `yaml:"delay"`
	Network Network       `yaml:"network"`
	Hosts   []Host        `yaml:"hosts"`
	Attacks []Attack      `yaml:"attacks"`
}

// Network is what the lines say of where they were recorded.
type Network struct {
	Account string `yaml:"account"`
	Region  string `yaml:"region"`
	VPC     string `yaml:"vpc"`
}

// Host is a machine of ours with one interface.
type Host struct {
	Name    string `yaml:"name"`
	Address string `yaml:"address"`
	IPv6    string `yaml:"ipv6,omitempty"` // optional
	// Role is what the host ordinarily does, one of the Roles.
	Role Role `yaml:"role"`
	// Interface is the interface id; empty derives one from the name.
	Interface string `yaml:"interface,omitempty"`
}

// Role is what a host ordinarily does.
type Role string

// Roles of hosts. The load balancers answer the Internet on 443 and ask the web
// servers on 8080; these hold pools to database and cache and write to S3;
// workstations use the intranet, the files and a dozen fixed services outside;
// the monitor pings and checks everybody and answers time.
const (
	RoleBalancer    Role = "balancer"
	RoleWeb         Role = "web"
	RoleDatabase    Role = "database"
	RoleCache       Role = "cache"
	RoleBastion     Role = "bastion"
	RoleFiles       Role = "files"
	RoleIntranet    Role = "intranet"
	RoleWorkstation Role = "workstation"
	RoleMonitor     Role = "monitor"
	RoleIdle        Role = "idle" // has no ordinary traffic: NODATA lines
)

func (r Role) known() bool {
	switch r {
	case RoleBalancer, RoleWeb, RoleDatabase, RoleCache, RoleBastion, RoleFiles,
		RoleIntranet, RoleWorkstation, RoleMonitor, RoleIdle:
		return true
	}
	return false
}

// Bounds that Validate holds: event seconds are kept in 32 bits, and a calendar
// slot a second holds what is pending of an interval and its delay.
const (
	maxDuration = 366 * 24 * time.Hour
	maxInterval = 10 * time.Minute
	maxDelay    = 10 * time.Minute
	maxRate     = 1_000_000
	maxHosts    = 10_000
)

// Validate reports every problem at once.
func (s *Scenario) Validate() error {
	var p config.Problems
	p.Check(!s.Start.IsZero() && s.Start.Unix() > 0, "start: give a time such as 2026-03-02T08:00:00Z")
	p.Check(s.Duration >= time.Second && s.Duration <= maxDuration, "duration: %v is not between 1s and %v", s.Duration, maxDuration)
	p.Check(s.Rate >= 0 && s.Rate <= maxRate, "rate: %v is not between 0 and %d sessions a second", s.Rate, maxRate)
	p.Check(s.Interval >= time.Second && s.Interval <= maxInterval, "interval: %v is not between 1s and %v", s.Interval, maxInterval)
	p.Check(s.Delay >= 0 && s.Delay <= maxDelay, "delay: %v is not between 0s and %v", s.Delay, maxDelay)
	p.Check(s.IPv6Percent >= 0 && s.IPv6Percent <= 100, "ipv6_percent: %d is no percentage", s.IPv6Percent)
	p.Check(len(s.Hosts) > 0 && len(s.Hosts) <= maxHosts, "hosts: %d hosts, need 1 to %d", len(s.Hosts), maxHosts)
	s.validateHosts(&p)
	for i := range s.Attacks {
		s.Attacks[i].validate(&p, fmt.Sprintf("attacks[%d]", i), s)
	}
	return p.Err()
}

func (s *Scenario) validateHosts(p *config.Problems) {
	names, addrs := map[string]bool{}, map[netip.Addr]bool{}
	for i, h := range s.Hosts {
		at := fmt.Sprintf("hosts[%d]", i)
		p.Check(h.Name != "" && !names[h.Name], "%s.name: %q is empty or used twice", at, h.Name)
		names[h.Name] = true
		a, err := netip.ParseAddr(h.Address)
		p.Check(err == nil && a.Is4() && !addrs[a], "%s.address: %q is not an IPv4 address of its own", at, h.Address)
		addrs[a] = true
		if h.IPv6 != "" {
			a, err := netip.ParseAddr(h.IPv6)
			p.Check(err == nil && a.Is6() && !a.Is4In6(), "%s.ipv6: %q is not an IPv6 address", at, h.IPv6)
		}
		p.Check(h.Role.known(), "%s.role: %q is not known; see flowstitch gen -help", at, h.Role)
	}
}

// host returns the index of the host with this name or address, or -1.
func (s *Scenario) host(who string) int {
	for i, h := range s.Hosts {
		if who == h.Name || who == h.Address || who != "" && who == h.IPv6 {
			return i
		}
	}
	return -1
}
