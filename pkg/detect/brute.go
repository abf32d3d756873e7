package detect

import (
	"cmp"
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

type attemptPane struct {
	start    flow.Time
	answered int64
	sizes    window.Sizes
	counts   Counts
	starts   []Beat // of the earliest attempts
	ref      Row    // evidence only
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

// tried is what one source did at one service within the window.
type tried struct {
	key      RowKey
	answered int64
	sizes    window.Sizes
	counts   Counts
	starts   []Beat
	rows     []*Row
	total    int64
}

// crossed is when the attempt that made it limit attempts began, or 0.
func (t *tried) crossed(limit int64) flow.Time {
	if int64(len(t.starts)) < limit || limit < 1 {
		return 0
	}
	slices.SortFunc(t.starts, func(a, b Beat) int { return cmp.Compare(a.Start, b.Start) })
	return t.starts[limit-1].Start
}

// gather adds the window's panes, and a row that is not folded in yet.
func (s *bruteState) gather(a *attempts, extra *Row, now flow.Time, within int64) (t tried) {
	if a != nil {
		t.key, t.total = a.key, a.total
		for i := range a.panes {
			p := &a.panes[i]
			if p.start <= now.Add(-within) {
				continue
			}
			t.answered += p.answered
			t.sizes.Merge(p.sizes)
			t.counts.Add(&p.counts)
			t.starts = append(t.starts, p.starts...)
			t.rows = append(t.rows, &p.ref)
		}
	}
	if extra != nil {
		t.key = extra.Key
		t.answered += extra.Counts.Answered
		t.sizes.Merge(extra.Sizes())
		t.counts.Add(&extra.Counts)
		t.starts = append(t.starts, extra.Beats()...)
		t.rows = append(t.rows, extra)
		t.total += extra.Counts.Answered
	}
	return t
}

// judge gathers the window and reports whether it is guessing, and at which
// number of attempts in how many seconds that was decided.
func (s *bruteState) judge(p *Pane, a *attempts, extra *Row) (t tried, limit, within int64, yes bool) {
	limit, within = s.d.t.Attempts, s.d.t.Window
	t = s.gather(a, extra, p.Start, within)
	if !p.Owned {
		return t, limit, within, s.guesses(&t, limit)
	}
	if slices.Contains(s.d.t.Programs, t.key.Port) && s.used.ordinary(t.key, p.Start, s.d.t.Settle) {
		return t, limit, within, false
	}
	if s.guesses(&t, s.d.t.AttemptsOurs) {
		return t, s.d.t.AttemptsOurs, within, true
	}
	short := 2 * int64(p.End-p.Start)
	t = s.gather(a, extra, p.Start, short)
	return t, limit, short, s.guesses(&t, limit)
}

// guesses reports whether what was tried is many attempts of one kind.
func (s *bruteState) guesses(t *tried, limit int64) bool {
	if t.answered < limit {
		return false
	}
	mode, near := t.sizes.Mode()
	return near*100 >= s.d.t.Alike*t.sizes.N() &&
		int64(mode+0.5) >= s.d.t.MinPackets && int64(mode) <= s.d.t.MaxPackets
}

// Early implements State: the number of attempts can only grow.
func (s *bruteState) Early(p *Pane, r Reporter) {
	for _, row := range p.Set(Login).Rows() {
		if row.Counts.Answered == 0 {
			continue
		}
		a := s.find(row.Key)
		if len(p.Open) > 0 {
			a = s.withOpen(p, row.Key, a)
		}
		if t, limit, within, yes := s.judge(p, a, row); yes {
			r.Raise(s.finding(p, &t, limit, within))
		}
	}
	s.sprayEarly(p, r)
}

// withOpen adds the attempts of open panes to a copy of what is remembered.
func (s *bruteState) withOpen(p *Pane, k RowKey, a *attempts) *attempts {
	x := attempts{key: k}
	if a != nil {
		x.total, x.panes = a.total, slices.Clone(a.panes)
	}
	for i := range p.Open {
		if row := p.Open[i].Set(Login).find(k); row != nil && row.Counts.Answered > 0 {
			x.add(p.Open[i].Start, row)
		}
	}
	return &x
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
	s.forget(p.Start)
	for i := range s.list {
		a := &s.list[i]
		if a.panes[len(a.panes)-1].start != p.Start {
			continue
		}
		if t, limit, within, yes := s.judge(p, a, nil); yes {
			r.Raise(s.finding(p, &t, limit, within))
		}
	}
	s.spray(p, r)
}

func (s *bruteState) find(k RowKey) *attempts {
	i, found := slices.BinarySearchFunc(s.list, k, func(a attempts, k RowKey) int { return a.key.Compare(k) })
	if !found {
		return nil
	}
	return &s.list[i]
}

func (s *bruteState) learn(p *Pane, row *Row) {
	i, found := slices.BinarySearchFunc(s.list, row.Key, func(a attempts, k RowKey) int { return a.key.Compare(k) })
	if !found {
		s.list = slices.Insert(s.list, i, attempts{key: row.Key, first: row.Counts.First})
	}
	s.list[i].add(p.Start, row)
	if p.Owned && slices.Contains(s.d.t.Programs, row.Key.Port) {
		s.used.see(row.Key, p.Start)
	}
}

func (a *attempts) add(start flow.Time, row *Row) {
	a.total += row.Counts.Answered
	sizes, beats := row.Sizes(), row.Beats()
	x := attemptPane{
		start: start, answered: row.Counts.Answered, sizes: sizes.Clone(), counts: row.Counts,
		starts: slices.Clone(beats[:min(len(beats), maxStarts)]), ref: row.kept(),
	}
	x.ref.Counts.Sessions = row.Counts.Sessions
	a.panes = append(a.panes, x)
}

// forget drops what lies before the window, and the oldest beyond maxTargets.
func (s *bruteState) forget(now flow.Time) {
	for i := range s.list {
		a := &s.list[i]
		a.panes = slices.DeleteFunc(a.panes, func(p attemptPane) bool { return p.start <= now.Add(-s.d.t.Window) })
	}
	s.list = slices.DeleteFunc(s.list, func(a attempts) bool { return len(a.panes) == 0 })
	for len(s.list) > maxTargets {
		oldest := 0
		for i := range s.list {
			if s.list[i].panes[len(s.list[i].panes)-1].start < s.list[oldest].panes[len(s.list[oldest].panes)-1].start {
				oldest = i
			}
		}
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
			p := &a.panes[j]
			b = window.AppendInt(window.AppendInt(b, int64(p.start)), p.answered)
			b = p.sizes.AppendTo(b)
			b = window.AppendString(b, appendCounts(nil, &p.counts))
			b = appendBeats(b, p.starts)
			b = window.AppendString(b, appendRow(nil, &p.ref))
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
			p := attemptPane{start: flow.Time(r.Varint()), answered: r.Varint(), sizes: window.ReadSizes(r)}
			p.counts, p.starts = readCounts(r), readBeats(r)
			p.ref = readRow(r)
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
