package detect

import (
	"slices"

	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/window"
)

// BruteTuning are the thresholds of brute-force.
type BruteTuning struct {
	// Attempts that one source makes at one login service within Window
	// seconds. From our own networks, where administration tools log in often,
	// within two panes, or AttemptsOurs within Window.
	Attempts     int64 `yaml:"attempts"`
	AttemptsOurs int64 `yaml:"attempts_ours"`
	Window       int64 `yaml:"window_seconds"`
	// Alike is the share of the attempts, in percent, whose client packets
	// must lie within 10 % of the commonest number.
	Alike int64 `yaml:"alike"`
	// MinPackets and MaxPackets bound that number: less is no attempt to log
	// in, more is a session of work.
	MinPackets int64 `yaml:"min_packets"`
	MaxPackets int64 `yaml:"max_packets"`
	// Hosts and SprayAttempts: one source at the same service of many hosts.
	Hosts         int64 `yaml:"hosts"`
	SprayAttempts int64 `yaml:"spray_attempts"`
	// Programs are the login ports at which programs log in. Of a host of ours
	// it is guessing there only where it begins with it after it has been known
	// for Settle seconds.
	Programs []uint16 `yaml:"programs"`
	Settle   int64    `yaml:"settle_seconds"`
}

// defaultBrute: 10 alike in a row are Nemea's and SSHCure's streak, 9 of Slips;
// 11 to 51 packets are SSHCure's band, widened to 5 for FTP and Telnet; 30 in
// 1800 s is its and Zeek's figure, which is kept for our own hosts. An hour shows
// what a host does all the time, as for new-service.
func defaultBrute() BruteTuning {
	return BruteTuning{
		Attempts: 10, AttemptsOurs: 30, Window: 1800, Alike: 50, MinPackets: 5, MaxPackets: 60,
		Hosts: 5, SprayAttempts: 20, Programs: []uint16{1433, 3306, 5432}, Settle: hour,
	}
}

// brute finds password guessing: see docs/alerts/brute-force.md.
type brute struct{ t BruteTuning }

func (d brute) Spec() Spec {
	return Spec{
		Detector: alert.Detector{
			ID: "brute-force", Name: "Password guessing", Version: "1",
			Method: alert.MethodBehavioral, Doc: doc("brute-force"),
		},
		Bucket: day, Quiet: hour, Attacks: []string{"T1110.001"},
		FalseAlarm: "A script of ours that logs in again and again with the same small job, such as a deployment, a backup or a monitor.",
	}
}

func (d brute) Wants(e Entity, p *Part) bool {
	return e.Kind == KindHost && (p.Set(Login).Len() > 0 || p.Owned) // ours from the first pane on: see relations
}

func (d brute) New() State { return &bruteState{d: d} }

// attempts are the attempts at one service in the panes of the window.
type attempts struct {
	key   RowKey
	panes []attemptPane // ascending
	total int64         // of the day
	first flow.Time
}

// attemptPane is what a pane told of one service: the pane's own row, which is
// taken out of it and given back when it leaves the window.
type attemptPane struct {
	start    flow.Time
	answered int64 // of the row, whose memory is far away
	row      *Row
}

// maxStarts bounds the starts that are remembered of a pane: enough for the
// largest number of attempts that decides by default.
const maxStarts = 30

// maxTargets bounds the services that are followed of one source; of more, the
// ones that were asked last are kept.
const maxTargets = 256

type bruteState struct {
	d    brute
	day  flow.Time
	list []attempts // ascending by key
	used relations  // of a host of ours
}

// Early implements State: the number of attempts can only grow.
func (s *bruteState) Early(p *Pane, r Reporter) {
	for _, row := range p.Set(Login).Rows() {
		if row.Counts.Answered == 0 {
			continue
		}
		t, limit, within, yes := s.judge(p, s.find(row.Key), row)
		if yes && !told(r, pair(p, t.server().String()), t.severity(p, limit)) {
			r.Raise(s.finding(p, t, limit, within))
		}
	}
	s.sprayEarly(p, r)
}

// Final implements State.
func (s *bruteState) Final(p *Pane, r Reporter) {
	if d := p.Start.Floor(day); d != s.day {
		s.day = d
		for i := range s.list {
			s.list[i].total = 0
		}
	}
	if s.used.first == 0 {
		s.used.first = p.Start
	}
	s.learnAll(p)
	s.used.forget(p.Start.Add(-14 * day))
	s.forget(p.scratch(), p.Start)
	for i := range s.list {
		a := &s.list[i]
		if a.panes[len(a.panes)-1].start != p.Start {
			continue
		}
		if t, limit, within, yes := s.judge(p, a, nil); yes {
			r.Raise(s.finding(p, t, limit, within))
		}
	}
	s.spray(p, nil, r)
}

func (s *bruteState) find(k RowKey) *attempts {
	i, found := slices.BinarySearchFunc(s.list, k, func(a attempts, k RowKey) int { return a.key.Compare(k) })
	if !found {
		return nil
	}
	return &s.list[i]
}

// learnAll takes the rows with answered sessions out of a pane.
func (s *bruteState) learnAll(p *Pane) {
	p.Set(Login).take(func(row *Row) bool {
		if row.Counts.Answered == 0 {
			return false
		}
		s.learn(p, row)
		return true
	})
}

