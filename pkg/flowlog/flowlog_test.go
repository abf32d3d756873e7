package flowlog

import (
	"testing"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// keep is a sink that remembers everything.
type keep struct {
	records []flow.Record
	rejects []Reject
}

func (k *keep) Record(r *flow.Record) { k.records = append(k.records, r.Clone()) }

func (k *keep) Reject(r *Reject) {
	c := *r
	c.Raw = append([]byte(nil), r.Raw...)
	k.rejects = append(k.rejects, c)
}

func mustNew(t testing.TB, c Config) *Decoder {
	t.Helper()
	d, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

const lineV2 = "2 123456789010 eni-1235b8ca123456789 172.31.16.139 172.31.16.21 20641 22 6 20 4249 1418530010 1418530070 ACCEPT OK"

func TestPayloadV2(t *testing.T) {
	d := mustNew(t, Config{})
	var k keep
	n := d.Payload([]byte(lineV2+"\n"), flow.Origin{Source: "s", Sub: 4}, &k)
	if n != 1 || len(k.records) != 1 || len(k.rejects) != 0 {
		t.Fatalf("n %d, records %v, rejects %+v", n, k.records, k.rejects)
	}
	want := flow.Record{
		Version: 2, Protocol: 6, Action: flow.Accept,
		Src:     flow.Endpoint{Addr: flow.MustAddr("172.31.16.139"), Port: 20641},
		Dst:     flow.Endpoint{Addr: flow.MustAddr("172.31.16.21"), Port: 22},
		Packets: 20, Bytes: 4249, Start: 1418530010, End: 1418530070,
		AccountID: "123456789010", InterfaceID: "eni-1235b8ca123456789",
		Attrs: []flow.Attr{}, Origin: flow.Origin{Source: "s", Sub: 4, Line: 1},
	}
	got := k.records[0]
	if diff(got, want) != "" {
		t.Fatal(diff(got, want))
	}
}
