package detect

import (
	"fmt"
	"math"
	"slices"

	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/window"
)

// ScanTuning are the thresholds of port-scan and host-sweep.
type ScanTuning struct {
	// Ports of one host, and Hosts at one port, that a source asked for in
	// vain within Memory seconds.
	Ports int64 `yaml:"ports"`
	Hosts int64 `yaml:"hosts"`
	// Lateral is how many hosts of ours a host of ours must have asked in vain
	// at one port within a pane, and hardly any with success.
	Lateral int64 `yaml:"lateral"`
	Memory  int64 `yaml:"memory_seconds"`
	// Theta0 and Theta1 are the chances that a first contact of an ordinary
	// source, and of a scanner, succeeds; FalsePositive and Detection the
	// wanted chances of the random walk (Jung et al. 2004).
	Theta0        float64 `yaml:"theta0"`
	Theta1        float64 `yaml:"theta1"`
	FalsePositive float64 `yaml:"false_positive"`
	Detection     float64 `yaml:"detection"`
	// WalkOurs is how many straight failures decide for a host of ours, which
	// makes many more contacts in its life than a source from outside.
	WalkOurs float64 `yaml:"walk_ours"`
	// Every is how many seconds lie at least between two statements of a
	// roll-up that only has new names.
	Every int64 `yaml:"every_seconds"`
}

// defaultScan: Jung's values, by which 4 straight failures decide; 10 ports are
// Panther's, 10 hosts the slow end of Slips' and Zeek's range. A host of ours
// with 1 failure in 5 makes 8 straight ones once in 4^8 contacts. Networks of
// ours are small: 5 neighbours at one port that all fail, each a first contact,
// happen to such a host once in 5^5 = 3,125 (T1018 from inside is no weather).
func defaultScan() ScanTuning {
	return ScanTuning{
		Ports: 10, Hosts: 10, Lateral: 5, Memory: day,
		Theta0: 0.8, Theta1: 0.2, FalsePositive: 0.01, Detection: 0.99, WalkOurs: 8, Every: 900,
	}
}

// up is the step of the walk for a first contact that failed, in nats.
func (t *ScanTuning) up() float64 { return math.Log((1 - t.Theta1) / (1 - t.Theta0)) }

// steps is how many straight failures make a source from outside a scanner.
func (t *ScanTuning) steps() int64 {
	return int64(math.Ceil(math.Log(t.Detection/t.FalsePositive)/t.up() - 1e-9))
}

// scan finds sources that ask for much in vain: many ports of one host
// (port-scan) or many hosts at one port (host-sweep). See docs/alerts.
type scan struct {
	t     ScanTuning
	sweep bool
	alone bool // crafted-probe is disabled: the roll-up names its sources, too
}

func (d scan) Spec() Spec {
	s := Spec{
		Detector: alert.Detector{
			ID: "port-scan", Name: "Port scan", Version: "1", Method: alert.MethodBehavioral, Doc: doc("port-scan"),
		},
		Bucket: day, Every: d.t.Every, Attacks: []string{"T1595.001"},
		FalseAlarm: "A vulnerability scanner or an inventory of ours, or clients that keep asking for a service that was moved.",
	}
	if d.sweep {
		s.ID, s.Name, s.Doc = "host-sweep", "Host sweep", doc("host-sweep")
		s.FalseAlarm = "Discovery by monitoring or management software, a peer-to-peer program, or clients of servers that are down."
	}
	return s
}

func (d scan) Wants(e Entity, p *Part) bool {
	if e.Kind != KindHost {
		return false
	}
	return p.Set(Contact).Len() > 0 && p.Client.Failed > 0 || !d.sweep && p.Owned && p.Server.Failed > 0
}

func (d scan) New() State { return &scanState{d: d, in: knockers{walk: d.t.steps()}} }

// contact is the first session of a source with one (host, port, protocol).
type contact struct {
	key    RowKey
	failed bool
	ours   bool // it is a host of ours
	first  flow.Time
}