func (s *bruteState) learn(p *Pane, row *Row) {
	i, found := slices.BinarySearchFunc(s.list, row.Key, func(a attempts, k RowKey) int { return a.key.Compare(k) })
	if !found {
		s.list = slices.Insert(s.list, i, attempts{key: row.Key, first: row.Counts.First, panes: p.scratch().attemptPanes()})
	}
	a := &s.list[i]
	a.total += row.Counts.Answered
	a.panes = append(a.panes, attemptPane{p.Start, row.Counts.Answered, row})
	if p.Owned && slices.Contains(s.d.t.Programs, row.Key.Port) {
		s.used.see(row.Key, p.Start)
	}
}

// attemptPanes returns an empty list, with the room of one that was given back.
func (w *scratch) attemptPanes() []attemptPane {
	n := len(w.attempts) - 1
	if n < 0 {
		return make([]attemptPane, 0, 8) // half an hour of panes, and the next
	}
	list := w.attempts[n]
	w.attempts = w.attempts[:n]
	return list
}

// giveBack takes the rows of the oldest panes back, and what is left empty.
func (w *scratch) giveBack(a *attempts, n int) {
	for _, x := range a.panes[:n] {
		w.mem.drop(x.row)
	}
	if a.panes = slices.Delete(a.panes, 0, n); len(a.panes) == 0 && len(w.attempts) < keepParts {
		w.attempts = append(w.attempts, a.panes)
		a.panes = nil
	}
}

// forget drops what lies before the window, and the oldest beyond maxTargets.
func (s *bruteState) forget(w *scratch, now flow.Time) {
	old := now.Add(-s.d.t.Window)
	for i := range s.list {
		a, n := &s.list[i], 0
		for n < len(a.panes) && a.panes[n].start <= old {
			n++
		}
		if n > 0 {
			w.giveBack(a, n)
		}
	}
	s.list = slices.DeleteFunc(s.list, func(a attempts) bool { return len(a.panes) == 0 })
	for len(s.list) > maxTargets {
		oldest := 0
		for i := range s.list {
			if s.list[i].panes[len(s.list[i].panes)-1].start < s.list[oldest].panes[len(s.list[oldest].panes)-1].start {
				oldest = i
			}
		}
		w.giveBack(&s.list[oldest], len(s.list[oldest].panes))
		s.list = slices.Delete(s.list, oldest, oldest+1)
	}
}

// AppendTo implements State.
func (s *bruteState) AppendTo(b []byte) []byte {
	b = s.used.appendTo(window.AppendInt(b, int64(s.day)))
	b = window.AppendUint(b, uint64(len(s.list)))
	for i := range s.list {
		a := &s.list[i]
		b = appendKey(b, a.key)
		b = window.AppendInt(window.AppendInt(b, a.total), int64(a.first))
		b = window.AppendUint(b, uint64(len(a.panes)))
		for j := range a.panes {
			row := a.panes[j].row
			b = window.AppendInt(window.AppendInt(b, int64(a.panes[j].start)), a.panes[j].answered)
			sizes, starts := row.Sizes(), row.Beats()
			b = sizes.AppendTo(b)
			b = window.AppendString(b, appendCounts(nil, &row.Counts))
			b = appendBeats(b, starts[:min(len(starts), maxStarts)])
			ref := Row{Key: a.key, Counts: Counts{Sessions: row.Counts.Sessions}, ref: row.ref}
			b = window.AppendString(b, appendRow(nil, &ref))
		}
	}
	return b
}

// Restore implements State.
func (s *bruteState) Restore(r *window.Reader) {
	s.day = flow.Time(r.Varint())
	s.used.restore(r)
	for range r.Len() {
		a := attempts{key: readKey(r), total: r.Varint(), first: flow.Time(r.Varint())}
		for range r.Len() {
			p := attemptPane{start: flow.Time(r.Varint()), answered: r.Varint()}
			lists := details{sizes: window.ReadSizes(r)}
			counts := readCounts(r)
			lists.beats = readBeats(r)
			p.row = &Row{Key: a.key, Counts: counts, ref: readRow(r).ref, more: &lists}
			a.panes = append(a.panes, p)
		}
		if len(a.panes) == 0 {
			r.Fail("attempts without a pane")
		}
		s.list = append(s.list, a)
	}
}

func appendKey(b []byte, k RowKey) []byte {
	b = append(b, k.Peer[:]...)
	return append(b, byte(k.Port>>8), byte(k.Port), k.Protocol)
}

func readKey(r *window.Reader) (k RowKey) {
	k.Peer = readAddr(r)
	if b := r.Take(3); len(b) == 3 {
		k.Port, k.Protocol = uint16(b[0])<<8|uint16(b[1]), b[2]
	}
	return k
}

// readBeats reads what appendBeats wrote.
func readBeats(r *window.Reader) (out []Beat) {
	last := int64(0)
	for range r.Len() {
		last += r.Varint()
		out = append(out, Beat{flow.Time(last), r.Varint()})
	}
	return out
}

func readCounts(r *window.Reader) Counts {
	var c Counts
	if parseCounts(r.Bytes(), &c) != nil {
		r.Fail("counts")
	}
	return c
}

func readRow(r *window.Reader) Row {
	var row Row
	if parseRow(r.Bytes(), &row, nil) != nil {
		r.Fail("a row")
	}
	return row
}
