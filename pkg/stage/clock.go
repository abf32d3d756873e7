package stage

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/wire"
)

// Bounds on what marks may make us remember. A layout of more slots than a
// Kafka cluster has use for is a corrupt mark, and so is a crowd of deployments.
const (
	maxSourceSlots = 4096
	maxSources     = 64
)

// tickGrain is the step, in milliseconds, in which ticks reach a fold: several
// sources mark a partition in the same instant, and a fold needs to hear of it
// once.
const tickGrain = 100

// clockVector is the clock of one partition: what each slot of each source has
// promised last. It is a function of the marks in the partition, in their order.
type clockVector struct {
	sources []source // ordered by deployment, then layout
	clock   flow.Time
	tick    int64 // running maximum of the marks' wall times, in tickGrain steps
	idle    bool  // every slot of every source is idle
}

type source struct {
	deployment string
	layout     uint32
	known      uint32 // how many slots have spoken
	slots      []slotMark
}

type slotMark struct {
	spoken, idle bool
	watermark    flow.Time
}

func newClock() clockVector { return clockVector{clock: flow.MinTime} }

var errMark = errors.New("not a valid mark")

// apply takes in one mark and tells whether the clock or the tick moved.
func (v *clockVector) apply(m *wire.Mark) (advanced, ticked bool, err error) {
	if m.Slots == 0 || m.Slots > maxSourceSlots || m.Slot >= m.Slots {
		return false, false, fmt.Errorf("%w: slot %d of %d", errMark, m.Slot, m.Slots)
	}
	s, err := v.source(m)
	if err != nil {
		return false, false, err
	}
	if tick := m.WallMS - m.WallMS%tickGrain; tick > v.tick {
		v.tick, ticked = tick, true
	}
	if s == nil { // a layout that has been replaced: its last words change nothing
		return false, ticked, nil
	}
	e := &s.slots[m.Slot]
	if !e.spoken {
		s.known++
	}
	*e = slotMark{spoken: true, idle: m.Idle, watermark: m.Watermark}
	v.retire(m.Deployment)
	if c, ok := v.minimum(); ok && c > v.clock {
		v.clock, advanced = c, true
	}
	return advanced, ticked, nil
}

// source finds or adds the source of a mark; nil without an error means that a
// newer layout of the same deployment is complete.
func (v *clockVector) source(m *wire.Mark) (*source, error) {
	i, found := slices.BinarySearchFunc(v.sources, m, func(s source, m *wire.Mark) int {
		return cmp.Or(cmp.Compare(s.deployment, m.Deployment), cmp.Compare(s.layout, m.Layout))
	})
	if found {
		if len(v.sources[i].slots) != int(m.Slots) {
			return nil, fmt.Errorf("%w: %d slots where layout %d has %d", errMark, m.Slots, m.Layout, len(v.sources[i].slots))
		}
		return &v.sources[i], nil
	}
	for j := i; j < len(v.sources) && v.sources[j].deployment == m.Deployment; j++ {
		if v.sources[j].complete() {
			return nil, nil
		}
	}
	if len(v.sources) == maxSources {
		return nil, fmt.Errorf("%w: more than %d sources", errMark, maxSources)
	}
	n := source{deployment: string([]byte(m.Deployment)), layout: m.Layout, slots: make([]slotMark, m.Slots)}
	v.sources = slices.Insert(v.sources, i, n)
	return &v.sources[i], nil
}

func (s *source) complete() bool { return int(s.known) == len(s.slots) }

// retire forgets the layouts of a deployment that a complete newer one replaced.
func (v *clockVector) retire(deployment string) {
	newest := -1
	for i := range v.sources {
		if v.sources[i].deployment == deployment && v.sources[i].complete() {
			newest = i
		}
	}
	if newest <= 0 || v.sources[newest-1].deployment != deployment {
		return
	}
	layout := v.sources[newest].layout
	v.sources = slices.DeleteFunc(v.sources, func(s source) bool {
		return s.deployment == deployment && s.layout < layout
	})
}

// minimum is the least watermark of the active slots. There is none while a
// slot has not spoken, or while all are idle.
func (v *clockVector) minimum() (flow.Time, bool) {
	low, active, all := flow.MaxTime, false, len(v.sources) > 0
	for i := range v.sources {
		if !v.sources[i].complete() {
			all = false
		}
		for _, m := range v.sources[i].slots {
			if m.spoken && !m.idle {
				low, active = min(low, m.watermark), true
			}
		}
	}
	v.idle = all && !active
	return low, all && active
}

// behind counts the slots that hold the clock where it is: those that have not
// spoken, and those whose watermark is the clock itself.
func (v *clockVector) behind() (unspoken, holding int) {
	for i := range v.sources {
		for _, m := range v.sources[i].slots {
			switch {
			case !m.spoken:
				unspoken++
			case !m.idle && m.watermark <= v.clock && m.watermark != flow.MaxTime:
				holding++
			}
		}
	}
	return unspoken, holding
}

// append writes v; equal vectors give equal bytes.
func (v *clockVector) append(b []byte) []byte {
	b = binary.AppendVarint(b, int64(v.clock))
	b = binary.AppendVarint(b, v.tick)
	b = binary.AppendUvarint(b, uint64(len(v.sources)))
	for i := range v.sources {
		s := &v.sources[i]
		b = appendText(b, s.deployment)
		b = binary.AppendUvarint(b, uint64(s.layout))
		b = binary.AppendUvarint(b, uint64(len(s.slots)))
		for _, m := range s.slots {
			state := byte(0)
			if m.spoken {
				state |= 1
			}
			if m.idle {
				state |= 2
			}
			b = append(b, state)
			b = binary.AppendVarint(b, int64(m.watermark))
		}
	}
	return b
}

// parseClock reads what append wrote.
func parseClock(r *reader) (v clockVector) {
	v.clock, v.tick = flow.Time(r.varint()), r.varint()
	n := r.count(maxSources)
	for range n {
		s := source{deployment: r.text(), layout: uint32(r.uvarint())}
		s.slots = make([]slotMark, r.count(maxSourceSlots))
		for i := range s.slots {
			state := r.byte()
			s.slots[i] = slotMark{spoken: state&1 != 0, idle: state&2 != 0, watermark: flow.Time(r.varint())}
			if s.slots[i].spoken {
				s.known++
			}
		}
		v.sources = append(v.sources, s)
	}
	v.minimum()
	return v
}
