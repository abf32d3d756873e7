package telemetry

import (
	"cmp"
	"slices"
	"sync"
)

// Probe answers one question about a part of the process: nil is yes, an
// error says in a sentence why not.
type Probe func() error

// Health gathers the probes of a process's parts. The zero Health is live and
// not ready: ready needs at least one probe that says so.
type Health struct {
	mu          sync.Mutex
	live, ready []named
}

type named struct {
	name  string
	probe Probe
}

// Register adds a part. live must answer from the part's own heartbeat alone:
// a broker that is away must not get a pod killed. Either may be nil. A part of
// the same name is replaced: what is started again asks for itself.
func (h *Health) Register(name string, live, ready Probe) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.live = replace(h.live, name, live)
	h.ready = replace(h.ready, name, ready)
}

func replace(list []named, name string, p Probe) []named {
	list = slices.DeleteFunc(list, func(n named) bool { return n.name == name })
	if p != nil {
		list = append(list, named{name, p})
	}
	return list
}

// Live returns what is wrong with the liveness of each part, by name.
func (h *Health) Live() map[string]error { return ask(h.snapshot(&h.live)) }

// Ready returns what each part still waits for, by name, and whether the
// process as a whole is ready.
func (h *Health) Ready() (waiting map[string]error, ok bool) {
	probes := h.snapshot(&h.ready)
	waiting = ask(probes)
	return waiting, len(probes) > 0 && len(waiting) == 0
}

func (h *Health) snapshot(list *[]named) []named {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := slices.Clone(*list)
	slices.SortStableFunc(out, func(a, b named) int { return cmp.Compare(a.name, b.name) })
	return out
}

func ask(probes []named) map[string]error {
	bad := map[string]error{}
	for _, p := range probes {
		if err := p.probe(); err != nil {
			bad[p.name] = err
		}
	}
	return bad
}
