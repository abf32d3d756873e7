package detect

import (
	"net/netip"
	"slices"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// Settings is everything that a fold of detect depends on. Two bucket states
// may be merged or refolded only under equal Settings.
type Settings struct {
	// Pane is the width of a pane in seconds. Narrower panes judge sooner and
	// cost more observations. The figures that thresholds come from are for 300;
	// far below the active timeout of sessions (420) a running one says nothing
	// new.
	Pane int64
	// Own are our own networks, beside what ingest learns and private ranges.
	Own []netip.Prefix
	// LoginPorts are TCP ports whose service asks for a password.
	LoginPorts []uint16
	// FloodClients is how many clients of one address in a pane and bucket
	// are followed one by one; beyond it clients seen once are rolled up.
	FloodClients int
	// CombineEntities and EvaluateEntities bound the entities of a bucket.
	// An entity takes about 1 kB in a combiner and 2 kB in an evaluator.
	CombineEntities, EvaluateEntities int
	// EarlyHold is how many milliseconds of ticks lie at least between two
	// early observations of an entity and pane.
	EarlyHold int64
	// Retain is how many seconds an address that is not ours is remembered
	// after its last pane, RetainOwn one of ours.
	Retain, RetainOwn int64

	// Allow are exceptions, Disabled detectors that say nothing.
	Allow    []Allow
	Disabled []string

	Tuning Tuning
	// Overrides hold other thresholds for entities of some networks; the first
	// that contains an address decides.
	Overrides []Override
}

// Override is a Tuning for the addresses of some networks.
type Override struct {
	Nets   []netip.Prefix
	Tuning Tuning
}

// DefaultSettings returns the settings whose sources docs/alerts states.
func DefaultSettings() Settings {
	return Settings{
		Pane: 300,
		// FTP, SSH, Telnet, POP3, IMAP, FTPS, MS SQL, MySQL, RDP, PostgreSQL,
		// VNC, WinRM.
		LoginPorts:   []uint16{21, 22, 23, 110, 143, 990, 1433, 2222, 3306, 3389, 5432, 5900, 5901, 5985, 5986},
		FloodClients: 256, CombineEntities: 1 << 13, EvaluateEntities: 1 << 16,
		EarlyHold: 10_000, Retain: 25 * 3600, RetainOwn: 14 * 86400,
		Tuning: DefaultTuning(),
	}
}

func (s *Settings) isLogin(protocol uint8, port uint16) bool {
	return protocol == protoTCP && slices.Contains(s.LoginPorts, port)
}

// Watermark is what a combiner promises once its clock has reached clock: every
// pane that ended by then has been sent.
func (s *Settings) Watermark(clock flow.Time) flow.Time {
	if clock == flow.MinTime || clock == flow.MaxTime {
		return clock
	}
	return clock.Floor(s.Pane)
}
