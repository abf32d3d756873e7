package gen

import (
	"fmt"
	"time"

	"github.com/flowstitch/flowstitch/pkg/config"
	"github.com/flowstitch/flowstitch/pkg/flow"
)

// Kind names what an attack does.
type Kind string

// Kinds of attack. The detector that should tell of each is in [Kind.Expect].
const (
	KindProbeSweep   Kind = "probe-sweep"  // SYNs without options to every host of ours
	KindPortScan     Kind = "port-scan"    // many ports of one host
	KindHostSweep    Kind = "host-sweep"   // one port of many hosts; also from one of ours
	KindSSHGuessing  Kind = "ssh-guessing" // short sessions to a login service
	KindBeacon       Kind = "beacon"       // regular small sessions outward
	KindExfiltration Kind = "exfiltration" // far more out than ever
	KindSurge        Kind = "surge"        // a flood of half-open connections
	KindCallout      Kind = "callout"      // a session to where nobody ever went
	KindICMPErrors   Kind = "icmp-errors"  // unsolicited ICMP of the size of errors
	KindExternalDNS  Kind = "external-dns" // queries to a resolver outside
	KindNewService   Kind = "new-service"  // a host begins to answer on a port
	KindGap          Kind = "gap"          // AWS skips records of an interface
)

// Attack is one attack on the timeline. What a kind does not need is left out
// and has a default.
type Attack struct {
	Kind Kind `yaml:"kind"`
	// At is when it begins, after the scenario's start, and For how long it lasts.
	At  time.Duration `yaml:"at"`
	For time.Duration `yaml:"for,omitempty"`
	// Source is who does it: an address, or the name of a host.
	Source string `yaml:"source,omitempty"`
	// Targets are names of hosts or addresses; none means every host.
	Targets []string `yaml:"targets,omitempty"`
	Ports   []uint16 `yaml:"ports,omitempty"`
	// Count is how many sessions in all, spread evenly.
	Count int64 `yaml:"count,omitempty"`
	// Sources is how many addresses a surge comes from.
	Sources int64 `yaml:"sources,omitempty"`
	// Every and Jitter are the period of a beacon and how much it wanders.
	Every  time.Duration `yaml:"every,omitempty"`
	Jitter time.Duration `yaml:"jitter,omitempty"`
	// Bytes is how much an exfiltration takes out in all.
	Bytes int64 `yaml:"bytes,omitempty"`
}

// Expect is the id of the detector that the attack should set off.
func (k Kind) Expect() string {
	switch k {
	case KindProbeSweep:
		return "crafted-probe"
	case KindSSHGuessing:
		return "brute-force"
	case KindExfiltration:
		return "data-excess"
	case KindSurge:
		return "traffic-surge"
	case KindCallout:
		return "outbound-callout"
	case KindICMPErrors:
		return "inbound-icmp-errors"
	case KindGap:
		return "coverage-gap"
	default:
		return string(k)
	}
}

// outward reports that the attacker is a host of ours.
func (k Kind) outward() bool {
	return k == KindBeacon || k == KindExfiltration || k == KindCallout || k == KindExternalDNS
}

func (k Kind) known() bool {
	switch k {
	case KindProbeSweep, KindPortScan, KindHostSweep, KindSSHGuessing, KindBeacon, KindExfiltration,
		KindSurge, KindCallout, KindICMPErrors, KindExternalDNS, KindNewService, KindGap:
		return true
	}
	return false
}

// maxCount bounds the sessions of one attack and the addresses of a surge.
const (
	maxCount   = 100_000_000
	maxSources = 1 << 22
	maxBytes   = 1 << 50
)

