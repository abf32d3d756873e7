package main

import (
	"fmt"
	"time"
)

// progress redraws one line on a terminal's standard error.
type progress struct {
	env   *env
	off   bool
	unit  string
	start time.Time
	last  time.Time
	drawn bool
}

// progressAfter and progressEvery keep short scans silent and long ones cheap.
const (
	progressAfter = time.Second
	progressEvery = 300 * time.Millisecond
)

func newProgress(e *env, quiet bool) *progress {
	return &progress{env: e, off: quiet || !e.terminal, unit: "records", start: time.Now()}
}

func (p *progress) tell(done, total int64) {
	now := time.Now()
	if p.off || now.Sub(p.start) < progressAfter || now.Sub(p.last) < progressEvery {
		return
	}
	p.last, p.drawn = now, true
	share := ""
	if total > 0 {
		share = fmt.Sprintf(" of %d (%d %%)", total, 100*done/total)
	}
	fmt.Fprintf(p.env.stderr, "\r\x1b[K%d%s %s, %s", done, share, p.unit, now.Sub(p.start).Round(time.Second))
}

func (p *progress) clear() {
	if p.drawn {
		fmt.Fprint(p.env.stderr, "\r\x1b[K")
		p.drawn = false
	}
}
