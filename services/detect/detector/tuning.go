package detector

import (
	"bytes"
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/config"
	"github.com/flowstitch/flowstitch/pkg/detect"
	"github.com/flowstitch/flowstitch/pkg/flow"
)

// Tuning is the file that users tune the detectors with. It may change while
// the service runs: see Config.Tuning.
type Tuning struct {
	// OwnNetworks are ours beside private ranges and what ingest learns.
	OwnNetworks []Network `yaml:"own_networks"`
	// LoginPorts are TCP ports whose service asks for a password.
	LoginPorts []uint16 `yaml:"login_ports"`
	// Disabled are ids of detectors that say nothing.
	Disabled []string `yaml:"disabled"`
	// Allow are exceptions. Each needs a reason.
	Allow []Allow `yaml:"allow"`
	// Lists are addresses to be told of (listed-address).
	Lists []List `yaml:"lists"`
	// Thresholds of the detectors: docs/alerts says what each does.
	Thresholds detect.Tuning `yaml:"thresholds"`
	// Overrides are other thresholds for the addresses of some networks.
	Overrides []Override `yaml:"overrides"`
}

// Allow is an exception: every condition that it states must hold. With
// detectors it takes back what these say; without, the sessions are not judged.
type Allow struct {
	Reason     string     `yaml:"reason"`
	Until      *time.Time `yaml:"until,omitempty"` // in event time; absent: for ever
	Detectors  []string   `yaml:"detectors,omitempty"`
	Clients    []Network  `yaml:"clients,omitempty"`
	Servers    []Network  `yaml:"servers,omitempty"`
	Addresses  []Network  `yaml:"addresses,omitempty"`
	Ports      []uint16   `yaml:"ports,omitempty"`
	Interfaces []string   `yaml:"interfaces,omitempty"`
	Tags       []string   `yaml:"tags,omitempty"` // key=value
}

// List is a named list of addresses.
type List struct {
	Name string `yaml:"name"`
	// Severity is where a match starts: informational, low, medium or high.
	Severity  string    `yaml:"severity,omitempty"`
	Addresses []Network `yaml:"addresses"`
}

// Override holds thresholds over the general ones: what it leaves out is as
// there.
type Override struct {
	Networks   []Network `yaml:"networks"`
	Thresholds partial   `yaml:"thresholds"`
}

// Network is a prefix, or an address alone.
type Network netip.Prefix

// UnmarshalText implements encoding.TextUnmarshaler.
func (n *Network) UnmarshalText(b []byte) error {
	if ip, err := netip.ParseAddr(string(b)); err == nil && ip.Zone() == "" {
		*n = Network(netip.PrefixFrom(ip.Unmap(), ip.Unmap().BitLen()))
		return nil
	}
	p, err := netip.ParsePrefix(string(b))
	if err != nil {
		return fmt.Errorf("%q is neither an address nor a network", b)
	}
	*n = Network(p.Masked())
	return nil
}

// MarshalText implements encoding.TextMarshaler.
func (n Network) MarshalText() ([]byte, error) { return netip.Prefix(n).MarshalText() }

// partial keeps YAML that is decoded later, over other values.
type partial struct{ raw []byte }

// UnmarshalYAML keeps the bytes.
func (p *partial) UnmarshalYAML(b []byte) error {
	p.raw = bytes.Clone(b)
	return nil
}

// MarshalYAML gives the bytes back.
func (p partial) MarshalYAML() ([]byte, error) { return p.raw, nil }

// thresholds is detect.Tuning as a configuration of its own.
type thresholds struct {
	detect.Tuning `yaml:",inline"`
}

// Validate returns every problem at once.
func (t *thresholds) Validate() error { return problems("", &t.Tuning) }

func problems(key string, t *detect.Tuning) error {
	var p config.Problems
	for _, s := range t.Validate() {
		p.Check(false, "%s%s", key, s)
	}
	return p.Err()
}

// DefaultTuning is what holds without a file.
func DefaultTuning() Tuning {
	s := detect.DefaultSettings()
	return Tuning{LoginPorts: s.LoginPorts, Thresholds: s.Tuning}
}

