package detect

import "github.com/flowstitch/flowstitch/pkg/window"

// Part is what one entity did in one pane, as far as it was added up.
type Part struct {
	Owned   bool   // the entity is an address of ours
	Client  Counts // the entity as client (or the whole, for kinds without roles)
	Server  Counts // the entity as server
	Callers window.Set
	Skipped int64             // seconds that AWS skipped (points)
	sets    [families]*RowSet // nil: empty
	mem     *memory
	hasSet  bool // Callers is in use
	// place says where in the cloud the end that is ours was seen; see isAt. It
	// is shared and never changed.
	place []byte
}

// callerBound is the size up to which distinct clients of a server are exact.
const callerBound = 256

// Set returns the rows of a family, nil if there are none.
func (p *Part) Set(f Family) *RowSet { return p.sets[f-1] }

// rows is Set to add to.
func (p *Part) rows(f Family) *RowSet {
	s := p.sets[f-1]
	if s == nil {
		s = p.mem.set()
		p.sets[f-1] = s
	}
	return s
}

// CallersCount is the number of distinct clients of the entity.
func (p *Part) CallersCount() int64 {
	if !p.hasSet {
		return 0
	}
	return p.Callers.Count()
}

func (p *Part) addCaller(h uint64) {
	if !p.hasSet {
		p.hasSet = true
		p.Callers.Reset(callerBound)
	}
	p.Callers.Add(h)
}

// empty reports whether nothing was added.
func (p *Part) empty() bool {
	if p.Owned || p.hasSet || p.Skipped != 0 || p.Client != (Counts{}) || p.Server != (Counts{}) {
		return false
	}
	for _, s := range p.sets {
		if s.Len() > 0 {
			return false
		}
	}
	return true
}

// merge adds what o counted. What p has not, it takes over: o is to be freed.
func (p *Part) merge(o *Part) {
	p.Owned = p.Owned || o.Owned
	p.Client.Add(&o.Client)
	p.Server.Add(&o.Server)
	p.Skipped += o.Skipped
	p.placeAt(o.place)
	if o.hasSet {
		if !p.hasSet {
			p.hasSet = true
			p.Callers.Reset(callerBound)
		}
		p.Callers.Merge(o.Callers)
	}
	for i, s := range o.sets {
		switch {
		case s.Len() == 0:
		case p.sets[i] == nil && p.mem == o.mem:
			p.sets[i], o.sets[i] = s, nil
		default:
			p.rows(Family(i + 1)).merge(s)
		}
	}
}

// settle brings every set to its canonical form: at most maxRows rows.
func (p *Part) settle() {
	for _, s := range p.sets {
		s.trim()
	}
}

// Bound on evidence: alert.MaxEvidence is the upper limit of the encoders.
const maxEvidence = 10
