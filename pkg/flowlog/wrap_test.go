package flowlog

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/segmentio/encoding/json"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// quote writes a text as JSON.
func quote(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

func TestEnvelope(t *testing.T) {
	for name, data := range map[string][]byte{
		"plain":                   []byte(envelope),
		"gzip":                    gzipped(t, envelope),
		"two members of gzip":     gzipped(t, envelope[:100], envelope[100:]),
		"with a byte order mark":  []byte("\ufeff" + envelope),
		"pretty":                  []byte(strings.NewReplacer("{", "{\n ", ",\"", ",\n \"").Replace(envelope)),
		"gzip in gzip":            gzipped(t, string(gzipped(t, envelope))),
		"in an array":             []byte("[" + envelope + "]"),
		"base64 for a function":   []byte(`{"awslogs":{"data":"` + base64.StdEncoding.EncodeToString(gzipped(t, envelope)) + `"}}`),
		"with unknown keys":       []byte(strings.Replace(envelope, `"owner"`, `"policyLevel":["x",{"y":[1,2.5e3,null,true]}],"owner"`, 1)),
		"events first":            []byte(`{"logEvents"` + strings.SplitN(strings.TrimSuffix(envelope, "}"), `"logEvents"`, 2)[1] + `,` + strings.SplitN(envelope, `,"logEvents"`, 2)[0][1:] + `}`),
		"message after timestamp": []byte(strings.Replace(envelope, `"message":`, `"mess\u0061ge":"no","message":`, 1)),
	} {
		d, k := decode(t, Config{}, flow.Origin{Source: "stream", Shard: "shard-1", Sequence: "7", Sub: 10}, data)
		if len(k.records) != 2 || len(k.rejects) != 0 {
			t.Errorf("%s: %d records, rejects %+v", name, len(k.records), k.rejects)
			continue
		}
		if k.records[1].Kind != flow.KindNoData {
			t.Errorf("%s: kind %d", name, k.records[1].Kind)
		}
		want := flow.Origin{Source: "stream", Shard: "shard-1", Sequence: "7", LogGroup: "vpc", LogStream: "eni-1-all", Sub: 11, Line: 2}
		if k.records[1].Origin != want {
			t.Errorf("%s: %+v", name, k.records[1].Origin)
		}
		if c := d.Choices(); len(c) != 1 || c[0].Source != "vpc" || c[0].Basis != "inferred" {
			t.Errorf("%s: %+v", name, c)
		}
	}
}

func TestEnvelopesOneBehindTheOther(t *testing.T) {
	other := strings.ReplaceAll(envelope, `"vpc"`, `"vpc-2"`)
	d, k := decode(t, Config{}, flow.Origin{}, gzipped(t, envelope, control, other))
	if len(k.records) != 4 || len(k.rejects) != 0 || d.Stats().Control != 1 || k.records[3].Origin.LogGroup != "vpc-2" || k.records[3].Origin.Sub != 3 {
		t.Fatalf("%d records, rejects %+v, %+v", len(k.records), k.rejects, d.Stats())
	}
}

func TestEnvelopeLayoutPerLogGroup(t *testing.T) {
	data := strings.NewReplacer(lineV2, "10.0.0.1 10.0.0.2 1025 443 6 OK", lineNoData, "10.0.0.1 10.0.0.2 1025 443 6 OK").Replace(envelope)
	_, k := decode(t, Config{Formats: map[string]string{"vpc": "${srcaddr} ${dstaddr} ${srcport} ${dstport} ${protocol} ${log-status}"}}, flow.Origin{}, []byte(data))
	if len(k.records) != 2 || k.records[0].Start != 1432826855 || k.records[0].End != 1432826855 {
		t.Fatalf("the event's time is the record's: %+v %+v", k.records, k.rejects)
	}
}

func TestEnvelopeDamage(t *testing.T) {
	for name, c := range map[string]struct {
		data    []byte
		class   Class
		records int
		rejects int
	}{
		"cut off":             {[]byte(envelope[:len(envelope)-5]), ClassJSON, 1, 1},
		"no message":          {[]byte(strings.Replace(envelope, `"message"`, `"massage"`, 1)), ClassJSON, 1, 1},
		"an event of numbers": {[]byte(strings.Replace(envelope, `"logEvents":[`, `"logEvents":[7,`, 1)), ClassJSON, 2, 1},
		"no flow log":         {[]byte(`{"eventName":"RunInstances","start":3}`), ClassJSON, 0, 1},
		"gzip cut off":        {gzipped(t, envelope)[:100], ClassCompress, 0, 1},
		"garbage after gzip":  {append(gzipped(t, envelope), "garbage"...), ClassCompress, 0, 1},
		"only gzip's magic":   {[]byte{0x1f, 0x8b}, ClassCompress, 0, 1},
		"a bomb":              {gzipped(t, strings.Repeat(lineV2+"\n", 20000)), ClassSize, 0, 1},
		"deep nesting":        {[]byte(`{"message":` + strings.Repeat("[", 1<<20)), ClassJSON, 0, 1},
		"a protobuf":          {[]byte("\x0a\x05hello\x12\x03abc\xff\xfe"), ClassLayout, 0, 1},
	} {
		_, k := decode(t, Config{MaxPayload: 1 << 20}, flow.Origin{}, c.data)
		if len(k.records) != c.records || len(k.rejects) != c.rejects || k.rejects[0].Class != c.class {
			t.Errorf("%s: %d records, rejects %.400s", name, len(k.records), fmt.Sprint(k.rejects))
		} else if c.class == ClassCompress && !bytes.Equal(k.rejects[0].Raw, c.data) {
			t.Errorf("%s: the raw bytes are lost", name)
		}
	}
}

func TestFirehose(t *testing.T) {
	m := `{"message":` + quote(lineV2) + `}`
	_, k := decode(t, Config{}, flow.Origin{}, []byte(m+"\n"+m+m+"\n"+lineV2+"\n"+`{"message":`+quote(m)+`}`))
	if len(k.records) != 5 || len(k.rejects) != 0 || k.records[4].Origin.Line != 5 {
		t.Fatalf("%d records, rejects %+v", len(k.records), k.rejects)
	}
	escaped := strings.Replace(m, "eni-", `\u0065ni-`, 1)
	if r := one(t, Config{}, escaped); r.InterfaceID != "eni-1235b8ca123456789" {
		t.Fatalf("%+v", r)
	}
}

func TestLeadingTime(t *testing.T) {
	for prefix, stream := range map[string]string{
		"2024-09-27T21:33:43.000Z ":                         "",
		"2024-09-27T21:33:43Z ":                             "",
		"2024-09-27T21:33:43+02:00 ":                        "",
		"2024-09-27 21:33:43,123 UTC ":                      "",
		"2024-09-27 21:33:43 (UTC+02:00) ":                  "",
		"\u25b6 2024-09-27T21:33:43.000-07:00\t":            "",
		"21:33:43 ":                                         "",
		"2024-09-27T21:33:43 eni-1235b8ca123456789-all ":    "eni-1235b8ca123456789-all",
		"2024-09-27T21:33:43 eni-1235b8ca123456789-accept ": "eni-1235b8ca123456789-accept",
	} {
		for _, format := range []string{"", V2().String()} {
			r := one(t, Config{Format: format}, prefix+lineV2)
			if r.Start != 1418530010 || r.Version != 2 || r.Origin.LogStream != stream {
				t.Errorf("%q: %+v", prefix, r)
			}
		}
	}
	format := "${srcaddr} ${dstaddr} ${srcport} ${dstport} ${protocol} ${log-status}"
	if r := one(t, Config{Format: format}, "2024-09-27T21:33:43+02:00 10.0.0.1 10.0.0.2 1025 443 6 OK"); r.Start != 1727465623 {
		t.Errorf("the time before a line without one is its time: %d", r.Start)
	}
}

// What CloudWatch's parseVPC makes of a line, in two spellings.
func TestTransformedJSON(t *testing.T) {
	want := one(t, Config{}, lineV2)
	for _, text := range []string{
		`{"version":2,"accountId":"123456789010","interfaceId":"eni-1235b8ca123456789","srcAddr":"172.31.16.139","dstAddr":"172.31.16.21","srcPort":20641,"dstPort":22,"protocol":6,"packets":20,"bytes":4249,"start":1418530010,"end":1418530070,"action":"ACCEPT","logStatus":"OK"}`,
		`{"version":"2","account_id":"123456789010","interface-id":"eni-1235b8ca123456789","srcaddr":"172.31.16.139","dstaddr":"172.31.16.21","srcport":"20641","dstport":"22","protocol":"6","packets":"20","bytes":"4249","start":"1418530010","end":"1418530070","action":"ACCEPT","log-status":"OK"}`,
	} {
		for _, data := range []string{text, strings.Replace(envelope, quote(lineNoData), quote(text), 1)} {
			_, k := decode(t, Config{}, flow.Origin{}, []byte(data))
			if len(k.records) == 0 || len(k.rejects) > 0 {
				t.Fatalf("%s: %+v", data, k.rejects)
			}
			got := k.records[len(k.records)-1]
			got.Origin = want.Origin
			if d := diff(got, want); d != "" {
				t.Error(d)
			}
		}
	}
	_, k := decode(t, Config{}, flow.Origin{}, []byte(`{"srcAddr":"10.0.0.1","dstAddr":"10.0.0.2","srcPort":"x","protocol":6,"start":1418530010}`))
	if len(k.rejects) != 1 || k.rejects[0].Class != ClassValue || k.rejects[0].Field != "srcport" {
		t.Errorf("%+v", k)
	}
}

const ocsfEvent = `{"class_uid":4001,"activity_id":6,"action_id":1,"action":"Allowed","time":1418530010000,"start_time":1418530010000,"end_time":1418530070000,
 "status_code":"OK","metadata":{"product":{"version":"5","name":"Amazon VPC"}},"cloud":{"account":{"uid":"123456789010"},"region":"us-east-1","zone":"use1-az5"},
 "src_endpoint":{"ip":"203.0.113.5","port":443,"intermediate_ips":["10.0.0.220"],"svc_name":"-"},
 "dst_endpoint":{"ip":"10.0.1.5","port":39812,"interface_uid":"eni-1","vpc_uid":"vpc-1","subnet_uid":"subnet-1","instance_uid":"i-1"},
 "connection_info":{"protocol_num":6,"tcp_flags":18,"direction_id":1,"boundary_id":11},"traffic":{"packets":20,"bytes":4249}}`

func TestOCSF(t *testing.T) {
	got := one(t, Config{}, ocsfEvent)
	want := flow.Record{
		Version: 5, Protocol: 6, Action: flow.Accept, TCPFlags: 18, HasFlags: true, Path: 8, Direction: flow.Ingress,
		Src: flow.Endpoint{Addr: flow.MustAddr("10.0.0.220"), Port: 443}, Dst: flow.Endpoint{Addr: flow.MustAddr("10.0.1.5"), Port: 39812},
		PktSrc: flow.MustAddr("203.0.113.5"), Packets: 20, Bytes: 4249, Start: 1418530010, End: 1418530070,
		AccountID: "123456789010", InterfaceID: "eni-1", VPCID: "vpc-1", SubnetID: "subnet-1", InstanceID: "i-1", Region: "us-east-1",
		Attrs: []flow.Attr{{Name: "az-id", Value: "use1-az5"}}, Origin: flow.Origin{Source: "s", Line: 1},
	}
	if d := diff(got, want); d != "" {
		t.Error(d)
	}
	denied := strings.NewReplacer(`"activity_id":6,"action_id":1`, `"activity_id":5,"action_id":2`).Replace(ocsfEvent)
	if r := one(t, Config{}, denied); r.Action != flow.Reject {
		t.Errorf("%v", r.Action)
	}
	_, k := decode(t, Config{}, flow.Origin{}, []byte(`{"class_uid":2004,"message":"a finding"}`))
	if len(k.rejects) != 1 || k.rejects[0].Class != ClassJSON {
		t.Errorf("%+v", k)
	}
}

// rawSink remembers what the decoder says it read each record from.
type rawSink struct {
	d   *Decoder
	raw []string
}

func (r *rawSink) Record(*flow.Record) { r.raw = append(r.raw, string(r.d.Raw())) }
func (r *rawSink) Reject(*Reject)      {}

func TestRaw(t *testing.T) {
	d := mustNew(t, Config{})
	s := rawSink{d: d}
	d.Payload([]byte(lineV2+"\n"+ocsfEvent), flow.Origin{}, &s)
	if len(s.raw) != 2 || s.raw[0] != lineV2 || s.raw[1] != ocsfEvent {
		t.Fatalf("%q", s.raw)
	}
}

// Events as CloudWatch writes them take a shorter way, which must come to the
// same as walking the object does: here with a space that forces the walk.
func TestPlainEvents(t *testing.T) {
	messages := []string{
		lineV2, lineV5, lineNoData, "", " " + lineV2, lineV2 + " ", lineV2 + " more", "junk", "[1]", "{}", "[" + lineV2 + "]", "-",
		`a \"quoted\" word`, `two\nlines`, `{\"message\":\"` + lineV2 + `\"}`, "2026-01-01T00:00:00Z " + lineV2, "VERSION", "version srcaddr dstaddr",
	}
	events := []string{
		`{"id":"1","timestamp":1418530010000,"message":"M"}`, `{"id":"","timestamp":0,"message":"M"}`,
		`{"id":"1","timestamp":1418530010000,"message":"M","extractedFields":{"a":"b"}}`,
		`{"id":"1","timestamp":99999999999999999999,"message":"M"}`, `{"id":"1","timestamp":"1418530010000","message":"M"}`,
		`{"id":"1","timestamp":-5,"message":"M"}`, `{"timestamp":1418530010000,"message":"M"}`, `{"id":"1\"","timestamp":1,"message":"M"}`,
		`{"id":"1","timestamp":1418530010000,"message":"M"`, `{"id":"1","timestamp":1418530010000`, `{"id":"1`,
	}
	for _, event := range events {
		for _, m := range messages {
			whole := func(event string) []byte {
				e := strings.ReplaceAll(event, "M", m)
				return []byte(`{"messageType":"DATA_MESSAGE","logGroup":"g","logStream":"s","logEvents":[` + e + `,` + e + `]}`)
			}
			_, fast := decode(t, Config{Format: V2().String()}, flow.Origin{}, whole(event))
			_, walked := decode(t, Config{Format: V2().String()}, flow.Origin{}, whole(strings.Replace(event, "{", "{ ", 1)))
			if len(fast.records) != len(walked.records) || len(fast.rejects) != len(walked.rejects) {
				t.Fatalf("%s of %q: %d and %d records, %d and %d rejects", event, m, len(fast.records), len(walked.records), len(fast.rejects), len(walked.rejects))
			}
			for i := range fast.records {
				if d := diff(fast.records[i], walked.records[i]); d != "" {
					t.Errorf("%s of %q: %s", event, m, d)
				}
			}
			for i := range fast.rejects {
				if a, b := fast.rejects[i], walked.rejects[i]; a.Reason != b.Reason || a.Class != b.Class || a.Origin != b.Origin {
					t.Errorf("%s of %q: %+v\n%+v", event, m, a, b)
				}
			}
		}
	}
}