// Validate returns every problem at once.
func (t *Tuning) Validate() error {
	var p config.Problems
	p.Join(problems("thresholds.", &t.Thresholds))
	ids := detectorIDs()
	known := func(key string, list []string) {
		for _, id := range list {
			p.Check(slices.Contains(ids, id) || strings.HasPrefix(id, "rule:"), "%s: there is no detector %q; there are %s", key, id, strings.Join(ids, ", "))
		}
	}
	known("disabled", t.Disabled)
	for i := range t.Allow {
		t.Allow[i].validate(&p, fmt.Sprintf("allow[%d]", i))
		known(fmt.Sprintf("allow[%d].detectors", i), t.Allow[i].Detectors)
	}
	for i, l := range t.Lists {
		p.Check(l.Name != "", "lists[%d].name is missing: it names the finding", i)
		_, ok := severities[l.Severity]
		p.Check(ok, "lists[%d].severity: %q is none of informational, low, medium, high", i, l.Severity)
	}
	for i, o := range t.Overrides {
		p.Check(len(o.Networks) > 0, "overrides[%d].networks is empty: it would hold nowhere", i)
		_, err := o.over(t.Thresholds)
		p.Add(fmt.Sprintf("overrides[%d].thresholds", i), err)
	}
	return p.Err()
}

func (a *Allow) validate(p *config.Problems, key string) {
	p.Check(strings.TrimSpace(a.Reason) != "", "%s.reason is missing: say why, for whoever reads this in a year", key)
	some := len(a.Clients)+len(a.Servers)+len(a.Addresses)+len(a.Ports)+len(a.Interfaces)+len(a.Tags) > 0
	p.Check(some, "%s states no condition: it would allow everything; to silence a detector list it under disabled", key)
	p.Check(len(a.Detectors) == 0 || len(a.Interfaces)+len(a.Tags) == 0, "%s: interfaces and tags are known of sessions only; leave detectors out", key)
	for _, t := range a.Tags {
		p.Check(strings.Contains(t, "="), "%s.tags: %q is not key=value", key, t)
	}
}

func detectorIDs() []string {
	set := detect.DefaultSettings()
	var ids []string
	for _, d := range detect.Detectors(&set) {
		ids = append(ids, d.Spec().ID)
	}
	slices.Sort(ids)
	return ids
}

var severities = map[string]alert.Severity{
	"": alert.Low, "informational": alert.Informational, "low": alert.Low, "medium": alert.Medium, "high": alert.High,
}

// over decodes an override over the general thresholds.
func (o *Override) over(base detect.Tuning) (detect.Tuning, error) {
	t := thresholds{base}
	err := config.Parse(o.Thresholds.raw, &t)
	return t.Tuning, err
}

// settings is everything that the folds depend on.
func (t *Tuning) settings() (*detect.Settings, error) {
	s := detect.DefaultSettings()
	s.Own, s.LoginPorts, s.Disabled = prefixes(t.OwnNetworks), t.LoginPorts, t.Disabled
	s.Tuning = t.Thresholds
	for _, l := range t.Lists {
		s.Tuning.Lists = append(s.Tuning.Lists, detect.List{Name: l.Name, Base: severities[l.Severity], Nets: prefixes(l.Addresses)})
	}
	for _, a := range t.Allow {
		until := flow.MaxTime
		if a.Until != nil {
			until = flow.Time(a.Until.Unix())
		}
		s.Allow = append(s.Allow, detect.Allow{
			Reason: a.Reason, Until: until, Detectors: a.Detectors, Clients: prefixes(a.Clients), Servers: prefixes(a.Servers),
			Addresses: prefixes(a.Addresses), Ports: a.Ports, Interfaces: a.Interfaces, Tags: a.Tags,
		})
	}
	for i := range t.Overrides {
		o := &t.Overrides[i]
		tuned, err := o.over(s.Tuning)
		if err != nil {
			return nil, err
		}
		s.Overrides = append(s.Overrides, detect.Override{Nets: prefixes(o.Networks), Tuning: tuned})
	}
	return &s, nil
}

func prefixes(list []Network) []netip.Prefix {
	out := make([]netip.Prefix, 0, len(list))
	for _, n := range list {
		out = append(out, netip.Prefix(n))
	}
	slices.SortFunc(out, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	return out
}
