package flowlog

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

func stream(t testing.TB, c Config, r io.Reader) (*keep, error) {
	t.Helper()
	d := mustNew(t, c)
	var k keep
	err := d.Stream(r, flow.Origin{Source: "f"}, &k)
	balance(t, d, len(k.records), len(k.rejects))
	return &k, err
}

// Lines end with LF, CRLF or CR, and are counted alike, whatever the reads.
func TestStreamLineEnds(t *testing.T) {
	for _, end := range []string{"\n", "\r\n", "\r"} {
		text := strings.Join([]string{"\ufeff" + string(V2().AppendHeader(nil)), lineV2, "", "garbage", "  ", lineNoData, lineIPv6}, end)
		for name, r := range map[string]io.Reader{
			"whole": strings.NewReader(text), "by byte": iotest.OneByteReader(strings.NewReader(text)),
			"gzip": bytes.NewReader(gzipped(t, text[:200], text[200:])), "with a last end": strings.NewReader(text + end),
			"data with EOF": iotest.DataErrReader(strings.NewReader(text)),
		} {
			k, err := stream(t, Config{}, r)
			if err != nil || len(k.records) != 3 || len(k.rejects) != 1 {
				t.Fatalf("%q %s: %v, %d records, rejects %+v", end, name, err, len(k.records), k.rejects)
			}
			if k.records[0].Origin.Line != 2 || k.rejects[0].Origin.Line != 4 || k.records[1].Origin.Line != 6 || k.records[2].Origin.Line != 7 {
				t.Errorf("%q %s: lines %d %d %d %d", end, name, k.records[0].Origin.Line, k.rejects[0].Origin.Line, k.records[1].Origin.Line, k.records[2].Origin.Line)
			}
		}
	}
}

// A stream and a payload of the same bytes give the same records.
func TestStreamLikePayload(t *testing.T) {
	for _, text := range []string{
		lineV2 + "\n" + envelope + "\n" + lineV2 + "\n" + control,
		`{"message":` + quote(lineV2) + "}\n" + `{"message":` + quote(lineV2) + `}{"message":` + quote(lineNoData) + `}`,
		string(written(UpTo(5), traffic(1, 300))),
	} {
		_, want := decode(t, Config{}, flow.Origin{Source: "f"}, []byte(text))
		got, err := stream(t, Config{}, iotest.HalfReader(strings.NewReader(text)))
		if err != nil || len(got.records) != len(want.records) || len(got.rejects) != len(want.rejects) {
			t.Fatalf("%v: %d and %d records, rejects %+v", err, len(got.records), len(want.records), got.rejects)
		}
		for i := range got.records {
			got.records[i].Origin, want.records[i].Origin = flow.Origin{}, flow.Origin{}
		}
		if d := diff(got.records, want.records); d != "" {
			t.Error(d)
		}
	}
}

// Several records of one line are told apart by Sub, so that a reader can
// resume behind any of them.
func TestStreamPlaces(t *testing.T) {
	k, err := stream(t, Config{}, strings.NewReader(lineV2+"\n\n"+envelope+"\n"+lineV2))
	if err != nil || len(k.records) != 4 {
		t.Fatalf("%v %+v", err, k)
	}
	for i, want := range []struct {
		line int64
		sub  int32
	}{{1, 0}, {3, 0}, {3, 1}, {4, 0}} {
		if o := k.records[i].Origin; o.Line != want.line || o.Sub != want.sub {
			t.Errorf("record %d: line %d sub %d", i, o.Line, o.Sub)
		}
	}
}

func TestStreamDocumentOverLines(t *testing.T) {
	pretty := strings.NewReplacer(`{"messageType"`, "{\n  \"messageType\"", `,"`, ",\n  \"").Replace(envelope)
	k, err := stream(t, Config{}, strings.NewReader(pretty+"\n"+lineV2))
	if err != nil || len(k.records) != 3 || len(k.rejects) != 0 {
		t.Fatalf("%v, %d records, rejects %+v", err, len(k.records), k.rejects)
	}
	// A brace that nothing closes costs its line, not the file.
	k, err = stream(t, Config{}, strings.NewReader("{ damaged\n"+lineV2+"\n"+lineV2))
	if err != nil || len(k.records) != 2 || len(k.rejects) != 1 || string(k.rejects[0].Raw) != "{ damaged" {
		t.Fatalf("%v, %d records, rejects %+v", err, len(k.records), k.rejects)
	}
}

