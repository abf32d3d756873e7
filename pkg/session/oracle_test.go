package session

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// told is one final event, without what may differ between runs.
type told struct {
	Kind           Kind
	ID             ID
	Client, Server flow.Endpoint
	Evidence       Evidence
	Outcome        Outcome
	Reason         Reason
	First, Last    flow.Time
	Out, In        Traffic
	OutFinal       Traffic
	InFinal        Traffic
	DeltaFirst     flow.Time
	Opened         bool
	Points         string
}

func toldOf(e *Event) told {
	v := told{
		Kind: e.Kind, ID: e.ID, Client: e.Client, Server: e.Server, Evidence: e.Evidence, Outcome: e.Outcome,
		Reason: e.Reason, First: e.First, Last: e.Last, Out: e.Out, In: e.In, OutFinal: e.OutFinal, InFinal: e.InFinal,
		DeltaFirst: e.DeltaFirst, Opened: e.Opened,
	}
	for _, p := range e.Points {
		v.Points += fmt.Sprintf("%s/%v%v ", p.ID, p.SawOut, p.SawIn)
	}
	return v
}

// oracle is the slow stitcher: it has all records, on time, and says for each
// key what the final events are. It shares nothing with the table but the
// judgement of the initiator, which has scripts of its own.
func oracle(cfg Config, records []flow.Record) []told {
	byKey := map[flow.Key][]flow.Record{}
	for _, r := range records {
		src, dst := r.Ends()
		k, _ := flow.NewKey(0, r.Protocol, src, dst)
		if !slices.ContainsFunc(byKey[k], func(o flow.Record) bool { return sameRecord(&o, &r) }) {
			byKey[k] = append(byKey[k], r)
		}
	}
	var all []told
	for k, list := range byKey {
		slices.SortStableFunc(list, func(a, b flow.Record) int { return cmp.Compare(a.Start, b.Start) })
		for len(list) > 0 {
			n, reason, at := oracleSession(cfg, list)
			all = append(all, oracleEvents(cfg, k, list[:n], reason, at)...)
			list = list[n:]
		}
	}
	return all
}

func sameRecord(a, b *flow.Record) bool {
	return a.InterfaceID == b.InterfaceID && a.Src == b.Src && a.Start == b.Start && a.End == b.End &&
		a.Packets == b.Packets && a.Bytes == b.Bytes && a.TCPFlags == b.TCPFlags && a.Action == b.Action
}

// oracleSession returns how many of the records, in order of start, are the
// first session, why it ended and at what clock that was certain.
func oracleSession(cfg Config, list []flow.Record) (n int, reason Reason, at flow.Time) {
	idle := cfg.IdleOther
	if list[0].Protocol == 6 {
		idle = cfg.IdleTCP
	}
	for n = 1; ; n++ {
		var last, ended flow.Time
		fins, rst, sides := map[flow.Endpoint]bool{}, false, map[flow.Endpoint]bool{}
		for _, r := range list[:n] {
			last = max(last, r.End)
			sides[r.Src] = true
			if r.TCPFlags&flow.FIN != 0 {
				fins[r.Src] = true
			}
			rst = rst || r.TCPFlags&flow.RST != 0
			if r.TCPFlags&(flow.FIN|flow.RST) != 0 {
				ended = max(ended, r.End)
			}
		}
		over := rst || len(fins) == 2
		why := ReasonFIN
		if rst {
			why = ReasonRST
		}
		closes := last.Add(idle + 1)
		reason = ReasonIdle
		if over {
			closes, reason = min(closes, ended.Add(cfg.Linger+1)), why
		}
		if n == len(list) {
			return n, reason, closes
		}
		r := list[n]
		grace := flow.Time(cfg.Skew)
		if slices.ContainsFunc(list[:n], func(o flow.Record) bool { return o.InterfaceID == r.InterfaceID && o.Src == r.Src }) {
			grace = 0
		}
		syn := r.TCPFlags&(flow.SYN|flow.ACK) == flow.SYN
		switch {
		case r.Start > last+flow.Time(idle), over && r.Start > ended+flow.Time(cfg.Linger):
			return n, reason, closes
		case syn && over && r.Start > ended+grace:
			return n, why, min(closes, r.Start+1)
		case syn && !over && len(sides) == 2 && r.Start > last+grace:
			return n, ReasonReuse, min(closes, r.Start+1)
		}
	}
}

