package detect

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/flowstitch/flowstitch/internal/alerttest/encoded"
	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/session"
)

// world is the kind of network and of log that a scenario plays in.
type world struct{ v6, flags bool }

func (w world) ours(n int) string {
	if w.v6 {
		return fmt.Sprintf("fd00::%x", n)
	}
	return fmt.Sprintf("10.0.%d.%d", n/250, n%250+1)
}

func (w world) theirs(n int) string {
	if w.v6 {
		return fmt.Sprintf("2001:db8::%x", n+1)
	}
	return fmt.Sprintf("203.0.%d.%d", 113+n/250, n%250+1)
}

// head is what IPv6 adds to a packet.
func (w world) head() int64 {
	if w.v6 {
		return 20
	}
	return 0
}

// failed is an attempt of n packets of the given IPv4 size that nobody answers.
func (w world) failed(at flow.Time, client, server string, port uint16, n, size int64) shot {
	return shot{
		at: at, client: client, server: server, cport: uint16(40000 + at%20000), sport: port,
		out: tcp(n, n*(size+w.head()), flow.SYN), outcome: session.OutcomeUnanswered,
	}
}

// talk is an answered TCP session.
func (w world) talk(at flow.Time, client, server string, port uint16, out, in int64) shot {
	return shot{
		at: at, client: client, server: server, cport: uint16(40000 + at%20000), sport: port,
		out: tcp(max(out/700, 5), out, 3), in: tcp(max(in/700, 5), in, 19), outcome: session.OutcomeAnswered, dur: 3,
	}
}

func (w world) apply(shots []shot) []shot {
	if w.flags {
		return shots
	}
	for i := range shots {
		shots[i].out.Flags, shots[i].in.Flags, shots[i].portOnly = 0, 0, true
	}
	return shots
}

// repeat builds n shots.
func repeat(n int, build func(i int) shot) (out []shot) {
	for i := range n {
		out = append(out, build(i))
	}
	return out
}

func every(start flow.Time, i, seconds int) flow.Time { return start.Add(int64(i * seconds)) }

