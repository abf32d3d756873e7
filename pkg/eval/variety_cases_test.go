package eval

// A case of traffic unlike the labelled sets.
type varied struct {
	name  string
	hours int64 // of the whole, the background included
	play  func(v *variety)
	// want is who must be named by whom of which detectors; empty for look-alikes.
	want []string
	who  func(v *variety) string
	// within is how many seconds after the first malicious packet it must be told.
	within int64
	// from is the second until which a look-alike may be told of.
	from int64
}

const h1 = 3600

func outsider(v *variety) string { return v.theirs(77) }
func insider(v *variety) string  { return v.ours(21) }

// common ports, as scanners ask for them first.
func scanPort(i int) uint16 {
	top := []uint16{80, 23, 443, 21, 22, 25, 3389, 110, 445, 139, 143, 53, 135, 3306, 8080, 1723, 111, 995, 993, 5900, 1025, 587, 8888, 199, 1720}
	if i < len(top) {
		return top[i]
	}
	return uint16(1100 + i*7)
}

func sweep(from, n, step int64, port uint16, how reply, packets, size uint64) func(*variety) {
	return func(v *variety) {
		v.every(from, from+n*step, step, step/10, func(at int64, i int) { v.try(at, outsider(v), v.ours(i), port, how, packets, size) })
	}
}

func scanOf(from, n, step int64, how reply, packets, size uint64) func(*variety) {
	return func(v *variety) {
		v.every(from, from+n*step, step, step/10, func(at int64, i int) { v.try(at, outsider(v), v.ours(1), scanPort(i), how, packets, size) })
	}
}

func guess(from, n, step, lasts int64, port uint16, out, in uint64) func(*variety) {
	return func(v *variety) {
		v.every(from, from+n*step, step, step/10, func(at int64, i int) {
			o, b := out+v.r.Uint64N(3), in+v.r.Uint64N(3)
			v.add(talk{at: at, lasts: lasts, client: outsider(v), server: v.ours(1), sport: port, out: o, outB: o * 130, in: b, inB: b * 160})
		})
	}
}

func beaconing(from, to, step, jitterPercent int64, port uint16) func(*variety) {
	return func(v *variety) {
		v.every(from, to, step, step*jitterPercent/100, func(at int64, i int) {
			v.visit(at, 1, insider(v), v.theirs(78), port, 300+v.r.Uint64N(30), 500+v.r.Uint64N(50))
		})
	}
}

var scanners = []string{"port-scan", "host-sweep", "crafted-probe"}
var calls = []string{"beacon", "outbound-callout"}

