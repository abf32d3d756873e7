package eval

// alikesVaried look like attacks and are none: nobody may be accused above Low.
var alikesVaried = []varied{
	{name: "nothing but the ordinary", hours: 8, play: func(*variety) {}},
	{name: "backscatter of a flood at somebody else", hours: 3, play: func(v *variety) {
		v.every(h1, 2*h1, 3, 1, func(at int64, i int) { // SYN-ACK from the victim to all of us
			v.add(talk{at: at, client: v.ours(i % 60), cport: uint16(1024 + v.r.IntN(60000)), server: v.theirs(80), sport: 80, in: 1, inB: v.bare() + 4, reply: refused})
		})
	}},
	{name: "NTP", hours: 6, play: func(v *variety) {
		for k := range 6 {
			v.every(int64(k)*7, 6*h1, 64, 0, func(at int64, i int) {
				v.add(talk{at: at, client: v.ours(k), cport: 123, server: v.theirs(60 + k%2), sport: 123, proto: udp, out: 1, outB: 76, in: 1, inB: 76})
			})
		}
	}},
	{name: "health checks of a load balancer", hours: 4, play: func(v *variety) {
		for k := range 8 {
			v.every(0, 4*h1, 10, 0, func(at int64, i int) { v.visit(at, 0, v.ours(100+k%2), v.ours(k), 8080, 120, 200) })
		}
		v.every(2*h1, 2*h1+1200, 10, 0, func(at int64, i int) { v.try(at, v.ours(100), v.ours(3), 8081, reset, 1, synLinux) }) // a target that is down
	}},
	{name: "TCP checks with bare connects", hours: 3, play: func(v *variety) {
		for k := range 6 {
			v.every(0, 3*h1, 30, 0, func(at int64, i int) {
				v.add(talk{at: at, client: v.ours(101), server: v.ours(k), sport: 22, out: 3, outB: 156, in: 2, inB: 112})
			})
		}
	}},
	{name: "uptime monitor outside", hours: 6, play: func(v *variety) {
		v.every(0, 6*h1, 60, 1, func(at int64, i int) { v.visit(at, 0, v.theirs(50+i%4), v.ours(0), 443, 300, 3000) })
	}},
	{name: "NAT gateway of a large office", hours: 4, play: func(v *variety) {
		v.random(0, 4*h1, 1.5, func(at int64) {
			v.visit(at, v.r.Int64N(40), v.theirs(5), v.ours(v.r.IntN(2)), 443, 500+v.r.Uint64N(3000), 2000+v.r.Uint64N(60000))
		})
	}},
	{name: "crawler", hours: 5, play: func(v *variety) {
		v.every(3*h1, 5*h1, 4, 2, func(at int64, i int) { v.visit(at, 1, v.theirs(6), v.ours(i%2), 443, 400, 30000) })
	}},
	{name: "content network fetches from the origin", hours: 4, play: func(v *variety) {
		v.random(0, 4*h1, 1, func(at int64) {
			v.visit(at, 30, v.theirs(600+v.r.IntN(20)), v.ours(v.r.IntN(2)), 443, 3000, 200000)
		})
	}},
	{name: "peer to peer on a workstation", hours: 4, play: func(v *variety) {
		v.random(h1, 4*h1, 3, func(at int64) {
			p := uint16(10000 + v.r.IntN(50000))
			t := talk{at: at, client: insider(v), server: v.theirs(3000 + v.r.IntN(4000)), sport: p, cport: 6881, proto: udp, out: 1, outB: 130}
			if t.reply = silent; v.r.IntN(10) < 6 {
				t.reply, t.in, t.inB = answered, 2, 400
			}
			v.add(t)
		})
	}},
	{name: "video conference", hours: 4, play: func(v *variety) {
		for k := range 4 {
			v.add(talk{at: 2*h1 + int64(k*20), lasts: 3000, client: v.ours(20 + k), server: v.theirs(700), sport: 8801, proto: udp, out: 150000, outB: 150000 * 900, in: 300000, inB: 300000 * 950})
			v.add(talk{at: 2*h1 + int64(k*20), lasts: 3000, client: v.ours(20 + k), server: v.theirs(700), sport: 443, out: 900, outB: 120000, in: 900, inB: 140000})
		}
	}},
	{name: "nightly backup to the cloud, from the second night on", hours: 52, from: 24 * h1, play: func(v *variety) {
		for d := range int64(2) {
			v.visit(d*24*h1+2*h1, 1500, v.ours(4), v.theirs(90), 443, 3e9+v.r.Uint64N(3e8), 1e6)
		}
	}},
	{name: "software updates", hours: 6, play: func(v *variety) {
		for k := range 8 {
			for f := range 40 {
				v.visit(4*h1+int64(k*30+f*2), 2, v.ours(k), v.theirs(800+f%5), 443, 700, 4e6)
			}
		}
	}},
	{name: "CI runners that clone over SSH and HTTPS", hours: 5, play: func(v *variety) {
		v.random(0, 5*h1, 2, func(at int64) {
			port := uint16(22)
			if v.r.IntN(2) == 0 {
				port = 443
			}
			v.visit(at, v.r.Int64N(20), v.ours(110+v.r.IntN(4)), v.theirs(810), port, 3000+v.r.Uint64N(5000), 20000+uint64(v.r.ExpFloat64()*4e6))
		})
	}},
	{name: "configuration management logs in everywhere", hours: 5, play: func(v *variety) {
		v.every(0, 5*h1, 1800, 30, func(at int64, i int) {
			for k := range 30 {
				v.visit(at+int64(k*3), 20, v.ours(120), v.ours(k), 22, 5000+v.r.Uint64N(60000), 9000+v.r.Uint64N(30000))
			}
		})
	}},
	{name: "administrators behind one address", hours: 4, play: func(v *variety) {
		v.random(0, 4*h1, 200, func(at int64) {
			v.visit(at, 60+v.r.Int64N(2000), v.theirs(8), v.ours(1), 22, 3000+uint64(v.r.ExpFloat64()*40000), 5000+uint64(v.r.ExpFloat64()*90000))
		})
	}},
	{name: "a pool of connections to the database", hours: 4, play: func(v *variety) {
		v.every(0, 4*h1, 20, 3, func(at int64, i int) {
			v.visit(at, 300, v.ours(i%2), v.ours(4), 5432, 20000+v.r.Uint64N(40000), 90000+v.r.Uint64N(200000))
		})
	}},
	{name: "serverless functions, a database session each", hours: 4, play: func(v *variety) {
		v.random(0, 4*h1, 2, func(at int64) {
			v.visit(at, 1, v.ours(130+v.r.IntN(3)), v.ours(4), 5432, 900+v.r.Uint64N(3000), 2000+uint64(v.r.ExpFloat64()*20000))
		})
	}},
	{name: "k8s nodes among themselves", hours: 3, play: func(v *variety) {
		v.random(0, 3*h1, 0.7, func(at int64) {
			a, b := 140+v.r.IntN(6), 140+v.r.IntN(6)
			if a == b {
				return
			}
			port := []uint16{10250, 4240, 443, 8472, 9153, 2379, 30080}[v.r.IntN(7)]
			if port == 8472 {
				v.add(talk{at: at, lasts: 5, client: v.ours(a), server: v.ours(b), cport: 8472, sport: 8472, proto: udp, out: 20, outB: 9000, in: 15, inB: 8000})
				return
			}
			v.visit(at, 1, v.ours(a), v.ours(b), port, 300, 3000)
		})
		v.random(h1, 3*h1, 60, func(at int64) {
			v.try(at, v.ours(140+v.r.IntN(6)), v.ours(150+v.r.IntN(3)), 10250, silent, 4, synLinux)
		}) // nodes that are gone
	}},
	{name: "a deployment takes a service down for ten minutes", hours: 4, play: func(v *variety) {
		v.random(0, 4*h1, 2, func(at int64) {
			if at > 2*h1 && at < 2*h1+600 {
				v.try(at, v.ours(v.r.IntN(2)), v.ours(5), 9000, reset, 1, synLinux)
				return
			}
			v.visit(at, 1, v.ours(v.r.IntN(2)), v.ours(5), 9000, 300, 3000)
		})
	}},
	{name: "a web server down for its many customers", hours: 4, play: func(v *variety) {
		v.random(2*h1, 2*h1+900, 0.5, func(at int64) { v.try(at, v.theirs(1000+v.r.IntN(150)), v.ours(5), 443, reset, 1, synLinux) })
	}},
	{name: "mDNS, SSDP, DHCP and NetBIOS", hours: 4, play: func(v *variety) {
		for k := range 6 {
			v.every(int64(k), 4*h1, 120, 20, func(at int64, i int) {
				group, lan := "224.0.0.251", "10.20.0.255"
				if v.v6 {
					group, lan = "ff02::fb", "ff02::1"
				}
				v.add(talk{at: at, client: v.ours(20 + k), server: group, cport: 5353, sport: 5353, proto: udp, out: 2, outB: 300, reply: silent})
				v.add(talk{at: at, client: v.ours(20 + k), server: group, cport: 50000, sport: 1900, proto: udp, out: 4, outB: 700, reply: silent})
				v.add(talk{at: at, client: v.ours(20 + k), server: lan, cport: 137, sport: 137, proto: udp, out: 3, outB: 234, reply: silent})
			})
		}
	}},
	{name: "VPN to another site", hours: 5, play: func(v *variety) {
		v.add(talk{at: 0, lasts: 5*h1 - 60, client: v.ours(160), server: v.theirs(95), cport: 4500, sport: 4500, proto: udp, out: 400000, outB: 400000 * 600, in: 500000, inB: 500000 * 700})
		v.every(0, 5*h1, 600, 0, func(at int64, i int) {
			v.add(talk{at: at, client: v.ours(160), server: v.theirs(95), cport: 500, sport: 500, proto: udp, out: 2, outB: 600, in: 2, inB: 600})
		})
	}},
	{name: "answers whose questions were lost", hours: 3, play: func(v *variety) {
		v.random(h1, 3*h1, 10, func(at int64) {
			v.add(talk{at: at, client: v.ours(20 + v.r.IntN(4)), server: v.theirs(8), sport: 53, proto: udp, in: 1, inB: 140})
		})
	}},
	{name: "log shipping and metrics at intervals", hours: 6, play: func(v *variety) {
		for k := range 6 {
			v.every(int64(k*3), 6*h1, 60, 1, func(at int64, i int) { v.visit(at, 1, v.ours(k), v.theirs(96), 443, 9000+v.r.Uint64N(20000), 600) })
		}
	}},
	{name: "long polling and web sockets", hours: 6, play: func(v *variety) {
		for k := range 4 {
			v.every(int64(k*9), 6*h1, 290, 4, func(at int64, i int) { v.visit(at, 280, v.ours(20+k), v.theirs(97), 443, 900, 1200) })
		}
	}},
	{name: "monitoring by ping", hours: 4, play: func(v *variety) {
		for k := range 30 {
			v.every(int64(k), 4*h1, 60, 0, func(at int64, i int) {
				t := talk{at: at, lasts: 2, client: v.ours(101), server: v.ours(k), proto: v.icmp(), out: 3, outB: 252, in: 3, inB: 252}
				if k == 29 {
					t.in, t.inB, t.reply = 0, 0, silent
				}
				v.add(t)
			})
		}
	}},
	{name: "path MTU discovery", hours: 4, play: func(v *variety) {
		v.random(0, 4*h1, 300, func(at int64) {
			v.add(talk{at: at, client: v.theirs(1000 + v.r.IntN(20)), server: v.ours(v.r.IntN(2)), proto: v.icmp(), out: 1, outB: 56, reply: silent})
		})
	}},
	{name: "clients with stale addresses of neighbours", hours: 5, play: func(v *variety) {
		v.random(0, 5*h1, 40, func(at int64) { v.try(at, v.ours(20+v.r.IntN(4)), v.ours(170+v.r.IntN(2)), 445, silent, 3, synWindows) })
	}},
	{name: "happy eyeballs: every first try fails", hours: 4, play: func(v *variety) {
		v.random(0, 4*h1, 15, func(at int64) {
			n := v.r.IntN(60)
			v.try(at, insider(v), v.theirs(5000+n), 443, silent, 2, synLinux)
			v.visit(at, 5, insider(v), v.theirs(6000+n), 443, 900, 90000)
		})
	}},
	{name: "a file server people copy to", hours: 5, play: func(v *variety) {
		v.random(0, 5*h1, 120, func(at int64) {
			v.visit(at, 30, v.ours(20+v.r.IntN(4)), v.ours(6), 445, uint64(v.r.ExpFloat64()*30e6), 90000)
		})
	}},
	{name: "a marketing mail brings visitors", hours: 5, play: func(v *variety) {
		v.random(4*h1, 4*h1+1800, 0.6, func(at int64) {
			v.visit(at, v.r.Int64N(20), v.theirs(1000+v.r.IntN(900)), v.ours(v.r.IntN(2)), 443, 500+v.r.Uint64N(3000), 2000+v.r.Uint64N(60000))
		})
	}},
	{name: "QUIC is blocked", hours: 4, play: func(v *variety) {
		v.random(0, 4*h1, 12, func(at int64) {
			n := v.r.IntN(400)
			v.add(talk{at: at, lasts: 2, client: insider(v), server: v.theirs(5000 + n), sport: 443, proto: udp, out: 3, outB: 3 * 1250, reply: silent})
			v.visit(at, 5, insider(v), v.theirs(5000+n), 443, 900, 90000)
		})
	}},
	{name: "mail server delivers outward", hours: 5, play: func(v *variety) {
		v.random(0, 5*h1, 10, func(at int64) {
			n := v.r.IntN(300)
			if v.r.IntN(8) == 0 {
				v.try(at, v.ours(7), v.theirs(20000+n), 25, silent, 4, synLinux)
				return
			}
			v.visit(at, 3, v.ours(7), v.theirs(20000+n), 25, 5000+uint64(v.r.ExpFloat64()*60000), 900)
		})
	}},
	{name: "the weather of the Internet at six addresses", hours: 12, play: func(v *variety) {
		v.random(0, 12*h1, 20, func(at int64) {
			src := v.theirs(30000 + v.r.IntN(1200))
			port := []uint16{23, 22, 445, 3389, 8080, 5555, 80, 443, 6379, 1433}[v.r.IntN(10)]
			v.try(at, src, v.ours(v.r.IntN(6)), port, refused, 1, []uint64{40, 44, 60}[v.r.IntN(3)])
		})
	}},
}