// scenarios holds, for every detector, what it must see and what looks like it.
var scenarios = []struct {
	detector      string
	fires, silent func(w world) []shot
}{
	{"outbound-callout", func(w world) []shot {
		return []shot{w.talk(t0+100, w.ours(1), w.theirs(1), 4444, 3000, 9000)}
	}, func(w world) []shot { // the web, by a host that is not known for long, and time
		web := repeat(20, func(i int) shot { return w.talk(every(t0, i, 60), w.ours(1), w.theirs(i), 443, 3000, 90000) })
		return append(web, shot{at: t0 + 5, client: w.ours(1), server: w.theirs(40), cport: 123, sport: 123, proto: protoUDP,
			out: tcp(1, 76, 0), in: tcp(1, 76, 0), outcome: session.OutcomeAnswered})
	}},
	{"beacon", func(w world) []shot {
		return repeat(60, func(i int) shot { return w.talk(every(t0, i, 60), w.ours(1), w.theirs(1), 443, 900, 400) })
	}, func(w world) []shot { // time service, and a person who reads the news
		r := rand.New(rand.NewPCG(1, 1))
		ntp := repeat(60, func(i int) shot {
			return shot{at: every(t0, i, 64), client: w.ours(1), server: w.theirs(2), cport: 123, sport: 123, proto: protoUDP,
				out: tcp(1, 76, 0), in: tcp(1, 76, 0), outcome: session.OutcomeAnswered}
		})
		at := t0
		return append(ntp, repeat(60, func(int) shot {
			at = at.Add(int64(1 + r.ExpFloat64()*40))
			return w.talk(at, w.ours(1), w.theirs(1), 443, int64(500+r.IntN(50000)), int64(r.IntN(500000)))
		})...)
	}},
	{"inbound-icmp-errors", func(w world) []shot {
		size := int64(56)
		if w.v6 {
			size = 112
		}
		return []shot{w.ping(t0+50, w.theirs(1), w.ours(1), 2*size, 2, session.OutcomeUnanswered)}
	}, func(w world) []shot { // the far end of a ping of ours
		return []shot{
			w.ping(t0+50, w.ours(1), w.theirs(1), 168, 2, session.OutcomeUnanswered),
			w.ping(t0+51, w.theirs(1), w.ours(1), 112, 2, session.OutcomeUnanswered),
		}
	}},
	{"session-excess", func(w world) []shot {
		return append(customers(w, 8), repeat(500, func(i int) shot { return w.talk(every(t0, i, 3), w.theirs(99), w.ours(1), 443, 900, 4000) })...)
	}, func(w world) []shot { // everybody is busy
		return append(customers(w, 120), repeat(500, func(i int) shot { return w.talk(every(t0, i, 3), w.theirs(99), w.ours(1), 443, 900, 4000) })...)
	}},
	{"port-scan", func(w world) []shot {
		return repeat(12, func(i int) shot { return w.failed(every(t0, i, 600), w.theirs(1), w.ours(1), uint16(1000+i), 2, 44) })
	}, func(w world) []shot { // answers of a resolver whose questions were lost, and a busy server
		answers := repeat(40, func(i int) shot {
			return shot{at: every(t0, i, 3), client: w.ours(1), server: w.theirs(8), cport: uint16(20000 + i), sport: 53, proto: protoUDP,
				in: tcp(1, 140, 0), outcome: session.OutcomePending}
		})
		return append(answers, repeat(40, func(i int) shot { return w.talk(every(t0, i, 5), w.theirs(2), w.ours(1), uint16(8000+i), 900, 4000) })...)
	}},
	{"host-sweep", func(w world) []shot {
		return repeat(12, func(i int) shot { return w.failed(every(t0, i, 20), w.theirs(1), w.ours(i), 445, 1, 52) })
	}, func(w world) []shot { // monitoring that reaches everybody but one
		return append(repeat(60, func(i int) shot { return w.talk(every(t0, i, 5), w.ours(200), w.ours(i), 9100, 300, 9000) }),
			w.failed(t0+400, w.ours(200), w.ours(99), 9100, 3, 60))
	}},
	{"brute-force", func(w world) []shot {
		return repeat(15, func(i int) shot { return w.login(every(t0, i, 4), w.theirs(1), w.ours(1), int64(13+i%2)) })
	}, func(w world) []shot { // forty administrators, and one who works a lot
		r := rand.New(rand.NewPCG(2, 2))
		shots := repeat(40, func(i int) shot { return w.login(every(t0, i, 4), w.theirs(i), w.ours(1), 14) })
		return append(shots, repeat(14, func(i int) shot {
			return w.login(every(t0, i, 100), w.theirs(99), w.ours(1), int64(20+r.IntN(5000)))
		})...)
	}},
	{"data-excess", func(w world) []shot {
		return append(uploads(w, 40, 40_000), w.talk(t0.Add(41*300), w.ours(1), w.theirs(9), 443, 30e6, 90_000))
	}, func(w world) []shot { return uploads(w, 60, 30e6) }}, // a backup that always runs
	{"traffic-surge", func(w world) []shot {
		return append(visitors(w, 20, 20, 100), visitorsAt(w, t0.Add(21*300), 400, 100)...)
	}, func(w world) []shot {
		return append(visitors(w, 20, 200, 200), visitorsAt(w, t0.Add(21*300), 400, 200)...)
	}},
	{"crafted-probe", func(w world) []shot {
		return []shot{w.failed(t0+60, w.theirs(1), w.ours(1), 23, 2, 40)}
	}, func(w world) []shot { // an ordinary attempt, and late packets of a server
		late := w.failed(t0+90, w.theirs(2), w.ours(1), 51000, 2, 40)
		late.cport, late.out.Flags = 443, flow.RST
		return []shot{w.failed(t0+60, w.theirs(1), w.ours(1), 23, 2, 60), late}
	}},
	{"new-service", func(w world) []shot {
		return append(customersFor(w, 300, 443), w.talk(t0.Add(2*day), w.theirs(1), w.ours(1), 8081, 900, 4000))
	}, func(w world) []shot { // the same port again, and another that refuses
		return append(customersFor(w, 300, 443), w.talk(t0.Add(2*day), w.theirs(1), w.ours(1), 443, 900, 4000),
			w.failed(t0.Add(2*day), w.theirs(1), w.ours(1), 8081, 2, 60))
	}},
	{"external-dns", func(w world) []shot { return []shot{w.question(t0+5, w.ours(1), w.theirs(8))} },
		func(w world) []shot { return []shot{w.question(t0+5, w.ours(1), w.ours(53))} }},
	{"listed-address", func(w world) []shot {
		return []shot{w.talk(t0+5, w.ours(1), w.theirs(200), 443, 900, 4000)}
	}, func(w world) []shot { return []shot{w.talk(t0+5, w.ours(1), w.theirs(201), 443, 900, 4000)} }},
	{"coverage-gap", func(w world) []shot {
		return []shot{{at: t0 + 70, gap: 60, client: w.ours(1), server: w.theirs(1)}}
	}, func(w world) []shot { // an interface that is often quiet
		return repeat(10, func(i int) shot { return w.talk(every(t0, i, 7200), w.theirs(1), w.ours(1), 443, 900, 4000) })
	}},
	{"coverage-gap", func(w world) []shot {
		busy := repeat(200, func(i int) shot { return w.talk(every(t0, i, 250), w.theirs(1), w.ours(1), 443, 900, 4000) })
		return append(busy, elsewhere(w, 200, 60)...)
	}, func(w world) []shot {
		busy := repeat(250, func(i int) shot { return w.talk(every(t0, i, 250), w.theirs(1), w.ours(1), 443, 900, 4000) })
		return append(busy, elsewhere(w, 200, 50)...)
	}},
}