var attacksVaried = []varied{
	{"horizontal 1/s, 50 hosts, dropped", 2, sweep(h1, 50, 1, 445, refused, 1, synWindows), []string{"host-sweep"}, outsider, 300, 0},
	{"horizontal 1 in 10 s, 40 hosts, silent", 2, sweep(h1, 40, 10, 3389, silent, 2, synLinux), []string{"host-sweep"}, outsider, 900, 0},
	{"horizontal 1 in 60 s, 30 hosts, reset", 3, sweep(h1, 30, 60, 22, reset, 1, synNmap), []string{"host-sweep"}, outsider, 1800, 0},
	{"horizontal 1 in 300 s, 20 hosts", 5, sweep(h1, 20, 300, 5985, refused, 1, synLinux), []string{"host-sweep"}, outsider, 4800, 0},
	{"horizontal 1 in 900 s, 16 hosts", 6, sweep(h1, 16, 900, 6379, refused, 1, synLinux), []string{"host-sweep", "port-scan"}, outsider, 1800, 0},
	{"horizontal masscan, 40 B", 2, sweep(h1, 60, 2, 23, refused, 1, 40), scanners, outsider, 900, 0},
	{"vertical 1/s connect scan, reset", 2, scanOf(h1, 200, 1, reset, 1, synLinux), []string{"port-scan"}, outsider, 300, 0},
	{"vertical 1 in 10 s, refused", 2, scanOf(h1, 60, 10, refused, 1, synNmap), []string{"port-scan"}, outsider, 900, 0},
	{"vertical 1 in 60 s, silent", 3, scanOf(h1, 40, 60, silent, 3, synLinux), []string{"port-scan"}, outsider, 2400, 0},
	{"vertical 1 in 300 s, refused", 5, scanOf(h1, 20, 300, refused, 1, synLinux), []string{"port-scan"}, outsider, 1800, 0},
	{"vertical 1 in 900 s, refused", 7, scanOf(h1, 16, 900, refused, 1, synLinux), []string{"port-scan"}, outsider, 1800, 0},
	{"UDP scan of one host", 2, func(v *variety) {
		v.every(h1, h1+300, 2, 0, func(at int64, i int) {
			v.add(talk{at: at, client: outsider(v), server: v.ours(1), sport: scanPort(i), proto: udp, out: 1, outB: 28, reply: silent})
		})
	}, []string{"port-scan"}, outsider, 900, 0},
	{"UDP sweep for SNMP", 2, func(v *variety) {
		v.every(h1, h1+300, 5, 0, func(at int64, i int) {
			v.add(talk{at: at, client: outsider(v), server: v.ours(i), sport: 161, proto: udp, out: 1, outB: 70, reply: refused})
		})
	}, []string{"host-sweep"}, outsider, 900, 0},
	{"ping sweep from outside", 2, func(v *variety) {
		v.every(h1, h1+120, 2, 0, func(at int64, i int) {
			v.add(talk{at: at, client: outsider(v), server: v.ours(i), proto: v.icmp(), out: 1, outB: 28, reply: refused})
		})
	}, []string{"host-sweep", "inbound-icmp-errors"}, outsider, 900, 0},
	{"ping sweep from within", 2, func(v *variety) {
		v.every(h1, h1+120, 2, 0, func(at int64, i int) {
			v.add(talk{at: at, lasts: 1, client: insider(v), server: v.ours(30 + i), proto: v.icmp(), out: 2, outB: 168, reply: silent})
		})
	}, []string{"host-sweep"}, insider, 900, 0},
	{"lateral SMB, 12 neighbours in 2 min", 3, func(v *variety) {
		v.every(h1, h1+120, 10, 1, func(at int64, i int) { v.try(at, insider(v), v.ours(40+i), 445, silent, 3, synWindows) })
	}, []string{"host-sweep"}, insider, 900, 0},
	{"lateral RDP, a neighbour a minute", 3, func(v *variety) {
		v.every(h1, h1+1800, 60, 5, func(at int64, i int) { v.try(at, insider(v), v.ours(40+i), 3389, refused, 1, synLinux) })
	}, []string{"host-sweep"}, insider, 1800, 0},
	{"lateral WinRM, a neighbour in 10 min", 6, func(v *variety) {
		v.every(h1, 5*h1, 600, 30, func(at int64, i int) { v.try(at, insider(v), v.ours(40+i), 5985, refused, 1, synLinux) })
	}, []string{"host-sweep"}, insider, 7500, 0},
	{"internal vertical scan of the database", 3, func(v *variety) {
		v.every(h1, h1+300, 2, 0, func(at int64, i int) { v.try(at, insider(v), v.ours(4), scanPort(i), reset, 1, synLinux) })
	}, []string{"port-scan"}, insider, 600, 0},
	{"distributed scan, 40 sources of 4 ports", 3, func(v *variety) {
		v.every(h1, h1+1600, 10, 2, func(at int64, i int) { v.try(at, v.theirs(300+i%40), v.ours(1), scanPort(i), refused, 1, synLinux) })
	}, []string{"port-scan"}, func(v *variety) string { return v.theirs(307) }, 2100, 0},
	{"scan behind a NAT gateway that others use", 3, func(v *variety) {
		v.random(0, 3*h1, 12, func(at int64) { v.visit(at, 3, outsider(v), v.ours(v.r.IntN(2)), 443, 900, 20000) })
		scanOf(h1, 60, 5, refused, 1, synLinux)(v)
	}, []string{"port-scan"}, outsider, 900, 0},
	{"sweep from a workstation that browses", 3, func(v *variety) {
		v.random(0, 3*h1, 4, func(at int64) { v.visit(at, 5, insider(v), v.theirs(2000+v.r.IntN(80)), 443, 900, 90000) })
		v.every(h1, h1+300, 10, 1, func(at int64, i int) { v.try(at, insider(v), v.ours(40+i), 445, silent, 3, synWindows) })
	}, []string{"host-sweep"}, insider, 900, 0},
	{"sweep from a monitoring host", 3, func(v *variety) {
		v.every(0, 3*h1, 60, 5, func(at int64, i int) {
			for k := range 8 {
				v.visit(at+int64(k), 1, insider(v), v.ours(k), 9100, 300, 9000)
			}
		})
		v.every(h1, h1+300, 10, 1, func(at int64, i int) { v.try(at, insider(v), v.ours(40+i), 22, silent, 3, synLinux) })
	}, []string{"host-sweep"}, insider, 900, 0},
	{"outbound sweep by a worm", 2, func(v *variety) {
		v.every(h1, h1+300, 2, 1, func(at int64, i int) { v.try(at, insider(v), v.theirs(7000+i*37), 23, silent, 2, synLinux) })
	}, []string{"host-sweep"}, insider, 600, 0},

	{"SSH guessing 1/s", 2, guess(h1, 120, 1, 3, 22, 14, 16), []string{"brute-force"}, outsider, 130, 0},
	{"SSH guessing 1 in 10 s", 2, guess(h1, 60, 10, 4, 22, 14, 16), []string{"brute-force"}, outsider, 240, 0},
	{"SSH guessing 1 in 60 s", 2, guess(h1, 50, 60, 5, 22, 14, 16), []string{"brute-force"}, outsider, 750, 0},
	{"RDP guessing 1 in 5 s", 2, guess(h1, 100, 5, 2, 3389, 12, 10), []string{"brute-force"}, outsider, 200, 0},
	{"PostgreSQL guessing 1 in 3 s", 2, guess(h1, 100, 3, 0, 5432, 7, 6), []string{"brute-force"}, outsider, 180, 0},
	{"MS SQL guessing 1 in 30 s", 2, guess(h1, 60, 30, 1, 1433, 8, 7), []string{"brute-force"}, outsider, 450, 0},
	{"SSH guessing from within", 3, func(v *variety) {
		v.every(h1, h1+900, 10, 1, func(at int64, i int) {
			v.add(talk{at: at, lasts: 3, client: insider(v), server: v.ours(4), sport: 22, out: 14, outB: 1900, in: 16, inB: 2600})
		})
	}, []string{"brute-force"}, insider, 600, 0},
	{"PostgreSQL guessing from within", 4, func(v *variety) {
		v.every(2*h1, 2*h1+600, 4, 1, func(at int64, i int) {
			v.add(talk{at: at, client: insider(v), server: v.ours(4), sport: 5432, out: 8, outB: 700, in: 6, inB: 640})
		})
	}, []string{"brute-force"}, insider, 180, 0},
	{"spraying, 30 hosts, a login each minute", 3, func(v *variety) {
		v.every(h1, h1+1800, 10, 1, func(at int64, i int) {
			v.add(talk{at: at, lasts: 3, client: outsider(v), server: v.ours(i % 30), sport: 22, out: 14, outB: 1900, in: 16, inB: 2600})
		})
	}, []string{"brute-force"}, outsider, 900, 0},
	{"IMAP guessing, several tries a session", 2, guess(h1, 60, 20, 12, 143, 22, 24), []string{"brute-force"}, outsider, 420, 0},
	{"one long session of many tries", 3, func(v *variety) {
		v.every(h1, h1+1800, 600, 0, func(at int64, i int) {
			v.add(talk{at: at, lasts: 590, client: outsider(v), server: v.ours(1), sport: 3306, out: 2400, outB: 2400 * 90, in: 2400, inB: 2400 * 100})
		})
	}, nil, nil, 0, 0},
	{"distributed SSH guessing, 60 sources", 3, func(v *variety) {
		v.every(h1, h1+1800, 3, 1, func(at int64, i int) {
			v.add(talk{at: at, lasts: 3, client: v.theirs(400 + i%60), server: v.ours(1), sport: 22, out: 14, outB: 1900, in: 16, inB: 2600})
		})
	}, []string{"brute-force"}, func(v *variety) string { return v.theirs(407) }, 1900, 0},

	{"beacon 30 s", 3, beaconing(h1, 3*h1, 30, 0, 8443), calls, insider, 1800, 0},
	{"beacon 60 s, 20 % jitter", 3, beaconing(h1, 3*h1, 60, 20, 443), []string{"beacon"}, insider, 3600, 0},
	{"beacon 60 s, 40 % jitter", 4, beaconing(h1, 4*h1, 60, 40, 4444), calls, insider, 3600, 0},
	{"beacon 5 min, 10 % jitter", 6, beaconing(h1, 6*h1, 300, 10, 443), []string{"beacon"}, insider, 3 * h1, 0},
	{"beacon 15 min", 10, beaconing(h1, 10*h1, 900, 5, 443), []string{"beacon"}, insider, 7 * h1, 0},
	{"beacon 1 h", 30, beaconing(h1, 30*h1, 3600, 0, 443), []string{"beacon"}, insider, 26 * h1, 0},
	{"beacon over UDP", 4, func(v *variety) {
		v.every(h1, 4*h1, 90, 4, func(at int64, i int) {
			v.add(talk{at: at, client: insider(v), server: v.theirs(78), sport: 8888, proto: udp, out: 2, outB: 300, in: 2, inB: 240})
		})
	}, calls, insider, 3600, 0},
	{"mining pool, one long connection", 6, func(v *variety) {
		v.add(talk{at: h1, lasts: 5*h1 - 60, client: insider(v), server: v.theirs(78), sport: 3333, out: 3000, outB: 600000, in: 3000, inB: 900000})
	}, []string{"outbound-callout", "beacon"}, insider, 1800, 0},
	{"mining pool over 443, one long connection", 8, func(v *variety) {
		v.add(talk{at: h1, lasts: 7*h1 - 60, client: v.ours(4), server: v.theirs(78), sport: 443, out: 3000, outB: 600000, in: 3000, inB: 900000})
	}, nil, nil, 0, 0},
	{"reverse shell of the database server to 443", 3, func(v *variety) {
		v.add(talk{at: h1, lasts: 3000, client: v.ours(4), server: v.theirs(78), sport: 443, out: 900, outB: 90000, in: 900, inB: 80000})
	}, nil, nil, 0, 0},

	{"exfiltration, 1 GB in 5 min", 3, func(v *variety) {
		v.visit(2*h1, 300, v.ours(4), v.theirs(78), 443, 1e9, 1e6)
	}, []string{"data-excess"}, func(v *variety) string { return v.ours(4) }, 600, 0},
	{"exfiltration, 250 MB in 5 min from a workstation that never uploads", 5, func(v *variety) {
		v.visit(4*h1, 300, insider(v), v.theirs(78), 443, 250e6, 1e6)
	}, []string{"data-excess"}, insider, 900, 0},
	{"exfiltration, low and slow, 4 MB in 5 min for 10 h", 14, func(v *variety) {
		v.every(3*h1, 13*h1, 300, 20, func(at int64, i int) { v.visit(at, 200, insider(v), v.theirs(78), 443, 4e6, 20000) })
	}, []string{"data-excess", "beacon"}, insider, 7 * h1, 0},
	{"exfiltration over SSH", 4, func(v *variety) {
		v.visit(3*h1, 600, v.ours(2), v.theirs(78), 22, 80e6, 1e6)
	}, []string{"data-excess", "outbound-callout"}, func(v *variety) string { return v.ours(2) }, 1200, 0},
	{"exfiltration by download from our web server", 4, func(v *variety) {
		v.visit(3*h1, 600, v.theirs(78), v.ours(0), 443, 200000, 900e6)
	}, []string{"data-excess"}, func(v *variety) string { return v.ours(0) }, 1200, 0},
	{"DNS tunnel", 3, func(v *variety) {
		v.every(h1, 3*h1, 1, 0, func(at int64, i int) {
			v.add(talk{at: at, client: insider(v), server: v.theirs(53), sport: 53, proto: udp, out: 20, outB: 4400, in: 20, inB: 9000})
		})
	}, []string{"external-dns"}, insider, 1500, 0},
	{"ICMP tunnel", 3, func(v *variety) {
		v.add(talk{at: h1, lasts: 3600, client: insider(v), server: v.theirs(78), proto: v.icmp(), out: 30000, outB: 30000 * 1000, in: 30000, inB: 30000 * 900})
	}, nil, nil, 0, 0},

	{"SYN flood", 3, func(v *variety) {
		for i := range 20000 {
			v.try(2*h1+int64(i/70), v.theirs(9000+i%8000), v.ours(0), 443, silent, 2, synLinux)
		}
	}, []string{"traffic-surge"}, func(v *variety) string { return v.ours(0) }, 600, 0},
	{"UDP reflection", 3, func(v *variety) {
		for i := range 3000 {
			v.add(talk{at: 2*h1 + int64(i/20), lasts: 20, client: v.theirs(9000 + i%300), cport: 53, server: v.ours(0), sport: uint16(20000 + i), proto: udp, out: 300, outB: 300 * 1400, reply: refused})
		}
	}, []string{"traffic-surge"}, func(v *variety) string { return v.ours(0) }, 900, 0},
	{"slow HTTP from one source, thousands of connections", 4, func(v *variety) {
		for i := range 4000 {
			v.visit(3*h1+int64(i/10), 600, outsider(v), v.ours(0), 443, 100, 100)
		}
	}, []string{"session-excess", "traffic-surge"}, outsider, 1200, 0},
}

func (v *variety) icmp() uint8 {
	if v.v6 {
		return icmp6
	}
	return icmp
}
