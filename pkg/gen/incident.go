package gen

import (
	"fmt"
	"time"
)

// Incident is the scenario of examples/incident.log.gz: two hours of a Monday
// morning in a small VPC, and six attacks.
func Incident() Scenario {
	return Scenario{
		Name:        "incident",
		Seed:        1,
		Start:       time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC),
		Duration:    2 * time.Hour,
		Rate:        1.6,
		Interval:    time.Minute,
		IPv6Percent: 10,
		Delay:       45 * time.Second,
		Network:     Network{Account: "123456789010", Region: "eu-central-1", VPC: "vpc-0f10a7c1e5b2d3a40"},
		Hosts:       smallVPC(),
		Attacks:     incidentAttacks(),
	}
}

func smallVPC() []Host {
	hosts := []Host{
		{Name: "alb-a", Address: "10.0.0.10", IPv6: "2001:db8:10::10", Role: RoleBalancer},
		{Name: "alb-b", Address: "10.0.1.10", IPv6: "2001:db8:11::10", Role: RoleBalancer},
		{Name: "bastion", Address: "10.0.0.50", Role: RoleBastion},
		{Name: "web-1", Address: "10.0.10.11", Role: RoleWeb},
		{Name: "web-2", Address: "10.0.10.12", Role: RoleWeb},
		{Name: "web-3", Address: "10.0.10.13", Role: RoleWeb},
		{Name: "db-1", Address: "10.0.20.21", Role: RoleDatabase},
		{Name: "db-2", Address: "10.0.20.22", Role: RoleDatabase},
		{Name: "cache-1", Address: "10.0.20.31", Role: RoleCache},
		{Name: "files-1", Address: "10.0.30.5", Role: RoleFiles},
		{Name: "intranet-1", Address: "10.0.30.6", Role: RoleIntranet},
		{Name: "monitor-1", Address: "10.0.50.5", Role: RoleMonitor},
		{Name: "spare-1", Address: "10.0.50.9", Role: RoleIdle},
	}
	for i := range 10 {
		hosts = append(hosts, Host{
			Name: fmt.Sprintf("ws-%d", i+1), Address: fmt.Sprintf("10.0.40.%d", 101+i), Role: RoleWorkstation,
		})
	}
	return hosts
}

func incidentAttacks() []Attack {
	return []Attack{
		{
			Kind: KindProbeSweep, At: 12 * time.Minute, For: 6 * time.Minute, Source: "198.51.100.77",
			// Only these have public addresses.
			Targets: []string{"alb-a", "alb-b", "bastion", "web-1", "web-2", "web-3"},
			Ports:   []uint16{22, 23, 445, 3389, 8080},
		},
		{
			Kind: KindPortScan, At: 25 * time.Minute, For: 3 * time.Minute, Source: "198.51.100.78",
			Targets: []string{"bastion"}, Count: 900,
		},
		{
			Kind: KindSSHGuessing, At: 40 * time.Minute, For: 10 * time.Minute, Source: "203.0.113.99",
			Targets: []string{"bastion"}, Count: 420,
		},
		{
			Kind: KindBeacon, At: 52 * time.Minute, For: 68 * time.Minute, Source: "ws-7",
			Targets: []string{"192.0.2.44"}, Ports: []uint16{443}, Every: time.Minute, Jitter: 3 * time.Second,
		},
		{
			Kind: KindExfiltration, At: 80 * time.Minute, For: 8 * time.Minute, Source: "ws-7",
			Targets: []string{"192.0.2.45"}, Ports: []uint16{443}, Bytes: 640 << 20,
		},
		{
			Kind: KindSurge, At: 100 * time.Minute, For: 5 * time.Minute,
			Targets: []string{"alb-a"}, Ports: []uint16{443}, Sources: 400, Count: 6000,
		},
	}
}