func elsewhere(w world, from, n int) []shot {
	return repeat(n, func(i int) shot {
		s := w.talk(every(t0, from+i, 250), w.theirs(2), w.ours(2), 443, 900, 4000)
		s.point = "eni-2"
		return s
	})
}

func (w world) ping(at flow.Time, client, server string, size, n int64, o session.Outcome) shot {
	p := uint8(protoICMP)
	if w.v6 {
		p = protoICMPv6
	}
	return shot{at: at, client: client, server: server, proto: p, out: tcp(n, size, 0), outcome: o}
}

func (w world) login(at flow.Time, client, server string, packets int64) shot {
	return shot{
		at: at, client: client, server: server, cport: uint16(40000 + at%20000), sport: 22, outcome: session.OutcomeAnswered, dur: 2,
		out: tcp(packets, packets*140, 3), in: tcp(packets, packets*180, 19),
	}
}

func (w world) question(at flow.Time, client, server string) shot {
	return shot{at: at, client: client, server: server, cport: 5353, sport: 53, proto: protoUDP,
		out: tcp(1, 70, 0), in: tcp(1, 140, 0), outcome: session.OutcomeAnswered}
}

func customers(w world, each int) []shot {
	return repeat(10*each, func(i int) shot { return w.talk(every(t0, i, 2), w.theirs(i%10), w.ours(1), 443, 900, 4000) })
}

func customersFor(w world, n int, port uint16) []shot {
	return repeat(n, func(i int) shot { return w.talk(every(t0, i, 500), w.theirs(i%10), w.ours(1), port, 900, 4000) })
}

func uploads(w world, panes int, bytes int64) []shot {
	return repeat(panes, func(i int) shot { return w.talk(every(t0, i, 300), w.ours(1), w.theirs(9), 443, bytes, 2000) })
}

func visitors(w world, panes, clients int, packets int64) (out []shot) {
	for i := range panes {
		out = append(out, visitorsAt(w, every(t0, i, 300), clients, packets)...)
	}
	return out
}

func visitorsAt(w world, at flow.Time, clients int, packets int64) []shot {
	return repeat(clients, func(i int) shot {
		s := w.talk(at.Add(int64(i%200)), w.theirs(i), w.ours(1), 443, 700*packets, 1000)
		s.cport = uint16(40000 + i)
		return s
	})
}

// TestScenarios plays every scenario and its look-alike over IPv4 and IPv6,
// with tcp-flags and without.
func TestScenarios(t *testing.T) {
	valid := validator(t)
	for _, w := range []world{{false, true}, {false, false}, {true, true}, {true, false}} {
		for _, s := range scenarios {
			t.Run(fmt.Sprintf("%s/v6=%v,flags=%v", s.detector, w.v6, w.flags), func(t *testing.T) {
				set := DefaultSettings()
				set.Tuning.Lists = []List{{Name: "test", Nets: mustNets("203.0.113.201/32", "2001:db8::c9/128")}}
				p := newPipe(t, &set, 3, 2)
				p.run(w.apply(s.fires(w)))
				if got := p.fired(s.detector); len(got) == 0 {
					t.Errorf("silent: %d statements in all", len(p.said))
				}
				valid(t, p.said)
				p = newPipe(t, &set, 3, 2)
				p.run(w.apply(s.silent(w)))
				valid(t, p.said)
				if got := p.fired(s.detector); len(got) > 0 {
					t.Errorf("the look-alike fires: %s", got[0].Sentence)
				}
			})
		}
	}
}

// validator returns a function that holds every statement against the standards
// in every form: OCSF 1.8, 1.5 and 1.1, and ECS.
func validator(t *testing.T) func(*testing.T, []alert.Alert) {
	valid := encoded.Validator(t)
	return func(t *testing.T, said []alert.Alert) {
		for i := range said {
			if err := valid(&said[i]); err != nil {
				t.Errorf("%s: %v", said[i].Sentence, err)
			}
		}
	}
}
