package flowlog

import (
	"math/big"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// slow decodes a line the plain way: split into words, look every name up, and
// judge at the end. It shares no code with the decoder and follows the rules of
// the package doc. ok is false for a reject.
func slow(names []string, line string) (r flow.Record, ok bool) {
	words := strings.FieldsFunc(line, func(c rune) bool { return c == ' ' })
	if len(words) < len(names) || len(words) > len(names)+32 {
		return r, false
	}
	r.Attrs = []flow.Attr{}
	have := map[string]bool{}
	for i, name := range names {
		if words[i] == "-" {
			continue
		}
		have[name] = true
		if !slowField(&r, name, words[i]) {
			return r, false
		}
	}
	for i, w := range words[len(names):] {
		r.Attrs = append(r.Attrs, flow.Attr{Name: extraNames[i], Value: w})
	}
	return r, slowRules(&r, names, have)
}

func slowField(r *flow.Record, name, w string) bool {
	number := func(limit int64) (int64, bool) {
		if w == "" || strings.Trim(w, "0123456789") != "" || len(w) > 19 {
			return 0, false
		}
		v, _ := new(big.Int).SetString(w, 10)
		return v.Int64(), v.Cmp(big.NewInt(limit)) <= 0
	}
	addr := func(p *flow.Addr) bool {
		ip, err := netip.ParseAddr(w)
		if err != nil || ip.Zone() != "" || ip == netip.IPv6Unspecified() {
			return false
		}
		*p = flow.AddrFrom(ip)
		return true
	}
	const big63 = 1<<63 - 1
	var v int64
	ok := true
	switch name {
	case "version":
		v, ok = number(255)
		r.Version = uint8(v)
	case "srcport":
		v, ok = number(65535)
		r.Src.Port = uint16(v)
	case "dstport":
		v, ok = number(65535)
		r.Dst.Port = uint16(v)
	case "protocol":
		v, ok = number(255)
		r.Protocol = uint8(v)
	case "tcp-flags":
		v, ok = number(255)
		r.TCPFlags, r.HasFlags = uint8(v), true
	case "traffic-path":
		v, ok = number(255)
		r.Path = uint8(v)
	case "packets":
		v, ok = number(big63)
		r.Packets = uint64(v)
	case "bytes":
		v, ok = number(big63)
		r.Bytes = uint64(v)
	case "start":
		v, ok = number(big63)
		r.Start = flow.Time(v)
	case "end":
		v, ok = number(big63)
		r.End = flow.Time(v)
	case "srcaddr":
		ok = addr(&r.Src.Addr)
	case "dstaddr":
		ok = addr(&r.Dst.Addr)
	case "pkt-srcaddr":
		ok = addr(&r.PktSrc)
	case "pkt-dstaddr":
		ok = addr(&r.PktDst)
	case "action":
		r.Action = map[string]flow.Action{"ACCEPT": flow.Accept, "REJECT": flow.Reject}[w]
		ok = r.Action != 0
	case "flow-direction":
		r.Direction = map[string]flow.Direction{"ingress": flow.Ingress, "egress": flow.Egress}[w]
		ok = r.Direction != 0
	case "log-status":
		r.Kind, ok = map[string]flow.Kind{"OK": flow.KindFlow, "NODATA": flow.KindNoData, "SKIPDATA": flow.KindSkipData}[w]
	default:
		slowText(r, name, w)
	}
	return ok
}

func slowText(r *flow.Record, name, w string) {
	for n, p := range map[string]*string{
		"account-id": &r.AccountID, "interface-id": &r.InterfaceID, "resource-id": &r.ResourceID, "vpc-id": &r.VPCID,
		"subnet-id": &r.SubnetID, "instance-id": &r.InstanceID, "region": &r.Region, "tgw-attachment-id": &r.InterfaceID,
		"pkt-src-aws-service": &r.SrcService, "pkt-dst-aws-service": &r.DstService,
	} {
		if n == name {
			*p = w
			return
		}
	}
	r.Attrs = append(r.Attrs, flow.Attr{Name: name, Value: w})
}

func slowRules(r *flow.Record, names []string, have map[string]bool) bool {
	if slices.Contains(names, "log-status") && !have["log-status"] {
		return false
	}
	if r.Kind == flow.KindFlow {
		if !have["srcaddr"] && !have["pkt-srcaddr"] || !have["dstaddr"] && !have["pkt-dstaddr"] || !have["protocol"] {
			return false
		}
		withPorts := slices.Contains([]uint8{6, 17, 33, 132, 136}, r.Protocol)
		if withPorts && (!have["srcport"] || !have["dstport"]) {
			return false
		}
	}
	switch {
	case !have["start"] && !have["end"]:
		return false
	case !have["start"]:
		r.Start = r.End
	case !have["end"]:
		r.End = r.Start
	}
	return r.Start >= 1230768000 && r.End < 4102444800 && r.Start <= r.End && r.End-r.Start <= 86400
}

// compare holds the decoder against the slow one.
func compare(t testing.TB, layout *Format, line string) {
	t.Helper()
	trimmed := strings.Trim(line, " \t\r\n")
	if trimmed == "" || header([]byte(trimmed)) != nil {
		return
	}
	if plain, _, _ := unprefix([]byte(trimmed)); string(plain) != trimmed {
		return
	}
	d := mustNew(t, Config{Format: layout.String()})
	var k keep
	d.Payload([]byte(line), flow.Origin{}, &k)
	want, ok := slow(layout.Names(), trimmed)
	want.Origin.Line = 1
	switch {
	case len(k.records)+len(k.rejects) != 1:
		t.Fatalf("%q: %d records and %d rejects", line, len(k.records), len(k.rejects))
	case ok && len(k.records) != 1:
		t.Fatalf("%q: rejected, %s; the slow decoder reads it", line, k.rejects[0].Reason)
	case !ok && len(k.records) == 1:
		t.Fatalf("%q: read as %+v; the slow decoder rejects it", line, k.records[0])
	case ok && diff(k.records[0], want) != "":
		t.Fatalf("%q: %s", line, diff(k.records[0], want))
	}
}
