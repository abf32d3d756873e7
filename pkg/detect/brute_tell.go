package detect

import (
	"fmt"

	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/flow"
)

// reachedFactor is by how much a session must outgrow the common attempt for
// it to count as one that got in: SSHCure marks success by a change of the
// packet count; three times leaves room for another number of tries.
const reachedFactor = 3

// pair is the entity of guessing at one server, or at a service of many.
func pair(p *Pane, target string) alert.Entity {
	return alert.Entity{
		Kind: alert.EntityPair, Scope: p.Entity.Scope, Value: p.Entity.Addr.String() + ">" + target,
		Addr: p.Entity.Addr, Role: alert.RoleActor, Ours: p.Owned,
	}
}

func (t *tried) server() flow.Endpoint { return flow.Endpoint{Addr: t.key.Peer, Port: t.key.Port} }

// reached reports whether a session went on far longer than the others.
func (t *tried) reached() bool {
	mode, _ := t.sizes.Mode()
	return t.sizes.Quantile(1) >= reachedFactor*mode
}

func (t *tried) severity(p *Pane, limit int64) alert.Severity {
	return alert.Rate(alert.Impact{
		Base: alert.Low, ActorOurs: p.Owned, Answered: true, Reached: t.reached(), Ratio: float64(t.answered) / float64(limit),
	})
}

func (s *bruteState) finding(p *Pane, t *tried, limit, within int64) *Finding {
	t.complete()
	server := t.server()
	mode, near := t.sizes.Mode()
	f := p.finding()
	f.Weight, f.Crossed = uint64(max(t.total, t.answered)), t.crossed(limit)
	f.Entity = pair(p, server.String())
	f.Title = fmt.Sprintf("Password guessing at %s", server)
	took := int64(t.counts.Last - t.counts.First)
	f.Sentence = fmt.Sprintf(
		"%s opened %s at the login service %s in %s, %d%% of them alike with about %.0f packets; %s in %s are already unusual.",
		subject(p.Entity.Addr, p.Owned), plural(t.answered, "session"), server, span(took), near*100/max(t.sizes.N(), 1), mode,
		amount(limit), span(within))
	if t.reached() {
		f.Sentence += " One session went on far longer than the others: it may have got in."
	}
	f.Severity = t.severity(p, limit)
	f.Confidence = 80
	f.Peers = append(f.Peers, alert.Peer{Addr: t.key.Peer, Sessions: t.counts.Sessions, Bytes: t.counts.Bytes()})
	f.Ports = append(f.Ports, alert.Port{Protocol: t.key.Protocol, Port: t.key.Port, Sessions: t.counts.Sessions})
	s.count(f, t, limit)
	s.complete(p, f, t)
	return f
}

func (s *bruteState) count(f *Finding, t *tried, limit int64) {
	mode, near := t.sizes.Mode()
	f.Counts = append(f.Counts,
		count("attempts", "sessions", float64(t.answered), float64(limit)),
		count("alike", "percent", float64(near*100/max(t.sizes.N(), 1)), float64(s.d.t.Alike)),
		count("packets_of_attempt", "packets", float64(int64(mode+0.5)), 0),
	)
}

func (s *bruteState) complete(p *Pane, f *Finding, t *tried) {
	widen(&f.Alert, &t.counts)
	f.Window = alert.Window{Start: p.End.Add(-s.d.t.Window), End: p.End}
	p.evidence(f, Login, t.rows)
}

func (s *bruteState) severityOfSpraying(hosts int64) alert.Severity {
	return alert.Rate(alert.Impact{Base: alert.Low, Answered: true, Ratio: float64(hosts) / float64(s.d.t.Hosts)})
}

func (s *bruteState) spraying(p *Pane, port uint16, hosts int64, t *tried) *Finding {
	t.complete()
	f := p.finding()
	f.Weight, f.Crossed = uint64(hosts), t.crossed(s.d.t.SprayAttempts)
	f.Entity = pair(p, service(protoTCP, port))
	f.Title = fmt.Sprintf("Password spraying at %s of %s", service(protoTCP, port), plural(hosts, "host"))
	f.Sentence = fmt.Sprintf("%s opened %s at the login service %s of %s in %s, most of them alike; %d hosts are already unusual.",
		subject(p.Entity.Addr, p.Owned), plural(t.answered, "session"), service(protoTCP, port), plural(hosts, "host"),
		span(int64(t.counts.Last-t.counts.First)), s.d.t.Hosts)
	f.Severity = s.severityOfSpraying(hosts)
	f.Confidence = 80
	for _, row := range t.rows {
		if n := len(f.Peers); n == 0 || f.Peers[n-1].Addr != row.Key.Peer {
			f.Peers = append(f.Peers, alert.Peer{Addr: row.Key.Peer})
		}
		f.Peers[len(f.Peers)-1].Sessions += row.Counts.Sessions
	}
	f.Ports = append(f.Ports, alert.Port{Protocol: protoTCP, Port: port, Sessions: t.counts.Sessions})
	s.count(f, t, s.d.t.SprayAttempts)
	f.Counts = append(f.Counts, count("hosts", "hosts", float64(hosts), float64(s.d.t.Hosts)))
	f.Attacks = alert.AttacksOf("T1110.003")
	s.complete(p, f, t)
	return f
}
