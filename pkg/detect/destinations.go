package detect

import (
	"cmp"
	"slices"

	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/window"
)

// destination is one external service that a host of ours used on a day.
type destination struct {
	key         RowKey
	sessions    int64
	answered    int64
	out, in     int64
	first, last flow.Time
	ref         Row
}

// destinations is a day's roll-up of external services, ascending by key.
type destinations struct {
	day  flow.Time
	list []destination
	news bool
}

// maxDestinations bounds a roll-up; beyond it the busiest are kept.
const maxDestinations = 256

func (d *destinations) roll(t flow.Time) {
	if x := t.Floor(day); x != d.day {
		*d = destinations{day: x}
	}
}

func (d *destinations) add(row *Row) {
	i, found := slices.BinarySearchFunc(d.list, row.Key, func(x destination, k RowKey) int { return x.key.Compare(k) })
	if !found {
		if len(d.list) == maxDestinations {
			return
		}
		d.list = slices.Insert(d.list, i, destination{key: row.Key, first: row.Counts.First, ref: row.kept()})
		d.news = true
	}
	x := &d.list[i]
	x.sessions += row.Counts.Sessions
	x.answered += row.Counts.Answered
	x.out += row.Counts.BytesOut
	x.in += row.Counts.BytesIn
	x.last = max(x.last, row.Counts.Last)
	x.ref.Counts.Sessions = x.sessions
}

// fill puts the destinations into a finding about the pane's host.
func (d *destinations) fill(p *Pane, f *Finding) (sessions, out int64) {
	ports, w := p.portSums(), p.scratch()
	w.witnesses = w.witnesses[:0]
	for i := range d.list {
		x := &d.list[i]
		at := len(f.Peers) - 1
		if at < 0 || f.Peers[at].Addr != x.key.Peer {
			at++
			f.Peers = append(f.Peers, alert.Peer{Addr: x.key.Peer, Note: service(x.key.Protocol, x.key.Port)})
		}
		f.Peers[at].Sessions += x.sessions
		f.Peers[at].Bytes += x.out + x.in
		ports[alert.Port{Protocol: x.key.Protocol, Port: x.key.Port}] += x.sessions
		widen(&f.Alert, &Counts{First: x.first, Last: x.last})
		w.see(&x.ref)
		sessions += x.sessions
		out += x.out
	}
	sortPeers(f.Peers)
	ports.list(f)
	p.testify(f, Pair, sessions)
	f.Weight, f.News = uint64(len(d.list)), d.news
	f.Window = dayOf(d.day)
	d.news = false
	return sessions, out
}

func (d *destinations) appendTo(b []byte) []byte {
	b = window.AppendBool(window.AppendInt(b, int64(d.day)), d.news)
	b = window.AppendUint(b, uint64(len(d.list)))
	for i := range d.list {
		x := &d.list[i]
		b = appendKey(b, x.key)
		for _, v := range [...]int64{x.sessions, x.answered, x.out, x.in, int64(x.first), int64(x.last)} {
			b = window.AppendInt(b, v)
		}
		b = window.AppendString(b, appendRow(nil, &x.ref))
	}
	return b
}

func (d *destinations) restore(r *window.Reader) {
	d.day, d.news = flow.Time(r.Varint()), r.Bool()
	for range r.Len() {
		x := destination{key: readKey(r), sessions: r.Varint(), answered: r.Varint(), out: r.Varint(), in: r.Varint()}
		x.first, x.last = flow.Time(r.Varint()), flow.Time(r.Varint())
		x.ref = readRow(r)
		d.list = append(d.list, x)
	}
}

// known is a bounded memory of things and when they were last seen.
type known struct {
	list  []seen // ascending by hash
	first flow.Time
}

type seen struct {
	hash uint64
	last flow.Time
}

// maxKnown bounds a memory; 16 bytes each, the oldest forgotten first.
const maxKnown = 4096

// see remembers h at t and reports whether it was known.
func (k *known) see(h uint64, t flow.Time) bool {
	if k.first == 0 {
		k.first = t
	}
	i, found := slices.BinarySearchFunc(k.list, h, func(s seen, h uint64) int { return cmp.Compare(s.hash, h) })
	if found {
		k.list[i].last = max(k.list[i].last, t)
		return true
	}
	k.list = slices.Insert(k.list, i, seen{h, t})
	return false
}

// forget drops what was not seen since t, and the oldest beyond the bound.
func (k *known) forget(t flow.Time) {
	k.list = slices.DeleteFunc(k.list, func(s seen) bool { return s.last < t })
	if len(k.list) <= maxKnown {
		return
	}
	times := make([]flow.Time, len(k.list))
	for i := range k.list {
		times[i] = k.list[i].last
	}
	slices.Sort(times)
	cut := times[len(times)-maxKnown*3/4]
	k.list = slices.DeleteFunc(k.list, func(s seen) bool { return s.last < cut })
}

func (k *known) appendTo(b []byte) []byte {
	b = window.AppendUint(window.AppendInt(b, int64(k.first)), uint64(len(k.list)))
	for _, s := range k.list {
		b = window.AppendInt(window.AppendUint(b, s.hash), int64(s.last))
	}
	return b
}

func (k *known) restore(r *window.Reader) {
	k.first = flow.Time(r.Varint())
	for range r.Len() {
		k.list = append(k.list, seen{r.Uint(), flow.Time(r.Varint())})
	}
}

// has reports whether h is known, without touching it.
func (k *known) has(h uint64) bool {
	_, found := slices.BinarySearchFunc(k.list, h, func(s seen, h uint64) int { return cmp.Compare(s.hash, h) })
	return found
}
