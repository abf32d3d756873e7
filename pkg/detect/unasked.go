package detect

// addUnasked counts what came to a host of ours in a session in which it sent
// nothing itself as traffic towards it. By its ports such a session looks like
// an answer, but nobody asked: that is what reflected floods consist of (DNS,
// NTP, LDAP, memcached). While the host's own packets may still arrive, only
// what a security group refused is known to be unasked: it lets answers in.
func (v *view) addUnasked(p *Part) {
	if !v.clientOurs || v.Out.Packets+v.Out.RejectPackets > 0 {
		return
	}
	in := &v.InDelta
	if v.final {
		in = &v.InFinal
	}
	n, size := in.RejectPackets, in.RejectBytes
	if v.final {
		n, size = n+in.Packets, size+in.Bytes
	}
	if n == 0 {
		return
	}
	p.Server.Add(&Counts{PacketsOut: n, BytesOut: size, First: v.c.First, Last: v.c.Last})
	p.addCaller(hashAddr(v.Server.Addr))
}
