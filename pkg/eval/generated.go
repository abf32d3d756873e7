package eval

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/detect"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/flowlog"
	"github.com/flowstitch/flowstitch/pkg/gen"
)

// Variation is a scenario of flowstitch gen that no threshold was chosen by.
type Variation struct {
	Scenario gen.Scenario
	Version  int   // of the flow log's format: 2 has no tcp-flags, 5 has
	Lateness int64 // seconds, see [Pipeline.Lateness]
}

// Name says what varies.
func (v *Variation) Name() string {
	return fmt.Sprintf("seed %d v%d ipv6 %d%% late %d s", v.Scenario.Seed, v.Version, v.Scenario.IPv6Percent, v.Lateness)
}

// Vary makes the variation of a seed: the network of the incident or a smaller
// one, more or less traffic, IPv6, format, lateness, and the attacks' times,
// sizes, sources and targets, all drawn by the seed. Without attacks the
// ordinary traffic is the same to the record.
func Vary(seed uint64, attacks bool) Variation {
	r := rand.New(rand.NewPCG(seed, 11))
	sc := gen.Incident()
	sc.Name, sc.Seed = fmt.Sprintf("variation %d", seed), seed
	sc.Duration = 4 * time.Hour
	sc.Start = sc.Start.Add(time.Duration(r.IntN(12)) * time.Hour)
	sc.Rate = []float64{0.4, 0.8, 1.6, 2.4}[r.IntN(4)]
	sc.IPv6Percent = int64(r.IntN(6)) * 10
	sc.Delay = time.Duration(r.IntN(120)) * time.Second
	if desks := 2 + r.IntN(9); desks < 10 {
		sc.Hosts = sc.Hosts[:len(sc.Hosts)-10+desks]
	}
	v := Variation{Version: []int{2, 5}[r.IntN(2)], Lateness: []int64{240, 360, 900}[r.IntN(3)]}
	sc.Attacks = nil
	if attacks {
		sc.Attacks = assaults(r)
	}
	v.Scenario = sc
	return v
}

// assaults draws one attack of each kind, from inside and outside, at times at
// which a host that has been seen since the start is old enough to be judged.
func assaults(r *rand.Rand) []gen.Attack {
	minutes := func(from, to int) time.Duration { return time.Duration(from+r.IntN(to-from)) * time.Minute }
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	outside := func(net string) string { return fmt.Sprintf("%s.%d", net, 100+r.IntN(100)) }
	desk := func() string { return fmt.Sprintf("ws-%d", 1+r.IntN(2)) }
	every := time.Duration(20+r.IntN(100)) * time.Second
	return []gen.Attack{
		{Kind: gen.KindProbeSweep, At: minutes(5, 60), For: minutes(2, 30), Source: outside("198.51.100"),
			Targets: []string{"alb-a", "bastion", "web-1"}, Ports: []uint16{22, 23, 8080}},
		{Kind: gen.KindPortScan, At: minutes(5, 60), For: minutes(1, 150), Source: outside("198.51.100"),
			Targets: []string{pick("bastion", "alb-a", "web-2")}, Count: int64(30 + r.IntN(900))},
		{Kind: gen.KindPortScan, At: minutes(60, 120), For: minutes(1, 30), Source: desk(),
			Targets: []string{pick("db-1", "cache-1", "web-3")}, Count: int64(30 + r.IntN(400))},
		{Kind: gen.KindHostSweep, At: minutes(60, 180), For: minutes(1, 20), Source: desk(), Ports: []uint16{pick2(r, 22, 445, 3389, 5985)}},
		{Kind: gen.KindSSHGuessing, At: minutes(20, 180), For: minutes(4, 40), Source: outside("203.0.113"), Targets: []string{"bastion"}, Count: int64(60 + r.IntN(400))},
		{Kind: gen.KindBeacon, At: minutes(20, 90), For: minutes(100, 140), Source: desk(), Targets: []string{outside("192.0.2")},
			Ports: []uint16{pick2(r, 443, 443, 8443, 4444)}, Every: every, Jitter: every / time.Duration(5+r.IntN(20))},
		{Kind: gen.KindExfiltration, At: minutes(130, 220), For: minutes(3, 15), Source: pick("db-1", "ws-1", "web-2"), Targets: []string{outside("192.0.2")},
			Bytes: int64(400+r.IntN(800)) << 20},
		{Kind: gen.KindSurge, At: minutes(120, 220), For: minutes(3, 8), Targets: []string{pick("alb-a", "alb-b")},
			Sources: int64(200 + r.IntN(2000)), Count: int64(8000 + r.IntN(20000))},
		{Kind: gen.KindCallout, At: minutes(30, 200), Source: pick("db-1", "web-1", "cache-1"), Targets: []string{outside("192.0.2")}, Ports: []uint16{pick2(r, 22, 3389, 4444, 9001)}},
		{Kind: gen.KindICMPErrors, At: minutes(10, 200), For: minutes(2, 20), Source: outside("203.0.113"), Targets: []string{"web-1"}, Count: int64(20 + r.IntN(100))},
		{Kind: gen.KindExternalDNS, At: minutes(10, 200), For: minutes(5, 30), Source: desk(), Targets: []string{outside("192.0.2")}, Count: 100},
		{Kind: gen.KindNewService, At: minutes(110, 200), For: minutes(10, 30), Targets: []string{pick("web-3", "cache-1", "files-1")},
			Ports: []uint16{pick2(r, 4444, 8081, 31337)}, Count: 40},
	}
}

