package ingester

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/flowstitch/flowstitch/pkg/config"
	"github.com/flowstitch/flowstitch/pkg/flowlog"
	"github.com/flowstitch/flowstitch/pkg/session"
)

// Networks says which addresses are ours and which networks overlap.
type Networks struct {
	// Own lists prefixes that are ours, and Foreign prefixes that are not; the
	// most specific of both decides. An address in neither is ours when an
	// interface has shown it to be its own.
	Own     []string `yaml:"own"`
	Foreign []string `yaml:"foreign"`
	// Scopes keeps overlapping networks apart: a record that an account or VPC
	// of the scope saw, with an endpoint in one of its prefixes, gets the scope
	// into its key. Leave it empty unless addresses overlap: a scope splits
	// every conversation that crosses its border.
	Scopes []Scope `yaml:"scopes"`
}

// Scope names one of several networks with overlapping addresses.
type Scope struct {
	// ID is part of the key of every session in it: never change or reuse it.
	ID uint16 `yaml:"id"`
	// Name is for people.
	Name string `yaml:"name"`
	// Prefixes are the overlapping ranges.
	Prefixes []string `yaml:"prefixes"`
	// Accounts and VPCs say whose records are meant: a record must match both,
	// and an empty list matches all. At least one is needed.
	Accounts []string `yaml:"accounts"`
	VPCs     []string `yaml:"vpcs"`
}

// Validate checks prefixes and scopes.
func (n *Networks) Validate() error {
	var p config.Problems
	for key, list := range map[string][]string{"own": n.Own, "foreign": n.Foreign} {
		for _, s := range list {
			_, err := netip.ParsePrefix(s)
			p.Check(err == nil, "%s: %q is not a prefix such as 10.0.0.0/8", key, s)
		}
	}
	seen := map[uint16]bool{}
	for _, s := range n.Scopes {
		p.Check(s.ID != 0, "scopes: %q needs an id from 1 to 65535", s.Name)
		p.Check(!seen[s.ID], "scopes: the id %d is given twice", s.ID)
		seen[s.ID] = true
		p.Check(len(s.Prefixes) > 0, "scopes: %q lists no prefixes", s.Name)
		p.Check(len(s.Accounts)+len(s.VPCs) > 0, "scopes: %q lists neither accounts nor vpcs, so no record would be in it", s.Name)
		for _, prefix := range s.Prefixes {
			_, err := netip.ParsePrefix(prefix)
			p.Check(err == nil, "scopes: %q of %q is not a prefix such as 10.0.0.0/8", prefix, s.Name)
		}
	}
	return p.Err()
}

// owners is what the learning of owned addresses is told.
func (n *Networks) owners() (flowlog.OwnersConfig, error) {
	own, err1 := parsePrefixes(n.Own)
	foreign, err2 := parsePrefixes(n.Foreign)
	return flowlog.OwnersConfig{Own: own, Foreign: foreign}, errors.Join(err1, err2)
}

// scopes compiles the scopes into what finds a record's.
func (n *Networks) scopes() (session.Scopes, error) {
	out := make(session.Scopes, 0, len(n.Scopes))
	for _, s := range n.Scopes {
		ranges, err := parsePrefixes(s.Prefixes)
		if err != nil {
			return nil, err
		}
		out = append(out, session.Scope{ID: s.ID, Accounts: s.Accounts, VPCs: s.VPCs, Ranges: ranges})
	}
	return out, out.Validate()
}

func parsePrefixes(list []string) ([]netip.Prefix, error) {
	out := make([]netip.Prefix, 0, len(list))
	for _, s := range list {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("networks: %q is not a prefix", s)
		}
		out = append(out, p.Masked())
	}
	return out, nil
}
