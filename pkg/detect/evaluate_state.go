package detect

import (
	"fmt"
	"math"

	"github.com/segmentio/encoding/json"

	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/window"
)

// evaluateVersion starts an evaluator's snapshot.
const evaluateVersion = 2

// AppendSnapshot appends the whole state. Equal states give equal bytes. It
// must not be called while an Advance is unfinished.
func (v *Evaluator) AppendSnapshot(b []byte) []byte {
	b = append(b, evaluateVersion)
	b = window.AppendInt(b, int64(v.clock))
	b = window.AppendUint(b, uint64(len(v.detectors)))
	for i := range v.specs {
		b = window.AppendString(b, v.specs[i].ID)
	}
	b = window.AppendUint(b, uint64(len(v.entities)))
	for _, e := range v.sorted() {
		b = e.appendTo(b)
	}
	return b
}

func (e *entity) appendTo(b []byte) []byte {
	b = window.AppendString(b, AppendObservation(nil, &Observation{Entity: e.id}))
	b = window.AppendBool(b, e.owned)
	b = window.AppendInt(b, int64(e.last))
	b = window.AppendUint(b, uint64(len(e.panes)))
	for _, p := range e.panes {
		o := Observation{Entity: e.id, Pane: p.start, Early: p.early, Final: p.final}
		b = window.AppendString(b, AppendObservation(nil, &o))
	}
	for _, s := range e.states {
		b = window.AppendBool(b, s != nil)
		if s != nil {
			b = window.AppendString(b, s.AppendTo(nil))
		}
	}
	b = window.AppendUint(b, uint64(len(e.findings)))
	for _, f := range e.findings {
		b = f.appendTo(b)
	}
	return b
}

func (f *finding) appendTo(b []byte) []byte {
	b = window.AppendUint(b, uint64(f.detector))
	b = append(b, f.uid[:]...)
	b = f.life.AppendTo(b)
	b = window.AppendInt(b, int64(f.bucketEnd))
	b = window.AppendUint(b, f.weight)
	b = window.AppendInt(b, int64(f.borne))
	b = window.AppendBool(b, f.pending)
	b = window.AppendInt(b, int64(f.early))
	b = appendAlert(b, f.final)
	return appendAlert(b, f.provision)
}

func appendAlert(b []byte, a *alert.Alert) []byte {
	if a == nil {
		return window.AppendString(b, "")
	}
	text, err := json.Marshal(a)
	if err != nil {
		return window.AppendString(b, "") // an Alert holds nothing that can fail: numbers are finite
	}
	return window.AppendString(b, text)
}

// Restore replaces the state of an empty evaluator by a snapshot's. A detector
// that the snapshot does not know starts empty; the state of one that is no
// longer configured is dropped.
func (v *Evaluator) Restore(b []byte) error {
	if len(b) == 0 || b[0] != evaluateVersion {
		return fmt.Errorf("%w: an evaluator's snapshot of another version", window.ErrSnapshot)
	}
	r := window.NewReader(b[1:])
	v.clock = flow.Time(r.Varint())
	at := make([]int, r.Len()) // index in the snapshot -> index here, or -1
	for i := range at {
		at[i] = v.detector(r.String())
	}
	for range r.Len() {
		e, err := v.readEntity(r, at)
		if err != nil {
			return orErr(r, err)
		}
		v.entities[e.id] = e
		v.schedule(e)
	}
	return r.Close()
}

func (v *Evaluator) detector(id string) int {
	for i := range v.specs {
		if v.specs[i].ID == id {
			return i
		}
	}
	return -1
}

func (v *Evaluator) readEntity(r *window.Reader, at []int) (*entity, error) {
	var o Observation
	if err := ParseObservation(r.Bytes(), &o); err != nil {
		return nil, err
	}
	e := &entity{id: o.Entity, due: flow.MaxTime, far: flow.MaxTime, states: make([]State, len(v.detectors))}
	e.owned = r.Bool()
	e.last = flow.Time(r.Varint())
	for range r.Len() {
		if err := ParseObservation(r.Bytes(), &o); err != nil {
			return nil, err
		}
		e.panes = append(e.panes, pane{o.Pane, o.Early, o.Final})
	}
	for _, i := range at {
		if !r.Bool() {
			continue
		}
		state := window.NewReader(r.Bytes())
		if i < 0 {
			continue
		}
		e.states[i] = detectorFor(v.detectors[i], e.id).New()
		e.states[i].Restore(state)
		if err := state.Close(); err != nil {
			return nil, fmt.Errorf("detector %s of %s: %w", v.specs[i].ID, e.id, err)
		}
	}
	for range r.Len() {
		f, err := readFinding(r, at)
		if err != nil {
			return nil, err
		}
		if f.detector >= 0 {
			e.findings = append(e.findings, f)
		}
	}
	return e, r.Err()
}

func readFinding(r *window.Reader, at []int) (*finding, error) {
	f := &finding{detector: -1}
	if i := r.Int(math.MaxInt32); i < len(at) {
		f.detector = at[i]
	}
	copy(f.uid[:], r.Take(len(f.uid)))
	if err := f.life.Restore(r.Take(alert.LifeSize)); err != nil {
		return nil, err
	}
	f.bucketEnd, f.weight, f.borne = flow.Time(r.Varint()), r.Uint(), flow.Time(r.Varint())
	f.pending, f.early = r.Bool(), flow.Time(r.Varint())
	var err error
	if f.final, err = readAlert(r); err != nil {
		return nil, err
	}
	f.provision, err = readAlert(r)
	return f, err
}

func readAlert(r *window.Reader) (*alert.Alert, error) {
	text := r.Bytes()
	if len(text) == 0 {
		return nil, nil
	}
	a := new(alert.Alert)
	if err := json.Unmarshal(text, a); err != nil {
		return nil, fmt.Errorf("%w: an open finding: %w", window.ErrSnapshot, err)
	}
	return a, nil
}
