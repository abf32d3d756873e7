package detect

import (
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/window"
)

// combineVersion starts a combiner's snapshot.
const combineVersion = 1

// AppendSnapshot appends the whole state. Equal states give equal bytes. It
// must not be called while an Advance is unfinished.
func (c *Combiner) AppendSnapshot(b []byte) []byte {
	b = append(b, combineVersion)
	b = window.AppendInt(b, int64(c.clock))
	b = window.AppendInt(b, c.wall)
	all := c.panes.all(nil)
	b = window.AppendUint(b, uint64(len(all)))
	var buf []byte
	for _, a := range all {
		early, final := a.early, a.final
		if a.light != nil {
			early = c.mem.part()
			a.light.addClients(early)
		}
		if final == nil && a.n > 0 { // facts go on to be facts
			final = c.mem.part()
			a.fill(final)
		} else {
			final = c.final(a)
		}
		buf = AppendObservation(buf[:0], &Observation{Entity: a.key.entity, Pane: a.key.pane, Early: early, Final: final})
		if early != a.early {
			c.mem.free(early)
		}
		if final != a.final {
			c.mem.free(final)
		}
		b = window.AppendString(b, buf)
		b = window.AppendInt(window.AppendInt(b, a.weight), a.sent)
	}
	b = window.AppendUint(b, uint64(len(c.ready)))
	for _, k := range c.ready {
		buf = AppendObservation(buf[:0], &Observation{Entity: k.entity, Pane: k.pane})
		b = window.AppendString(b, buf)
	}
	return b
}

// Restore replaces the state of an empty combiner by a snapshot's.
func (c *Combiner) Restore(b []byte) error {
	if len(b) == 0 || b[0] != combineVersion {
		return window.ErrSnapshot
	}
	r := window.NewReader(b[1:])
	c.clock, c.wall = flow.Time(r.Varint()), r.Varint()
	var o Observation
	for range r.Len() {
		if err := parseObservation(r.Bytes(), &o, &c.mem); err != nil {
			return orErr(r, err)
		}
		a := c.panes.acc(o.Pane, &o.Entity)
		a.early, a.final, a.weight, a.sent = o.Early, o.Final, r.Varint(), r.Varint()
	}
	for range r.Len() {
		if err := ParseObservation(r.Bytes(), &o); err != nil {
			return orErr(r, err)
		}
		k := accKey{o.Pane, o.Entity}
		if a := c.panes.find(k); a != nil {
			a.queued = true
		}
		c.ready = append(c.ready, k)
	}
	return r.Close()
}

// orErr prefers the reader's error, which is the cause if there is one.
func orErr(r *window.Reader, err error) error {
	if r.Err() != nil {
		return r.Err()
	}
	return err
}
