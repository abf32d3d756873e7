package rule

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/detect"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/session"
)

// raise states what a window showed.
func (r *Rule) raise(e detect.Entity, v *verdict, out detect.Reporter) {
	group := groupOf(e)
	f := r.finding(e, group, v)
	f.Title = r.render(group, v.values)
	f.Sentence = r.sentence(group, v)
	for i, a := range r.having.aggs {
		c := alert.Count{Name: countName(a.text), Unit: a.unit, Observed: v.values.agg[i]}
		if r.having.baseline && !v.values.young {
			c.Baseline, c.HasBaseline, c.Of = v.values.normal[i], true, "this group's own past"
		}
		f.Counts = append(f.Counts, c)
	}
	f.Weight = uint64(max(v.values.agg[0], 1))
	out.Raise(f)
}

// finding fills in what thresholds and sequences share.
func (r *Rule) finding(e detect.Entity, group []string, v *verdict) *detect.Finding {
	f := &detect.Finding{}
	f.Severity = r.Severity
	f.Confidence = r.Spec.Confidence
	f.Entity = r.entity(e, group)
	f.Window = v.window
	f.First, f.Last = v.sum.counts.First, v.sum.counts.Last
	if f.First == 0 {
		f.First = v.window.Start
	}
	f.Last = max(f.Last, f.First)
	for i := range v.sum.refs {
		f.Evidence = append(f.Evidence, r.evidence(group, &v.sum.refs[i]))
	}
	f.EvidenceMore = max(0, v.sum.counts.Sessions-int64(len(f.Evidence)))
	f.Peers = peersOf(v.sum.refs)
	f.Labels = []flow.Attr{{Name: "rule", Value: r.Spec.ID}, {Name: "condition", Value: r.having.text}}
	for i, d := range r.dims[0] {
		if i < len(group) {
			f.Labels = append(f.Labels, flow.Attr{Name: d.Name, Value: group[i]})
		}
	}
	return f
}

// peersOf names the addresses that the evidence names, with their sessions.
func peersOf(refs []proof) (peers []alert.Peer) {
	for i := range refs {
		a := refs[i].other
		if !a.IsValid() {
			continue
		}
		at := slices.IndexFunc(peers, func(p alert.Peer) bool { return p.Addr == a })
		if at < 0 {
			at = len(peers)
			peers = append(peers, alert.Peer{Addr: a})
		}
		peers[at].Sessions++
		peers[at].Bytes += refs[i].BytesOut + refs[i].BytesIn
	}
	slices.SortFunc(peers, func(a, b alert.Peer) int {
		return cmp.Or(-cmp.Compare(a.Sessions, b.Sessions), a.Addr.Compare(b.Addr))
	})
	return peers
}

// entity says what a finding is about: an address where the rule groups by one
// alone, else the values of the group.
func (r *Rule) entity(e detect.Entity, group []string) alert.Entity {
	dims := r.dims[len(r.dims)-1]
	if len(group) == 0 {
		return alert.TextEntity(alert.EntityOther, e.Scope, "all", alert.RoleRelated)
	}
	if len(dims) == 1 && dims[0].Type == Addr {
		role := alert.RoleActor
		if strings.HasPrefix(dims[0].Name, "server") {
			role = alert.RoleTarget
		}
		if dims[0].bits > 0 {
			return alert.TextEntity(alert.EntityNetwork, e.Scope, group[0], role)
		}
		if a, err := flow.ParseAddr(group[0]); err == nil {
			return alert.AddressEntity(e.Scope, a, isPrivate(a), role)
		}
	}
	parts := make([]string, len(group))
	for i := range group {
		parts[i] = dims[i].Name + "=" + group[i]
	}
	return alert.TextEntity(alert.EntityOther, e.Scope, strings.Join(parts, " "), alert.RoleRelated)
}

// evidence completes a session with what the group knows of its endpoints.
func (r *Rule) evidence(group []string, x *proof) alert.Evidence {
	v := alert.Evidence{
		Topic: "sessions", Partition: x.Partition, Offset: x.Offset, SessionID: x.Session, Provisional: x.Provisional,
		Protocol: x.Protocol, Client: flow.Endpoint{Port: x.Client}, Server: flow.Endpoint{Port: x.Server},
		Initiator: x.Initiator, InitiatorConfidence: x.Confidence, Direction: x.Direction, Outcome: x.Outcome,
		First: x.First, Last: x.Last,
		Out: session.Traffic{Packets: x.PacketsOut - x.RejectedOut, RejectPackets: x.RejectedOut, Bytes: x.BytesOut, Flags: uint8(x.FlagsBoth)},
		In:  session.Traffic{Packets: x.PacketsIn, Bytes: x.BytesIn, Flags: uint8(x.FlagsBoth >> 8)},
	}
	for i, d := range r.dims[0] {
		if i >= len(group) || d.bits > 0 {
			continue
		}
		switch a, err := flow.ParseAddr(group[i]); {
		case err != nil:
		case d.Name == "client":
			v.Client.Addr = a
		case d.Name == "server":
			v.Server.Addr = a
		}
	}
	switch {
	case !v.Server.Addr.IsValid():
		v.Server.Addr = x.other
	case !v.Client.Addr.IsValid():
		v.Client.Addr = x.other
	}
	return v
}

// sentence says what was counted, in which time, and what would have been
// normal.
func (r *Rule) sentence(group []string, v *verdict) string {
	var b strings.Builder
	who := "Altogether"
	if len(group) > 0 {
		who = strings.Join(group, ", ")
	}
	fmt.Fprintf(&b, "%s: ", who)
	for i, a := range r.having.aggs {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s %s", a.text, FormatNumber(v.values.agg[i], a.unit))
		if r.having.baseline && !v.values.young {
			fmt.Fprintf(&b, " (normally %s)", FormatNumber(v.values.normal[i], a.unit))
		}
	}
	fmt.Fprintf(&b, " in the %s from %s; the rule asks for %s.",
		shortDuration(time.Duration(r.window)*time.Second), v.window.Start, r.having.text)
	return b.String()
}

// countName is the text of an aggregate in snake case.
func countName(text string) string {
	return strings.Trim(strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '_':
			return c
		case c == '(':
			return '_'
		}
		return -1
	}, text), "_")
}
