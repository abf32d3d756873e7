package gen

import (
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// Truth is what one attack really did: a row of the truth file.
type Truth struct {
	Dataset    string
	Kind       Kind
	Direction  string // inbound, outbound or internal
	Start, End flow.Time
	Flows      int64 // sessions

	PacketsOut, BytesOut, PacketsIn, BytesIn uint64

	attackers, victims map[flow.Addr]struct{}
	ports              map[uint16]int64
	protocols          map[uint8]struct{}
	expect, provenance string
}

func newTruth(s *Stream, x *assault) Truth {
	t := Truth{
		Dataset: s.sc.Name, Kind: x.Kind, Direction: "inbound",
		Start: flow.MaxTime, End: flow.MinTime,
		attackers: map[flow.Addr]struct{}{}, victims: map[flow.Addr]struct{}{},
		ports: map[uint16]int64{}, protocols: map[uint8]struct{}{},
		expect:     x.Kind.Expect(),
		provenance: fmt.Sprintf("flowstitch gen, scenario %s, seed %d", s.sc.Name, s.sc.Seed),
	}
	switch {
	case x.from >= 0 && len(x.hits) > 0 && x.hits[0].point >= 0:
		t.Direction = "internal"
	case x.from >= 0:
		t.Direction = "outbound"
	}
	return t
}

func (t *Truth) add(s *Stream, k *talk) {
	t.Start = min(t.Start, s.origin.Add(int64(k.start)))
	t.End = max(t.End, s.origin.Add(int64(k.end)))
	t.Flows++
	t.PacketsOut += k.outPackets
	t.BytesOut += k.outBytes
	t.PacketsIn += k.inPackets
	t.BytesIn += k.inBytes
	t.attackers[k.client.Addr] = struct{}{}
	t.victims[k.server.Addr] = struct{}{}
	t.ports[k.server.Port]++
	t.protocols[k.protocol] = struct{}{}
}

func (t *Truth) gap(s *Stream) {
	t.Start = min(t.Start, s.origin.Add(int64(s.now)))
	t.End = max(t.End, s.origin.Add(int64(s.now+s.interval-1)))
	t.Flows++
}

// Truth returns what the attacks have done so far, in the scenario's order. It
// is complete once Next has returned false.
func (s *Stream) Truth() []Truth {
	out := make([]Truth, 0, len(s.attacks))
	for i := range s.attacks {
		if s.attacks[i].truth.Flows > 0 {
			out = append(out, s.attacks[i].truth)
		}
	}
	return out
}

// maxListed is how many addresses a row of the truth file names.
const maxListed = 20

// WriteTruth writes rows as CSV with a header: who, whom, when, how much, and
// in the last column the detector that should tell.
func WriteTruth(w io.Writer, rows []Truth) error {
	c := csv.NewWriter(w)
	_ = c.Write([]string{
		"dataset", "attacker_ip", "victim_ip", "n_victims", "kind", "direction", "start", "end", "flows",
		"packets_out", "bytes_out", "packets_in", "bytes_in", "n_dst_ports", "top_dst_port", "protocols",
		"provenance", "expect",
	})
	for i := range rows {
		_ = c.Write(rows[i].row())
	}
	c.Flush()
	return c.Error()
}

func (t *Truth) row() []string {
	u := func(v uint64) string { return strconv.FormatUint(v, 10) }
	n := func(v int64) string { return strconv.FormatInt(v, 10) }
	return []string{
		t.Dataset, addresses(t.attackers), addresses(t.victims), n(int64(len(t.victims))),
		string(t.Kind), t.Direction, n(int64(t.Start)), n(int64(t.End)), n(t.Flows),
		u(t.PacketsOut), u(t.BytesOut), u(t.PacketsIn), u(t.BytesIn),
		n(int64(len(t.ports))), n(int64(t.topPort())), t.protocolList(), t.provenance, t.expect,
	}
}

func (t *Truth) topPort() uint16 {
	ports := make([]uint16, 0, len(t.ports))
	for p := range t.ports {
		ports = append(ports, p)
	}
	slices.Sort(ports)
	var top uint16
	var most int64
	for _, p := range ports {
		if t.ports[p] > most {
			top, most = p, t.ports[p]
		}
	}
	return top
}

func (t *Truth) protocolList() string {
	var list []string
	for _, p := range []uint8{protoICMP, protoTCP, protoUDP} {
		if _, ok := t.protocols[p]; ok {
			list = append(list, strconv.Itoa(int(p)))
		}
	}
	return strings.Join(list, ";")
}

func addresses(set map[flow.Addr]struct{}) string {
	all := make([]flow.Addr, 0, len(set))
	for a := range set {
		all = append(all, a)
	}
	slices.SortFunc(all, flow.Addr.Compare)
	text := make([]string, 0, maxListed)
	for _, a := range all[:min(len(all), maxListed)] {
		text = append(text, a.String())
	}
	return strings.Join(text, ";")
}