func (a *Attack) validate(p *config.Problems, at string, s *Scenario) {
	p.Check(a.Kind.known(), "%s.kind: %q is not known; see flowstitch gen -help", at, a.Kind)
	p.Check(a.At >= 0 && a.At < s.Duration, "%s.at: %v is not within the scenario's %v", at, a.At, s.Duration)
	p.Check(a.For >= 0 && a.For <= maxDuration, "%s.for: %v is not between 0s and %v", at, a.For, maxDuration)
	p.Check(a.Count >= 0 && a.Count <= maxCount, "%s.count: %d is not between 0 and %d", at, a.Count, maxCount)
	p.Check(a.Sources >= 0 && a.Sources <= maxSources, "%s.sources: %d is not between 0 and %d", at, a.Sources, maxSources)
	p.Check(a.Bytes >= 0 && a.Bytes <= maxBytes, "%s.bytes: %d is not between 0 and %d", at, a.Bytes, int64(maxBytes))
	p.Check(a.Every >= 0 && (a.Every == 0 || a.Every >= time.Second), "%s.every: %v is below 1s", at, a.Every)
	p.Check(a.Jitter >= 0 && 2*a.Jitter <= max(a.Every, a.defaultEvery()), "%s.jitter: %v is more than half of every", at, a.Jitter)
	if a.Kind != KindSurge && a.Kind != KindGap && a.Kind != KindNewService {
		_, err := flow.ParseAddr(a.Source)
		p.Check(s.host(a.Source) >= 0 || err == nil && !a.Kind.outward(),
			"%s.source: %q is no host of the scenario%s", at, a.Source, orAddress(a.Kind))
	}
	for i, t := range a.Targets {
		_, err := flow.ParseAddr(t)
		p.Check(s.host(t) >= 0 || err == nil && a.Kind.outward(),
			"%s.targets[%d]: %q is no host of the scenario", at, i, t)
	}
	p.Check(!a.Kind.outward() || len(a.Targets) > 0, "%s.targets: name the address outside", at)
}

func orAddress(k Kind) string {
	if k.outward() {
		return ""
	}
	return " and no address"
}

func (a *Attack) defaultEvery() time.Duration {
	if a.Every == 0 {
		return time.Minute
	}
	return a.Every
}

// withDefaults fills what the user left out.
func (a Attack) withDefaults(s *Scenario) Attack {
	if a.For == 0 {
		a.For = 5 * time.Minute
	}
	a.For = min(a.For, s.Duration-a.At)
	a.Every = a.defaultEvery()
	if len(a.Targets) == 0 {
		for _, h := range s.Hosts {
			a.Targets = append(a.Targets, h.Name)
		}
	}
	def := attackDefaults(a)
	if len(a.Ports) == 0 {
		a.Ports = def.Ports
	}
	if a.Count == 0 {
		a.Count = def.Count
	}
	if a.Bytes == 0 {
		a.Bytes = 256 << 20
	}
	if a.Sources == 0 {
		a.Sources = 200
	}
	return a
}

func attackDefaults(a Attack) Attack {
	targets, periods := int64(len(a.Targets)), max(1, int64(a.For/a.Every))
	switch a.Kind {
	case KindProbeSweep:
		ports := max(1, int64(len(a.Ports)))
		return Attack{Ports: []uint16{22}, Count: targets * ports}
	case KindPortScan:
		return Attack{Count: 1000}
	case KindHostSweep:
		return Attack{Ports: []uint16{445}, Count: targets}
	case KindSSHGuessing:
		return Attack{Ports: []uint16{22}, Count: int64(a.For / time.Second)}
	case KindBeacon:
		return Attack{Ports: []uint16{443}, Count: periods}
	case KindExfiltration:
		return Attack{Ports: []uint16{443}, Count: 4}
	case KindSurge:
		return Attack{Ports: []uint16{443}, Count: 5000}
	case KindCallout:
		return Attack{Ports: []uint16{22}, Count: 1}
	case KindICMPErrors:
		return Attack{Ports: []uint16{0}, Count: 60}
	case KindExternalDNS:
		return Attack{Ports: []uint16{53}, Count: 100}
	case KindNewService:
		return Attack{Ports: []uint16{4444}, Count: 30}
	default:
		return Attack{Count: periods}
	}
}

// topPorts are tried first by a scan, as nmap does; the rest follow in order.
func scanPort(k int64) uint16 {
	top := [...]uint16{
		80, 23, 443, 21, 22, 25, 3389, 110, 445, 139, 143, 53, 135, 3306, 8080, 1723, 111, 995,
		993, 5900, 1025, 587, 8888, 199, 1720, 465, 548, 113, 81, 6001,
	}
	if k < int64(len(top)) {
		return top[k]
	}
	return uint16(10_000 + (k-int64(len(top)))*7%50_000)
}

// label names an attack in seeds and in the truth.
func (a *Attack) label(i int) string { return fmt.Sprintf("%d %s", i, a.Kind) }
