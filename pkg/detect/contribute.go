package detect

import (
	"net/netip"

	"github.com/cespare/xxhash/v2"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/session"
)

// IANA protocol numbers that detectors tell apart.
const (
	protoICMP   = 1
	protoTCP    = 6
	protoUDP    = 17
	protoICMPv6 = 58
)

func isICMP(p uint8) bool { return p == protoICMP || p == protoICMPv6 }

// isOurs reports whether an address belongs to our own networks: as ingest
// learned it, as configured, or, where neither says so, because it is private
// or local (RFC 1918, RFC 4193, RFC 6890), which no address of the Internet is.
func (s *Settings) isOurs(a flow.Addr, learned bool) bool {
	if learned {
		return true
	}
	ip := a.IP()
	if !ip.IsValid() {
		return false
	}
	local := ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.Is4() && ip.As4()[0] == 0
	return local || containsIP(s.Own, ip)
}

func containsIP(nets []netip.Prefix, ip netip.Addr) bool {
	for _, n := range nets {
		if n.Contains(ip) {
			return true
		}
	}
	return false
}

// minTCP is the smallest TCP/IP packet: headers without options (RFC 791,
// RFC 8200, RFC 9293).
func minTCP(a flow.Addr) int64 {
	if a.Is4() {
		return 40
	}
	return 60
}

// barePackets bounds a crafted probe: an attempt and its retries.
const barePackets = 4

// isBare reports whether the client's side of a session is TCP attempts without
// any TCP option: no ordinary system sends them (facts: 94 % of slow scanners,
// 2 of 3,870 ordinary clients).
func isBare(e *session.Event, clientOurs bool) bool {
	n, size := e.Out.Packets+e.Out.RejectPackets, e.Out.Bytes+e.Out.RejectBytes
	if e.Key.Protocol != protoTCP || n < 1 || n > barePackets || size != n*minTCP(e.Client.Addr) {
		return false
	}
	if e.Out.Flags != 0 || e.In.Flags != 0 {
		return e.Out.Flags&flow.SYN != 0 && e.Out.Flags&flow.ACK == 0
	}
	// Without flags a keep-alive, a late RST or the answer to backscatter looks
	// the same, and our hosts send those all day. From outside it is told only
	// if it is known who came to whom.
	if clientOurs || e.Evidence == session.EvidenceNone {
		return false
	}
	return outcomeOf(e).Failed() || e.In.Packets <= n
}

// isReversed reports whether a session has its roles the wrong way round. Where
// no flag says who asked, the ports do, and a probe from a port that looks like
// a service (8080) to a high one is taken for an answer. But security groups
// let the answers to our own sessions in: what comes to us and is refused,
// while we sent nothing, came unasked. From a privileged port it may still be
// backscatter, whose TCP packets, but for RST, carry options.
func isReversed(e *session.Event, clientOurs, serverOurs bool) bool {
	n := e.In.RejectPackets
	if !clientOurs || serverOurs || e.Out.Packets+e.Out.RejectPackets > 0 || e.In.Packets > 0 || n == 0 || e.In.Flags != 0 {
		return false
	}
	if e.Server.Port != 0 && e.Server.Port < 1024 {
		return false
	}
	return e.Key.Protocol != protoTCP || e.In.RejectBytes == n*minTCP(e.Server.Addr)
}

// reverse swaps the roles of a session that was refused.
func reverse(e *session.Event) *session.Event {
	r := *e
	r.Client, r.Server = e.Server, e.Client
	r.ClientOuter, r.ServerOuter = e.ServerOuter, e.ClientOuter
	r.ClientService, r.ServerService = e.ServerService, e.ClientService
	r.Out, r.In = e.In, e.Out
	r.OutDelta, r.InDelta, r.OutFinal, r.InFinal = e.InDelta, e.OutDelta, e.InFinal, e.OutFinal
	r.Owned = e.Owned&flow.OwnSrc<<1 | e.Owned&flow.OwnDst>>1
	r.Evidence, r.Confidence = session.EvidencePort, 50
	r.Direction, r.Outcome = session.Inbound, session.OutcomeRejected
	return &r
}

// isLeftover reports whether a session is no attempt but what is left of one
// that is over: late RST and FIN packets of a closed connection, or the answer
// to a packet that someone else sent in our name (backscatter).
func isLeftover(e *session.Event) bool {
	if e.Out.Packets+e.Out.RejectPackets == 0 {
		return true
	}
	if e.Key.Protocol != protoTCP || e.Outcome == session.OutcomeAnswered || e.Out.Flags&flow.SYN != 0 {
		return false
	}
	if e.Out.Flags != 0 || e.In.Flags != 0 {
		return true
	}
	// Without flags: from a service to an unprivileged port, or from a server
	// of ours (private, if it is not learned) to a client's port. Scanners from
	// outside choose any port.
	return e.Client.Port < 1024 && e.Server.Port >= 1024 ||
		e.Client.Port < ephemeralFrom && e.Server.Port >= ephemeralFrom && (e.Owned&flow.OwnSrc != 0 || e.Client.Addr.IP().IsPrivate())
}

// outcomeOf is the session's outcome, and without tcp-flags also a refusal that
// only the sizes show: a SYN-ACK carries at least the MSS option, so a short
// answer of bare headers is RST.
func outcomeOf(e *session.Event) session.Outcome {
	in := e.In
	if e.Outcome == session.OutcomeAnswered && e.Key.Protocol == protoTCP && e.In.Flags == 0 && e.Out.Flags == 0 &&
		in.Packets > 0 && in.Packets <= barePackets && e.Out.Packets <= barePackets && in.Bytes == in.Packets*minTCP(e.Server.Addr) {
		return session.OutcomeReset
	}
	return e.Outcome
}

