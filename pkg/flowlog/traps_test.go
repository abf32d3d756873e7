package flowlog

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// decode runs one payload through a new decoder and checks the balance.
func decode(t testing.TB, c Config, o flow.Origin, data []byte) (*Decoder, *keep) {
	t.Helper()
	d := mustNew(t, c)
	var k keep
	d.Payload(data, o, &k)
	balance(t, d, len(k.records), len(k.rejects))
	return d, &k
}

// one is decode for a payload that must give a single record.
func one(t testing.TB, c Config, data string) flow.Record {
	t.Helper()
	_, k := decode(t, c, flow.Origin{Source: "s"}, []byte(data))
	if len(k.records) != 1 || len(k.rejects) != 0 {
		t.Fatalf("%q: %d records, rejects %+v", data, len(k.records), k.rejects)
	}
	return k.records[0]
}

// TestRules states the rules for doubtful values, each with its line.
func TestRules(t *testing.T) {
	with := func(old, text string) string { return strings.Replace(lineV2, old, text, 1) }
	for _, c := range []struct{ name, line, class, field string }{
		{"double spaces", with(" 22 ", "   22 "), "", ""},
		{"tabs", strings.ReplaceAll(lineV2, " ", "\t"), "", ""},
		{"trailing spaces", lineV2 + "  ", "", ""},
		{"port 0", with("20641", "0"), "", ""},
		{"port 65536", with("20641", "65536"), "range", "srcport"},
		{"port -1", with("20641", "-1"), "value", "srcport"},
		{"missing port of TCP", with("20641 22 6", "- 22 6"), "missing", "srcport"},
		{"missing port of ICMP", with("20641 22 6", "- - 1"), "", ""},
		{"unknown account", with("123456789010", "unknown"), "", ""},
		{"no version", "-" + lineV2[1:], "", ""},
		{"packets of 63 bits", with(" 20 ", " 9223372036854775807 "), "", ""},
		{"packets of 64 bits", with(" 20 ", " 9223372036854775808 "), "range", "packets"},
		{"packets of 70 bits", with(" 20 ", " 1180591620717411303424 "), "range", "packets"},
		{"1970", with("1418530010", "0"), "time", "start"},
		{"the last second before 2009", with("1418530010", "1230767999"), "time", "start"},
		{"2009", with("1418530010 1418530070", "1230768000 1230768000"), "", ""},
		{"2099", with("1418530010 1418530070", "4102444799 4102444799"), "", ""},
		{"2100", with("1418530010 1418530070", "4102444799 4102444800"), "time", "end"},
		{"milliseconds", with("1418530010 1418530070", "1418530010000 1418530070000"), "time", "start"},
		{"start after end", with("1418530010", "1418530071"), "time", "end"},
		{"a day", with("1418530070", "1418616410"), "", ""},
		{"more than a day", with("1418530070", "1418616411"), "time", "end"},
		{"leading zero in an address", with("172.31.16.21", "172.31.016.21"), "value", "dstaddr"},
		{"address of 5 parts", with("172.31.16.21", "172.31.16.21.1"), "value", "dstaddr"},
		{"IPv6 with a zone", with("172.31.16.21", "fe80::1%eth0"), "value", "dstaddr"},
		{"unspecified IPv6", with("172.31.16.21", "::"), "value", "dstaddr"},
		{"IPv4 in IPv6", with("172.31.16.21", "::ffff:172.31.16.21"), "", ""},
		{"lower-case action", with("ACCEPT", "accept"), "value", "action"},
		{"other status", with(" OK", " FINE"), "value", "log-status"},
		{"no status", with(" OK", " -"), "missing", "log-status"},
		{"NODATA with a REJECT and addresses", with("ACCEPT OK", "REJECT NODATA"), "", ""},
		{"SKIPDATA with all fields", with(" OK", " SKIPDATA"), "", ""},
		{"NODATA without a time", "2 1 eni-1 - - - - - - - - - - NODATA", "missing", "start"},
		{"cut off", strings.TrimSuffix(lineV2, " 4249 1418530010 1418530070 ACCEPT OK"), "fields", "bytes"},
		{"trailing fields", lineV2 + " and more", "", ""},
		{"32 trailing fields", lineV2 + strings.Repeat(" x", 32), "", ""},
		{"33 trailing fields", lineV2 + strings.Repeat(" x", 33), "fields", ""},
		{"a NUL byte in a name", with("eni-", "eni\x00-"), "", ""},
	} {
		_, k := decode(t, Config{Format: V2().String()}, flow.Origin{}, []byte(c.line))
		switch {
		case c.class == "" && (len(k.records) != 1 || len(k.rejects) != 0):
			t.Errorf("%s: %d records, rejects %+v", c.name, len(k.records), k.rejects)
		case c.class != "" && (len(k.rejects) != 1 || k.rejects[0].Class.String() != c.class || k.rejects[0].Field != c.field):
			t.Errorf("%s: want a reject for %s of %q: %d records, rejects %+v", c.name, c.class, c.field, len(k.records), k.rejects)
		case c.class != "" && string(k.rejects[0].Raw) != c.line:
			t.Errorf("%s: the raw bytes are %q", c.name, k.rejects[0].Raw)
		}
	}
}

