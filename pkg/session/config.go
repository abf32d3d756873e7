package session

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// Config says when a session ends, how often it is told and how much memory a
// bucket may take. All times are seconds of event time unless they say other.
type Config struct {
	// IdleTCP and IdleOther end a session after that much silence. 350 s is
	// the idle time after which AWS's own NAT and network load balancers
	// forget a TCP connection; 120 s is their UDP figure. Neither is ever
	// taken to be below Interval.
	IdleTCP, IdleOther int64
	// Interval is the aggregation interval of the flow logs, 60 or 600.
	Interval int64
	// Linger is how long a session that has ended by FIN or RST waits for
	// what was still under way: flow logs may date a packet 60 s late.
	Linger int64
	// Skew is how much later than another interface one may see the same
	// handshake; a SYN from an interface that is new to the session begins
	// another session only beyond it.
	Skew int64
	// Grain is the difference of start times up to which they say nothing
	// about who was first.
	Grain int64
	// Active bounds how long a running session goes untold: in event time for
	// final events, in wall time for provisional ones. Above IdleTCP and Interval
	// together, a short session that no flag ends is told once, by its close;
	// below, by a progress with everything in it and a close with nothing.
	Active int64
	// SkipEmpty leaves out an update after the first that adds nothing to the
	// counts: another interface saw the same packets, the session's first
	// events having told them.
	SkipEmpty bool
	// UpdateHold is how long, in milliseconds of the partition's tick, the
	// first update of a session waits for the reply to join it.
	UpdateHold int64
	// UnansweredAfter is when an attempt without an answer counts as failed.
	UnansweredAfter int64
	// Retain is how far behind the clock a record may start and still correct
	// its session. It should equal the lateness of the sources.
	Retain int64
	// MaxBytes bounds the memory of one bucket; 0 is no bound. A session of
	// two IPv4 endpoints seen at one interface takes about 160 bytes.
	MaxBytes int64
	// Owned lists the addresses that are ours. Where it is not empty it
	// decides alone, and what ingest has learned is not asked.
	Owned []netip.Prefix
	// Scopes keeps networks with overlapping addresses apart.
	Scopes Scopes
}

// Default returns the configuration for an aggregation interval of 60 s.
func Default() Config {
	return Config{
		IdleTCP: 350, IdleOther: 120, Interval: 60, Linger: 60, Skew: 60, Grain: 1,
		Active: 420, SkipEmpty: true, UpdateHold: 1000, UnansweredAfter: 120, Retain: 360,
	}
}

// Validate reports every problem of c at once.
func (c *Config) Validate() error {
	var errs []error
	positive := func(name string, v int64) {
		if v <= 0 || v > 1<<24 {
			errs = append(errs, fmt.Errorf("session: %s is %d: give a number of seconds between 1 and %d", name, v, 1<<24))
		}
	}
	positive("idle tcp", c.IdleTCP)
	positive("idle other", c.IdleOther)
	positive("interval", c.Interval)
	positive("linger", c.Linger)
	positive("active", c.Active)
	positive("unanswered after", c.UnansweredAfter)
	for _, v := range []int64{c.Skew, c.Grain, c.Retain, c.UpdateHold, c.MaxBytes} {
		if v < 0 {
			errs = append(errs, errors.New("session: skew, grain, retain, update hold and max bytes can not be negative"))
			break
		}
	}
	return errors.Join(append(errs, c.Scopes.Validate())...)
}

// idle returns the silence that ends a session of the protocol.
func (c *Config) idle(protocol uint8) uint32 {
	v := c.IdleOther
	if protocol == protoTCP {
		v = c.IdleTCP
	}
	return uint32(max(v, c.Interval))
}

// Scope names one of several networks whose addresses overlap. A record
// belongs to it when its account or VPC is listed (an empty list matches all)
// and one of its endpoints lies in one of the ranges.
type Scope struct {
	ID       uint16 // not 0, which is the common network
	Accounts []string
	VPCs     []string
	Ranges   []netip.Prefix
}

// Scopes is the configured map of overlapping ranges, first match first. It is
// empty by default, since an account or VPC in the key splits every
// conversation that crosses one.
type Scopes []Scope

// Validate reports scopes that could never match or match everything.
func (s Scopes) Validate() error {
	var errs []error
	for i := range s {
		if s[i].ID == 0 {
			errs = append(errs, fmt.Errorf("session: scope %d has id 0, which is the common network: number it from 1", i))
		}
		if len(s[i].Ranges) == 0 {
			errs = append(errs, fmt.Errorf("session: scope %d names no address range", s[i].ID))
		}
	}
	return errors.Join(errs...)
}

// Of returns the scope of a record, 0 for the common network.
func (s Scopes) Of(r *flow.Record) uint16 {
	if len(s) == 0 {
		return 0
	}
	src, dst := r.Ends()
	a, b := src.Addr.IP(), dst.Addr.IP()
	for i := range s {
		if !listed(s[i].Accounts, r.AccountID) || !listed(s[i].VPCs, r.VPCID) {
			continue
		}
		for _, p := range s[i].Ranges {
			if p.Contains(a) || p.Contains(b) {
				return s[i].ID
			}
		}
	}
	return 0
}

func listed(list []string, v string) bool {
	for _, l := range list {
		if l == v {
			return true
		}
	}
	return len(list) == 0
}