// ephemeralFrom is the lowest port that Linux gives to clients by default
// (net.ipv4.ip_local_port_range); IANA's own range starts at 49152.
const ephemeralFrom = 32768

// isError reports whether ICMP came unasked at the size of an error message:
// IP + 8 + what it quotes. IPv4 errors quote the header and 8 bytes (56), or a
// TCP header (68, 72, 80, 88 for 40 to 60 bytes). ICMPv6 errors quote all they
// can (RFC 4443), at least another IPv6 header and 8 bytes: 96 and more.
// The sizes of common pings (28, 60, 84; 80 and 104 in IPv6) are none.
func isError(e *session.Event) bool {
	n, size := e.Out.Packets+e.Out.RejectPackets, e.Out.Bytes+e.Out.RejectBytes
	if !isICMP(e.Key.Protocol) || n < 1 || e.In.Packets > 0 || size%n != 0 {
		return false
	}
	each := size / n
	if e.Key.Protocol == protoICMPv6 {
		return each >= 96 && each != 104 && each <= 1280
	}
	switch each {
	case 56, 68, 72, 80, 88:
		return true
	}
	return false
}

// countsOf returns what an event adds in one view. Sessions are counted where
// the view first hears of them.
func countsOf(e *session.Event, final, clientOurs bool) (c Counts) {
	out, in, opened := &e.OutDelta, &e.InDelta, e.New
	if final {
		out, in, opened = &e.OutFinal, &e.InFinal, e.Opened
	}
	c.PacketsOut, c.BytesOut = out.Packets+out.RejectPackets, out.Bytes+out.RejectBytes
	c.PacketsIn, c.BytesIn = in.Packets+in.RejectPackets, in.Bytes+in.RejectBytes
	c.First, c.Last = e.DeltaFirst, e.Last
	if !opened {
		return c
	}
	if c.First = e.First; isLeftover(e) {
		return c // traffic, but no session of anyone's making
	}
	c.Sessions = 1
	outcome := outcomeOf(e)
	c.Answered = one(outcome == session.OutcomeAnswered)
	c.Failed = one(outcome.Failed() || final && outcome == session.OutcomePending)
	c.Rejected = one(e.Outcome == session.OutcomeRejected)
	c.Bare = one(isBare(e, clientOurs))
	c.Errors = one(isError(e))
	c.Halfopen = one(e.Key.Protocol == protoTCP && e.Out.Packets+e.Out.RejectPackets <= 2)
	return c
}

func one(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// refOf returns the event as evidence.
func refOf(e *session.Event, partition int32, offset int64) Ref {
	return Ref{
		Partition: partition, Offset: offset, Session: e.ID,
		Client: e.Client.Port, Server: e.Server.Port, Protocol: e.Key.Protocol,
		Provisional: !e.Kind.Final(), Initiator: e.Evidence, Confidence: e.Confidence,
		Direction: e.Direction, Outcome: e.Outcome, First: e.First, Last: e.Last,
		PacketsOut: e.Out.Packets + e.Out.RejectPackets, BytesOut: e.Out.Bytes + e.Out.RejectBytes,
		PacketsIn: e.In.Packets + e.In.RejectPackets, BytesIn: e.In.Bytes + e.In.RejectBytes,
		RejectedOut: e.Out.RejectPackets, FlagsBoth: int64(e.Out.Flags) | int64(e.In.Flags)<<8,
	}
}

// view is one event on its way into the sums of one view, early or final.
type view struct {
	*session.Event
	set                    *Settings
	c                      Counts
	fact                   fact      // the event in this view
	evidence               *evidence // the event as evidence, one for all of its rows; nil: it opens no session
	pane                   flow.Time
	clientOurs, serverOurs bool
	reversed               bool   // the roles of Points are the other way round
	is                     traits // in both views
	places                 places
	clientAt, serverAt     *placed
}

// begin sets v up for an event.
func (v *view) begin() {
	v.clientAt, v.serverAt = v.placeOf(true), v.placeOf(false)
	v.mark(ownClient, v.clientOurs)
	v.mark(ownServer, v.serverOurs)
	v.mark(isLogin, v.set.isLogin(v.Key.Protocol, v.Server.Port))
	v.mark(isOver, isLeftover(v.Event))
	v.mark(isSilent, v.Out.Packets+v.Out.RejectPackets <= 0)
}

func (v *view) mark(t traits, yes bool) {
	if yes {
		v.is |= t
	}
}

// look takes one view of the event. Evidence is made by the first that opens the
// session, and held until done, because a row may be dropped at once.
func (v *view) look(final bool, partition int32, offset int64, m *memory) {
	v.c = countsOf(v.Event, final, v.clientOurs)
	if v.opened() && v.evidence == nil {
		v.evidence = m.evidence()
		v.evidence.Ref, v.evidence.rows = refOf(v.Event, partition, offset), 1
	}
	v.become(&v.fact)
	if final {
		v.fact.is |= isFinal
	}
}

// opened reports whether the view counts a session with this event.
func (v *view) opened() bool { return v.c.Sessions > 0 }

// hashAddr hashes an address for distinct counts.
func hashAddr(a flow.Addr) uint64 { return xxhash.Sum64(a[:]) }

// done ends the view of an event.
func (v *view) done(m *memory) {
	if v.evidence != nil {
		m.release(v.evidence)
		v.evidence = nil
	}
}