func TestRejectsNameTheColumn(t *testing.T) {
	_, k := decode(t, Config{Format: V2().String()}, flow.Origin{Source: "stream", Shard: "0", Sequence: "9"},
		[]byte("\n"+lineV2+"\n"+strings.Replace(lineV2, "22", "x", 1)))
	if len(k.rejects) != 1 {
		t.Fatalf("%+v", k.rejects)
	}
	r := k.rejects[0]
	if r.Column != 7 || r.Field != "dstport" || r.Reason != `dstport: "x" is not a number` {
		t.Errorf("%+v", r)
	}
	if want := (flow.Origin{Source: "stream", Shard: "0", Sequence: "9", Sub: 1, Line: 2}); r.Origin != want {
		t.Errorf("%+v", r.Origin)
	}
}

// A record survives being written in any format and read again, for the fields
// that the format has.
func TestRoundTrip(t *testing.T) {
	formats := []*Format{TransitGateway()}
	for v := uint8(2); v <= 11; v++ {
		formats = append(formats, UpTo(v))
	}
	rapid.Check(t, func(t *rapid.T) {
		f := rapid.SampledFrom(formats).Draw(t, "format")
		if rapid.Bool().Draw(t, "shuffle") {
			var err error
			if f, err = newFormat(rapid.Permutation(f.Names()).Draw(t, "order")); err != nil {
				t.Fatal(err)
			}
		}
		r := drawRecord(t, f)
		line := f.AppendLine(nil, &r)
		d, err := New(Config{Format: f.String()})
		if err != nil {
			t.Fatal(err)
		}
		var k keep
		d.Payload(line, flow.Origin{}, &k)
		if len(k.records) != 1 {
			t.Fatalf("%s: rejects %+v", line, k.rejects)
		}
		if again := f.AppendLine(nil, &k.records[0]); !bytes.Equal(again, line) {
			t.Fatalf("%s\n%s", line, again)
		}
		r.Origin = k.records[0].Origin
		if d := diff(k.records[0], r); d != "" {
			t.Fatal(d)
		}
	})
}

// drawRecord makes a record that has just the fields of a format.
func drawRecord(t *rapid.T, f *Format) flow.Record {
	word := rapid.StringMatching(`[a-zA-Z0-9%/:._]{1,20}`)
	addr := rapid.Custom(func(t *rapid.T) flow.Addr {
		b := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "addr")
		b[0] |= 0x20 // never ::, never IPv4 in IPv6
		if rapid.Bool().Draw(t, "ipv4") {
			return flow.AddrFrom4([4]byte(b))
		}
		return flow.Addr(b)
	})
	r := flow.Record{Attrs: []flow.Attr{}}
	w := row{rec: &r}
	set := func(o op) bool { return f.hasOp(o) }
	r.Kind = flow.Kind(rapid.IntRange(0, 2).Draw(t, "kind"))
	r.Version = uint8(rapid.IntRange(2, 11).Draw(t, "version"))
	r.Start = flow.Time(rapid.Int64Range(int64(MinTime), int64(MaxTime)-601).Draw(t, "start"))
	r.End = r.Start + flow.Time(rapid.IntRange(0, 600).Draw(t, "seconds"))
	if r.Kind == flow.KindFlow {
		r.Src = flow.Endpoint{Addr: addr.Draw(t, "src"), Port: rapid.Uint16().Draw(t, "srcport")}
		r.Dst = flow.Endpoint{Addr: addr.Draw(t, "dst"), Port: rapid.Uint16().Draw(t, "dstport")}
		r.Protocol = rapid.Byte().Draw(t, "protocol")
		r.Packets = rapid.Uint64Max(1<<63-1).Draw(t, "packets")
		r.Bytes = rapid.Uint64Max(1<<63-1).Draw(t, "bytes")
	}
	if set(opAction) && r.Kind == flow.KindFlow {
		r.Action = flow.Action(rapid.IntRange(1, 2).Draw(t, "action"))
	}
	if set(opFlags) && rapid.Bool().Draw(t, "flags") {
		r.HasFlags, r.TCPFlags = true, rapid.Byte().Draw(t, "tcp-flags")
	}
	if set(opPath) {
		r.Path = rapid.Byte().Draw(t, "path")
	}
	if set(opDirection) {
		r.Direction = flow.Direction(rapid.IntRange(0, 2).Draw(t, "direction"))
	}
	for i := range f.cols {
		c := &f.cols[i]
		if p := text(&r, c.op); p != nil && rapid.Bool().Draw(t, "present") {
			*p = word.Draw(t, c.name)
		}
		if c.op == opAttr && rapid.Bool().Draw(t, "present") {
			w.word(c, word.Draw(t, c.name))
		}
		if (c.op == opPktSrc || c.op == opPktDst) && rapid.Bool().Draw(t, "present") {
			*address(&r, c.op) = addr.Draw(t, c.name)
		}
	}
	return r
}

