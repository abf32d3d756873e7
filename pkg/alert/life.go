package alert

import (
	"encoding/binary"
	"errors"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// Life is what has been said of one UID: all that is needed to decide whether a
// new view of the same cause is worth saying. It is small, holds no pointer and
// belongs into the detector's snapshot.
type Life struct {
	Sequence uint32    // statements so far; 0 means none
	Severity Severity  // highest said
	Verdict  Verdict   // last said
	Closed   bool      // Close was said
	Said     flow.Time // event time of the last statement
	Weight   uint64    // of the last statement, see Next
}

// DefaultUpdateEvery is how many seconds of event time lie at least between two
// updates that are no escalation. Five minutes is the active timeout of
// sessions: more often there is nothing new of a long one.
const DefaultUpdateEvery = 300

// Next decides whether a, a fresh view of the cause, is to be said after what
// was said before, and if so stamps its Activity and Sequence and returns true.
//
//   - The first statement is a Create, whatever closing says: call again until
//     it returns false.
//   - A higher severity, or a verdict that changes, is always said.
//   - Otherwise an Update is said when weight (sessions, ports, bytes: what the
//     alert counts) has doubled and every seconds of event time have passed
//     since the last statement, so a cause that grows for ever costs
//     logarithmically many records.
//   - closing says that the cause is over: a Close, once. A view of a closed
//     cause is said only if it escalates or its verdict changes (a correction
//     after the close): as an Update, and closing it again is then due.
//
// A cause of which nothing was said and that is withdrawn is never said.
func (l *Life) Next(a *Alert, weight uint64, every int64, closing bool) bool {
	raised, judged := a.Severity > l.Severity, a.Verdict != l.Verdict
	switch {
	case l.Sequence == 0 && a.Verdict == Withdrawn:
		return false
	case l.Sequence == 0:
		a.Activity = Create
	case closing:
		if l.Closed && !raised && !judged {
			return false
		}
		a.Activity = Close
	case raised || judged:
		a.Activity = Update
	case l.Closed:
		return false
	case weight/2 >= l.Weight && weight > l.Weight && a.Time >= l.Said.Add(every):
		a.Activity = Update
	default:
		return false
	}
	l.say(a, weight)
	return true
}

func (l *Life) say(a *Alert, weight uint64) {
	l.Sequence++
	a.Sequence = l.Sequence
	l.Severity = max(l.Severity, a.Severity)
	l.Verdict, l.Said, l.Weight = a.Verdict, a.Time, weight
	l.Closed = a.Activity == Close
}

// LifeSize is the number of bytes of a Life in a snapshot.
const LifeSize = 4 + 1 + 1 + 1 + 8 + 8

// AppendTo appends the LifeSize bytes of l.
func (l *Life) AppendTo(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, l.Sequence)
	closed := byte(0)
	if l.Closed {
		closed = 1
	}
	b = append(b, byte(l.Severity), byte(l.Verdict), closed)
	b = binary.BigEndian.AppendUint64(b, uint64(l.Said))
	return binary.BigEndian.AppendUint64(b, l.Weight)
}

// ErrLife reports bytes that are no Life.
var ErrLife = errors.New("alert: not the state of an alert's life: the snapshot is damaged or of another version")

// Restore reads what AppendTo wrote from the start of b.
func (l *Life) Restore(b []byte) error {
	if len(b) < LifeSize || b[6] > 1 || b[5] > byte(Withdrawn) || b[4] > byte(Fatal) {
		return ErrLife
	}
	*l = Life{
		Sequence: binary.BigEndian.Uint32(b),
		Severity: Severity(b[4]), Verdict: Verdict(b[5]), Closed: b[6] == 1,
		Said:   flow.Time(binary.BigEndian.Uint64(b[7:])),
		Weight: binary.BigEndian.Uint64(b[15:]),
	}
	return nil
}