// maxContacts bounds the contacts that are remembered of one source: 32 bytes
// each, the oldest forgotten first. A verdict needs ten.
const maxContacts = 512

type scanState struct {
	d        scan
	contacts []contact // ascending by key
	fast     int64     // failed first contacts of the pane's widest group
	fastKey  RowKey
	lateral  bool      // the widest group is hosts of ours that nearly all failed
	walk     float64   // of the random walk, in nats, never below 0
	until    flow.Time // the verdict "scanner" holds until then
	sessions int64
	in       knockers // port-scan: who knocked at this address of ours today
}

// Early implements State: failures that are known at once (refused, reset) only
// grow in number.
func (s *scanState) Early(p *Pane, r Reporter) {
	if p.Client.Failed < min(s.d.t.Ports, s.d.t.Hosts, s.d.t.Lateral)/2 || s.hopeless(p) {
		return
	}
	t := &p.scratch().early
	*t = scanState{d: s.d, contacts: append(t.contacts[:0], s.contacts...), walk: s.walk, until: s.until, sessions: s.sessions}
	for i := range p.Open {
		t.learn(&p.Open[i], true)
	}
	t.learn(p, true)
	t.judge(p, r)
}

// hopeless reports whether nothing can come of a pane that is not over, whatever
// succeeds in it and in whatever order: most are judged so, without walking.
func (s *scanState) hopeless(p *Pane) bool {
	failed := s.failures(p)
	for i := range p.Open {
		if p.Open[i].Owned != p.Owned {
			return false
		}
		failed += s.failures(&p.Open[i])
	}
	if s.until >= p.Start || s.walk+float64(failed)*s.d.t.up() >= s.bound(p.Owned)-1e-6 {
		return false
	}
	if !s.d.sweep {
		return failed < s.d.t.Ports
	}
	if p.Owned { // see neighbours
		for i := range s.contacts {
			failed += one(s.contacts[i].failed && s.contacts[i].ours)
		}
	}
	return failed < min(s.d.t.Hosts, s.d.t.Lateral)
}

// failures is how many first contacts of a pane have failed, at most.
func (s *scanState) failures(p *Pane) (n int64) {
	for _, row := range p.Set(Contact).Rows() {
		if row.Counts.Failed > 0 && row.Counts.Answered == 0 {
			_, known := s.find(row.Key)
			n += one(!known)
		}
	}
	return n
}

// find returns where a contact is, or would be.
func (s *scanState) find(k RowKey) (int, bool) {
	return slices.BinarySearchFunc(s.contacts, k, func(c contact, k RowKey) int { return c.key.Compare(k) })
}

// Final implements State.
func (s *scanState) Final(p *Pane, r Reporter) {
	s.forget(p.Start)
	s.learn(p, false)
	s.judge(p, r)
	if !s.d.sweep && p.Owned {
		s.knocked(p, r)
	}
}

func (s *scanState) forget(now flow.Time) {
	s.contacts = slices.DeleteFunc(s.contacts, func(c contact) bool { return c.first < now.Add(-s.d.t.Memory) })
	if len(s.contacts) == 0 {
		s.walk = 0
	}
	for len(s.contacts) > maxContacts {
		oldest := 0
		for i := range s.contacts {
			if s.contacts[i].first < s.contacts[oldest].first {
				oldest = i
			}
		}
		s.contacts = slices.Delete(s.contacts, oldest, oldest+1)
	}
}

