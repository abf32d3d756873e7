package flow_test

import (
	"math"
	"net/netip"
	"reflect"
	"testing"
	"unsafe"

	"pgregory.net/rapid"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

func endpoint(t *rapid.T) flow.Endpoint {
	b := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "addr")
	e := flow.Endpoint{Addr: flow.Addr(b), Port: rapid.Uint16().Draw(t, "port")}
	if rapid.Bool().Draw(t, "v4") {
		e.Addr = flow.AddrFrom4([4]byte(b))
	}
	return e
}

func TestKeyIsTheSameBothWays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		src, dst, scope, proto := endpoint(t), endpoint(t), rapid.Uint16().Draw(t, "scope"), rapid.Uint8().Draw(t, "proto")
		there, s1 := flow.NewKey(scope, proto, src, dst)
		back, s2 := flow.NewKey(scope, proto, dst, src)
		if there != back {
			t.Fatalf("%v and %v", there, back)
		}
		if src != dst && s1 == s2 {
			t.Fatal("both directions claim the same side")
		}
		packed := there.AppendTo(nil)
		got, err := flow.ParseKey(packed)
		if err != nil || got != there {
			t.Fatalf("%v packed and read is %v, %v", there, got, err)
		}
	})
}

func TestKeySize(t *testing.T) {
	a, b := flow.Endpoint{Addr: flow.MustAddr("10.0.0.1"), Port: 1}, flow.Endpoint{Addr: flow.MustAddr("10.0.0.2"), Port: 2}
	k4, _ := flow.NewKey(0, 6, b, a)
	if n := len(k4.AppendTo(nil)); n != flow.KeySize4 {
		t.Errorf("an IPv4 key has %d bytes", n)
	}
	b.Addr = flow.MustAddr("2001:db8::1")
	k6, _ := flow.NewKey(0, 6, a, b)
	if n := len(k6.AppendTo(nil)); n != flow.KeySize6 {
		t.Errorf("an IPv6 key has %d bytes", n)
	}
}

func FuzzParseKey(f *testing.F) {
	k, _ := flow.NewKey(7, 6, flow.Endpoint{Addr: flow.MustAddr("10.0.0.1"), Port: 22}, flow.Endpoint{Addr: flow.MustAddr("192.0.2.9"), Port: 50000})
	f.Add(k.AppendTo(nil))
	f.Add(make([]byte, flow.KeySize6))
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := flow.ParseKey(b)
		if err == nil && string(k.AppendTo(nil)) != string(b) {
			t.Fatalf("% x read and packed again is % x", b, k.AppendTo(nil))
		}
	})
}

func TestAddr(t *testing.T) {
	for in, want := range map[string]string{
		"10.1.2.3": "10.1.2.3", "::ffff:10.1.2.3": "10.1.2.3", "2001:DB8:0:0:0:0:0:1": "2001:db8::1", "::1": "::1",
	} {
		a, err := flow.ParseAddr(in)
		if err != nil || a.String() != want || a.IP() != netip.MustParseAddr(want) {
			t.Errorf("%s: %v, %v", in, a, err)
		}
	}
	for _, in := range []string{"", "-", "10.0.0", "10.0.0.0.1", "fe80::1%eth0", "300.1.1.1"} {
		if a, err := flow.ParseAddr(in); err == nil {
			t.Errorf("%q was read as %v", in, a)
		}
	}
	if (flow.Addr{}).String() != "-" || (flow.Addr{}).IP().IsValid() {
		t.Error("the zero Addr is no address")
	}
}

func TestTime(t *testing.T) {
	for _, c := range []struct {
		t    flow.Time
		s    int64
		want flow.Time
	}{
		{10, 5, 15}, {10, -15, -5}, {flow.MaxTime, -300, flow.MaxTime}, {flow.MinTime, 300, flow.MinTime},
		{flow.MaxTime - 1, 300, flow.MaxTime}, {flow.MinTime + 1, -300, flow.MinTime}, {0, math.MinInt64, flow.MinTime},
	} {
		if got := c.t.Add(c.s); got != c.want {
			t.Errorf("%d.Add(%d) is %d, want %d", c.t, c.s, got, c.want)
		}
	}
	for _, c := range [][2]flow.Time{{0, 0}, {59, 0}, {60, 60}, {-1, -60}, {-60, -60}} {
		if got := c[0].Floor(60); got != c[1] {
			t.Errorf("%d.Floor(60) is %d, want %d", c[0], got, c[1])
		}
	}
}

// TestCloneCopiesEveryText fails when a text field is added and Clone forgets it.
func TestCloneCopiesEveryText(t *testing.T) {
	line := []byte("abcdefgh")
	text := string(line)
	var r flow.Record
	setTexts(reflect.ValueOf(&r).Elem(), text)
	r.Attrs = []flow.Attr{{Name: text, Value: text}}
	c := r.Clone()
	if !reflect.DeepEqual(r, c) {
		t.Fatalf("the clone differs: %+v", c)
	}
	for i, s := range texts(reflect.ValueOf(c), nil) {
		if aliases(s, text) {
			t.Errorf("text %d of the clone still aliases the input", i)
		}
	}
}

func setTexts(v reflect.Value, s string) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(s)
	case reflect.Struct:
		for i := range v.NumField() {
			setTexts(v.Field(i), s)
		}
	}
}

func texts(v reflect.Value, out []string) []string {
	switch v.Kind() {
	case reflect.String:
		out = append(out, v.String())
	case reflect.Struct:
		for i := range v.NumField() {
			out = texts(v.Field(i), out)
		}
	case reflect.Slice:
		for i := range v.Len() {
			out = texts(v.Index(i), out)
		}
	}
	return out
}

func TestEnds(t *testing.T) {
	r := flow.Record{
		Src:    flow.Endpoint{Addr: flow.MustAddr("10.0.1.5"), Port: 40000},
		Dst:    flow.Endpoint{Addr: flow.MustAddr("10.0.0.220"), Port: 443},
		PktSrc: flow.MustAddr("10.0.1.5"), PktDst: flow.MustAddr("203.0.113.5"),
	}
	src, dst := r.Ends()
	if src.String() != "10.0.1.5:40000" || dst.String() != "203.0.113.5:443" {
		t.Errorf("a NAT gateway's record is %v > %v", src, dst)
	}
}

func aliases(a, b string) bool {
	return len(a) > 0 && unsafe.StringData(a) == unsafe.StringData(b)
}
