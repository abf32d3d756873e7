package flowlog

import (
	"encoding/binary"
	"errors"
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
	b = binary.AppendUvarint(b, uint64(len(d.pins)))
	for _, key := range sortedKeys(d.pins) {
		p := d.pins[key]
		b = appendString(b, key)
		b = binary.AppendUvarint(b, uint64(len(p.choices)))
		for i := range p.choices {
			b = appendString(b, p.choices[i].Format.String())
			b = appendString(b, p.choices[i].Why)
			b = append(b, byte(p.choices[i].Confidence))
		}
	}
	return b
}

// Pinned returns how many layouts were inferred so far. It grows whenever
// AppendPins would write something new.
func (d *Decoder) Pinned() int { return d.pinned }

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// RestorePins replaces the inferred layouts by what AppendPins wrote. On an
// error nothing is pinned.
func (d *Decoder) RestorePins(b []byte) error {
	clear(d.pins)
	d.pinned = 0
	r := cursor{b: b}
	if r.byte() != pinsVersion {
		return errPins
	}
	pins, pinned := make(map[string]*pin), 0
	for n := r.uvarint(); n > 0 && !r.bad; n-- {
		key := string(r.take(r.uvarint()))
		p := &pin{}
		for m := r.uvarint(); m > 0 && !r.bad; m-- {
			f, err := ParseFormat(string(r.take(r.uvarint())))
			c := Choice{Source: key, Format: f, Basis: "inferred", Why: string(r.take(r.uvarint())), Confidence: int(r.byte())}
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
	if r.bad || len(r.b) > 0 {
		return errPins
	}
	d.pins, d.pinned = pins, pinned
	return nil
}