// learn walks over the first contacts of a pane in the order of event time.
// Early, a contact that has neither failed nor succeeded yet is left out.
func (s *scanState) learn(p *Pane, early bool) {
	w := p.scratch()
	w.ungroup()
	up, down := s.d.t.up(), math.Log(s.d.t.Theta1/s.d.t.Theta0)
	for _, row := range w.byTime(p.Set(Contact).Rows()) {
		if row.Counts.Sessions == 0 || silentByNature(row.Key) {
			continue
		}
		failed := row.Counts.Answered == 0
		if early && failed && row.Counts.Failed == 0 || failed && s.fellBack(p, row.Key) {
			continue
		}
		i, found := s.find(row.Key)
		if found {
			continue
		}
		s.contacts = slices.Insert(s.contacts, i, contact{row.Key, failed, row.Ours, row.Counts.First})
		s.sessions += row.Counts.Sessions
		g := w.group(s.group(row.Key))
		g.all++
		step := down
		if failed {
			step = up
			g.failed++
			g.ours += one(row.Ours)
			g.dense(row.Counts.First)
		}
		// Far above the verdict the walk stops: a scanner that happens on
		// open ports keeps its verdict, an ordinary host gets out again.
		s.walk = min(max(s.walk+step, 0), 4*s.bound(p.Owned))
		if s.walk >= s.bound(p.Owned)-1e-9 {
			s.until = max(s.until, row.Counts.First.Add(s.d.t.Memory))
		}
	}
	s.burst(w.tries, p.Owned)
}

// group is what is wide in a scan: the host whose ports, or the service whose
// hosts are asked for.
func (s *scanState) group(k RowKey) RowKey {
	switch {
	case s.d.sweep:
		return RowKey{Port: k.Port, Protocol: k.Protocol}
	case isICMP(k.Protocol):
		return RowKey{Peer: k.Peer, Protocol: k.Protocol}
	}
	return RowKey{Peer: k.Peer}
}

// silentByNature reports whether nobody answers there, ever: multicast and
// broadcast.
func silentByNature(k RowKey) bool {
	ip := k.Peer.IP()
	if ip.IsMulticast() {
		return true
	}
	return ip.Is4() && k.Protocol == protoUDP && ip.As4()[3] == 255
}

// bound is where the walk decides for "scanner".
func (s *scanState) bound(ours bool) float64 {
	if ours {
		return s.d.t.WalkOurs * s.d.t.up()
	}
	return math.Log(s.d.t.Detection / s.d.t.FalsePositive)
}

// breadth returns the contacts of the widest group: of the host with the most
// ports, or the port with the most hosts.
func (s *scanState) breadth(w *scratch) (key RowKey, failed int64) {
	w.ungroup()
	for i := range s.contacts {
		if c := &s.contacts[i]; c.failed && (s.d.sweep || !isICMP(c.key.Protocol)) {
			w.group(s.group(c.key)).failed++
		}
	}
	for i := range w.tries {
		if g := &w.tries[i]; g.failed > failed || g.failed == failed && g.key.Compare(key) < 0 {
			key, failed = g.key, g.failed
		}
	}
	return key, failed
}

func (s *scanState) judge(p *Pane, r Reporter) {
	limit := s.d.t.Ports
	if s.d.sweep {
		if limit = s.d.t.Hosts; p.Owned && s.lateral {
			limit = min(limit, s.d.t.Lateral)
		}
	}
	if p.Client.Failed == 0 {
		return
	}
	if s.d.sweep && p.Owned && s.until < p.Start && s.fast < limit {
		s.fastKey, s.fast = s.neighbours(p.scratch())
	}
	if s.until < p.Start && s.fast < limit {
		return
	}
	key, failed := s.fastKey, s.fast
	if s.until >= p.Start {
		if k, n := s.breadth(p.scratch()); n >= failed {
			key, failed = k, n
		}
	}
	if failed >= limit {
		r.Raise(s.finding(p, key, failed, limit))
	}
}

