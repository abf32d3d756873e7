package detect

import (
	"fmt"
	"slices"

	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/window"
)

// maxKnockers bounds the sources that a roll-up remembers in a day; an entry
// takes about 150 bytes. A public address sees about 1,500 a day.
const maxKnockers = 4096

// knocker is what one source did to one address in a day.
type knocker struct {
	addr        flow.Addr
	sessions    int64
	answered    int64
	bytes       int64
	first, last flow.Time
	ports       window.Set // port<<8|protocol
}

// knockers is the roll-up of a day's sources at one address: those with the
// smallest address hashes once there are more than maxKnockers. Ascending by
// address.
type knockers struct {
	day       flow.Time
	list      []knocker
	threshold uint64 // 0: every source is in the list
	news      bool   // since the last report
	evidence  []alert.Evidence
	sessions  int64
	walk      int64 // see scanner; 0: nobody is one. Not state: from the settings
}

// scanner reports whether the walk over the ports that x asked for has decided
// (Jung et al. 2004; see docs/alerts/port-scan.md): a port in vain is a step up,
// an answer one down. Each session that was answered is taken for a port of its
// own, so that x is decided late rather than wrongly.
func (k *knockers) scanner(x *knocker) bool {
	return k.walk > 0 && x.ports.Count()-2*x.answered >= k.walk
}

// scanners is how many sources the walk has decided on.
func (k *knockers) scanners() (n int64) {
	for i := range k.list {
		n += one(k.scanner(&k.list[i]))
	}
	return n
}

// slow is the part of a sentence that tells of them.
func (k *knockers) slow() string {
	n := k.scanners()
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(", %s asked for %d or more ports in vain, as scanners do", plural(n, "source"), k.walk)
}

// roll empties the roll-up when a new day begins.
func (k *knockers) roll(t flow.Time) {
	if d := t.Floor(day); d != k.day {
		*k = knockers{day: d, walk: k.walk}
	}
}

// add adds n sessions of a row of family Caller.
func (k *knockers) add(e Entity, r *Row, n int64) { k.addRow(e, r, n, Caller) }

// addContact adds n sessions of a row of family Contact: the roll-up is then
// one of targets.
func (k *knockers) addContact(e Entity, r *Row, n int64) { k.addRow(e, r, n, Contact) }

func (k *knockers) addRow(e Entity, r *Row, n int64, family Family) {
	h := hashAddr(r.Key.Peer)
	if k.threshold != 0 && h >= k.threshold {
		return
	}
	k.sessions += n
	if len(k.evidence) < maxEvidence && r.ref != nil {
		k.evidence = append(k.evidence, r.evidence(e, family))
	}
	i, found := slices.BinarySearchFunc(k.list, r.Key.Peer, func(x knocker, a flow.Addr) int { return x.addr.Compare(a) })
	if !found {
		k.list = slices.Insert(k.list, i, knocker{addr: r.Key.Peer, first: r.Counts.First, ports: window.NewSet(rowPorts)})
		k.news = true
	}
	x := &k.list[i]
	was := k.scanner(x)
	x.sessions += n
	x.answered += r.Counts.Answered
	x.bytes += r.Counts.Bytes()
	x.first, x.last = min(x.first, r.Counts.First), max(x.last, r.Counts.Last)
	if family == Contact {
		x.ports.Add(uint64(r.Key.Port)<<8 | uint64(r.Key.Protocol))
	} else if ports := r.Set(); ports != nil {
		x.ports.Merge(*ports)
	}
	k.news = k.news || !was && k.scanner(x)
	if len(k.list) > maxKnockers {
		k.trim()
	}
}

// trim drops the source with the largest hash.
func (k *knockers) trim() {
	at, top := 0, uint64(0)
	for i := range k.list {
		if h := hashAddr(k.list[i].addr); h >= top {
			at, top = i, h
		}
	}
	k.threshold = top
	k.list = slices.Delete(k.list, at, at+1)
}

// count is the number of sources, an estimate beyond maxKnockers.
func (k *knockers) count() int64 {
	if k.threshold == 0 {
		return int64(len(k.list))
	}
	return int64(float64(len(k.list)) / (float64(k.threshold) / (1 << 63) / 2))
}

