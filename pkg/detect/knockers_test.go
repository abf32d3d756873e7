package detect

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/flowstitch/flowstitch/pkg/alert"
)

// TestSlowScannerIsSingledOut: of many who knock once, the roll-up singles out
// the one whose walk over first contacts has decided, long before it has asked
// for the ten ports that make a finding of its own; and nobody who looks like it:
// one who asks for one port again and again, and one who gets answers.
func TestSlowScannerIsSingledOut(t *testing.T) {
	for _, w := range []world{{false, true}, {false, false}, {true, true}, {true, false}} {
		for id, size := range map[string]int64{"port-scan": 44, "crafted-probe": 40} {
			shots := repeat(60, func(i int) shot { return w.failed(every(t0, i, 400), w.theirs(100+i), w.ours(1), 23, 1, size) })
			shots = append(shots, repeat(5, func(i int) shot { return w.failed(every(t0, i, 600), w.theirs(1), w.ours(1), uint16(1000+i), 1, size) })...)
			shots = append(shots, repeat(20, func(i int) shot { return w.failed(every(t0, i, 700), w.theirs(2), w.ours(1), 8443, 1, size) })...)
			shots = append(shots, repeat(6, func(i int) shot {
				if i%2 == 0 {
					return w.failed(every(t0, i, 800), w.theirs(3), w.ours(1), uint16(7000+i), 1, size)
				}
				return w.talk(every(t0, i, 800), w.theirs(3), w.ours(1), uint16(7000+i), 900, 4000)
			})...)
			set := DefaultSettings()
			p := newPipe(t, &set, 3, 2)
			p.crash = rand.New(rand.NewPCG(1, 4)) // the state knows as much after a restart
			p.run(w.apply(shots))
			p.singledOut(id, w.theirs(1))
		}
	}
}

// singledOut holds that the roll-up of a detector says of exactly one source
// that it is a scanner, in time.
func (p *pipe) singledOut(id, scanner string) {
	p.t.Helper()
	at := int64(-1)
	for i := range p.said {
		a := &p.said[i]
		if a.Detector.ID != id || a.Entity.Kind != alert.EntityPair {
			continue
		}
		for _, x := range a.Peers {
			if !strings.HasPrefix(x.Note, "scanner") {
				continue
			}
			if x.Addr.String() != scanner {
				p.t.Errorf("%s: %s is singled out", id, x.Addr)
			} else if at < 0 {
				at = int64(a.Last - t0)
			}
		}
		if at >= 0 && (!strings.Contains(a.Sentence, "1 source asked for 4 or more ports in vain") || len(a.Peers) < 3) {
			p.t.Errorf("%s: %q", id, a.Sentence)
		}
	}
	if at < 3*600 || at > 3*600+900+300 {
		p.t.Errorf("%s: the scanner is singled out %d s after its first probe, the fourth came after 1800", id, at)
	}
}