// oracleEvents tells a session: progress Active after the first record not
// told yet, and a close.
func oracleEvents(cfg Config, k flow.Key, list []flow.Record, reason Reason, at flow.Time) (all []told) {
	var sent [2]Traffic
	done, client := 0, -1
	var evidence Evidence
	tell := func(kind Kind, n int, now flow.Time, reason Reason) {
		total := oracleTotals(k, list[:n])
		if client < 0 {
			client, evidence = oracleInitiator(cfg, k, list[:n], total)
		}
		ends := [2]flow.Endpoint{k.A, k.B}
		v := told{
			Kind: kind, ID: IDOf(k, list[0].Start), Client: ends[client], Server: ends[1-client], Evidence: evidence, Reason: reason,
			First: list[0].Start, Out: total[client], In: total[1-client],
			OutFinal: minus(total[client], sent[client]), InFinal: minus(total[1-client], sent[1-client]),
			Opened: done == 0, DeltaFirst: now,
		}
		for _, r := range list[:n] {
			v.Last = max(v.Last, r.End)
		}
		if done < n {
			v.DeltaFirst = list[done].Start
		}
		v.Outcome = outcome(&v.Out, &v.In, k.A.Addr.Is4())
		if v.Outcome == OutcomePending && (kind == KindClose || now > v.First+flow.Time(cfg.UnansweredAfter)) {
			v.Outcome = OutcomeUnanswered
		}
		v.Points = oraclePoints(list[:n], ends[client])
		all = append(all, v)
		sent, done = total, n
	}
	for done < len(list) {
		due := list[done].Start + flow.Time(cfg.Active)
		if due >= at {
			break
		}
		n := done
		for n < len(list) && list[n].Start < due {
			n++
		}
		tell(KindProgress, n, due, ReasonOpen)
	}
	tell(KindClose, len(list), at, reason)
	return all
}

func oraclePoints(list []flow.Record, client flow.Endpoint) (s string) {
	saw := map[string][2]bool{}
	var names []string
	for _, r := range list {
		v, ok := saw[r.InterfaceID]
		if !ok {
			names = append(names, r.InterfaceID)
		}
		if r.Src == client {
			v[0] = true
		} else {
			v[1] = true
		}
		saw[r.InterfaceID] = v
	}
	slices.Sort(names)
	for _, n := range names {
		s += fmt.Sprintf("%s/%v%v ", n, saw[n][0], saw[n][1])
	}
	return s
}

func oracleTotals(k flow.Key, list []flow.Record) (total [2]Traffic) {
	for side, from := range [2]flow.Endpoint{k.A, k.B} {
		for _, reject := range []bool{false, true} {
			best := [3]int64{}
			for _, point := range []string{"eni-a", "eni-b", "eni-c"} {
				sum := [3]int64{}
				for _, r := range list {
					if r.Src == from && r.InterfaceID == point && (r.Action == flow.Reject) == reject {
						sum[0] += int64(r.Bytes)
						sum[1] += int64(r.Packets)
						sum[2]++
					}
				}
				for i := range best {
					best[i] = max(best[i], sum[i])
				}
			}
			if reject {
				total[side].RejectBytes, total[side].RejectPackets = best[0], best[1]
			} else {
				total[side].Bytes, total[side].Packets = best[0], best[1]
			}
			total[side].Records += best[2]
		}
		for _, r := range list {
			if r.Src == from {
				total[side].Flags |= r.TCPFlags
			}
		}
	}
	return total
}

// oracleInitiator asks the table's own judgement.
func oracleInitiator(cfg Config, k flow.Key, list []flow.Record, total [2]Traffic) (int, Evidence) {
	v := view{total: total, start: [2]uint32{noTime, noTime}}
	for _, r := range list {
		side := sideB
		if r.Src == k.A {
			side = sideA
		}
		v.start[side] = min(v.start[side], uint32(r.Start))
	}
	t := NewTable(cfg)
	c := pack4(&k)
	side, evidence, _ := t.initiator(&c, &v)
	return side, evidence
}
