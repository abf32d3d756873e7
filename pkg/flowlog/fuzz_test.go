package flowlog

import (
	"bytes"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/parquet-go/parquet-go"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

func gzipped(t testing.TB, parts ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	for _, p := range parts {
		w := gzip.NewWriter(&b)
		if _, err := w.Write([]byte(p)); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

const (
	lineNoData = "2 123456789010 eni-1235b8ca123456789 - - - - - - - 1431280876 1431280934 - NODATA"
	lineIPv6   = "2 123456789010 eni-1235b8ca123456789 2001:db8:1234:a100:8d6e:3477:df66:f105 2001:db8:1234:a102:3304:8879:34cf:4071 34892 22 6 54 8855 1477913708 1477913820 ACCEPT OK"
	envelope   = `{"messageType":"DATA_MESSAGE","owner":"123456789010","logGroup":"vpc","logStream":"eni-1-all","subscriptionFilters":["f"],"logEvents":[` +
		`{"id":"3195310660696698337880902507980421114328961542429EXAMPLE","timestamp":1432826855000,"message":"` + lineV2 + `"},` +
		`{"id":"2","timestamp":1432826855000,"message":"` + lineNoData + `","extractedFields":{"a":"b"}}]}`
	control = `{"messageType":"CONTROL_MESSAGE","owner":"CloudwatchLogs","logGroup":"","logStream":"","subscriptionFilters":[],"logEvents":[{"id":"","timestamp":1432826855000,"message":"CWL CONTROL MESSAGE: Checking health of destination Kinesis stream."}]}`
)

// balance checks that nothing disappears: every line is a record, a reject or
// a header.
func balance(t testing.TB, d *Decoder, records, rejects int) {
	t.Helper()
	s := d.Stats()
	if uint64(records) != s.Records || uint64(rejects) != s.Rejected() {
		t.Fatalf("the sink had %d records and %d rejects, the statistics say %d and %d", records, rejects, s.Records, s.Rejected())
	}
	if s.Lines != s.Records+s.Rejected()+s.Headers {
		t.Fatalf("%d lines, but %d records, %d rejects, %d headers", s.Lines, s.Records, s.Rejected(), s.Headers)
	}
}

func FuzzPayload(f *testing.F) {
	for _, s := range []string{lineV2, lineV2 + "\n" + lineNoData, lineV5, lineIPv6, envelope, control, envelope + envelope,
		`{"message":"` + lineV2 + `"}` + "\n" + `{"message":"` + lineV2 + `"}`, `[` + envelope + `]`,
		`{"version":2,"accountId":"1","srcAddr":"10.0.0.1","dstAddr":"10.0.0.2","srcPort":1,"dstPort":2,"protocol":6,"start":1431280876,"end":1431280934,"action":"ACCEPT","logStatus":"OK"}`,
		string(V2().AppendHeader(nil)) + "\n" + lineV2, "2024-09-27T21:33:43.000Z " + lineV2, "\ufeff" + lineV2,
		`{"awslogs":{"data":"H4sIAAAAAAAA"}}`, `{"class_uid":4001,"src_endpoint":{"ip":"10.0.0.1","intermediate_ips":["10.0.0.2"]}}`,
	} {
		f.Add([]byte(s))
		f.Add(gzipped(f, s, s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d := mustNew(t, Config{MaxPayload: 1 << 20})
		var c count
		n := d.Payload(data, flow.Origin{Source: "s"}, &c)
		balance(t, d, c.records, c.rejects)
		if n != int(d.Stats().Lines) {
			t.Fatalf("%d steps for %d lines", n, d.Stats().Lines)
		}
	})
}

func FuzzStream(f *testing.F) {
	for _, s := range []string{lineV2 + "\r\n" + lineNoData + "\r" + lineIPv6, "{\n\"message\":\n\"" + lineV2 + "\"\n}\n" + lineV2, envelope + "\n" + envelope, "\r\r\n\n\r"} {
		f.Add([]byte(s))
		f.Add(gzipped(f, s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d := mustNew(t, Config{MaxLine: 200, MaxPayload: 1000})
		var c count
		_ = d.Stream(bytes.NewReader(data), flow.Origin{Source: "s"}, &c)
		balance(t, d, c.records, c.rejects)
	})
}

// FuzzLine holds the decoder against the slow one, for every layout.
func FuzzLine(f *testing.F) {
	f.Add(lineV2, uint8(2))
	f.Add(lineV5, uint8(5))
	f.Add(lineIPv6, uint8(2))
	f.Add(lineNoData, uint8(2))
	f.Add(lineV2+" more  and more", uint8(2))
	f.Add(strings.Replace(lineV2, "172.31.16.139", "::ffff:1.2.3.4", 1), uint8(2))
	f.Add(strings.Replace(lineV2, "20641", "18446744073709551616", 1), uint8(2))
	f.Fuzz(func(t *testing.T, line string, version uint8) {
		if strings.ContainsAny(line, "\r\n\t{[") {
			return
		}
		layout := UpTo(2 + version%10)
		compare(t, layout, line)
	})
}

func FuzzFormat(f *testing.F) {
	f.Add("${version} ${srcaddr}", lineV2)
	f.Add(V2().String(), lineV2)
	f.Add("srcaddr,dstaddr", lineV2)
	f.Add("${a", "a")
	f.Fuzz(func(t *testing.T, s, line string) {
		layout, err := ParseFormat(s)
		if err != nil {
			return
		}
		again, err := ParseFormat(layout.String())
		if err != nil || again.String() != layout.String() {
			t.Fatalf("%q became %q: %v", s, layout, err)
		}
		d, err := New(Config{Format: layout.String()})
		if err != nil {
			return
		}
		var c count
		d.Payload([]byte(line), flow.Origin{}, &c)
		balance(t, d, c.records, c.rejects)
	})
}

func FuzzInfer(f *testing.F) {
	f.Add(strings.Repeat(lineV2+"\n", 5))
	f.Add(strings.Repeat(lineV5+"\n", 5))
	f.Add(strings.Repeat("10.0.0.1 10.0.0.2 1 2 6 1 40 1431280876 1431280934 ACCEPT\n", 5))
	list := knownFormats()
	f.Fuzz(func(t *testing.T, sample string) {
		var rows [][][]byte
		for line := range strings.SplitSeq(sample, "\n") {
			if len(rows) < 32 {
				rows = append(rows, split([]byte(line)))
			}
		}
		v := infer(list, rows)
		if v.sure && v.format == nil {
			t.Fatal("sure of nothing")
		}
		if v.format == nil && v.doubt == "" {
			t.Fatal("no layout and no word why")
		}
	})
}

type parquetRowV2 struct {
	Version     int32  `parquet:"version"`
	AccountID   string `parquet:"account_id"`
	InterfaceID string `parquet:"interface_id"`
	SrcAddr     string `parquet:"srcaddr"`
	DstAddr     string `parquet:"dstaddr"`
	SrcPort     *int32 `parquet:"srcport,optional"`
	DstPort     *int32 `parquet:"dstport,optional"`
	Protocol    int64  `parquet:"protocol"`
	Packets     int64  `parquet:"packets"`
	Bytes       int64  `parquet:"bytes"`
	Start       int64  `parquet:"start"`
	End         int64  `parquet:"end"`
	Action      string `parquet:"action"`
	LogStatus   string `parquet:"log_status"`
	AZ          string `parquet:"az_id"`
	Strange     int32  `parquet:"strange_field"`
}

func parquetFile(t testing.TB, rows []parquetRowV2) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := parquet.Write(&b, rows); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func port(p int32) *int32 { return &p }

func someRows() []parquetRowV2 {
	return []parquetRowV2{
		{2, "123456789010", "eni-1", "10.0.0.1", "10.0.0.2", port(1234), port(443), 6, 10, 840, 1431280876, 1431280934, "ACCEPT", "OK", "use1-az1", 7},
		{2, "123456789010", "eni-1", "-", "-", nil, nil, 0, 0, 0, 1431280876, 1431280934, "-", "NODATA", "-", 7},
		{2, "123456789010", "eni-1", "10.0.0.1", "10.0.0.2", port(-5), port(443), 6, 10, 840, 1431280876, 1431280934, "ACCEPT", "OK", "use1-az1", 7},
	}
}

func FuzzParquet(f *testing.F) {
	f.Add(parquetFile(f, someRows()))
	f.Add([]byte("PAR1PAR1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		d := mustNew(t, Config{})
		var c count
		_ = d.Parquet(bytes.NewReader(data), int64(len(data)), flow.Origin{Source: "s"}, &c)
		balance(t, d, c.records, c.rejects)
	})
}
