package flowlog

import (
	"errors"

	"github.com/flowstitch/flowstitch/pkg/flow/packed"
)

// pinsVersion is the first byte of what AppendPins writes.
const pinsVersion = 1

// errPins reports bytes that AppendPins did not write.
var errPins = errors.New("flowlog: not a snapshot of pinned layouts; it is damaged or of another version")

// AppendPins appends the layouts that were inferred so far, by source, so that
// a successor reads the next payload as this decoder would: a small payload may
// not show its layout by itself.
func (d *Decoder) AppendPins(b []byte) []byte {
	b = append(b, pinsVersion)
	b = packed.AppendUint(b, uint64(len(d.pins)))
	for _, key := range sortedKeys(d.pins) {
		p := d.pins[key]
		b = packed.AppendText(b, key)
		b = packed.AppendUint(b, uint64(len(p.choices)))
		for i := range p.choices {
			b = packed.AppendText(b, p.choices[i].Format.String())
			b = packed.AppendText(b, p.choices[i].Why)
			b = append(b, byte(p.choices[i].Confidence))
		}
	}
	return b
}

// Pinned returns how many layouts were inferred so far. It grows whenever
// AppendPins would write something new.
func (d *Decoder) Pinned() int { return d.pinned }

// RestorePins replaces the inferred layouts by what AppendPins wrote. On an
// error nothing is pinned.
func (d *Decoder) RestorePins(b []byte) error {
	clear(d.pins)
	d.pinned = 0
	r := packed.Over(b)
	if r.Byte() != pinsVersion {
		return errPins
	}
	pins, pinned := make(map[string]*pin), 0
	for n := r.Count(); n > 0 && !r.Bad(); n-- {
		key := r.Text()
		p := &pin{}
		for m := r.Count(); m > 0 && !r.Bad(); m-- {
			f, err := ParseFormat(r.Text())
			c := Choice{Source: key, Format: f, Basis: "inferred", Why: r.Text(), Confidence: int(r.Byte())}
			if err != nil || len(p.formats) >= maxLayouts {
				return errPins
			}
			p.formats, p.choices = append(p.formats, f), append(p.choices, c)
		}
		if len(p.formats) == 0 || len(pins) >= maxPins {
			return errPins
		}
		pins[key] = p
		pinned += len(p.formats)
	}
	if !r.Complete() {
		return errPins
	}
	d.pins, d.pinned = pins, pinned
	return nil
}
