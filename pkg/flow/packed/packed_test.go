package packed

import (
	"encoding/binary"
	"math"
	"testing"
)

func TestRoundTrip(t *testing.T) {
	b := AppendUint(nil, 300)
	b = AppendVarint(b, -5)
	b = AppendText(b, "eni-1")
	b = binary.BigEndian.AppendUint16(b, 16)
	b = binary.BigEndian.AppendUint32(b, 32)
	b = binary.BigEndian.AppendUint64(b, 64)
	b = append(b, 7)
	for cut := range len(b) + 1 {
		r := Over(b[:cut])
		u, v, s := r.Uint(math.MaxUint64), r.Varint(), r.Text()
		a, c, d, e := r.Fix16(), r.Fix32(), r.Fix64(), r.Byte()
		whole := u == 300 && v == -5 && s == "eni-1" && a == 16 && c == 32 && d == 64 && e == 7
		if want := cut == len(b); r.Complete() != want || r.Bad() == want || want && !whole {
			t.Errorf("cut at %d: complete %v, bad %v, %d %d %q %d %d %d %d", cut, r.Complete(), r.Bad(), u, v, s, a, c, d, e)
		}
	}
	if r := Over(append(b, 0)); r.Uint(300) != 300 || r.Complete() || r.Bad() {
		t.Error("a tail is no error until all should have been read")
	}
	if r := Over(b); r.Uint(299) != 0 || !r.Bad() {
		t.Error("above the limit")
	}
	if r := Over([]byte{200, 1, 'x'}); r.Text() != "" || !r.Bad() {
		t.Error("a text longer than the input")
	}
	if r := Over(b); r.Take(-1) != nil || !r.Bad() || r.Byte() != 0 {
		t.Error("spoilt, and still reading")
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte{1, 2, 3, 'a', 'b', 'c'}, []byte{0, 1, 2, 3})
	f.Fuzz(func(t *testing.T, b, script []byte) {
		r := Over(b)
		for _, c := range script {
			switch c % 8 {
			case 0:
				r.Uint(uint64(c) << 8)
			case 1:
				r.Varint()
			case 2:
				r.Text()
			case 3:
				r.Fix16()
			case 4:
				r.Fix32()
			case 5:
				r.Fix64()
			case 6:
				r.Take(int(c) - 100)
			default:
				r.Count()
			}
		}
		if r.Bad() && r.Complete() {
			t.Fatal("bad and complete")
		}
	})
}
