package kinesis

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/flowstitch/flowstitch/pkg/telemetry"
)

// pod is one process of a deployment: a consumer, and a goroutine for each slot
// that it was given.
type pod struct {
	d      *deployment
	c      *Consumer
	tel    *telemetry.Telemetry
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// join starts a pod that owns the slots.
func (d *deployment) join(slots ...int) *pod {
	ctx, cancel := context.WithCancel(context.Background())
	tel := telemetry.Quiet()
	c, err := New(ctx, d.cfg, d.slots, d.cfg.Policy(time.Minute, 0), tel, d.options...)
	if err != nil {
		d.t.Fatal(err)
	}
	p := &pod{d: d, c: c, tel: tel, ctx: ctx, cancel: cancel}
	p.wg.Go(func() { _ = c.Run(ctx) })
	d.mu.Lock()
	for _, l := range d.ledger {
		d.learn(c, l)
	}
	d.pods = append(d.pods, p)
	d.mu.Unlock()
	p.take(slots...)
	return p
}

// take gives slots to the pod. Who had them is not told: it finds out when it
// is fenced, and steps back, as pkg/stage does. Were it to take the slot again,
// the two would fence each other for ever, and each time ask for an iterator of
// every shard.
func (p *pod) take(slots ...int) {
	for _, n := range slots {
		p.d.mu.Lock()
		p.d.given[n] = p
		p.d.mu.Unlock()
		p.wg.Go(func() {
			for p.ctx.Err() == nil && p.hold(n) {
			}
		})
	}
}

// own makes the pod the owner of a slot, if it is still the one to be.
func (p *pod) own(n int) (epoch int, ledger map[string][]byte, mine bool) {
	d := p.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.given[n] != p {
		return 0, nil, false
	}
	d.owner[n]++
	return d.owner[n], maps.Clone(d.ledger[n]), true
}

// hold owns a slot until it crashes, when it reports true, is fenced, or ends:
// then it commits everything, which is refused where the pod was killed.
func (p *pod) hold(n int) (crashed bool) {
	d := p.d
	epoch, ledger, mine := p.own(n)
	if !mine {
		return false
	}
	s, err := p.c.Slot(p.ctx, n, ledger, nil)
	if err != nil {
		d.t.Error(err)
		return false
	}
	defer s.Close()
	for p.ctx.Err() == nil {
		fill, cancel := context.WithTimeout(p.ctx, 10*time.Millisecond)
		var lines []string
		for len(lines) < 37 && fill.Err() == nil {
			rec := s.Next(fill)
			if rec == nil {
				break
			}
			lines = append(lines, string(rec.Data))
			end, _ := parse(rec.Data)
			s.Accept(end)
		}
		cancel()
		saves, gaps := s.Commit(p.ctx.Err() != nil)
		w, idle := s.Clock()
		if d.progress(n, lines, saves) && d.crash() {
			d.cutting(n)
			return true
		}
		if !d.apply(n, epoch, lines, saves, gaps, w, idle) {
			return false
		}
	}
	return false
}

// kill stops a pod at once, as kill -9 does: nothing more is committed.
func (p *pod) kill() {
	p.d.mu.Lock()
	for n, g := range p.d.given {
		if g == p {
			p.d.owner[n]++
		}
	}
	p.d.mu.Unlock()
	p.leave()
}

// leave ends a pod in order and leaves its slots to nobody.
func (p *pod) leave() {
	d := p.d
	p.cancel()
	p.wg.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	for n, g := range d.given {
		if g == p {
			d.given[n] = nil
		}
	}
	d.pods = slices.DeleteFunc(d.pods, func(o *pod) bool { return o == p })
}