// A line without end is rejected in pieces, all of it, and memory stays bounded.
func TestStreamEndlessLine(t *testing.T) {
	long := strings.Repeat("x", 2500)
	k, err := stream(t, Config{MaxLine: 1000}, strings.NewReader(lineV2+"\n"+long+"\n"+lineV2))
	if err != nil || len(k.records) != 2 || len(k.rejects) != 3 || k.records[1].Origin.Line != 3 {
		t.Fatalf("%v, %d records, %d rejects", err, len(k.records), len(k.rejects))
	}
	var all []byte
	for _, r := range k.rejects {
		if r.Class != ClassSize || r.Origin.Line != 2 {
			t.Errorf("%v line %d", r.Class, r.Origin.Line)
		}
		all = append(all, r.Raw...)
	}
	if string(all) != long {
		t.Error("bytes were lost")
	}
	zeros := &io.LimitedReader{R: zeroReader{}, N: 8 << 20}
	l := lines{r: zeros, max: 1 << 10, maxJSON: 1 << 10}
	for _, ok := l.next(); ok; _, ok = l.next() {
		if cap(l.buf) > 256<<10 {
			t.Fatalf("the buffer has grown to %d", cap(l.buf))
		}
	}
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestStreamErrors(t *testing.T) {
	if _, err := stream(t, Config{}, strings.NewReader("PAR1....")); err == nil || !strings.Contains(err.Error(), "Parquet") {
		t.Error(err)
	}
	broken := errors.New("broken pipe")
	k, err := stream(t, Config{}, io.MultiReader(strings.NewReader(lineV2+"\n"+lineV2+"\n"), iotest.ErrReader(broken)))
	if !errors.Is(err, broken) || len(k.records) != 2 || len(k.rejects) != 0 {
		t.Errorf("whole lines before an error are lines: %v %+v", err, k)
	}
	k, err = stream(t, Config{}, io.MultiReader(strings.NewReader(lineV2+"\n"+lineV2[:40]), iotest.ErrReader(broken)))
	if !errors.Is(err, broken) || len(k.records) != 1 || len(k.rejects) != 1 || string(k.rejects[0].Raw) != lineV2[:40] {
		t.Errorf("%v %+v", err, k)
	}
	data := gzipped(t, strings.Repeat(lineV2+"\n", 5000))
	k, err = stream(t, Config{}, bytes.NewReader(data[:len(data)-200]))
	if !errors.Is(err, io.ErrUnexpectedEOF) || len(k.records) == 0 || len(k.rejects) > 1 {
		t.Errorf("%v: %d records", err, len(k.records))
	}
	if _, err = stream(t, Config{}, bytes.NewReader([]byte{0x1f, 0x8b, 1, 2, 3})); err == nil {
		t.Error("a damaged gzip header must be an error")
	}
	if k, err = stream(t, Config{}, strings.NewReader("")); err != nil || len(k.records)+len(k.rejects) != 0 {
		t.Error(err)
	}
}

func TestParquet(t *testing.T) {
	d := mustNew(t, Config{})
	var k keep
	data := parquetFile(t, someRows())
	if err := d.Parquet(bytes.NewReader(data), int64(len(data)), flow.Origin{Source: "p"}, &k); err != nil {
		t.Fatal(err)
	}
	balance(t, d, len(k.records), len(k.rejects))
	if len(k.records) != 2 || len(k.rejects) != 1 {
		t.Fatalf("%+v", k)
	}
	want := flow.Record{
		Version: 2, Protocol: 6, Action: flow.Accept,
		Src: flow.Endpoint{Addr: flow.MustAddr("10.0.0.1"), Port: 1234}, Dst: flow.Endpoint{Addr: flow.MustAddr("10.0.0.2"), Port: 443},
		Packets: 10, Bytes: 840, Start: 1431280876, End: 1431280934, AccountID: "123456789010", InterfaceID: "eni-1",
		Attrs:  []flow.Attr{{Name: "az-id", Value: "use1-az1"}, {Name: "strange-field", Value: "7"}},
		Origin: flow.Origin{Source: "p", Line: 1},
	}
	if d := diff(k.records[0], want); d != "" {
		t.Error(d)
	}
	if k.records[1].Kind != flow.KindNoData || k.records[1].Origin.Line != 2 {
		t.Errorf("%+v", k.records[1])
	}
	r := k.rejects[0]
	if r.Class != ClassValue || r.Field != "srcport" || r.Origin.Line != 3 || !strings.Contains(string(r.Raw), "srcport=-5") {
		t.Errorf("%+v %s", r, r.Raw)
	}
	if u := d.UnknownFields(); len(u) != 1 || u[0].Values != 3 {
		t.Errorf("%+v", u)
	}
	for _, n := range []int{0, 3, 12, len(data) / 2, len(data) - 1} {
		if err := mustNew(t, Config{}).Parquet(bytes.NewReader(data[:n]), int64(n), flow.Origin{Source: "p"}, &k); err == nil {
			t.Errorf("a file cut off at %d must be an error", n)
		}
	}
	// The length of the footer is the file's own claim: room for it is made only
	// when there can be so many bytes.
	claim := append(bytes.Clone(data[:len(data)-8]), "\xff\xff\xff\x7fPAR1"...)
	err := mustNew(t, Config{}).Parquet(bytes.NewReader(claim), int64(len(claim)), flow.Origin{Source: "p"}, &k)
	if err == nil || !strings.Contains(err.Error(), "its footer has 2147483647 bytes") {
		t.Errorf("a footer longer than its file: %v", err)
	}
}
