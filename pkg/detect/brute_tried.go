package detect

import (
	"cmp"
	"slices"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/window"
)

// tried is what one source did at one service within the window. Most of it is
// added up only when there are enough attempts, and when they are guesses.
type tried struct {
	key      RowKey
	answered int64
	total    int64
	rows     []*Row
	last     *Row         // of which all starts count; nil: none
	sizes    window.Sizes // see guesses
	counts   Counts       // see complete
	starts   []Beat
}

func (t *tried) reset() {
	t.sizes.Reset()
	*t = tried{sizes: t.sizes, starts: t.starts[:0], rows: t.rows[:0]}
}

func (t *tried) add(x attemptPane) {
	t.answered += x.answered
	t.rows = append(t.rows, x.row)
}

// complete adds up what a finding tells.
func (t *tried) complete() {
	for _, row := range t.rows {
		t.counts.Add(&row.Counts)
		starts := row.Beats()
		if row != t.last {
			starts = starts[:min(len(starts), maxStarts)]
		}
		t.starts = append(t.starts, starts...)
	}
	slices.SortFunc(t.starts, func(a, b Beat) int { return cmp.Compare(a.Start, b.Start) })
}

// crossed is when the attempt that made it limit attempts began, or 0.
func (t *tried) crossed(limit int64) flow.Time {
	if int64(len(t.starts)) < limit || limit < 1 {
		return 0
	}
	return t.starts[limit-1].Start
}

// gather adds up what is remembered of the last seconds, of panes that are open,
// and of a row that is not folded in yet; nil is none.
func (s *bruteState) gather(p *Pane, a *attempts, extra *Row, within int64) *tried {
	t, old := &p.scratch().tried, p.Start.Add(-within)
	t.reset()
	if a != nil {
		t.key, t.total = a.key, a.total
		for _, x := range a.panes {
			if x.start > old {
				t.add(x)
			}
		}
	}
	if extra == nil {
		return t
	}
	t.key = extra.Key
	for i := range p.Open {
		row := p.Open[i].Set(Login).find(extra.Key)
		if row == nil || row.Counts.Answered == 0 {
			continue
		}
		t.total += row.Counts.Answered
		if p.Open[i].Start > old {
			t.add(attemptPane{p.Open[i].Start, row.Counts.Answered, row})
		}
	}
	t.total += extra.Counts.Answered
	t.add(attemptPane{p.Start, extra.Counts.Answered, extra})
	t.last = extra
	return t
}

// judge gathers the window and reports whether it is guessing, and at which
// number of attempts in how many seconds that was decided.
func (s *bruteState) judge(p *Pane, a *attempts, extra *Row) (t *tried, limit, within int64, yes bool) {
	limit, within = s.d.t.Attempts, s.d.t.Window
	t = s.gather(p, a, extra, within)
	if !p.Owned {
		return t, limit, within, s.guesses(t, limit)
	}
	if slices.Contains(s.d.t.Programs, t.key.Port) && s.used.ordinary(t.key, p.Start, s.d.t.Settle) {
		return t, limit, within, false
	}
	if s.guesses(t, s.d.t.AttemptsOurs) {
		return t, s.d.t.AttemptsOurs, within, true
	}
	if t.answered < limit {
		return t, limit, within, false // of a part of them no less
	}
	short := 2 * int64(p.End-p.Start)
	t = s.gather(p, a, extra, short)
	return t, limit, short, s.guesses(t, limit)
}

// guesses reports whether what was tried is many attempts of one kind.
func (s *bruteState) guesses(t *tried, limit int64) bool {
	if t.answered < limit {
		return false
	}
	t.sizes.Reset()
	for _, row := range t.rows {
		t.sizes.Merge(row.Sizes())
	}
	mode, near := t.sizes.Mode()
	return near*100 >= s.d.t.Alike*t.sizes.N() &&
		int64(mode+0.5) >= s.d.t.MinPackets && int64(mode) <= s.d.t.MaxPackets
}