func (s *scanState) finding(p *Pane, key RowKey, failed, limit int64) *Finding {
	f := p.finding()
	f.Weight = uint64(len(s.contacts))
	f.Entity = alert.AddressEntity(p.Entity.Scope, p.Entity.Addr, p.Owned, alert.RoleActor)
	sum := s.summary(p, f)
	took := s.took(key)
	all := int64(len(s.contacts))
	if s.d.sweep {
		what := service(key.Protocol, key.Port)
		f.Title = fmt.Sprintf("Sweep of %s by %s", what, p.Entity.Addr)
		f.Sentence = fmt.Sprintf("%s asked %s for %s in vain within %s (%s of its %s got an answer); %d are already unusual.",
			subject(p.Entity.Addr, p.Owned), plural(failed, "host"), what, span(took), none(sum.answered), plural(all, "first contact"), limit)
		f.Counts = append(f.Counts, count("failed_hosts", "hosts", float64(failed), float64(limit)))
	} else {
		f.Title = fmt.Sprintf("Port scan of %s by %s", key.Peer, p.Entity.Addr)
		f.Sentence = fmt.Sprintf("%s asked for %s of %s in vain within %s (%s of its %s got an answer); %d are already unusual.",
			subject(p.Entity.Addr, p.Owned), plural(failed, "port"), key.Peer, span(took), none(sum.answered), plural(all, "first contact"), limit)
		f.Counts = append(f.Counts, count("failed_ports", "ports", float64(failed), float64(limit)))
	}
	f.Counts = append(f.Counts,
		count("first_contacts", "contacts", float64(all), 0), count("answered_contacts", "contacts", float64(sum.answered), 0))
	ratio := float64(failed) / float64(limit)
	f.Severity = alert.Rate(alert.Impact{Base: alert.Low, ActorOurs: p.Owned, Answered: sum.answered > 0 && !p.Owned, Ratio: ratio})
	f.Confidence = 90
	if p.Owned {
		f.Attacks = alert.AttacksOf("T1046")
		if s.d.sweep {
			f.Attacks = alert.AttacksOf("T1018", "T1046")
		}
	}
	f.Window = alert.Window{Start: p.End.Add(-s.d.t.Memory), End: p.End}
	p.evidence(f, Contact, p.Set(Contact).Rows())
	f.EvidenceMore = max(s.sessions-int64(len(f.Evidence)), 0)
	return f
}

type scanSummary struct{ answered int64 }

// summary fills peers, ports and the span of time from what is remembered.
func (s *scanState) summary(p *Pane, f *Finding) (sum scanSummary) {
	ports := p.portSums()
	for i := range s.contacts {
		c := &s.contacts[i]
		if n := len(f.Peers); n == 0 || f.Peers[n-1].Addr != c.key.Peer { // they are in the order of peers
			f.Peers = append(f.Peers, alert.Peer{Addr: c.key.Peer})
		}
		x := &f.Peers[len(f.Peers)-1]
		x.Sessions++
		ports[alert.Port{Protocol: c.key.Protocol, Port: c.key.Port}]++
		if !c.failed {
			sum.answered++
			x.Note = "answered"
		}
		widen(&f.Alert, &Counts{First: c.first, Last: c.first})
	}
	sortPeers(f.Peers)
	ports.list(f)
	return sum
}

// AppendTo implements State.
func (s *scanState) AppendTo(b []byte) []byte {
	b = window.AppendFloat(b, s.walk)
	b = window.AppendInt(window.AppendInt(b, int64(s.until)), s.sessions)
	b = window.AppendUint(b, uint64(len(s.contacts)))
	for _, c := range s.contacts {
		b = appendKey(b, c.key)
		b = window.AppendBool(window.AppendBool(window.AppendInt(b, int64(c.first)), c.failed), c.ours)
	}
	return s.in.appendTo(b)
}

// Restore implements State.
func (s *scanState) Restore(r *window.Reader) {
	s.walk, s.until, s.sessions = r.Float(), flow.Time(r.Varint()), r.Varint()
	for range r.Len() {
		c := contact{key: readKey(r), first: flow.Time(r.Varint())}
		c.failed, c.ours = r.Bool(), r.Bool()
		s.contacts = append(s.contacts, c)
	}
	s.in.restore(r)
}
