package detect

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/session"
)

// t0 is a UTC midnight, so that days in tests are whole.
const t0 = flow.Time(1_700_006_400)

// shot is one session of a test, told by a single final event.
type shot struct {
	at             flow.Time
	client, server string
	cport, sport   uint16
	proto          uint8
	out, in        session.Traffic
	outcome        session.Outcome
	dur            int64
	gap            int64 // seconds that were skipped: no session
	portOnly       bool  // who started it is known by the ports only
	point          string
}

func (s shot) event() *session.Event {
	if s.proto == 0 {
		s.proto = protoTCP
	}
	c := flow.Endpoint{Addr: flow.MustAddr(s.client), Port: s.cport}
	v := flow.Endpoint{Addr: flow.MustAddr(s.server), Port: s.sport}
	key, _ := flow.NewKey(0, s.proto, c, v)
	if s.point == "" {
		s.point = "eni-1"
	}
	if s.gap > 0 {
		g := &session.Gap{Point: session.Point{ID: s.point}, Start: s.at, End: s.at.Add(s.gap)}
		return &session.Event{Kind: session.KindGap, Key: key, Gap: g, First: s.at}
	}
	evidence := session.EvidenceFlags
	if s.portOnly {
		evidence = session.EvidencePort
	}
	id := sha256.Sum256(fmt.Append(nil, key, s.at))
	return &session.Event{
		Kind: session.KindClose, ID: session.ID(id[:16]), Key: key, Client: c, Server: v,
		Evidence: evidence, Confidence: 95, Outcome: s.outcome,
		First: s.at, Last: s.at.Add(s.dur), DeltaFirst: s.at,
		Out: s.out, In: s.in, OutDelta: s.out, InDelta: s.in, OutFinal: s.out, InFinal: s.in,
		New: true, Opened: true, Points: s.points(),
	}
}

// points is the interface of each end that is ours, as a log of version 11
// would tell.
func (s shot) points() []session.Point {
	p := session.Point{ID: s.point, AccountID: "123456789012", VPCID: "vpc-1", SubnetID: "subnet-1", Region: "eu-west-1", Tags: []flow.Attr{{Name: "role", Value: "web"}}}
	far := p
	far.ID, p.NearClient, far.NearServer = s.point+"-far", true, true
	return []session.Point{p, far}
}

// pipe is combine and evaluate without a broker: events are spread over some
// combiners by their key, observations over some evaluators by their entity.
type pipe struct {
	t          testing.TB
	set        *Settings
	combiners  []*Combiner
	evaluators []*Evaluator
	said       []alert.Alert
	wire       int // bytes of observations
	sent       int
	buf        []byte
	crash      *rand.Rand // restores from snapshots at random, if set
}

func newPipe(t testing.TB, set *Settings, combiners, evaluators int) *pipe {
	p := &pipe{t: t, set: set}
	for range combiners {
		p.combiners = append(p.combiners, NewCombiner(set))
	}
	for range evaluators {
		p.evaluators = append(p.evaluators, NewEvaluator(set, Detectors(set)))
	}
	return p
}

func (p *pipe) Full() bool { return false }

func (p *pipe) Alert(a *alert.Alert) { p.said = append(p.said, *a) }

func (p *pipe) Observe(o *Observation) {
	p.buf = AppendObservation(p.buf[:0], o)
	p.wire += len(p.buf)
	p.sent++
	var back Observation
	if err := ParseObservation(p.buf, &back); err != nil {
		p.t.Fatalf("an observation of %s does not parse: %v", o.Entity, err)
	}
	p.evaluators[hashName(o.Entity.String())%uint64(len(p.evaluators))].Fold(&back, p)
}

func hashName(s string) (h uint64) {
	for _, c := range []byte(s) {
		h = h*31 + uint64(c)
	}
	return h
}

func (p *pipe) fold(e *session.Event, i int) {
	h := hashName(string(e.Key.AppendTo(nil)))
	p.combiners[h%uint64(len(p.combiners))].Fold(e, int32(h%24), int64(i), p)
}

func (p *pipe) advance(clock flow.Time) {
	for _, c := range p.combiners {
		c.Tick(int64(clock)*1000, p)
		c.Advance(clock, p)
	}
	for i := range p.evaluators {
		p.evaluators[i].Advance(p.set.Watermark(clock), p)
	}
	if p.crash != nil && p.crash.IntN(20) == 0 {
		p.reload()
	}
}

// reload replaces every state by what its snapshot restores.
func (p *pipe) reload() {
	for i, c := range p.combiners {
		b := c.AppendSnapshot(nil)
		p.combiners[i] = NewCombiner(p.set)
		if err := p.combiners[i].Restore(b); err != nil {
			p.t.Fatal(err)
		}
		if !slices.Equal(b, p.combiners[i].AppendSnapshot(nil)) {
			p.t.Fatal("a combiner's snapshot changes when it is restored")
		}
	}
	for i, v := range p.evaluators {
		b := v.AppendSnapshot(nil)
		p.evaluators[i] = NewEvaluator(p.set, Detectors(p.set))
		if err := p.evaluators[i].Restore(b); err != nil {
			p.t.Fatal(err)
		}
		if !slices.Equal(b, p.evaluators[i].AppendSnapshot(nil)) {
			p.t.Fatal("an evaluator's snapshot changes when it is restored")
		}
	}
}

// run feeds shots in order of time with a clock 60 s behind, and ends.
func (p *pipe) run(shots []shot) {
	slices.SortStableFunc(shots, func(a, b shot) int { return int(a.at - b.at) })
	last := flow.MinTime
	for i, s := range shots {
		p.fold(s.event(), i)
		if c := s.at.Add(-60).Floor(30); c > last {
			last = c
			p.advance(c)
		}
	}
	p.advance(flow.MaxTime)
}

// last returns the last confirmed statement of every UID.
func (p *pipe) last() map[alert.UID]alert.Alert {
	out := map[alert.UID]alert.Alert{}
	for _, a := range p.said {
		switch a.Verdict {
		case alert.Confirmed:
			out[a.UID] = a
		case alert.Withdrawn:
			delete(out, a.UID)
		case alert.Provisional:
		}
	}
	return out
}

// fired returns the confirmed findings of a detector.
func (p *pipe) fired(id string) (out []alert.Alert) {
	for _, a := range p.last() {
		if a.Detector.ID == id {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, func(a, b alert.Alert) int { return slices.Compare(a.UID[:], b.UID[:]) })
	return out
}

// facts is the final state of all findings as text, without what may differ
// between runs: positions, how often it was said, and provisional statements.
func (p *pipe) facts() []string {
	var out []string
	for _, a := range p.last() {
		a.Sequence, a.Activity = 0, 0
		a.Evidence = slices.Clone(a.Evidence)
		for i := range a.Evidence {
			a.Evidence[i].Partition, a.Evidence[i].Offset = 0, 0
		}
		out = append(out, fmt.Sprintf("%+v", a))
	}
	slices.Sort(out)
	return out
}

func tcp(packets, bytes int64, flags uint8) session.Traffic {
	return session.Traffic{Packets: packets, Bytes: bytes, Records: 1, Flags: flags}
}

func mustNets(s ...string) (out []netip.Prefix) {
	for _, x := range s {
		out = append(out, netip.MustParsePrefix(x))
	}
	return out
}