func TestFormatSyntax(t *testing.T) {
	for s, want := range map[string]string{
		"":                               "empty",
		"${version} ${srcaddr":           "no field name",
		"${version} ${version}":          "twice",
		"${srcaddr} ${Src}":              "no field name",
		"interface-id tgw-attachment-id": "means the same",
		strings.Repeat("a ", 300):        "at most 256",
	} {
		if _, err := ParseFormat(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", s, err)
		}
	}
	f, err := ParseFormat("${srcaddr},${dstaddr}  new-field\t${pkt_srcaddr}")
	if err != nil || f.String() != "${srcaddr} ${dstaddr} ${new-field} ${pkt-srcaddr}" || fmt.Sprint(f.Unknown()) != "[new-field]" {
		t.Errorf("%v %v", f, err)
	}
	for _, n := range []struct {
		version uint8
		fields  int
	}{{2, 14}, {3, 21}, {4, 25}, {5, 29}, {6, 29}, {7, 39}, {8, 40}, {9, 41}, {10, 42}, {11, 54}} {
		if got := UpTo(n.version).Len(); got != n.fields {
			t.Errorf("version %d has %d fields, not %d", n.version, got, n.fields)
		}
	}
	if n := TransitGateway().Len(); n != 36 {
		t.Errorf("transit gateway: %d fields", n)
	}
	_, err = New(Config{Format: "${srcaddr}", Formats: map[string]string{"b": "x", "a": "${"}})
	if err == nil || !strings.Contains(err.Error(), "no dstaddr") || !strings.Contains(err.Error(), "log group a") || !strings.Contains(err.Error(), "log group b") {
		t.Errorf("all that is wrong at once: %v", err)
	}
}

func TestUnknownFieldsAreKeptAndCounted(t *testing.T) {
	d, k := decode(t, Config{Format: V2().String() + " ${shoe-size}"}, flow.Origin{}, []byte(lineV2+" 42\n"+lineV2+" -\n"+lineV2+" 43"))
	if len(k.records) != 3 || k.records[0].Attr("shoe-size") != "42" || k.records[1].Attr("shoe-size") != "" {
		t.Fatalf("%+v %+v", k.records, k.rejects)
	}
	if u := d.UnknownFields(); len(u) != 1 || u[0] != (UnknownField{"shoe-size", 2}) {
		t.Fatalf("%+v", u)
	}
	_, k = decode(t, Config{Format: V2().String()}, flow.Origin{}, []byte(lineV2+" a b"))
	if k.records[0].Attr("extra-1") != "a" || k.records[0].Attr("extra-2") != "b" {
		t.Fatalf("%+v", k.records)
	}
}

// Two flow logs that write to one log group share its streams.
func TestAlternativesOfOneLogGroup(t *testing.T) {
	swapped := "${srcaddr} ${dstaddr} ${dstport} ${srcport} ${protocol} ${start} ${end} ${log-status}"
	d := mustNew(t, Config{Formats: map[string]string{"both": V2().String() + " | " + swapped}})
	var k keep
	d.Payload([]byte(lineV2+"\n10.0.0.1 10.0.0.2 443 1025 6 1418530010 1418530070 OK\n"+lineV2+" extra"), flow.Origin{LogGroup: "both"}, &k)
	if len(k.records) != 3 || k.records[1].Src.Port != 1025 || k.records[2].Attr("extra-1") != "extra" {
		t.Fatalf("%+v %+v", k.records, k.rejects)
	}
	k = keep{}
	d.Payload([]byte("10.0.0.1 10.0.0.2 443 1025 6 1418530010 1418530070 OK"), flow.Origin{LogGroup: "other"}, &k)
	if len(k.rejects) != 1 || k.rejects[0].Class != ClassLayout {
		t.Fatalf("%+v", k)
	}
}

func TestDecodeAllocatesNothing(t *testing.T) {
	for name, c := range map[string]struct{ format, line string }{
		"v2": {V2().String(), lineV2}, "v5": {UpTo(5).String(), lineV5}, "no data": {V2().String(), lineNoData},
	} {
		d := mustNew(t, Config{Format: c.format})
		var n count
		data := []byte(c.line)
		d.Payload(data, flow.Origin{}, &n)
		if allocs := testing.AllocsPerRun(100, func() { d.Payload(data, flow.Origin{}, &n) }); allocs != 0 {
			t.Errorf("%s: %v allocations a line", name, allocs)
		}
		if n.rejects > 0 {
			t.Errorf("%s: rejects", name)
		}
	}
}
