package alert

import (
	"fmt"
	"strconv"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// Types of observable.
const (
	observableIP   = 2
	observablePort = 11
)

// maxObservables bounds the list; what is beyond is in resources and evidences.
const maxObservables = 100

// observables lists each address once, and the ports of the evidence, under
// the attribute where they stand, so that a SIEM can pivot on them.
func observables(a *Alert) []ocsfObservable {
	out := make([]ocsfObservable, 0, min(3*len(a.Evidence)+1+len(a.Peers), maxObservables))
	seen := map[string]bool{}
	add := func(path string, typeID int, caption, value string) {
		if value == "" || len(out) >= maxObservables || seen[caption+value] {
			return
		}
		seen[caption+value] = true
		out = append(out, ocsfObservable{Name: path, TypeID: typeID, Type: caption, Value: value})
	}
	ip := func(path string, addr flow.Addr) { add(path, observableIP, "IP Address", validIP(addr)) }
	n := 0
	for i := range a.Evidence {
		v := &a.Evidence[i]
		if !v.Client.Addr.IsValid() || !v.Server.Addr.IsValid() {
			continue
		}
		ip(fmt.Sprintf("evidences[%d].src_endpoint.ip", n), v.Client.Addr)
		ip(fmt.Sprintf("evidences[%d].dst_endpoint.ip", n), v.Server.Addr)
		if v.Server.Port != 0 {
			add(fmt.Sprintf("evidences[%d].dst_endpoint.port", n), observablePort, "Port", strconv.Itoa(int(v.Server.Port)))
		}
		n++
	}
	ip("resources[0].ip", a.Entity.Addr)
	for i, p := range a.Peers {
		if len(out) == maxObservables {
			break
		}
		ip(fmt.Sprintf("resources[%d].ip", i+1), p.Addr)
	}
	return out
}

// ocsfAnalyses says what was seen and what is normal, where OCSF keeps that.
func ocsfAnalyses(a *Alert) []ocsfAnalysis {
	if len(a.Counts) == 0 {
		return nil
	}
	target := a.Entity.Value
	if target == "" {
		target = "unknown"
	}
	x := ocsfAnalysis{Targets: []ocsfTarget{{Name: target, Type: a.Entity.Kind.String()}}}
	span := &ocsfTimespan{Start: millis(a.Window.Start), End: millis(a.Window.End)}
	for _, c := range a.Counts {
		x.Anomalies = append(x.Anomalies, ocsfAnomaly{
			Parameter: clip(c.Name), Type: clip(c.Unit),
			Observations: []ocsfObservation{{Value: number(c.Observed), Timespan: span}},
		})
		if c.HasBaseline {
			x.Baselines = append(x.Baselines, ocsfAnomaly{
				Parameter: clip(c.Name), Type: clip(c.Unit), Pattern: clip(c.Of),
				Observations: []ocsfObservation{{Value: number(c.Baseline)}},
			})
		}
	}
	return []ocsfAnalysis{x}
}
