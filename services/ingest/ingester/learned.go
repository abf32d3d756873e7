package ingester

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/flowstitch/flowstitch/pkg/flowlog"
	"github.com/flowstitch/flowstitch/pkg/stage"
)

// Names in a slot's ledger of what the slot has learned from its records: whose
// addresses are whose, and which layouts lines have.
const (
	ledgerOwner = "owner/" // and the interface
	ledgerPins  = "layouts/"
)

// chunkSize is how many bytes of a large value one ledger record holds.
const chunkSize = 512 << 10

// chunked is a value of the ledger that may be larger than one record: it is
// in records of this prefix and a number from 0.
type chunked struct {
	prefix string
	n      int // records that the ledger has
}

// save writes the value and deletes what a longer one before left behind.
func (c *chunked) save(tx transaction, value []byte) {
	n := 0
	for ; len(value) > 0; n++ {
		size := min(len(value), chunkSize)
		tx.Ledger(c.prefix+strconv.Itoa(n), value[:size])
		value = value[size:]
	}
	for i := n; i < c.n; i++ {
		tx.Ledger(c.prefix+strconv.Itoa(i), nil)
	}
	c.n = n
}

// load puts the value together again; it is empty if none was saved.
func (c *chunked) load(ledger []stage.LedgerRecord) (value []byte, err error) {
	chunks := map[int][]byte{}
	for _, r := range ledger {
		number, ok := strings.CutPrefix(r.Name, c.prefix)
		if !ok || len(r.Value) == 0 {
			continue
		}
		i, err := strconv.Atoi(number)
		if err != nil {
			return nil, fmt.Errorf("ingest: ledger record %s: %w", r.Name, err)
		}
		chunks[i] = r.Value
	}
	c.n = len(chunks)
	for i := range c.n {
		if chunks[i] == nil {
			return nil, fmt.Errorf("ingest: ledger record %s%d is missing", c.prefix, i)
		}
		value = append(value, chunks[i]...)
	}
	return value, nil
}

// saveLearned saves what the records of this transaction have taught: layouts,
// and what is known of an interface. So what a slot knows is always what it knew
// at its committed position, and a successor reads and stamps the next record
// as this slot would.
func (f *kinesisFeed) saveLearned(tx transaction) {
	if n := f.decoder.Pinned(); n != f.pinned {
		f.pinned = n
		f.keptPins.save(tx, f.decoder.AppendPins(nil))
	}
	f.owners.Changes(func(c flowlog.OwnerState) { tx.Ledger(ledgerOwner+c.Interface, c.State) })
}

// restoreLearned takes what the predecessor had learned. Layouts that can not be
// read, say of a newer version, are inferred anew.
func (f *kinesisFeed) restoreLearned(ledger []stage.LedgerRecord) error {
	var known []flowlog.OwnerState
	for _, r := range ledger {
		if id, ok := strings.CutPrefix(r.Name, ledgerOwner); ok && len(r.Value) > 0 {
			known = append(known, flowlog.OwnerState{Interface: id, State: r.Value})
		}
	}
	if err := f.owners.Restore(known); err != nil {
		return fmt.Errorf("ingest: the ledger's records of owned addresses of slot %d: %w", f.slotN, err)
	}
	pins, err := f.keptPins.load(ledger)
	if err != nil {
		return err
	}
	if len(pins) > 0 {
		if err := f.decoder.RestorePins(pins); err != nil {
			f.src.tel.Log.Warn("the layouts that the slot had inferred are inferred anew", "slot", f.slotN, "error", err)
		}
	}
	f.pinned = f.decoder.Pinned()
	return nil
}
