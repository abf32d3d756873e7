package detect

import (
	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/flow"
)

// Pool is what evaluators that one goroutine calls share: memory that waits for
// reuse, and the lists of the judgement that goes on, of which there is one at a
// time. It is no state.
type Pool struct {
	mem  memory
	work scratch
}

// NewPool returns an empty pool.
func NewPool() *Pool {
	p := &Pool{}
	p.work.mem = &p.mem
	return p
}

// Evaluator is NewEvaluator with the memory of the pool.
func (p *Pool) Evaluator(set *Settings, detectors []Detector) *Evaluator {
	v := &Evaluator{set: set, detectors: detectors, clock: flow.MinTime, entities: map[Entity]*entity{}, pool: p}
	for _, d := range detectors {
		s := d.Spec()
		v.specs = append(v.specs, s)
		v.attacks = append(v.attacks, alert.AttacksOf(s.Attacks...))
	}
	return v
}

// scratch is room for what a judgement needs and nothing keeps. A detector
// leaves nothing in it: the next judgement overwrites it.
type scratch struct {
	mem     *memory
	finding Finding // see Pane.finding
	said    alert.Alert
	places  map[string]alert.Context // by the bytes of a place, which many findings share

	witnesses []witness
	ports     portSums
	tried     tried
	logins    []attemptPane
	guessed   []portGuesses
	attempts  [][]attemptPane // room that waits for reuse
	knockers  []*knocker
	outward   []outward
	rows      []*Row
	numbers   []float64
	others    []float64

	deviations []float64
	tries      []tries
	groups     map[RowKey]int // by what is wide in a scan: the position in tries
	early      scanState
}

// scratch is the evaluator's, or, of a pane of a test, its own.
func (p *Pane) scratch() *scratch {
	if p.work == nil {
		p.work = &NewPool().work
	}
	return p.work
}

// finding returns an empty finding with room for lists. It is good until it has
// been raised.
func (p *Pane) finding() *Finding {
	f := &p.scratch().finding
	a := &f.Alert
	*f = Finding{Alert: alert.Alert{Peers: a.Peers[:0], Ports: a.Ports[:0], Counts: a.Counts[:0], Evidence: a.Evidence[:0]}}
	return f
}

// context is contextOf, which makes texts, once for each place.
func (w *scratch) context(place []byte) alert.Context {
	c, known := w.places[string(place)]
	if known {
		return c
	}
	if w.places == nil || len(w.places) >= maxPlaces {
		w.places = map[string]alert.Context{}
	}
	c = contextOf(place)
	w.places[string(place)] = c
	return c
}