// ports is how many (source, port) there are, at least.
func (k *knockers) ports() (n int64) {
	for i := range k.list {
		n += k.list[i].ports.Count()
	}
	return n
}

// answered is how many sources got an answer.
func (k *knockers) answered() (n int64) {
	for i := range k.list {
		n += one(k.list[i].answered > 0)
	}
	return n
}

// fill puts the sources into a finding: those that got an answer first, then
// scanners, then by sessions.
func (k *knockers) fill(p *Pane, f *Finding) {
	w, ports := p.scratch(), p.portSums()
	order := w.knockers[:0]
	for i := range k.list {
		x := &k.list[i]
		order = append(order, x)
		for v := range x.ports.All() {
			ports[alert.Port{Protocol: uint8(v), Port: uint16(v >> 8)}]++
		}
		widen(&f.Alert, &Counts{First: x.first, Last: x.last})
	}
	slices.SortStableFunc(order, func(a, b *knocker) int {
		if x, y := one(a.answered > 0), one(b.answered > 0); x != y {
			return int(y - x)
		}
		if x, y := one(k.scanner(a)), one(k.scanner(b)); x != y {
			return int(y - x)
		}
		return int(min(max(b.sessions-a.sessions, -1), 1))
	})
	w.knockers = order
	order = order[:min(len(order), alert.MaxPeers)]
	for _, x := range order {
		p := alert.Peer{Addr: x.addr, Sessions: x.sessions, Bytes: x.bytes}
		switch {
		case x.answered > 0:
			p.Note = "answered"
		case k.scanner(x):
			p.Note = fmt.Sprintf("scanner: %s", plural(x.ports.Count(), "port"))
		}
		f.Peers = append(f.Peers, p)
	}
	f.PeersMore = k.count() - int64(len(order))
	ports.list(f)
	f.Evidence = append(f.Evidence, k.evidence...)
	f.EvidenceMore = max(k.sessions-int64(len(k.evidence)), 0)
	f.Weight, f.News = uint64(k.count()), k.news
	f.Window = dayOf(k.day)
	k.news = false
}

func (k *knockers) appendTo(b []byte) []byte {
	b = window.AppendInt(b, int64(k.day))
	b = window.AppendUint(b, k.threshold)
	b = window.AppendBool(b, k.news)
	b = window.AppendInt(b, k.sessions)
	b = window.AppendUint(b, uint64(len(k.list)))
	for i := range k.list {
		x := &k.list[i]
		b = append(b, x.addr[:]...)
		for _, n := range [...]int64{x.sessions, x.answered, x.bytes, int64(x.first), int64(x.last)} {
			b = window.AppendInt(b, n)
		}
		b = x.ports.AppendTo(b)
	}
	return appendAlert(b, &alert.Alert{Evidence: k.evidence})
}

func (k *knockers) restore(r *window.Reader) {
	k.day, k.threshold, k.news, k.sessions = flow.Time(r.Varint()), r.Uint(), r.Bool(), r.Varint()
	for range r.Len() {
		x := knocker{addr: readAddr(r), sessions: r.Varint(), answered: r.Varint(), bytes: r.Varint()}
		x.first, x.last = flow.Time(r.Varint()), flow.Time(r.Varint())
		x.ports = window.ReadSet(r)
		k.list = append(k.list, x)
	}
	a, err := readAlert(r)
	if err != nil || a == nil {
		r.Fail("the evidence of a roll-up")
		return
	}
	k.evidence = a.Evidence
}

func readAddr(r *window.Reader) (a flow.Addr) {
	copy(a[:], r.Take(len(a)))
	return a
}

// anyone is the entity of a roll-up: all who came to one address of ours. It
// differs from the address itself, which may be an actor in the same bucket.
func anyone(e Entity) alert.Entity {
	return alert.Entity{
		Kind: alert.EntityPair, Scope: e.Scope, Value: "*>" + e.Addr.String(), Addr: e.Addr, Ours: true, Role: alert.RoleTarget,
	}
}
