package detect

import (
	"net/netip"
	"slices"

	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/session"
)

// Allow is an exception with a reason and an end. Every condition that it
// states must hold; one that it leaves empty holds always.
//
// Without Detectors it takes sessions out before anything is counted. With
// Detectors it takes back what these would say of the address or the service.
type Allow struct {
	Reason    string
	Until     flow.Time // event time; flow.MaxTime: no end
	Detectors []string
	Clients   []netip.Prefix // who starts the session
	Servers   []netip.Prefix // who is asked
	Addresses []netip.Prefix // either
	Ports     []uint16       // the server's
	// Interfaces and Tags ("key=value") of the observation points. They are
	// known of sessions only, so they need Detectors to be empty.
	Interfaces, Tags []string
}

func inAny(nets []netip.Prefix, a flow.Addr) bool {
	return len(nets) == 0 || containsIP(nets, a.IP())
}

// allowsSession reports whether the exception takes e out.
func (w *Allow) allowsSession(e *session.Event) bool {
	if len(w.Detectors) > 0 || e.First >= w.Until {
		return false
	}
	if !inAny(w.Clients, e.Client.Addr) || !inAny(w.Servers, e.Server.Addr) ||
		!inAny(w.Addresses, e.Client.Addr) && !inAny(w.Addresses, e.Server.Addr) {
		return false
	}
	if len(w.Ports) > 0 && !slices.Contains(w.Ports, e.Server.Port) {
		return false
	}
	return w.allowsPoints(e.Points)
}

func (w *Allow) allowsPoints(points []session.Point) bool {
	named := func(p session.Point) bool { return slices.Contains(w.Interfaces, p.ID) }
	tagged := func(p session.Point) bool {
		return slices.ContainsFunc(p.Tags, func(t flow.Attr) bool { return slices.Contains(w.Tags, t.Name+"="+t.Value) })
	}
	return (len(w.Interfaces) == 0 || slices.ContainsFunc(points, named)) &&
		(len(w.Tags) == 0 || slices.ContainsFunc(points, tagged))
}

// allowsFinding reports whether the exception takes f back, raised at t.
func (w *Allow) allowsFinding(detector string, f *Finding, t flow.Time) bool {
	if !slices.Contains(w.Detectors, detector) || t >= w.Until {
		return false
	}
	actor, target := roles(f)
	if !allIn(w.Clients, actor) || !allIn(w.Servers, target) || !allIn(w.Addresses, actor) && !allIn(w.Addresses, target) {
		return false
	}
	return len(w.Ports) == 0 || len(f.Ports) > 0 && !slices.ContainsFunc(f.Ports, func(p alert.Port) bool {
		return !slices.Contains(w.Ports, p.Port)
	})
}

// roles returns the addresses that act and that are acted upon in a finding.
func roles(f *Finding) (actor, target []flow.Addr) {
	peers := make([]flow.Addr, len(f.Peers))
	for i := range f.Peers {
		peers[i] = f.Peers[i].Addr
	}
	self := []flow.Addr{f.Entity.Addr}
	if f.Entity.Role == alert.RoleTarget || !f.Entity.Addr.IsValid() {
		return peers, self
	}
	return self, peers
}

func allIn(nets []netip.Prefix, addrs []flow.Addr) bool {
	if len(nets) == 0 {
		return true
	}
	return len(addrs) > 0 && !slices.ContainsFunc(addrs, func(a flow.Addr) bool { return !containsIP(nets, a.IP()) })
}

func (s *Settings) allowedSession(e *session.Event) bool {
	for i := range s.Allow {
		if s.Allow[i].allowsSession(e) {
			return true
		}
	}
	return false
}

func (s *Settings) allowed(detector string, f *Finding, t flow.Time) bool {
	if slices.Contains(s.Disabled, detector) {
		return true
	}
	for i := range s.Allow {
		if s.Allow[i].allowsFinding(detector, f, t) {
			return true
		}
	}
	return false
}