func pick2(r *rand.Rand, list ...uint16) uint16 { return list[r.IntN(len(list))] }

// Generated is how the detectors did on a variation.
type Generated struct {
	Variation
	Found, Missed []string // kinds of attacks
	// False are the findings above Informational that no attack explains.
	False    []Statement
	Findings int
	Pipeline *Pipeline
}

// Generate plays a variation through the pipeline. The records come in the
// order of their delivery, as a live stream would bring them.
func Generate(v Variation, set *detect.Settings) (*Generated, error) {
	list, err := delivered(&v)
	if err != nil {
		return nil, err
	}
	p := NewPipeline(set)
	p.Lateness = v.Lateness
	for i := range list {
		p.Record(&list[i])
	}
	if err := p.Finish(); err != nil {
		return nil, err
	}
	g := &Generated{Variation: v, Pipeline: p}
	g.judge()
	return g, nil
}

// delivered writes the scenario as text and reads it back.
func delivered(v *Variation) ([]flow.Record, error) {
	s, err := gen.NewStream(v.Scenario)
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	if _, err := gen.Write(&text, s, gen.Lines{Format: flowlog.UpTo(uint8(v.Version))}); err != nil {
		return nil, err
	}
	return decode(&text, v.Scenario.Name, nil)
}

// cause is what an attack's finding names, by detector.
type cause struct {
	kind      gen.Kind
	detectors []string
	addrs     []flow.Addr
}

func (g *Generated) judge() {
	last := g.Pipeline.Confirmed()
	g.Findings = len(last)
	causes := make([]cause, 0, len(g.Scenario.Attacks))
	for i := range g.Scenario.Attacks {
		causes = append(causes, causeOf(&g.Scenario, &g.Scenario.Attacks[i]))
	}
	for i := range causes {
		c := &causes[i]
		name := string(c.kind)
		if slices.ContainsFunc(last, func(s Statement) bool { return slices.Contains(c.detectors, s.Detector.ID) && c.named(&s.Alert) }) {
			g.Found = append(g.Found, name)
		} else {
			g.Missed = append(g.Missed, name)
		}
	}
	for _, s := range last {
		explained := slices.ContainsFunc(causes, func(c cause) bool { return c.named(&s.Alert) })
		if s.Severity > alert.Informational && !explained {
			g.False = append(g.False, s)
		}
	}
}

func (c *cause) named(a *alert.Alert) bool {
	return slices.ContainsFunc(c.addrs, func(x flow.Addr) bool { return names(a, x) })
}

// causeOf says which detectors are there to tell of an attack, and whom they
// name: who does it, and of a flood or a service, whom it is done to.
func causeOf(sc *gen.Scenario, a *gen.Attack) cause {
	c := cause{kind: a.Kind, detectors: []string{a.Kind.Expect()}}
	switch a.Kind {
	case gen.KindProbeSweep:
		c.detectors = []string{"crafted-probe", "port-scan", "host-sweep"}
	case gen.KindHostSweep:
		c.detectors = []string{"host-sweep"}
	case gen.KindBeacon:
		c.detectors = []string{"beacon", "outbound-callout"}
	default:
	}
	resolve := func(name string) {
		for _, h := range sc.Hosts {
			if h.Name == name {
				name = h.Address
			}
		}
		if x, err := flow.ParseAddr(name); err == nil {
			c.addrs = append(c.addrs, x)
		}
	}
	resolve(a.Source)
	if a.Source == "" {
		for _, t := range a.Targets {
			resolve(t)
		}
	}
	return c
}

// Confirmed returns the last confirmed statement of every finding, by detector
// and entity.
func (p *Pipeline) Confirmed() []Statement {
	last := map[alert.UID]Statement{}
	for i := range p.Statements {
		switch s := &p.Statements[i]; s.Verdict {
		case alert.Confirmed:
			last[s.UID] = *s
		case alert.Withdrawn:
			delete(last, s.UID)
		case alert.Provisional:
		}
	}
	out := make([]Statement, 0, len(last))
	for _, s := range last {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b Statement) int {
		return cmp.Or(strings.Compare(a.Detector.ID, b.Detector.ID), strings.Compare(a.Entity.Value, b.Entity.Value), slices.Compare(a.UID[:], b.UID[:]))
	})
	return out
}

// GeneratedHeader is the head of the table of generated scenarios.
const GeneratedHeader = `| scenario | sessions a second | workstations | records | attacks found | missed | findings | false above Informational |
|---|---:|---:|---:|---:|---|---:|---:|`

// Row is one line of the table.
func (g *Generated) Row() string {
	desks := 0
	for _, h := range g.Scenario.Hosts {
		if h.Role == gen.RoleWorkstation {
			desks++
		}
	}
	found := "-"
	if len(g.Scenario.Attacks) > 0 {
		found = fmt.Sprintf("%d of %d", len(g.Found), len(g.Found)+len(g.Missed))
	}
	missed := cmp.Or(strings.Join(g.Missed, ", "), "-")
	return fmt.Sprintf("| %s | %v | %d | %d | %s | %s | %d | %d |",
		g.Name(), g.Scenario.Rate, desks, g.Pipeline.Records, found, missed, g.Findings, len(g.False))
}
