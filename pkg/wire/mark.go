package wire

import "github.com/flowstitch/flowstitch/pkg/flow"

// Mark is a watermark of one slot of the source that feeds a partition: it
// promises that no data below Watermark follows from that slot.
type Mark struct {
	Deployment string
	Layout     uint32
	Slot       uint32
	Slots      uint32    // of the source in this layout
	Watermark  flow.Time // flow.MaxTime: this slot will never produce again
	Idle       bool      // the slot feeds nothing now and holds no clock
	WallMS     int64     // wall time of the commit, Unix milliseconds
}

// markByte starts every mark and no data: field 1, length-delimited.
const markByte = 0x0a

// IsMark reports whether a value of flows, sessions or observations is a mark.
func IsMark(value []byte) bool { return len(value) > 0 && value[0] == markByte }

// AppendMark appends the value of a record that carries m.
func AppendMark(b []byte, m *Mark) []byte {
	b, body := open(b, 1)
	b = appendString(b, 1, m.Deployment)
	b = appendUint(b, 2, uint64(m.Layout))
	b = appendUint(b, 3, uint64(m.Slot))
	b = appendUint(b, 4, uint64(m.Slots))
	b = appendSint(b, 5, int64(m.Watermark))
	b = appendBool(b, 6, m.Idle)
	b = appendUint(b, 7, uint64(m.WallMS))
	return shut(b, body)
}

// ParseMark reads a value that IsMark. The deployment aliases the value.
func ParseMark(value []byte, m *Mark) error {
	*m = Mark{}
	outer := fields{rest: value}
	var f field
	if !outer.next(&f) || f.num != 1 {
		return ErrMalformed
	}
	in := fields{rest: f.b}
	for in.next(&f) {
		switch f.num {
		case 1:
			m.Deployment = f.text()
		case 2:
			m.Layout = uint32(f.u)
		case 3:
			m.Slot = uint32(f.u)
		case 4:
			m.Slots = uint32(f.u)
		case 5:
			m.Watermark = flow.Time(f.sint())
		case 6:
			m.Idle = f.bool()
		case 7:
			m.WallMS = int64(f.u)
		}
	}
	return in.err
}
